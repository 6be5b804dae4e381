//! `docs/modules.md`: every module with its arguments, from the very specs that check a task's arguments.

use std::collections::BTreeSet;
use std::fmt::Write;

use rustle_agent::module::{ArgSpec, short_name};
use rustle_protocol::Value;

use crate::engine::{ModuleExecutor, Registry};

const HEAD: &str = "\
# Modules

This page is made from the program. `UPDATE_MODULES=1 cargo test -p rustle-exec modules_md` writes it anew.

Names, arguments, defaults and return values are those of `ansible.builtin`; a module answers to its short name, to
`ansible.builtin.NAME` and to `ansible.legacy.NAME`. An argument that is not in the table is an error before any host is
touched, and so is a missing one or one of the wrong type.

- **check**: with `--check` it changes nothing and says what it would change. A module without it is skipped then.
- **diff**: with `--diff` it shows what changes.
- **repeatable**: it describes a state, so it is run again when nobody knows how far it came, because its agent died over
  it. A module that is not has failed then, and the message says that its outcome is unknown.

";

/// The whole page.
pub fn modules_markdown(registry: &Registry) -> String {
    let mut page = HEAD.to_owned();
    let public = || registry.modules().filter(|(module, _)| !is_internal(*module));
    write(&mut page, format_args!("| module | check | diff | repeatable | |\n| --- | --- | --- | --- | --- |\n"));
    for (module, _) in public() {
        let name = short_name(module.name());
        let (check, diff) = (yes(module.supports_check_mode()), yes(module.supports_diff()));
        let repeatable = yes(module.is_idempotent());
        let summary = module.summary();
        write(&mut page, format_args!("| [{name}](#{name}) | {check} | {diff} | {repeatable} | {summary} |\n"));
    }
    for (module, aliases) in public() {
        section(&mut page, module, &aliases);
    }
    page
}

fn section(page: &mut String, module: &dyn ModuleExecutor, aliases: &[&str]) {
    write(page, format_args!("\n## {}\n\n{}\n", short_name(module.name()), module.summary()));
    if !aliases.is_empty() {
        let aliases: Vec<String> = aliases.iter().map(|alias| code(alias)).collect();
        write(page, format_args!("\nAlso: {}.\n", aliases.join(", ")));
    }
    let specs = arguments(module);
    if specs.is_empty() {
        page.push_str("\nTakes any arguments: their names are the task's own.\n");
        return;
    }
    page.push_str("\n| argument | type | default | |\n| --- | --- | --- | --- |\n");
    for spec in specs {
        write(page, format_args!("| {} | {} | {} | {} |\n", name(spec), kind(spec), default(spec), text(spec.doc)));
    }
}

/// What a task may give: names with an underscore are what the controller puts in for the agent, save the free form.
fn arguments(module: &dyn ModuleExecutor) -> Vec<&'static ArgSpec> {
    let mut seen = BTreeSet::new();
    let all = module.arg_groups().iter().copied().flatten();
    all.filter(|spec| !spec.name.starts_with('_') || spec.name == "_raw_params")
        .filter(|spec| seen.insert(spec.name))
        .collect()
}

/// A module that no plan names.
fn is_internal(module: &dyn ModuleExecutor) -> bool {
    module.name().starts_with("rustle.")
}

fn name(spec: &ArgSpec) -> String {
    let own = if spec.name == "_raw_params" { "free form".to_owned() } else { code(spec.name) };
    let own = if spec.required { format!("{own} **required**") } else { own };
    spec.aliases.iter().fold(own, |names, alias| format!("{names}, {}", code(alias)))
}

fn kind(spec: &ArgSpec) -> String {
    match spec.choices {
        [] => spec.kind.name().to_owned(),
        choices => choices.iter().map(|choice| code(choice)).collect::<Vec<_>>().join(", "),
    }
}

fn default(spec: &ArgSpec) -> String {
    match (spec.default)() {
        Value::Null => String::new(),
        Value::String(text) if !text.is_empty() => code(&text.escape_debug().to_string()),
        Value::String(_) => "empty".to_owned(),
        Value::List(items) if items.is_empty() => "none".to_owned(),
        other => code(&other.to_json()),
    }
}

/// A doc comment as one line of a table.
fn text(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Set to write the page instead of comparing it: `UPDATE_MODULES=1 cargo test -p rustle-exec modules_md`.
    const UPDATE: &str = "UPDATE_MODULES";

    #[test]
    fn docs_modules_md_is_what_the_program_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/modules.md");
        let page = modules_markdown(&Registry::native());
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == page, "run the tests once with {UPDATE}=1 and commit {}", path.display());
    }

    #[test]
    fn a_module_is_shown_with_its_arguments_and_defaults() {
        let page = modules_markdown(&Registry::native());
        assert!(page.contains("| [ping](#ping) | yes | no | yes | Answers, if the agent can run modules. |"), "{page}");
        assert!(page.contains("| `data` | str | `pong` | What to answer."), "{page}");
    }

    #[test]
    fn every_module_has_a_summary_and_every_argument_a_sentence() {
        let registry = Registry::native();
        let mut undocumented = Vec::new();
        for (module, _) in registry.modules() {
            assert!(module.summary().ends_with('.'), "{} has no summary", module.name());
            let silent = arguments(module).into_iter().filter(|spec| text(spec.doc).is_empty());
            undocumented.extend(silent.map(|spec| format!("{}.{}", short_name(module.name()), spec.name)));
        }
        assert!(undocumented.is_empty(), "without a doc comment: {undocumented:?}");
    }

    #[test]
    fn every_default_is_a_value_the_argument_takes() {
        let registry = Registry::native();
        for spec in registry.modules().flat_map(|(module, _)| arguments(module)) {
            let default = (spec.default)();
            assert!(default.is_null() || (spec.check)(&default).is_ok(), "{}: {default:?}", spec.name);
        }
    }
}
