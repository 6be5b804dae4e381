//! The ways to all hosts of a run: connections made when a task first needs them, kept until the run is over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::policy::Policy;
use rustle_agent::runner::Runner;
use rustle_protocol::endpoint::Dialer;
use rustle_protocol::message::ControlRequest;
use rustle_protocol::{CallKey, HostName};
use tokio::sync::{Mutex, Semaphore};

use super::sink::EventSink;
use crate::dispatch::local::LocalLink;
use crate::dispatch::session::{OnBusyHost, Session, SessionOptions};
use crate::dispatch::unfinished::Unfinished;
use crate::dispatch::{Blobs, HostLink, LinkError};
use crate::event::RunEvent;

/// Connections being opened at once. Measured: 1,000 at once with a small socket buffer lose so many packets that they
/// take a minute; 128 never queue for long.
pub const CONNECTS_MAX: usize = 128;

/// How long a run waits for a host that another run holds. Bounded, since two runs may wait for each other's hosts.
pub const BUSY_HOST_WAIT: Duration = Duration::from_secs(600);

/// How often it looks whether the host is free: each look is a handshake.
const BUSY_HOST_LOOK: Duration = Duration::from_secs(1);

/// How often other tasks get their turn before the program ends: the connection's, then the socket's, and one to spare.
const CLOSE_TURNS: usize = 3;

/// Results that a host keeps before it is told that it need not: a message for each would cost as much as a small task.
const ACKNOWLEDGE_AT: usize = 32;

/// Gives the way to a host.
pub trait Links: Send + Sync {
    /// # Errors
    /// Why the host cannot be talked to.
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>>;

    /// As [`link`](Self::link), where variables or the task say how the host is reached.
    ///
    /// # Errors
    /// As [`link`](Self::link).
    fn link_by<'a>(&'a self, host: &'a HostName, _way: &'a Way) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        self.link(host)
    }

    /// Whether it is known where the host is, or its variables are to be asked.
    fn knows(&self, _host: &HostName) -> bool {
        true
    }

    /// The results of these calls are kept: the host need not keep them any more. Returns at once, and promises nothing:
    /// a host that is not told forgets them in its own time.
    fn acknowledge(&self, _host: &HostName, _calls: &[CallKey]) {}
}

/// How a host is reached, as far as variables and its task say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// `ansible_connection`, or the task's `connection`. `None`: as the run has it.
    pub connection: Option<Connection>,
    /// Where its agent is. `None`: where the inventory has it.
    pub address: Option<AgentAddress>,
}

/// Who does a host's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// This process.
    Local,
    /// The host's agent.
    Agent,
}

impl Connection {
    /// A name of Ansible's. Whatever reaches a host there reaches its agent here.
    pub fn of(name: &str) -> Connection {
        match name {
            "local" | "ansible.builtin.local" => Connection::Local,
            _ => Connection::Agent,
        }
    }
}

/// Where a host's agent is, as the inventory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// A name or an address. It proves nothing: the certificate does.
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct AgentLinksOptions {
    pub session: SessionOptions,
    /// See [`CONNECTS_MAX`].
    pub connects_max: usize,
}

/// Agents over QUIC.
pub struct AgentLinks {
    dialer: Dialer,
    options: AgentLinksOptions,
    addresses: DashMap<HostName, AgentAddress>,
    sessions: DashMap<HostName, Arc<Mutex<Option<Arc<Session>>>>>,
    /// What each host was asked and has not answered: it outlives a connection.
    unfinished: DashMap<HostName, Unfinished>,
    connecting: Semaphore,
    /// Results that are kept here and that the host has not been told of.
    unacknowledged: DashMap<HostName, Vec<CallKey>>,
    blobs: Blobs,
    events: EventSink,
}

impl AgentLinks {
    pub fn new(
        dialer: Dialer,
        options: AgentLinksOptions,
        addresses: HashMap<HostName, AgentAddress>,
        blobs: Blobs,
        events: EventSink,
    ) -> AgentLinks {
        let connecting = Semaphore::new(options.connects_max);
        let (sessions, unfinished, unacknowledged) = Default::default();
        let addresses = addresses.into_iter().collect();
        AgentLinks { dialer, options, addresses, sessions, unfinished, connecting, unacknowledged, blobs, events }
    }

    /// Says where a host is that nobody knew when this was made.
    pub fn introduce(&self, host: &HostName, address: AgentAddress) {
        self.addresses.entry(host.clone()).or_insert(address);
    }

