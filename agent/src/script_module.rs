//! Custom modules: programs that print their result as JSON.

use rustle_protocol::value::{DEPTH_MAX, Map};
use rustle_protocol::{ModuleResult, Value};

use crate::module::{ModuleContext, ModuleError};
use crate::process::{Ended, Program, ProgramError, stopped_words};
use crate::python;

/// What a warning shows of output that is no result, in characters.
const SHOWN_CHARS_MAX: usize = 500;

/// The largest result of a module. It travels in one frame of at most 16 MiB.
const RESULT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a module that wants its arguments in its own text has where they are to be.
pub const JSON_ARGS: &[u8] = b"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>";

/// Runs a module that is ready to run, and takes what it prints for its result.
///
/// Whatever the program does, this returns.
///
/// # Errors
/// A program that fails, prints no JSON or JSON too deep: a failed result that says so, with `rc`, `module_stdout` and
/// `module_stderr`.
pub fn run_program(program: &Program, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let program = &program.clone().keep(RESULT_BYTES_MAX);
    let ended = program.run(cx).map_err(|error| not_started(error, program))?;
    if let Some(reason) = ended.stopped {
        let msg = format!("{}: the module was ended with all it had started", stopped_words(reason));
        return Err(ended.error(program, msg));
    }
    let warnings = ended.warnings.clone();
    let mut result = result_of(&ended)?;
    result.warnings.extend(warnings);
    Ok(result)
}

