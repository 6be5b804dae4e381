//! Python on this host: which interpreter there is, for modules that are written in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::module::ModuleContext;
use crate::process::find_program;

/// Looked for in this order, as Ansible does.
const CANDIDATES: [&str; 10] = [
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
    "python3.8",
    "/usr/bin/python3",
    "python3",
    "/usr/bin/python",
];

/// Runs a module out of an archive; see [`crate::modules`]. Reads its request from standard input.
pub const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// The Python that modules run with where nobody names one; `None` if there is none.
pub fn discover(cx: &ModuleContext<'_>) -> Option<PathBuf> {
    let path = path(cx);
    let found: Vec<PathBuf> = CANDIDATES
        .into_iter()
        .filter_map(|name| find_program(name, path))
        .filter(|program| program.is_file())
        .collect();
    found.iter().find(|program| is_binary(program)).or(found.first()).cloned()
}

/// Where the task's programs are looked for.
pub(crate) fn path<'a>(cx: &'a ModuleContext<'_>) -> Option<&'a OsStr> {
    cx.environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| OsStr::new(path))
}

/// A script under Python's name chooses a Python when it runs, and may find that there is none of that name.
fn is_binary(program: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(program).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::process::testing::Surroundings;

    #[test]
    fn a_real_interpreter_is_taken_before_a_script_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("python3.14", &b"#!/bin/sh\n"[..]), ("python3.9", b"\x7fELF..")] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let surroundings = Surroundings::new().with_env("PATH", dir.path().to_str().unwrap());
        let found = discover(&surroundings.context()).unwrap();
        assert!(!found.ends_with("python3.14"), "{}", found.display());
    }
}