    async fn session(&self, host: &HostName) -> Result<Arc<dyn HostLink>, LinkError> {
        // The map's guard must not be held while waiting; each host has a lock of its own.
        let slot = Arc::clone(&*self.sessions.entry(host.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| session.connection().close_reason().is_none()) {
            session.recheck()?;
            return Ok(Arc::clone(session) as Arc<dyn HostLink>);
        }
        let session = Arc::new(self.connect_when_free(host).await?);
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Waits for a host that another run holds, if that is what the operator wants. Nobody else waits for it meanwhile.
    async fn connect_when_free(&self, host: &HostName) -> Result<Session, LinkError> {
        let until = Instant::now() + BUSY_HOST_WAIT;
        let mut told = false;
        loop {
            let error = match self.connect(host).await {
                Err(error) if error.held && self.options.session.on_busy_host == OnBusyHost::Wait => error,
                connected => return connected,
            };
            if Instant::now() >= until {
                return Err(error);
            }
            if !std::mem::replace(&mut told, true) {
                let message = format!("waiting for the host: {}", error.message);
                self.events.emit(RunEvent::Warning { message, host: Some(host.clone()) });
            }
            tokio::time::sleep(BUSY_HOST_LOOK).await;
        }
    }

    async fn connect(&self, host: &HostName) -> Result<Session, LinkError> {
        let _turn = self.connecting.acquire().await.map_err(|_| LinkError::lasting("the run is over"))?;
        let started = Instant::now();
        let address = self.resolve(host).await?;
        let peer = match self.dialer.connect(host, address).await {
            Ok(peer) => peer,
            Err(fault) => return Err(at(LinkError::from_fault(&fault), address)),
        };
        let unfinished = self.unfinished.entry(host.clone()).or_default().clone();
        let session = Session::greet(peer, host, self.options.session, self.blobs.clone(), unfinished)
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

    /// The session that stands, if nobody is busy with it.
    fn standing(&self, host: &HostName) -> Option<Arc<Session>> {
        let slot = Arc::clone(self.sessions.get(host)?.value());
        slot.try_lock().ok()?.clone()
    }

    /// Tells hosts what they need not keep any more.
    async fn acknowledge_all(&self) {
        let hosts: Vec<_> = self.unacknowledged.iter().map(|entry| entry.key().clone()).collect();
        for host in hosts {
            let Some((_, calls)) = self.unacknowledged.remove(&host).filter(|(_, calls)| !calls.is_empty()) else {
                continue;
            };
            if let Some(session) = self.standing(&host) {
                // A connection that is lost by now leaves it unsaid.
                let _ = session.tell(ControlRequest::Acknowledge(calls)).await;
            }
        }
    }

    /// Closes every connection; returns bytes sent and received over all of them.
    pub async fn close(&self, code: u32, reason: &str) -> (u64, u64) {
        self.acknowledge_all().await;
        for _ in 0..CLOSE_TURNS {
            tokio::task::yield_now().await;
        }
        let (mut sent, mut received) = (0, 0);
        let sessions: Vec<_> = self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect();
        for session in sessions {
            if let Some(session) = session.lock().await.as_ref() {
                let stats = session.connection().stats();
                sent += stats.udp_tx.bytes;
                received += stats.udp_rx.bytes;
                session.close(code, reason);
            }
        }
        // Closing puts a frame in line; the tasks that send it run when this one lets them. To wait for the peers to
        // have it would cost every run three round trips and more, and one that misses it notices the silence.
        for _ in 0..CLOSE_TURNS {
            tokio::task::yield_now().await;
        }
        (sent, received)
    }

    /// The sessions that stand.
    pub async fn sessions(&self) -> Vec<Arc<Session>> {
        let slots: Vec<_> = self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect();
        let mut sessions = Vec::new();
        for slot in slots {
            sessions.extend(slot.lock().await.clone());
        }
        sessions
    }
}

impl Links for AgentLinks {
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        self.session(host).boxed()
    }

    fn acknowledge(&self, host: &HostName, calls: &[CallKey]) {
        let mut waiting = self.unacknowledged.entry(host.clone()).or_default();
        waiting.extend_from_slice(calls);
        if waiting.len() < ACKNOWLEDGE_AT {
            return;
        }
        let Some(session) = self.standing(host) else {
            // Nobody to tell: the host forgets them by itself.
            waiting.truncate(ACKNOWLEDGE_AT);
            return;
        };
        let calls = std::mem::take(&mut *waiting);
        tokio::spawn(async move {
            let _ = session.tell(ControlRequest::Acknowledge(calls)).await;
        });
    }
}

/// The same error, with the address that was dialled.
fn at(mut error: LinkError, address: SocketAddr) -> LinkError {
    error.message = format!("{address} (UDP): {}", error.message);
    error
}

/// Every host is this machine, and works by itself: two hosts' calls have nothing to do with each other.
pub struct LocalLinks {
    blobs: Blobs,
    links: DashMap<HostName, Arc<LocalLink>>,
}

/// Calls that one host runs at once: those delegated to it come beside its own.
const LOCAL_CALLS: u32 = 1024;

impl LocalLinks {
    /// `blobs`: the files that the run sends.
    pub fn new(blobs: Blobs) -> LocalLinks {
        LocalLinks { blobs, links: DashMap::new() }
    }

    fn local(&self, host: &HostName) -> Arc<LocalLink> {
        let new =
            || Arc::new(LocalLink::new(Arc::new(Runner::new(Policy::default(), LOCAL_CALLS)), self.blobs.clone()));
        Arc::clone(&*self.links.entry(host.clone()).or_insert_with(new))
    }
}

impl Links for LocalLinks {
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        let link: Arc<dyn HostLink> = self.local(host);
        async move { Ok(link) }.boxed()
    }
}
