//! `rustle.builtin.fetch`: the content of a file, as output. The controller's `fetch` asks for it; plans do not name it.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use rustle_protocol::ModuleResult;
use rustle_protocol::message::OutputStream;
use sha1::{Digest, Sha1};

use crate::arguments;
use crate::files::checksum::Algorithm;
use crate::module::{Doing, Module, ModuleContext, ModuleError};

/// Sent at once. A controller that is slow holds the next one back.
const CHUNK_BYTES: usize = 64 * 1024;

arguments! {
    pub(crate) struct FetchArgs {
        /// The file.
        src: PathBuf,
        /// The SHA-1 checksum of what the controller has: equal content is not sent.
        _have: Option<String>,
    }
}

pub(super) struct Fetch;

impl Module for Fetch {
    type Args = FetchArgs;

    const NAME: &'static str = "rustle.builtin.fetch";
    const SUMMARY: &'static str = "Sends the content of a file to the controller.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: FetchArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let path = args.src.display();
        let missing = |what: &str, msg: &str| ModuleError::new(msg).with("missing", what);
        let mut file = std::fs::File::open(&args.src).map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing("file", "the remote file does not exist"),
            _ => ModuleError::new(format!("failed to read {path}: {error}")),
        })?;
        let meta = file.metadata().doing(|| format!("look at {path}"))?;
        if meta.is_dir() {
            return Err(missing("content", "remote file is a directory, fetch cannot work on directories"));
        }
        if !meta.is_file() {
            return Err(ModuleError::new(format!("{path} is no regular file: it has no end")));
        }
        if let Some(have) = &args._have {
            let again = std::fs::File::open(&args.src).doing(|| format!("read {path}"))?;
            if Algorithm::Sha1.of(again).doing(|| format!("read {path}"))? == *have {
                return Ok(ModuleResult::ok().with("checksum", have.as_str()));
            }
        }
        let (mut hash, mut buffer) = (Sha1::new(), vec![0; CHUNK_BYTES]);
        loop {
            if cx.cancel.is_cancelled() {
                return Err(ModuleError::new(format!("sending {path} was cancelled")));
            }
            match file.read(&mut buffer).doing(|| format!("read {path}"))? {
                0 => break,
                len => {
                    hash.update(&buffer[..len]);
                    cx.output.write(OutputStream::Stdout, &buffer[..len]);
                }
            }
        }
        let checksum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ModuleResult::ok().with("checksum", checksum).with("sent", true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;

    fn run(src: &std::path::Path, have: Option<&str>) -> (ModuleResult, Vec<u8>) {
        let surroundings = Surroundings::new();
        let args = FetchArgs { src: src.to_owned(), _have: have.map(str::to_owned) };
        let result = Fetch.run(args, &surroundings.context()).unwrap_or_else(ModuleError::into_result);
        (result, surroundings.seen(OutputStream::Stdout))
    }

    #[test]
    fn content_is_sent_with_its_checksum_unless_the_controller_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content = vec![0xFF; 3 * CHUNK_BYTES + 1];
        std::fs::write(&path, &content).unwrap();
        let (result, sent) = run(&path, None);
        assert_eq!(sent, content);
        let checksum = result.get("checksum").unwrap().as_str().unwrap().to_owned();
        assert_eq!(checksum, Algorithm::Sha1.of_bytes(&content));
        let (result, sent) = run(&path, Some(&checksum));
        assert!(sent.is_empty() && result.get("sent").is_none());
        assert!(!run(&path, Some("other")).1.is_empty());
    }

    #[test]
    fn what_is_no_file_is_told_in_ansibles_words() {
        let dir = tempfile::tempdir().unwrap();
        let (result, _) = run(&dir.path().join("none"), None);
        assert_eq!(result.msg(), "the remote file does not exist");
        let (result, _) = run(dir.path(), None);
        assert_eq!(result.msg(), "remote file is a directory, fetch cannot work on directories");
        let (result, _) = run(std::path::Path::new("/dev/zero"), None);
        assert!(result.msg().ends_with("it has no end"), "{}", result.msg());
    }
}
