//! `slurp`: a file's content, in Base64.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::module::{Doing, Module, ModuleContext, ModuleError};

/// Largest file returned. A result travels in one frame of at most 16 MiB, and Base64 makes four bytes of three.
const SLURP_BYTES_MAX: u64 = 11 * 1024 * 1024;

arguments! {
    pub(crate) struct SlurpArgs {
        /// The file, 11 MiB at most.
        src | "path": PathBuf,
    }
}

pub(super) struct Slurp;

impl Module for Slurp {
    type Args = SlurpArgs;

    const NAME: &'static str = "ansible.builtin.slurp";
    const SUMMARY: &'static str = "Returns the content of a file.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: SlurpArgs, _cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let path = args.src.display();
        let file = std::fs::File::open(&args.src).map_err(|error| match error.kind() {
            ErrorKind::NotFound => ModuleError::new(format!("File not found: {path}")),
            ErrorKind::PermissionDenied => ModuleError::new(format!("File is not readable: {path}")),
            _ => ModuleError::new(format!("Unable to slurp file: {path}: {error}")),
        })?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(ModuleError::new(format!("Source is a directory and must be a file: {path}")));
        }
        let mut content = Vec::new();
        file.take(SLURP_BYTES_MAX + 1).read_to_end(&mut content).doing(|| format!("read {path}"))?;
        if content.len() as u64 > SLURP_BYTES_MAX {
            return Err(ModuleError::new(format!("{path} is over 11 MiB: fetch it instead of slurping it")));
        }
        Ok(ModuleResult::ok()
            .with("content", STANDARD.encode(content))
            .with("source", path.to_string())
            .with("encoding", "base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::run;
    use serde_json::json;

    #[test]
    fn any_bytes_come_back_in_base64() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"\xff\x00a").unwrap();
        let result = run(&Slurp, json!({"src": &path}));
        assert_eq!(result.get("content").unwrap().as_str(), Some("/wBh"));
        assert_eq!(result.get("encoding").unwrap().as_str(), Some("base64"));
    }

    #[test]
    fn what_cannot_be_slurped_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        assert_eq!(run(&Slurp, json!({"src": &none})).msg(), format!("File not found: {}", none.display()));
        let result = run(&Slurp, json!({"src": dir.path()}));
        assert_eq!(result.msg(), format!("Source is a directory and must be a file: {}", dir.path().display()));
        let large = std::fs::File::create(&none).unwrap();
        large.set_len(SLURP_BYTES_MAX + 1).unwrap();
        assert!(run(&Slurp, json!({"src": &none})).msg().ends_with("is over 11 MiB: fetch it instead of slurping it"));
    }
}
