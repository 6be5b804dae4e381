//! From a host's name to a connection that its agent has welcomed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use rustle_protocol::HostName;
use rustle_protocol::endpoint::Dialer;
use rustle_protocol::message::ControlRequest;
use tokio::sync::Semaphore;

use super::AgentLinksOptions;
use crate::dispatch::session::{OnBusyHost, Session};
use crate::dispatch::unfinished::Unfinished;
use crate::dispatch::{Blobs, LinkError};
use crate::engine::sink::EventSink;
use crate::event::RunEvent;

/// Connections being opened at once. Measured: 1,000 at once with a small socket buffer lose so many packets that they
/// take a minute; 128 never queue for long.
pub const CONNECTS_MAX: usize = 128;

/// How long a run waits for a host that another run holds. Bounded, since two runs may wait for each other's hosts.
const BUSY_HOST_WAIT: Duration = Duration::from_secs(600);

/// How often it looks whether the host is free: each look is a handshake.
const BUSY_HOST_LOOK: Duration = Duration::from_secs(1);

/// Where a host's agent is, as the inventory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// A name or an address. It proves nothing: the certificate does.
    pub host: String,
    pub port: u16,
}

/// What all connections of a run have in common.
pub(super) struct Dialing {
    dialer: Dialer,
    options: AgentLinksOptions,
    addresses: DashMap<HostName, AgentAddress>,
    /// Hosts that were not connected yet and hosts that were: those that are away must not keep others from their turn.
    first: Semaphore,
    again: Semaphore,
    blobs: Blobs,
    events: EventSink,
}

/// Whether a host was connected before in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    First,
    Again,
}

impl Dialing {
    pub(super) fn new(
        dialer: Dialer,
        options: AgentLinksOptions,
        addresses: HashMap<HostName, AgentAddress>,
        blobs: Blobs,
        events: EventSink,
    ) -> Dialing {
        let [first, again] = [(); 2].map(|()| Semaphore::new(options.connects_max));
        let addresses = addresses.into_iter().collect();
        Dialing { dialer, options, addresses, first, again, blobs, events }
    }

    pub(super) fn introduce(&self, host: &HostName, address: AgentAddress) {
        self.addresses.entry(host.clone()).or_insert(address);
    }

    /// How long a host whose connection broke is looked for.
    pub(super) fn window(&self) -> Duration {
        self.options.reconnect_window
    }

    pub(super) fn warn(&self, host: &HostName, message: String) {
        self.events.emit(RunEvent::Warning { message, host: Some(host.clone()) });
    }

    /// Waits for a host that another run holds, if that is what the operator wants. Nobody else waits for it meanwhile.
    pub(super) async fn connect(
        &self,
        host: &HostName,
        dial: Dial,
        unfinished: &Unfinished,
    ) -> Result<Session, LinkError> {
        let until = Instant::now() + BUSY_HOST_WAIT;
        let mut told = false;
        loop {
            let error = match self.connect_once(host, dial, unfinished).await {
                Err(error) if error.is_busy() && self.options.session.on_busy_host == OnBusyHost::Wait => error,
                connected => return connected,
            };
            if Instant::now() >= until {
                // It was waited for: to try again would be to wait as long again.
                return Err(LinkError { transient: false, ..error });
            }
            if !std::mem::replace(&mut told, true) {
                self.warn(host, format!("waiting for the host: {}", error.message));
            }
            tokio::time::sleep(BUSY_HOST_LOOK).await;
        }
    }

    async fn connect_once(&self, host: &HostName, dial: Dial, unfinished: &Unfinished) -> Result<Session, LinkError> {
        let turns = match dial {
            Dial::First => &self.first,
            Dial::Again => &self.again,
        };
        let _turn = turns.acquire().await.map_err(|_| LinkError::lasting("the run is over"))?;
        let started = Instant::now();
        let address = self.resolve(host).await?;
        let peer = match self.dialer.connect(host, address).await {
            Ok(peer) => peer,
            Err(fault) => return Err(at(LinkError::from_fault(&fault), address)),
        };
        let session = Session::greet(peer, host, self.options.session, self.blobs.clone(), unfinished.clone())
            .await
            .map_err(|error| at(error, address))?;
        self.tell_revocations(&session).await;
        self.events.emit(RunEvent::HostConnected {
            host: host.clone(),
            agent: session.welcome().software.clone(),
            connect: started.elapsed(),
        });
        Ok(session)
    }

    /// Brings the agent our revocation lists, unless they revoke nobody. An agent that has them already makes nothing of
    /// it.
    async fn tell_revocations(&self, session: &Session) {
        let identity = self.dialer.identity();
        for list in identity.trust().revocation_lists_in_use() {
            // A connection that breaks now tells it at the first call.
            let _ = session.tell(ControlRequest::Revocations(list.to_vec())).await;
        }
    }

    async fn resolve(&self, host: &HostName) -> Result<SocketAddr, LinkError> {
        let default = || AgentAddress { host: host.to_string(), port: rustle_agent::config::PORT };
        let AgentAddress { host: name, port } = self.addresses.get(host).map_or_else(default, |known| known.clone());
        if let Ok(ip) = name.parse() {
            return Ok(SocketAddr::new(ip, port));
        }
        let found = tokio::net::lookup_host((name.as_str(), port)).await;
        let not_found = |why: String| {
            LinkError::transient(format!("the name `{name}` cannot be resolved: {why}"))
                .with_hint(format!("set rustle_host for `{host}` in the inventory, or mend the name service"))
        };
        match found {
            Ok(mut addresses) => addresses.next().ok_or_else(|| not_found("it has no address".into())),
            Err(error) => Err(not_found(error.to_string())),
        }
    }
}

/// The same error, with the address that was dialled.
fn at(mut error: LinkError, address: SocketAddr) -> LinkError {
    error.message = format!("{address} (UDP): {}", error.message);
    error
}
