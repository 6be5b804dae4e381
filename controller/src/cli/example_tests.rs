//! `deploy/controller.toml`, the commented example, is complete and tells the defaults.

use clap::{Command, CommandFactory, Parser};

use super::args::Cli;
use super::config_file::ConfigFile;
use super::settings::Settings;

const EXAMPLE: &str = include_str!("../../../deploy/controller.toml");

/// The example with `#key = value` made real: all of them, or those that show a default.
fn uncommented(with_examples: bool) -> String {
    let mut is_example = false;
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        match key_of(line) {
            Some(_) if !is_example || with_examples => lines.push(&line[1..]),
            Some(_) => {}
            None => {
                is_example = line.ends_with("Example:");
                lines.push(line);
            }
        }
    }
    lines.join("\n")
}

/// The key of a line `#key = value`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix('#')?.split_once(" = ")?;
    key.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(key)
}

fn resolved(text: &str) -> Settings {
    let args = Cli::parse_from(["rustle-exec", "plan.json"]).run;
    let file: ConfigFile = toml::from_str(text).unwrap();
    Settings::resolve(&args.common, Some(&args), file).unwrap()
}

#[test]
fn as_it_is_it_says_nothing() {
    assert_eq!(toml::from_str::<ConfigFile>(EXAMPLE).unwrap(), ConfigFile::default());
}

#[test]
fn it_has_every_key() {
    let shown = uncommented(true);
    toml::from_str::<ConfigFile>(&shown).unwrap();
    for section in ["[executor]", "[modules]", "[reporting]", "[performance]", "[journal]"] {
        let with_unknown = shown.replace(section, &format!("{section}\nno_such_key = 1"));
        let error = toml::from_str::<ConfigFile>(&with_unknown).unwrap_err().to_string();
        let (_, known) = error.split_once(", expected ").unwrap();
        let of_section = shown.split_once(section).unwrap().1.split("\n[").next().unwrap();
        for key in known.split('`').skip(1).step_by(2) {
            let is_there = of_section.lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(is_there, "`{key}` of {section} is missing in deploy/controller.toml");
        }
    }
}

#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let [mut shown, mut default] = [resolved(&uncommented(false)), resolved("")];
    assert_eq!(shown.log_level.take().as_deref(), Some("error"));
    for settings in [&mut shown, &mut default] {
        // What the file says counts as given; chance differs in every run.
        settings.forks_given = true;
        settings.run.limits.retry.seed = 0;
    }
    assert_eq!(format!("{shown:#?}"), format!("{default:#?}"));
}

/// Arguments of the command and those below it that `--help` has no word for.
fn unexplained(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|argument| argument.get_help().is_none());
    let own = own.map(|argument| format!("{}: {argument}", command.get_name()));
    own.chain(command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(unexplained)).collect()
}

#[test]
fn help_explains_every_argument_of_every_command() {
    assert_eq!(unexplained(&Cli::command()), [""; 0]);
}
