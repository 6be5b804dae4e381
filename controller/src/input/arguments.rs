//! A task's arguments as its module takes them, from what `rustle-parse` made of them.

use indexmap::IndexMap;
use rustle_agent::module::short_name;
use rustle_protocol::Value;
use rustle_protocol::value::{DEPTH_MAX, Map};

use super::{json, key_value};
use crate::plan::check::ModuleCatalog;
use crate::template::Authored;

/// Modules whose one string is a command line, with options among its words.
const COMMAND_LINES: [&str; 5] = ["command", "shell", "raw", "script", "win_command"];

/// Modules whose string may hold a word that is no `key=value`.
const FREE_WORDS: [&str; 8] =
    ["meta", "set_fact", "include_vars", "include_tasks", "import_tasks", "add_host", "group_by", "include_role"];

/// Takes the options off a command line, splits `key=value` text, and turns bools back into text where the module wants
/// text: `rustle-parse` makes a bool of every `yes` and `true` it meets.
///
/// # Errors
/// In a sentence: text that cannot be split, a list where text is wanted, nesting too deep to be sent.
pub(super) fn convert(
    module: &str,
    args: &Map,
    catalog: &dyn ModuleCatalog,
) -> Result<IndexMap<String, Authored>, String> {
    let mut args = args.clone();
    let raw = args.shift_remove("_raw_params").unwrap_or_default();
    let from_raw = split_raw(short_name(module), raw)?;
    // What stands in the string gives way to what was written out.
    for (name, value) in from_raw {
        args.entry(name).or_insert(value);
    }
    let info = catalog.find(module);
    for (name, value) in &mut args {
        if json::depth_exceeds(value, DEPTH_MAX) {
            return Err(format!("argument `{name}` is nested deeper than {DEPTH_MAX} levels"));
        }
        if let Value::Bool(bool) = value
            && info.is_some_and(|info| info.wants_text(name))
        {
            *value = Value::String(bool.to_string());
        }
    }
    Ok(args.into_iter().map(|(name, value)| (name, Authored::from_value(value))).collect())
}

/// A task's arguments as an operator types them: `key=value ...`, a command line, or a JSON object.
///
/// # Errors
/// As `convert`, and JSON that is none.
pub fn from_text(module: &str, text: &str, catalog: &dyn ModuleCatalog) -> Result<IndexMap<String, Authored>, String> {
    let trimmed = text.trim();
    // `{{ x }}` begins a command line, not an object.
    let args = if trimmed.is_empty() {
        Map::new()
    } else if trimmed.starts_with('{') && !trimmed.starts_with("{{") {
        serde_json::from_str(trimmed).map_err(|error| format!("looks like JSON and is not: {error}"))?
    } else {
        Map::from([("_raw_params".to_owned(), Value::from(text))])
    };
    convert(module, &args, catalog)
}

fn split_raw(module: &str, raw: Value) -> Result<Map, String> {
    let text = match raw {
        Value::Null => return Ok(Map::new()),
        Value::String(text) => text,
        Value::Bool(bool) => bool.to_string(),
        number @ (Value::Int(_) | Value::UInt(_) | Value::Float(_)) => number.to_json(),
        other => return Err(format!("its arguments are a {}, where {module} takes text", other.kind())),
    };
    let raw_params = |text: String| ("_raw_params".to_owned(), Value::String(text));
    if COMMAND_LINES.contains(&module) {
        let (line, mut args) = key_value::split_command(&text).map_err(|why| format!("its command line: {why}"))?;
        if !line.is_empty() {
            args.extend([raw_params(line)]);
        }
        return Ok(args);
    }
    let (mut args, others) = key_value::split_pairs(&text).map_err(|why| format!("its arguments: {why}"))?;
    match others[..] {
        [] => {}
        _ if FREE_WORDS.contains(&module) => args.extend([raw_params(others.join(" "))]),
        [word, ..] => return Err(format!("`{}` is not key=value", super::source::shown(word))),
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use rustle_agent::arguments;
    use rustle_agent::module::ModuleArgs;

    use super::*;
    use crate::plan::check::ModuleInfo;

    arguments! {
        struct CopyArgs {
            dest: String,
            content: Option<String>,
            backup: bool = false,
        }
    }

    struct Catalog;

    impl ModuleCatalog for Catalog {
        fn find(&self, name: &str) -> Option<ModuleInfo> {
            (name == "copy").then_some(ModuleInfo { groups: CopyArgs::GROUPS, any_arguments: false })
        }

        fn names(&self) -> Vec<&str> {
            vec!["copy"]
        }
    }

    fn converted(module: &str, args: &str) -> String {
        match convert(module, &serde_json::from_str(args).unwrap(), &Catalog) {
            Ok(args) => Value::Map(args.iter().map(|(name, value)| (name.clone(), value.source())).collect()).to_json(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn bools_become_text_again_where_the_module_wants_text() {
        assert_eq!(converted("copy", r#"{"content": true, "backup": true}"#), r#"{"content":"true","backup":true}"#);
        assert_eq!(converted("command", r#"{"_raw_params": true}"#), r#"{"_raw_params":"true"}"#);
    }

    #[test]
    fn options_leave_the_command_line() {
        assert_eq!(
            converted("shell", r#"{"_raw_params": "ls | wc chdir=/tmp", "chdir": "/opt"}"#),
            r#"{"chdir":"/opt","_raw_params":"ls | wc"}"#
        );
        assert_eq!(
            converted("command", r#"{"_raw_params": "chdir=/tmp", "argv": ["ls"]}"#),
            r#"{"argv":["ls"],"chdir":"/tmp"}"#
        );
    }

    #[test]
    fn key_value_text_is_split_for_other_modules() {
        assert_eq!(
            converted("file", r#"{"_raw_params": "path=/x state=directory mode=0755"}"#),
            r#"{"path":"/x","state":"directory","mode":"0755"}"#
        );
        assert_eq!(converted("meta", r#"{"_raw_params": "flush_handlers"}"#), r#"{"_raw_params":"flush_handlers"}"#);
        assert_eq!(converted("ping", r#"{"_raw_params": null}"#), "{}");
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert_eq!(converted("file", r#"{"_raw_params": "/x state=directory"}"#), "error: `/x` is not key=value");
        assert_eq!(
            converted("shell", r#"{"_raw_params": "echo it's"}"#),
            "error: its command line: `'s` is not closed"
        );
        assert_eq!(
            converted("command", r#"{"_raw_params": ["ls"]}"#),
            "error: its arguments are a list, where command takes text"
        );
    }
}
