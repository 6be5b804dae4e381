//! Facts the administrator put there: `*.fact` files with JSON or INI in them, or programs that print it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;
use crate::process::Program;

/// Read of one file: facts are small, and a device node in the wrong place is not.
const FACT_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let entries = std::fs::read_dir(&host.fact_path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "fact")).collect();
    paths.sort();
    let read = |path: &Path| content(path, host).map_or_else(Value::from, |text| parse(path, &text));
    let named = paths.iter().filter_map(|path| Some((path.file_stem()?.to_string_lossy().into_owned(), read(path))));
    facts.insert("local".into(), Value::Map(named.collect()));
}

/// # Errors
/// The sentence that stands in the fact's place.
fn content(path: &Path, host: &Host<'_>) -> Result<String, String> {
    use std::io::Read;
    let failed = |why: &dyn std::fmt::Display| format!("error loading fact - {}: {why}", path.display());
    let meta = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if !meta.is_file() {
        return Err(failed(&"not a file"));
    }
    let bytes = if meta.permissions().mode() & 0o111 == 0 {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
        file.take(FACT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        bytes
    } else {
        let ended = Program::new(path).run(host.cx).map_err(|error| failed(&error))?;
        if !ended.is_success() {
            let (path, err) = (path.display(), ended.stderr.text());
            return Err(format!("Failure executing fact script ({path}), rc: {}, err: {err}", ended.rc));
        }
        ended.stdout.bytes
    };
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn parse(path: &Path, text: &str) -> Value {
    let json = serde_json::from_str(text);
    json.ok().or_else(|| ini(text).map(Value::Map)).unwrap_or_else(|| {
        Value::from(format!("error loading facts as JSON or ini - please check content: {}", path.display()))
    })
}

/// Sections of `name = value` or `name: value`. None if it is something else.
fn ini(text: &str) -> Option<Map> {
    let (mut out, mut section) = (Map::new(), None);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    for line in lines {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            out.entry(name.to_owned()).or_insert_with(|| Value::Map(Map::new()));
            section = Some(name);
            continue;
        }
        let (name, value) = line.split_once(['=', ':'])?;
        if let Some(Value::Map(entries)) = out.get_mut(section?) {
            entries.insert(name.trim().to_lowercase(), value.trim().into());
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;
    use serde_json::json;

    #[test]
    fn fact_files_are_read_or_run_and_a_bad_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode: u32| {
            std::fs::write(dir.path().join(name), text).unwrap();
            std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        write("a.fact", r#"{"role": "db"}"#, 0o644);
        write("b.fact", "# c\n[main]\nKey = v: w\n", 0o644);
        write("c.fact", "#!/bin/sh\necho '[1, 2]'\n", 0o755);
        write("d.fact", "nonsense", 0o644);
        write("e.fact", "#!/bin/sh\nexit 3\n", 0o755);
        write("other", "{}", 0o644);
        let surroundings = Surroundings::new();
        let cx = surroundings.context();
        let mut facts = Map::new();
        gather(&Host::new(Path::new("/"), dir.path(), &cx), &mut facts);
        let local = facts["local"].as_map().unwrap();
        assert_eq!(local["a"], Value::from(json!({"role": "db"})));
        assert_eq!(local["b"], Value::from(json!({"main": {"key": "v: w"}})));
        assert_eq!(local["c"], Value::from(json!([1, 2])));
        assert!(local["d"].as_str().unwrap().contains("d.fact"));
        let why = format!("Failure executing fact script ({}), rc: 3, err: ", dir.path().join("e.fact").display());
        assert_eq!(local["e"], Value::from(why));
        assert_eq!(local.len(), 5);
    }
}