/// An interpreter that is not there is told as Ansible tells it.
fn not_started(error: ProgramError, program: &Program) -> ModuleError {
    let not_there =
        || ModuleError::new(format!("The module interpreter '{}' was not found.", program.name())).with("rc", 127);
    match error {
        ProgramError::Missing { .. } => not_there(),
        ProgramError::NotStarted { ref cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => not_there(),
        error => error.into(),
    }
}

/// This host's Python.
///
/// # Errors
/// There is none.
pub fn discovered_python(cx: &ModuleContext<'_>) -> Result<String, ModuleError> {
    let python = python::discover(cx).ok_or_else(|| {
        ModuleError::new(
            "this module needs Python, and there is none on this host: install python3, or set \
             ansible_python_interpreter to where it is",
        )
    })?;
    Ok(python.display().to_string())
}

/// Makes the interpreter that was found a fact of the host, as Ansible does.
pub fn tell_discovered(result: &mut ModuleResult, interpreter: &str) {
    let facts = result.values_mut().entry("ansible_facts".to_owned()).or_insert_with(|| Value::Map(Map::new()));
    if let Value::Map(facts) = facts {
        facts.insert("discovered_interpreter_python".into(), interpreter.into());
    }
}

fn result_of(ended: &Ended) -> Result<ModuleResult, ModuleError> {
    let (values, warning) = parse(ended).map_err(|why| {
        ModuleError::new(format!("Module result deserialization failed: {why}"))
            .with("module_stdout", ended.stdout.clone().into_value())
            .with("module_stderr", ended.stderr.clone().into_value())
            .with("rc", ended.rc)
    })?;
    let mut result = into_result(values);
    result.warnings.extend(warning);
    if ended.rc != 0 && !result.failed {
        result.failed = true;
        if result.msg().is_empty() {
            result.set("msg", format!("the module ended with return code {}", ended.rc));
        }
        if result.get("rc").is_none() {
            result.set("rc", ended.rc);
        }
    }
    Ok(result)
}

/// The object in what was printed, and a warning about what was printed after it. Programs print greetings before it: it
/// begins with the first line that begins with a bracket.
fn parse(ended: &Ended) -> Result<(Map, Option<String>), String> {
    if ended.stdout.cut > 0 {
        return Err(format!("a result may have {RESULT_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(&ended.stdout.bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let (start, _) =
        lines.into_iter().find(|(_, line)| line.trim_start().starts_with('{')).ok_or("No start of json char found")?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let value =
        values.next().ok_or("No start of json char found")?.map_err(|error| format!("not valid JSON: {error}"))?;
    let after = text[start + values.byte_offset()..].trim();
    let warning =
        (!after.is_empty()).then(|| format!("Module invocation had junk after the JSON data: {}", shortened(after)));
    if depth(&value) >= DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX} levels"));
    }
    match value {
        Value::Map(map) => Ok((map, warning)),
        other => Err(format!("a {} and not an object", other.kind())),
    }
}

/// Bounded by the parser, which goes no deeper than 128 levels.
fn depth(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Takes the names that have a meaning of their own out of the map.
fn into_result(mut values: Map) -> ModuleResult {
    let mut flag = |name: &str| values.shift_remove(name).as_ref().is_some_and(is_true);
    let mut result = ModuleResult::changed(flag("changed"));
    (result.failed, result.skipped) = (flag("failed"), flag("skipped"));
    if let Some(Value::List(warnings)) = values.shift_remove("warnings") {
        result.warnings.extend(warnings.iter().map(sentence));
    }
    if let Some(Value::List(deprecations)) = values.shift_remove("deprecations") {
        result.warnings.extend(deprecations.iter().map(|what| format!("Deprecated: {}", sentence(what))));
    }
    if let Some(exception @ Value::Map(_)) = values.get_mut("exception") {
        let why = sentence(exception);
        *exception = NO_TRACEBACK.into();
        // A module that broke off in a second interpreter says why nowhere else.
        values.entry("msg".to_owned()).or_insert_with(|| format!("Task failed: Module failed: {why}").into());
    }
    let diffs = match values.shift_remove("diff") {
        Some(Value::List(diffs)) => diffs,
        Some(diff @ Value::Map(_)) => vec![diff],
        _ => Vec::new(),
    };
    result.diff.extend(diffs.iter().filter_map(diff_of));
    *result.values_mut() = values;
    result
}

/// What ansible-core 2.19 says where nobody asked for tracebacks.
const NO_TRACEBACK: &str = "(traceback unavailable)";

/// A warning is a text; `AnsibleModule` of ansible-core 2.19 makes an object of it, with the text in its `event`.
fn sentence(warning: &Value) -> String {
    let map = warning.as_map();
    let text = map.and_then(|map| map.get("event").and_then(Value::as_map).unwrap_or(map).get("msg"));
    crate::module::shown(text.unwrap_or(warning))
}

fn is_true(value: &Value) -> bool {
    <bool as crate::module::FromArg>::from_arg(value.clone()).unwrap_or(false)
}

fn diff_of(value: &Value) -> Option<rustle_protocol::result::Diff> {
    let map = value.as_map()?;
    let part = |name: &str| map.get(name).cloned().unwrap_or_default();
    let header = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(rustle_protocol::result::Diff {
        before: part("before"),
        after: part("after"),
        before_header: header("before_header"),
        after_header: header("after_header"),
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::process::testing::Surroundings;

    fn run_body(body: &str) -> ModuleResult {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("module");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        run_program(&Program::new(path), &Surroundings::new().context()).unwrap_or_else(ModuleError::into_result)
    }

    #[test]
    fn flags_and_warnings_are_no_values() {
        let result = run_body(r#"echo '{"changed": true, "got": 1, "warnings": ["w"]}'"#);
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(result.warnings, ["w"]);
        assert_eq!(result.values().keys().collect::<Vec<_>>(), ["got"]);
    }

    #[test]
    fn warnings_are_sentences_whatever_they_were() {
        let result = run_body(
            r#"echo '{"warnings": ["a", {"event": {"msg": "b"}}], "deprecations": [{"msg": "c", "version": "3"}]}'"#,
        );
        assert_eq!(result.warnings, ["a", "b", "Deprecated: c"]);
    }

    #[test]
    fn an_exception_says_what_failed_if_nothing_else_does() {
        let result = run_body(r#"echo '{"failed": true, "exception": {"event": {"msg": "a"}}}'"#);
        assert_eq!(result.msg(), "Task failed: Module failed: a");
        let result = run_body(r#"echo '{"failed": true, "msg": "b", "exception": {"event": {"msg": "a"}}}'"#);
        assert_eq!(result.msg(), "b");
    }

    #[test]
    fn what_is_printed_around_the_result_is_no_part_of_it() {
        let result = run_body("echo 'hello {you}'; echo '  {\"got\": 1}'; echo bye");
        assert_eq!(result.get("got"), Some(&Value::Int(1)));
        assert_eq!(result.warnings, ["Module invocation had junk after the JSON data: bye"]);
    }

    #[test]
    fn the_diff_of_a_module_is_a_diff() {
        let result = run_body(r#"echo '{"changed": true, "diff": {"before": "a", "after": "b"}}'"#);
        assert_eq!((&result.diff[0].before, &result.diff[0].after), (&Value::from("a"), &Value::from("b")));
    }

    #[test]
    fn garbage_is_a_failure_that_shows_it() {
        for (body, why) in [
            ("echo hello", "No start of json char found"),
            ("echo '{\"a\": '", "not valid JSON"),
            ("printf '{\"a\": \"\\377\"}'", "not UTF-8"),
            (
                r#"printf '{"a":'; for i in $(seq 100); do printf '['; done; for i in $(seq 100); do printf ']'; done; echo '}'"#,
                "nested deeper",
            ),
            ("head -c 9000000 /dev/zero | tr '\\0' '{'", "a result may have"),
            ("exit 3", "No start of json char found"),
        ] {
            let result = run_body(body);
            assert!(result.failed && result.msg().contains(why), "{body}: {}", result.msg());
            assert!(result.get("rc").is_some() && result.get("module_stdout").is_some());
        }
    }

    #[test]
    fn a_return_code_but_zero_fails_even_a_happy_result() {
        let result = run_body(r#"echo '{"changed": false}'; exit 2"#);
        assert!(result.failed && result.get("rc") == Some(&Value::Int(2)));
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_told_by_name() {
        let program = Program::new("/nonexistent/python").arg("x");
        let error = run_program(&program, &Surroundings::new().context()).unwrap_err().to_string();
        assert_eq!(error, "The module interpreter '/nonexistent/python' was not found.");
    }
}
