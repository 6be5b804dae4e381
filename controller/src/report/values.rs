//! What of a module's result is shown, and how: Ansible's rules.

use rustle_agent::module::short_name;
use rustle_protocol::{Map, Value};

use super::json;
use super::settings::ResultFormat;
use crate::event::{ALWAYS_SHOWN, CENSORED};

/// From here on results are shown on many lines and with what the module was called with.
const VERBOSITY_FULL: u8 = 3;

/// From here on the results of tries that others follow are shown.
const VERBOSITY_RETRIES: u8 = 2;

/// Facts about the result that have been told in other ways, or are nobody's business.
const HIDDEN: [&str; 6] = ["failed", "skipped", "warnings", "deprecations", "exception", "diff"];

/// And what `debug` says nothing of. The item of a loop it tells, beside the variable.
const HIDDEN_OF_DEBUG: [&str; 5] = ["changed", "skip_reason", "ansible_loop", "ansible_loop_var", "ansible_index_var"];

/// Blanks a level of results as YAML.
const YAML_INDENT: usize = 4;

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

/// How much of a result is shown, and how.
#[derive(Clone, Copy, Default)]
pub(super) struct Showing {
    pub(super) verbosity: u8,
    pub(super) format: ResultFormat,
}

/// The result of a host that did well or was skipped, if it is shown at all.
pub(super) fn of_success(module: &str, values: &Map, skipped: bool, showing: Showing) -> Option<String> {
    if is_never_shown(module) {
        None
    } else if is_always_shown(module, values) && !skipped {
        Some(text(module, values, showing, true))
    } else {
        (showing.verbosity > 0).then(|| text(module, values, showing, false))
    }
}

/// The result of a host that did not do well: always shown.
pub(super) fn of_failure(module: &str, values: &Map, is_of_its_work: bool, showing: Showing) -> String {
    text(module, values, showing, is_always_shown(module, values) && is_of_its_work)
}

/// The result of a try that another follows, if it is shown at all.
pub(super) fn of_retry(module: &str, values: &Map, showing: Showing) -> Option<String> {
    let is_wanted = is_always_shown(module, values) || showing.verbosity >= VERBOSITY_RETRIES;
    // What `debug` hides elsewhere is told of a try.
    (is_wanted && !values.is_empty()).then(|| text("", values, showing, is_always_shown(module, values)))
}

fn text(module: &str, values: &Map, showing: Showing, pretty: bool) -> String {
    let full = showing.verbosity >= VERBOSITY_FULL;
    let shown = shown(module, values, full);
    match showing.format {
        ResultFormat::Yaml => as_yaml(shown),
        ResultFormat::JsonOnManyLines => json::shown_pretty(&shown.into()),
        ResultFormat::Json if full || pretty => json::shown_pretty(&shown.into()),
        ResultFormat::Json | ResultFormat::JsonOnOneLine => json::shown_compact(&shown.into()),
    }
}

/// Below the line that it belongs to, and without the lines of what is there as a text of lines.
fn as_yaml(mut shown: Map) -> String {
    for stream in ["stdout", "stderr"] {
        if let (true, Some(lines)) = (shown.contains_key(stream), shown.get_mut(&format!("{stream}_lines"))) {
            *lines = "<omitted>".into();
        }
    }
    let text = crate::template::yaml_result(&shown.into(), YAML_INDENT);
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\n    {line}") }).collect()
}

/// What an answer shows: always, and on many lines.
pub(super) fn of_answer(module: &str, values: &Map, showing: Showing) -> String {
    text(module, values, showing, true)
}

/// The same on one line, whatever the verbosity: as [`json::shown_dense`], or the many lines of what is always shown in a row.
pub(super) fn of_short_answer(module: &str, values: &Map) -> String {
    if is_always_shown(module, values) {
        return json::shown_pretty(&shown("", values, false).into()).replace('\n', "");
    }
    json::shown_dense(&shown(module, values, false).into())
}

