//! The Python process that runs plug-ins, and how it is talked to.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustle_protocol::Value;
use serde::{Deserialize, Serialize};

use crate::custom::PluginPlaces;

/// What the process runs.
const PROGRAM: &str = include_str!("helper.py");

/// A question or an answer larger than this is refused: it has to fit into the memory of both.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long the process may take to import an ansible-core and find its folders.
const START_MAX: Duration = Duration::from_secs(60);

/// Questions are asked one after the other in each lane, and the lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lane {
    /// Filters and tests, which only compute, and whatever finds plug-ins.
    Filters,
    /// Lookups, which may wait for a server or another program.
    Lookups,
}

impl Lane {
    /// How long an answer may take. A render that waits for a filter holds up the whole run.
    fn answer_max(self) -> Duration {
        match self {
            Lane::Filters => Duration::from_secs(60),
            Lane::Lookups => Duration::from_secs(600),
        }
    }
}

/// What the process is asked.
#[derive(Debug, Serialize)]
pub(super) struct Question<T> {
    pub(super) lane: Lane,
    #[serde(flatten)]
    pub(super) what: T,
}

/// What it says. One of the last two is there if it has no result.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    lane: Lane,
    #[serde(default)]
    pub(super) ok: Value,
    pub(super) error: Option<String>,
    /// Variables without which a lookup gets no further.
    pub(super) needs: Option<Vec<String>>,
}

/// A running process. Ends with its last handle.
pub(super) struct Helper {
    child: Mutex<Child>,
    questions: Mutex<ChildStdin>,
    filters: Mutex<Receiver<Answer>>,
    lookups: Mutex<Receiver<Answer>>,
}

impl Helper {
    /// Starts `python` and waits until it has found its way around, at most [`START_MAX`].
    ///
    /// # Errors
    /// What keeps it from running.
    pub(super) fn start(python: &Path, places: &PluginPlaces) -> Result<Helper, String> {
        let cannot = |why: String| format!("Python plug-ins cannot be run with {}: {why}", python.display());
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(error.to_string()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, stdout) = pipes.ok_or_else(|| cannot("it has no pipes".to_owned()))?;
        // In a lane there is one answer on its way at most.
        let (to_filters, filters) = sync_channel(1);
        let (to_lookups, lookups) = sync_channel(1);
        std::thread::spawn(move || hand_out(stdout, &to_filters, &to_lookups));
        let helper = Helper {
            child: Mutex::new(child),
            questions: Mutex::new(questions),
            filters: Mutex::new(filters),
            lookups: Mutex::new(lookups),
        };
        let answer = helper.ask_within(START_MAX, &Question { lane: Lane::Filters, what: places }).map_err(cannot)?;
        answer.error.map_or(Ok(helper), |why| Err(cannot(why)))
    }

    /// Asks one thing and waits for the answer, at most as long as its lane allows. May wait for others in its lane before.
    ///
    /// # Errors
    /// The process is of no use any more: see [`Helper::is_gone`]; or the question is too large for it.
    pub(super) fn ask(&self, question: &Question<impl Serialize>) -> Result<Answer, String> {
        self.ask_within(question.lane.answer_max(), question)
    }

    fn ask_within(&self, answer_max: Duration, question: &Question<impl Serialize>) -> Result<Answer, String> {
        let frame = frame(question)?;
        let answers = match question.lane {
            Lane::Filters => &self.filters,
            Lane::Lookups => &self.lookups,
        };
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.questions.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame);
        sent.map_err(|error| self.gone(&format!("does not listen: {error}")))?;
        answers.recv_timeout(answer_max).map_err(|error| match error {
            RecvTimeoutError::Disconnected => self.gone("ended before it answered"),
            RecvTimeoutError::Timeout => {
                // Its answer would be taken for that to the next question.
                self.end();
                self.gone(&format!("did not answer within {} s and was stopped", answer_max.as_secs()))
            }
        })
    }

    /// Whether the process has ended, or is about to.
    pub(super) fn is_gone(&self) -> bool {
        !matches!(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait(), Ok(None))
    }

    fn gone(&self, what: &str) -> String {
        // It may be ending just now, or have broken off talking: either way it is asked nothing more.
        self.end();
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten();
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        format!("the Python process that runs plug-ins {what}{status}")
    }

    fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Both fail only for a process that has ended.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end();
    }
}

fn frame(question: &Question<impl Serialize>) -> Result<Vec<u8>, String> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, question).map_err(|error| format!("a plug-in cannot be given this: {error}"))?;
    let length = frame.len() - 4;
    match u32::try_from(length) {
        Ok(announced) if length <= FRAME_BYTES_MAX => frame[..4].copy_from_slice(&announced.to_be_bytes()),
        _ => return Err(format!("a plug-in is not given more than {FRAME_BYTES_MAX} bytes")),
    }
    Ok(frame)
}

/// Gives each answer to its lane, until the process ends or says what is none.
fn hand_out(mut stdout: ChildStdout, filters: &SyncSender<Answer>, lookups: &SyncSender<Answer>) {
    while let Ok(frame) = read_frame(&mut stdout) {
        let answer: Answer = match serde_json::from_slice(&frame) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!("the Python process that runs plug-ins gave an answer that is none: {error}");
                return;
            }
        };
        let lane = match answer.lane {
            Lane::Filters => filters,
            Lane::Lookups => lookups,
        };
        // Nobody waits for the answer of a process that is being ended.
        if lane.try_send(answer).is_err() {
            return;
        }
    }
}

/// # Errors
/// The stream ends, or announces more than [`FRAME_BYTES_MAX`].
fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {FRAME_BYTES_MAX} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_memory_is_taken() {
        let error = read_frame(&mut &[0xff, 0xff, 0xff, 0xff, 1][..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_frame(&mut &[0, 0, 0, 2, b'{', b'}', 9][..]).unwrap(), b"{}");
        assert!(read_frame(&mut &[0, 0, 0, 2, b'{'][..]).is_err());
    }
}
