//! Command lines that make no sense: what is said of them, and what the parser of arguments cannot know.

use std::ffi::OsString;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, CommandFactory};

use super::args::Cli;
use crate::exit_code::ExitCode;

/// Says what the parser says of `arguments`, the program's name first, and gives the code to end with. Help and version
/// are answers; anything else is a command line that makes no sense.
pub fn tell(error: &Error, arguments: &[OsString]) -> ExitCode {
    // There is nowhere left to say that this cannot be said.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::Success;
    }
    let mut command = Cli::command();
    // Arguments have no names to be shown under before.
    command.build();
    if let Some(hint) = from_environment(error, arguments, &command).or_else(|| misplaced(error, arguments, &command)) {
        let _ = writeln!(std::io::stderr().lock(), "hint: {hint}");
    }
    ExitCode::InvalidInput
}

/// The parser blames the option, whose value may be one that nobody gave on this command line.
fn from_environment(error: &Error, arguments: &[OsString], command: &Command) -> Option<String> {
    let (option, value) = (text(error, ContextKind::InvalidArg)?, text(error, ContextKind::InvalidValue)?);
    if arguments.iter().any(|argument| argument.to_string_lossy().ends_with(value)) {
        return None;
    }
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let mut of_option = commands.flat_map(Command::get_arguments).filter(|argument| argument.to_string() == option);
    let variable = of_option.find_map(|argument| argument.get_env())?;
    Some(format!("the value is that of the environment variable {}", variable.to_string_lossy()))
}

/// Behind an option, a command's name is taken for a plan's.
fn misplaced(error: &Error, arguments: &[OsString], command: &Command) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let behind_options = arguments.iter().skip(2).filter_map(|argument| argument.to_str());
    let mut named = behind_options.filter(|argument| command.find_subcommand(argument).is_some());
    let name = named.next().filter(|_| arguments[1].to_string_lossy().starts_with('-'))?;
    Some(format!("if `{name}` is the command that is meant, it goes before the options: rustle-exec {name} ..."))
}

fn text(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}
