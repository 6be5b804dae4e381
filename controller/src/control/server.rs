//! The side of the run.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::{REQUEST_BYTES_MAX, Reply, Request};
use crate::engine::{EventSink, ExecutionEngine};
use crate::event::CancelReason;

/// Askers at once; more wait to be let in.
const ASKERS_MAX: usize = 16;

/// How long one may take to ask, or to read its answer.
const ASKER_WAIT: Duration = Duration::from_secs(5);

/// Answers for as long as it lives, and takes its socket away in the end.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// In a folder that nobody else can get into.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(folder: &Path, name: &str) -> io::Result<Server> {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What an earlier controller left: whoever has the run's lease is the only one here.
            _ => {}
        }
        let listener = through(folder, name, |path| UnixListener::bind(path))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(Server { listener, path })
    }

    /// Answers questions about the run of `engine`, whose events go into `sink`. Never ends.
    ///
    /// # Cancel safety
    /// Dropped midway, whoever is asking gets no answer.
    pub async fn serve(&self, engine: &ExecutionEngine, sink: &EventSink) {
        let mut askers = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = askers.next() => {}
                accepted = self.listener.accept(), if askers.len() < ASKERS_MAX => match accepted {
                    Ok((stream, _)) => askers.push(async move {
                        // One that breaks off has its answer, or wants none.
                        let _ = timeout(ASKER_WAIT, answer(stream, engine, sink)).await;
                    }),
                    Err(error) => {
                        tracing::warn!(%error, "nobody can ask about this run for a moment");
                        tokio::time::sleep(ASKER_WAIT).await;
                    }
                },
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, engine: &ExecutionEngine, sink: &EventSink) -> io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    let uid = stream.peer_cred()?.uid();
    if uid != us && uid != 0 {
        return Ok(());
    }
    let mut line = Vec::new();
    BufReader::new((&mut stream).take(REQUEST_BYTES_MAX)).read_until(b'\n', &mut line).await?;
    let reply = match serde_json::from_slice(&line) {
        Ok(request) => heed(request, engine, sink).await,
        Err(error) => Reply::Refused(format!("no question of this version: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

async fn heed(request: Request, engine: &ExecutionEngine, sink: &EventSink) -> Reply {
    let done = match request {
        Request::Status => engine
            .get_execution_status()
            .await
            .map(|status| Reply::Status { status: Box::new(status), elapsed_s: sink.elapsed().as_secs_f64() }),
        Request::Pause => engine.pause_execution().await.map(|()| Reply::Done),
        Request::Resume => engine.resume_execution().await.map(|()| Reply::Done),
        Request::Cancel => engine.cancel_execution(CancelReason::Requested).await.map(|()| Reply::Done),
        Request::Drop(host) => engine.drop_host(&host).await.map(|found| match found {
            true => Reply::Done,
            false => Reply::Refused(format!("the run has no host `{host}`")),
        }),
    };
    done.unwrap_or_else(|error| Reply::Refused(error.to_string()))
}

/// A socket's path may have 107 bytes; a folder's may have more, so it is gone through by its descriptor.
pub(super) fn through<T>(folder: &Path, name: &str, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = std::fs::File::open(folder)?;
    with(&PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())))
}
