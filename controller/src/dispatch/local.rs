//! `connection: local`: modules run in this process, without an agent and without a network.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{BlobSource, CancelReason, CancelToken, ModuleError};
use rustle_agent::runner::{CallIo, EVENTS_MAX, Runner};
use rustle_protocol::message::{BlobId, Call, CallEvent, CallOutcome};
use tokio::sync::mpsc;

use super::blobs::{BlobContent, Blobs};
use super::{CallListener, Cancel, HostLink, LinkError};

/// Runs calls with the agent's own runner.
#[derive(Debug)]
pub struct LocalLink {
    runner: Arc<Runner>,
    blobs: Blobs,
}

impl LocalLink {
    pub fn new(runner: Arc<Runner>, blobs: Blobs) -> LocalLink {
        LocalLink { runner, blobs }
    }

    async fn run_calls(
        &self,
        calls: Vec<Call>,
        listener: &mut dyn CallListener,
        cancel: &Cancel,
    ) -> Result<(), LinkError> {
        let mut skip_rest = false;
        for (at, call) in calls.into_iter().enumerate() {
            if skip_rest || cancel.is_cancelled() {
                listener.ended(at, CallOutcome::NotRun, Duration::ZERO);
                continue;
            }
            let ignore_failure = call.ignore_failure;
            let (outcome, elapsed) = self.run_call(at, call, listener, cancel).await?;
            let succeeded = matches!(&outcome, CallOutcome::Finished(result) if !result.failed);
            skip_rest = !succeeded && !ignore_failure;
            listener.ended(at, outcome, elapsed);
        }
        Ok(())
    }

    async fn run_call(
        &self,
        at: usize,
        call: Call,
        listener: &mut dyn CallListener,
        cancel: &Cancel,
    ) -> Result<(CallOutcome, Duration), LinkError> {
        let admitted = match self.runner.admit(Box::new(call)) {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok((CallOutcome::Refused(refusal), Duration::ZERO)),
        };
        listener.started(at);
        let token =
            CancelToken::new().map_err(|error| LinkError::transient(format!("cannot start a task: {error}")))?;
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let io = CallIo { events, blobs: Arc::new(LocalBlobs(self.blobs.clone())) };
        let mut running = std::pin::pin!(self.runner.run(admitted, io, &token));
        let mut told = false;
        let ended = loop {
            tokio::select! {
                biased;
                Some(event) = happened.recv() => tell(at, event, listener),
                ended = &mut running => break ended,
                () = cancel.cancelled(), if !told => {
                    told = true;
                    token.cancel(CancelReason::Requested);
                }
            }
        };
        while let Ok(event) = happened.try_recv() {
            tell(at, event, listener);
        }
        Ok(ended)
    }
}

impl HostLink for LocalLink {
    fn is_local(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        calls: Vec<Call>,
        listener: &'a mut dyn CallListener,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        self.run_calls(calls, listener, cancel).boxed()
    }
}

fn tell(at: usize, event: CallEvent, listener: &mut dyn CallListener) {
    match event {
        CallEvent::Output { stream, bytes } => listener.output(at, stream, bytes),
        CallEvent::Started | CallEvent::Cut { .. } | CallEvent::BlobWanted { .. } | CallEvent::Ended { .. } => {}
    }
}

/// Opens the run's own files.
struct LocalBlobs(Blobs);

impl BlobSource for LocalBlobs {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        match self.0.get(&blob) {
            Some(BlobContent::File(path)) => {
                File::open(&path).map_err(|error| ModuleError::new(format!("cannot read {}: {error}", path.display())))
            }
            Some(BlobContent::Held(bytes)) => {
                held(&bytes).map_err(|error| ModuleError::new(format!("cannot store a file for the task: {error}")))
            }
            None => Err(ModuleError::new("the run has no such file")),
        }
    }
}

fn held(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
