//! What of a module's result is shown, and how: Ansible's rules.

use rustle_agent::module::short_name;
use rustle_protocol::{Map, Value};

use super::json;
use crate::event::{ALWAYS_SHOWN, CENSORED};

/// From here on results are shown on many lines and with what the module was called with.
const VERBOSITY_FULL: u8 = 3;

/// From here on the results of tries that others follow are shown.
const VERBOSITY_RETRIES: u8 = 2;

/// Facts about the result that have been told in other ways, or are nobody's business.
const HIDDEN: [&str; 6] = ["failed", "skipped", "warnings", "deprecations", "exception", "diff"];

/// And what `debug` says nothing of. The item of a loop it tells, beside the variable.
const HIDDEN_OF_DEBUG: [&str; 5] = ["changed", "skip_reason", "ansible_loop", "ansible_loop_var", "ansible_index_var"];

/// Results that are what their modules are for, but for hidden ones: shown whatever the verbosity, on many lines.
fn is_always_shown(module: &str, values: &Map) -> bool {
    let is_hidden = values.get("censored").and_then(Value::as_str) == Some(CENSORED);
    let is_quiet = values.get(ALWAYS_SHOWN) == Some(&Value::Bool(false));
    matches!(short_name(module), "debug" | "assert") && !is_hidden && !is_quiet
}

/// Modules whose result would bury everything else: facts by the hundred.
fn is_never_shown(module: &str) -> bool {
    matches!(short_name(module), "setup" | "gather_facts")
}

/// The result of a host that did well or was skipped, if it is shown at all.
pub(super) fn of_success(module: &str, values: &Map, skipped: bool, verbosity: u8) -> Option<String> {
    if is_never_shown(module) {
        None
    } else if is_always_shown(module, values) && !skipped {
        Some(text(module, values, verbosity, true))
    } else {
        (verbosity > 0).then(|| text(module, values, verbosity, false))
    }
}

/// The result of a host that did not do well: always shown.
pub(super) fn of_failure(module: &str, values: &Map, is_of_its_work: bool, verbosity: u8) -> String {
    text(module, values, verbosity, is_always_shown(module, values) && is_of_its_work)
}

/// The result of a try that another follows, if it is shown at all.
pub(super) fn of_retry(module: &str, values: &Map, verbosity: u8) -> Option<String> {
    let is_wanted = is_always_shown(module, values) || verbosity >= VERBOSITY_RETRIES;
    // What `debug` hides elsewhere is told of a try.
    (is_wanted && !values.is_empty()).then(|| text("", values, verbosity, is_always_shown(module, values)))
}

fn text(module: &str, values: &Map, verbosity: u8, pretty: bool) -> String {
    let full = verbosity >= VERBOSITY_FULL;
    let shown = shown(module, values, full).into();
    if full || pretty { json::shown_pretty(&shown) } else { json::shown_compact(&shown) }
}

/// What an answer shows: always, and on many lines.
pub(super) fn of_answer(module: &str, values: &Map, verbosity: u8) -> String {
    text(module, values, verbosity, true)
}

/// The same on one line, whatever the verbosity: as [`json::shown_dense`].
pub(super) fn of_short_answer(module: &str, values: &Map) -> String {
    json::shown_dense(&shown(module, values, false).into())
}

/// What a file about one result holds.
pub(super) fn of_file(module: &str, values: &Map, verbosity: u8) -> String {
    text(module, values, verbosity, false)
}

fn shown(module: &str, values: &Map, full: bool) -> Map {
    let is_debug = short_name(module) == "debug";
    let has_message = is_debug && values.contains_key("msg");
    let hidden = |key: &str| {
        key.starts_with("_ansible_")
            || HIDDEN.contains(&key)
            || (key == "invocation" && (!full || is_debug))
            || (has_message && key != "msg")
            || (is_debug && HIDDEN_OF_DEBUG.contains(&key))
    };
    let mut shown: Map = values.iter().filter(|(key, _)| !hidden(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for stream in ["stdout", "stderr"] {
        add_lines(&mut shown, stream);
    }
    shown
}

/// `stdout_lines` beside `stdout`, if it is not there.
fn add_lines(values: &mut Map, stream: &str) {
    let key = format!("{stream}_lines");
    if let (Some(text), false) = (values.get(stream).and_then(Value::as_str), values.contains_key(&key)) {
        let lines: Value = text.lines().map(Value::from).collect();
        values.insert(key, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(entries: &[(&str, Value)]) -> Map {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_failure_shows_its_output_by_lines_and_hides_what_is_internal() {
        let values = values(&[
            ("failed", true.into()),
            ("rc", 3.into()),
            ("stdout", "a\nb".into()),
            ("invocation", Map::new().into()),
            ("_ansible_no_log", false.into()),
        ]);
        assert_eq!(
            of_failure("command", &values, true, 0),
            r#"{"rc": 3, "stdout": "a\nb", "stdout_lines": ["a", "b"]}"#
        );
        assert!(of_failure("command", &values, true, 3).contains("\"invocation\": {}"));
    }

    #[test]
    fn debug_always_shows_its_message_and_nothing_else() {
        let values = values(&[("changed", false.into()), ("msg", "hi".into()), ("attempts", 1.into())]);
        assert_eq!(of_success("ansible.builtin.debug", &values, false, 0).unwrap(), "{\n    \"msg\": \"hi\"\n}");
        assert_eq!(of_success("debug", &values, true, 0), None);
        let hidden = self::values(&[("changed", false.into()), ("censored", CENSORED.into())]);
        assert_eq!(of_success("debug", &hidden, false, 0), None);
    }

    #[test]
    fn debug_in_a_loop_shows_the_item_beside_a_variable() {
        let of_loop = [("ansible_loop_var", "item".into()), ("ansible_index_var", "i".into()), ("item", 1.into())];
        let variable = values(&[&of_loop[..], &[("i", 0.into()), ("x", 2.into())]].concat());
        let shown = of_success("debug", &variable, false, 0).unwrap();
        assert_eq!(shown, "{\n    \"i\": 0,\n    \"item\": 1,\n    \"x\": 2\n}");
        let message = values(&[&of_loop[..], &[("msg", "hi".into())]].concat());
        assert_eq!(of_success("debug", &message, false, 0).unwrap(), "{\n    \"msg\": \"hi\"\n}");
    }

    #[test]
    fn other_results_wait_for_verbosity_and_facts_are_never_shown() {
        let values = values(&[("changed", false.into())]);
        assert_eq!(of_success("ping", &values, false, 0), None);
        assert_eq!(of_success("ping", &values, false, 1).unwrap(), "{\"changed\": false}");
        assert_eq!(of_success("setup", &values, false, 1), None);
    }
}
