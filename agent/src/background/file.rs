//! The file that says how a job stands: `{"started": true, "finished": false, …}`, and in its place, once the job is over, the
//! module's result. As Ansible's, so that either reads what the other wrote.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustle_protocol::result::Diff;
use rustle_protocol::{Map, ModuleResult, Value};

/// What is read of a file, in bytes. A result that went over the network is no larger.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What is shown of a file that makes no sense, in bytes: enough to see what it is.
const SHOWN_BYTES_MAX: usize = 1024;

/// The file of one job.
#[derive(Debug)]
pub(crate) struct JobFile(PathBuf);

/// What a job's file says.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    Running,
    Over(ModuleResult),
    /// There is no such job.
    Unknown,
}

impl JobFile {
    pub(crate) fn new(directory: &Path, id: &str) -> JobFile {
        JobFile(directory.join(id))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Says that the job runs. The directory is made for its owner alone.
    pub(super) fn begin(&self, id: &str) -> io::Result<()> {
        if let Some(directory) = self.0.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let running: [(&str, Value); 3] =
            [("started", true.into()), ("finished", false.into()), ("ansible_job_id", id.into())];
        self.write(running.map(|(name, value)| (name.to_owned(), value)).into())
    }

    pub(super) fn end(&self, result: ModuleResult) -> io::Result<()> {
        let ModuleResult { changed, failed, skipped, diff, warnings, .. } = &result;
        let mut all = result.values().clone();
        all.insert("changed".into(), (*changed).into());
        for (name, flag) in [("failed", *failed), ("skipped", *skipped)] {
            all.extend(flag.then(|| (name.to_owned(), true.into())));
        }
        if !diff.is_empty() {
            all.insert("diff".into(), diff.iter().map(Diff::to_value).collect());
        }
        if !warnings.is_empty() {
            all.insert("warnings".into(), warnings.iter().map(|warning| Value::from(warning.as_str())).collect());
        }
        self.write(all)
    }

    /// Whole or not at all, for whoever reads at the same time.
    fn write(&self, all: Map) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(directory)?;
        file.write_all(Value::Map(all).to_json().as_bytes())?;
        file.persist(&self.0).map_err(|error| error.error)?;
        Ok(())
    }

    /// # Errors
    /// It is there and cannot be read, or says nothing.
    pub(crate) fn read(&self) -> Result<Standing, String> {
        let mut text = Vec::new();
        match fs::File::open(&self.0).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Standing::Unknown),
            Err(error) => return Err(error.to_string()),
        }
        if text.is_empty() {
            return Ok(Standing::Running);
        }
        match serde_json::from_slice::<serde_json::Value>(&text).map(Value::from) {
            Ok(Value::Map(all)) => Ok(standing(all)),
            _ => {
                text.truncate(SHOWN_BYTES_MAX);
                Err(format!("Could not parse job output: {}", String::from_utf8_lossy(&text)))
            }
        }
    }

    /// # Errors
    /// It is there still.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Only the file of a running job says whether it has started.
fn standing(mut all: Map) -> Standing {
    if all.contains_key("started") && !is_true(all.get("finished")) {
        return Standing::Running;
    }
    let mut flag = |name: &str| is_true(all.shift_remove(name).as_ref());
    let (changed, failed, skipped) = (flag("changed"), flag("failed"), flag("skipped"));
    let mut result = ModuleResult::changed(changed);
    (result.failed, result.skipped) = (failed, skipped);
    result.diff = match all.shift_remove("diff") {
        Some(Value::List(diffs)) => diffs.into_iter().filter_map(diff).collect(),
        Some(one) => diff(one).into_iter().collect(),
        None => Vec::new(),
    };
    if let Some(Value::List(warnings)) = all.shift_remove("warnings") {
        result.warnings = warnings.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    result.values_mut().extend(all);
    Standing::Over(result)
}

fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true) | Value::Int(1) | Value::UInt(1)))
}

fn diff(value: Value) -> Option<Diff> {
    let Value::Map(mut parts) = value else { return None };
    let mut text = |name: &str| parts.shift_remove(name).and_then(|header| header.as_str().map(str::to_owned));
    let (before_header, after_header) = (text("before_header"), text("after_header"));
    let mut part = |name: &str| parts.shift_remove(name).unwrap_or_default();
    Some(Diff { before: part("before"), after: part("after"), before_header, after_header })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_that_a_job_runs_and_then_all_of_its_result() {
        let dir = tempfile::tempdir().unwrap();
        let file = JobFile::new(&dir.path().join("new"), "j1.2");
        assert_eq!(file.read(), Ok(Standing::Unknown));
        file.begin("j1.2").unwrap();
        assert_eq!(file.read(), Ok(Standing::Running));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
        let diff = Diff { before: "a".into(), after: "b".into(), before_header: Some("f".into()), after_header: None };
        let mut result = ModuleResult::changed(true).with("rc", 3).with_diff([diff]).with_warning("old");
        result.failed = true;
        file.end(result.clone()).unwrap();
        assert_eq!(file.read(), Ok(Standing::Over(result)));
        file.remove().unwrap();
        assert_eq!(file.read(), Ok(Standing::Unknown));
    }

    #[test]
    fn what_ansible_wrote_is_read_and_nonsense_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = JobFile::new(dir.path(), "j1.2");
        let standing = |text: &str| {
            fs::write(file.path(), text).unwrap();
            file.read()
        };
        assert_eq!(standing(r#"{"started": 1, "finished": 0, "ansible_job_id": "j1.2"}"#), Ok(Standing::Running));
        assert_eq!(standing(""), Ok(Standing::Running));
        let over = ModuleResult::changed(true).with("msg", "");
        assert_eq!(standing(r#"{"changed": true, "msg": ""}"#), Ok(Standing::Over(over)));
        assert_eq!(standing("[1"), Err("Could not parse job output: [1".to_owned()));
    }
}