/// What a file about one result holds.
pub(super) fn of_file(module: &str, values: &Map, verbosity: u8) -> String {
    text(module, values, Showing { verbosity, ..Showing::default() }, false)
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

    fn at(verbosity: u8) -> Showing {
        Showing { verbosity, ..Showing::default() }
    }

    fn values(entries: &[(&str, Value)]) -> Map {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    /// As ansible-core 2.19 shows the same.
    #[test]
    fn a_result_is_yaml_below_its_line_if_that_is_wanted() {
        let json = serde_json::json!({
            "stdout": "one \n\ttwo\r\n\n",
            "stderr": "",
            "rc": 0,
            "lead": "  a\nb",
            "list": [[1, [2]], { "x": "yes", "w": {} }],
            "long": "word ".repeat(17) + "end",
        });
        let Value::Map(values) = Value::from(json) else { unreachable!("it is a map") };
        let showing = Showing { format: ResultFormat::Yaml, ..Showing::default() };
        let shown = of_failure("command", &values, true, showing);
        insta::assert_snapshot!(shown.strip_prefix('\n').unwrap(), @r"
        lead: |4-
              a
            b
        list:
        -   - 1
            -   - 2
        -   w: {}
            x: 'yes'
        long: word word word word word word word word word word word word word word word word
            word end
        rc: 0
        stderr: ''
        stderr_lines: <omitted>
        stdout: |-
            one
                    two
        stdout_lines: <omitted>
        ");
    }

    #[test]
    fn json_is_on_as_many_lines_as_is_wanted() {
        let values = values(&[("msg", "hi".into())]);
        let shown = |module: &str, format| of_answer(module, &values, Showing { verbosity: 0, format });
        assert_eq!(shown("ping", ResultFormat::Json), "{\n    \"msg\": \"hi\"\n}");
        assert_eq!(shown("ping", ResultFormat::JsonOnOneLine), r#"{"msg": "hi"}"#);
        let many = Showing { verbosity: 0, format: ResultFormat::JsonOnManyLines };
        assert_eq!(of_failure("command", &values, true, many), "{\n    \"msg\": \"hi\"\n}");
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
            of_failure("command", &values, true, at(0)),
            r#"{"rc": 3, "stdout": "a\nb", "stdout_lines": ["a", "b"]}"#
        );
        assert!(of_failure("command", &values, true, at(3)).contains("\"invocation\": {}"));
    }

    #[test]
    fn debug_always_shows_its_message_and_nothing_else() {
        let values = values(&[("changed", false.into()), ("msg", "hi".into()), ("attempts", 1.into())]);
        assert_eq!(of_success("ansible.builtin.debug", &values, false, at(0)).unwrap(), "{\n    \"msg\": \"hi\"\n}");
        assert_eq!(of_success("debug", &values, true, at(0)), None);
        let hidden = self::values(&[("changed", false.into()), ("censored", CENSORED.into())]);
        assert_eq!(of_success("debug", &hidden, false, at(0)), None);
    }

    #[test]
    fn debug_in_a_loop_shows_the_item_beside_a_variable() {
        let of_loop = [("ansible_loop_var", "item".into()), ("ansible_index_var", "i".into()), ("item", 1.into())];
        let variable = values(&[&of_loop[..], &[("i", 0.into()), ("x", 2.into())]].concat());
        let shown = of_success("debug", &variable, false, at(0)).unwrap();
        assert_eq!(shown, "{\n    \"i\": 0,\n    \"item\": 1,\n    \"x\": 2\n}");
        let message = values(&[&of_loop[..], &[("msg", "hi".into())]].concat());
        assert_eq!(of_success("debug", &message, false, at(0)).unwrap(), "{\n    \"msg\": \"hi\"\n}");
    }

    #[test]
    fn other_results_wait_for_verbosity_and_facts_are_never_shown() {
        let values = values(&[("changed", false.into())]);
        assert_eq!(of_success("ping", &values, false, at(0)), None);
        assert_eq!(of_success("ping", &values, false, at(1)).unwrap(), "{\"changed\": false}");
        assert_eq!(of_success("setup", &values, false, at(1)), None);
    }
}
