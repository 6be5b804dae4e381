//! The side of whoever asks. Blocking: a command that asks has nothing else to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::server::through;
use super::{REPLY_BYTES_MAX, Reply, Request};

/// How long a run may take to answer: it does so between two things it does, which take milliseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("nobody works on this run")]
    NobodyThere,
    #[error("the run does not answer")]
    Ask(#[from] io::Error),
    #[error("the run's answer makes no sense")]
    Answer(#[from] serde_json::Error),
}

/// Asks the run in `folder`.
///
/// # Errors
/// Nobody works on it, or there is no answer in time.
pub fn ask(folder: &Path, name: &str, request: &Request) -> Result<Reply, AskError> {
    let mut stream = match through(folder, name, |path| UnixStream::connect(path)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NobodyThere);
        }
        Err(error) => return Err(error.into()),
    };
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}
