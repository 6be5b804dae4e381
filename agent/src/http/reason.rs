//! The server's own words for its status, which the client library does not keep.

use std::sync::{Arc, Mutex, PoisonError};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Of a first line; what is longer is not read for its reason.
const LINE_BYTES_MAX: usize = 1024;

/// What stands behind the status of the newest answer. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// The last in a chain of connectors, each of whose connections serves one request.
impl<In: Transport> Connector<In> for Reason {
    type Out = Heard<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Heard<In>>, Error> {
        Ok(chained.map(|inner| Heard { inner, reason: Some(self.clone()) }))
    }
}

/// A connection that is listened to until it has said its first line.
#[derive(Debug)]
pub(super) struct Heard<T> {
    inner: T,
    reason: Option<Reason>,
}

impl<T: Transport> Transport for Heard<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let more = self.inner.await_input(timeout)?;
        if let Some(reason) = &self.reason
            && let Some(said) = reason_in(self.inner.buffers().input())
        {
            reason.set(said);
            self.reason = None;
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The reason in `HTTP/1.1 404 NOT FOUND`, once the line is whole. Not that of an answer before the answer.
fn reason_in(input: &[u8]) -> Option<String> {
    let end = input.iter().take(LINE_BYTES_MAX).position(|&byte| byte == b'\r')?;
    let line = std::str::from_utf8(&input[..end]).ok()?;
    let (status, reason) = line.strip_prefix("HTTP/1.")?.split_once(' ')?.1.split_once(' ')?;
    (!status.starts_with('1')).then(|| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_stands_behind_the_status() {
        for (input, reason) in [
            ("HTTP/1.1 405 METHOD NOT ALLOWED\r\nA: b", Some("METHOD NOT ALLOWED")),
            ("HTTP/1.0 200 \r\n", Some("")),
            ("HTTP/1.1 405 METHOD NOT", None),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 200\r\n", None),
            ("", None),
        ] {
            assert_eq!(reason_in(input.as_bytes()).as_deref(), reason, "{input}");
        }
    }
}
