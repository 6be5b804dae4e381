//! The Python that modules on this host would run with. It is not started to be asked: what its files say is told, and
//! that is not the last part of its version.

use std::path::Path;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::{Host, dict};
use crate::process::find_program;
use crate::python::{discover, path};

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let named = host.python.as_ref().map(|program| find_program(program, path(host.cx)).unwrap_or(program.into()));
    let Some(executable) = named.or_else(|| discover(host.cx)) else { return };
    let shown = executable.display().to_string();
    let mut python = dict([("executable", shown.into()), ("type", "cpython".into())]);
    if let (Some((major, minor)), Value::Map(python)) = (version(&executable), &mut python) {
        // Every Python since 3.2 makes contexts for TLS, the modules' own among them.
        python.insert("has_sslcontext".into(), ((major, minor) >= (3, 2)).into());
        python.insert("version".into(), dict([("major", major.into()), ("minor", minor.into())]));
        facts.insert("python_version".into(), format!("{major}.{minor}").into());
    }
    facts.insert("python".into(), python);
}

/// From the program's own name, behind its links: `python3.11`.
fn version(executable: &Path) -> Option<(u32, u32)> {
    let program = std::fs::canonicalize(executable).ok()?;
    let (major, minor) = program.file_name()?.to_str()?.strip_prefix("python")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_program_behind_the_links() {
        let dir = tempfile::tempdir().unwrap();
        let (program, link) = (dir.path().join("python3.11"), dir.path().join("python3"));
        std::fs::write(&program, "").unwrap();
        std::os::unix::fs::symlink("python3.11", &link).unwrap();
        assert_eq!(version(&link), Some((3, 11)));
        assert_eq!(version(&dir.path().join("none")), None);
        std::fs::rename(&program, dir.path().join("pypy")).unwrap();
        assert_eq!(version(&dir.path().join("pypy")), None);
    }
}
