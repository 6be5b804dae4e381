//! Calls that a host was sent and whose end has not come. They outlive a connection: over the next one the same call is
//! asked for as one that was sent before, and goes on where it was heard last.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustle_protocol::CallKey;
use rustle_protocol::message::{Call, CallRequest, OutputStream, Received, Resumed};

/// One host's. Cheap to clone; every connection to the host has the same.
#[derive(Clone, Debug, Default)]
pub struct Unfinished(Arc<Mutex<HashMap<CallKey, Heard>>>);

/// What has come of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    begun: bool,
    received: Received,
}

impl Unfinished {
    /// The request for a call: the call itself the first time, and then what is known of it too.
    pub(super) fn request(&self, call: Call) -> CallRequest {
        match self.lock().entry(call.key) {
            Entry::Vacant(place) => {
                place.insert(Heard::default());
                CallRequest::Call(Box::new(call))
            }
            Entry::Occupied(heard) => {
                let Heard { begun, received } = *heard.get();
                CallRequest::Resume(Box::new(Resumed { call, begun, received }))
            }
        }
    }

    /// Calls whose end has not come.
    pub fn keys(&self) -> Vec<CallKey> {
        self.lock().keys().copied().collect()
    }

    /// The call is known to have begun, or is to be taken for one that has.
    pub fn begun(&self, key: &CallKey) {
        if let Some(heard) = self.lock().get_mut(key) {
            heard.begun = true;
        }
    }

    /// Output has come, or word that it is lost.
    pub(super) fn received(&self, key: &CallKey, stream: OutputStream, bytes: u64) {
        if let Some(heard) = self.lock().get_mut(key) {
            heard.received.add(stream, bytes);
        }
    }

    pub(super) fn ended(&self, key: &CallKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallKey, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
