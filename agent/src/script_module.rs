//! Custom modules: programs that read their arguments from a file and print their result as JSON, as Ansible's binary
//! and WANT_JSON modules do.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustle_protocol::value::{DEPTH_MAX, Map};
use rustle_protocol::{ModuleResult, Value};

use crate::module::{Doing, ModuleContext, ModuleError};
use crate::process::{Ended, Program, stopped_words};
use crate::workdir;

/// What a failure shows of output that is no result, in characters.
const SHOWN_CHARS_MAX: usize = 500;

/// Runs the module `program` with `args`. Its only argument is the path of a JSON file with the arguments, among them
/// Ansible's internal ones (`_ansible_check_mode`, `_ansible_diff`, ...); what it prints is the result.
///
/// Whatever the program does, this returns: a program that fails, prints no JSON or JSON too deep is a failed result
/// that says so, with `rc`, `stdout` and `stderr`.
pub fn run(program: &Path, args: &Map, cx: &ModuleContext<'_>) -> ModuleResult {
    try_run(program, args, cx).unwrap_or_else(ModuleError::into_result)
}

fn try_run(program: &Path, args: &Map, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let dir = workdir::private()?;
    let path = dir.path().join("args");
    let mut file = std::fs::File::create_new(&path).doing(|| format!("create {}", path.display()))?;
    file.set_permissions(PermissionsExt::from_mode(0o600)).doing(|| format!("protect {}", path.display()))?;
    file.write_all(Value::Map(with_internal(args, cx)).to_json().as_bytes())
        .doing(|| format!("write {}", path.display()))?;
    drop(file);
    let program = Program::new(program).arg(&path);
    let ended = program.run(cx)?;
    if let Some(reason) = ended.stopped {
        let msg = format!("{}: the module was ended with all it had started", stopped_words(reason));
        return Err(ended.error(&program, msg));
    }
    let warnings = ended.warnings.clone();
    let mut result = result_of(ended, &program)?;
    result.warnings.extend(warnings);
    Ok(result)
}

fn with_internal(args: &Map, cx: &ModuleContext<'_>) -> Map {
    let mut args = args.clone();
    args.insert("_ansible_check_mode".into(), cx.check.into());
    args.insert("_ansible_diff".into(), cx.diff.into());
    args.insert("_ansible_verbosity".into(), Value::Int(cx.verbosity.into()));
    args
}

fn result_of(ended: Ended, program: &Program) -> Result<ModuleResult, ModuleError> {
    let values = match parse(&ended) {
        Ok(values) => values,
        Err(why) => {
            let said = [&ended.stdout, &ended.stderr].into_iter().map(|output| output.text().trim().to_owned());
            let said: Vec<String> = said.filter(|text| !text.is_empty()).collect();
            let said = said.first().map_or_else(|| "nothing".to_owned(), |text| format!("`{}`", shortened(text)));
            let msg = format!(
                "the module `{}` ended with return code {} and printed no result: {why}; it printed {said}",
                program.line(),
                ended.rc,
            );
            return Err(ended.error(program, msg));
        }
    };
    let mut result = into_result(values);
    let has_own_verdict = result.failed;
    if ended.rc != 0 && !has_own_verdict {
        result.failed = true;
        if result.msg().is_empty() {
            result.set("msg", format!("the module ended with return code {}", ended.rc));
        }
    }
    if result.failed && result.get("rc").is_none() && ended.rc != 0 {
        result.set("rc", ended.rc);
    }
    Ok(result)
}

fn parse(ended: &Ended) -> Result<Map, String> {
    if ended.stdout.cut > 0 {
        return Err(format!("a result may have {} bytes", crate::process::STDOUT_BYTES_MAX));
    }
    let text = std::str::from_utf8(&ended.stdout.bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    // Programs print greetings; the result is what begins with the first bracket.
    let start = text.find('{').ok_or("no JSON object")?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let value = values.next().ok_or("no JSON object")?.map_err(|error| format!("not valid JSON: {error}"))?;
    if depth(&value) >= DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX} levels"));
    }
    match value {
        Value::Map(map) => Ok(map),
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
        result.warnings.extend(warnings.iter().map(crate::module::shown));
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
    use super::*;
    use crate::process::testing::Surroundings;

    fn run_body(body: &str, args: serde_json::Value) -> ModuleResult {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("module");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        run(&path, Value::from(args).as_map().unwrap(), &Surroundings::checking().context())
    }

    #[test]
    fn a_module_reads_its_arguments_from_a_private_file_and_prints_its_result() {
        let body =
            r#"printf '{"changed": true, "got": %s, "mode": "%s", "warnings": ["w"]}' "$(cat $1)" "$(stat -c %a $1)""#;
        let result = run_body(body, serde_json::json!({"name": "x"}));
        assert!(result.changed && !result.failed, "{result:?}");
        let got = result.get("got").unwrap().as_map().unwrap();
        assert_eq!((got["name"].as_str(), got["_ansible_check_mode"].as_bool()), (Some("x"), Some(true)));
        assert_eq!(
            (result.get("mode"), result.warnings.as_slice()),
            (Some(&Value::from("600")), &["w".to_owned()][..])
        );
        assert!(result.get("changed").is_none(), "a flag is no value");
    }

    #[test]
    fn the_diff_of_a_module_is_a_diff() {
        let result =
            run_body(r#"echo '{"changed": true, "diff": {"before": "a", "after": "b"}}'"#, serde_json::json!({}));
        assert_eq!((&result.diff[0].before, &result.diff[0].after), (&Value::from("a"), &Value::from("b")));
    }

    #[test]
    fn garbage_is_a_failure_that_shows_it() {
        for (body, why) in [
            ("echo hello", "no JSON object"),
            ("echo '{\"a\": '", "not valid JSON"),
            ("printf '{\"a\": \"\\377\"}'", "not UTF-8"),
            (
                r#"printf '{"a":'; for i in $(seq 100); do printf '['; done; for i in $(seq 100); do printf ']'; done; echo '}'"#,
                "nested deeper",
            ),
            ("head -c 300000 /dev/zero | tr '\\0' '{'", "a result may have"),
            ("exit 3", "return code 3"),
        ] {
            let result = run_body(body, serde_json::json!({}));
            assert!(result.failed && result.msg().contains(why), "{body}: {}", result.msg());
            assert!(result.get("rc").is_some() && result.get("stdout").is_some());
        }
    }

    #[test]
    fn a_return_code_but_zero_fails_even_a_happy_result() {
        let result = run_body(r#"echo '{"changed": false}'; exit 2"#, serde_json::json!({}));
        assert!(result.failed && result.get("rc") == Some(&Value::Int(2)));
    }

    #[test]
    fn a_module_that_is_not_there_is_a_failure() {
        let result = run(Path::new("/nonexistent/module"), &Map::new(), &Surroundings::new().context());
        assert!(result.failed && result.msg().contains("/nonexistent/module"), "{}", result.msg());
    }
}
