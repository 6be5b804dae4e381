//! The ways to all hosts of a run: connections made when a task first needs them, kept until the run is over.

mod agent_host;
mod dialing;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::policy::Policy;
use rustle_agent::runner::Runner;
use rustle_protocol::endpoint::Dialer;
use rustle_protocol::message::CallOutcome;
use rustle_protocol::{CallKey, HostName};

use self::agent_host::AgentHost;
use self::dialing::Dialing;
use super::sink::EventSink;
use crate::dispatch::local::LocalLink;
use crate::dispatch::session::{Session, SessionOptions};
use crate::dispatch::{Blobs, HostLink, LinkError};

pub use self::dialing::{AgentAddress, CONNECTS_MAX};

/// How long a host whose connection broke is looked for, unless the operator says otherwise.
pub const RECONNECT_WINDOW: Duration = Duration::from_secs(60);

/// How often other tasks get their turn before the program ends: the connection's, then the socket's, and one to spare.
const CLOSE_TURNS: usize = 3;

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

    /// Waits until a host that was given up comes back, and gives what became of the calls it was sent; for ever if it
    /// does not, or had none. No call is run by this.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    fn late<'a>(&'a self, _host: &'a HostName) -> BoxFuture<'a, Vec<(CallKey, CallOutcome)>> {
        std::future::pending().boxed()
    }
}

/// How a host is reached, as far as variables and its task and play say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// `ansible_connection`, or the task's `connection`. `None`: as the run has it.
    pub connection: Option<Connection>,
    /// Where its agent is. `None`: where the inventory has it.
    pub address: Option<AgentAddress>,
    /// The play's folder: where this process stands when it does the work itself.
    pub folder: Option<Arc<Path>>,
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

#[derive(Clone, Debug)]
pub struct AgentLinksOptions {
    pub session: SessionOptions,
    /// See [`CONNECTS_MAX`].
    pub connects_max: usize,
    /// How long a host whose connection broke is looked for; zero for one try. See [`RECONNECT_WINDOW`].
    pub reconnect_window: Duration,
}

/// Agents over QUIC.
pub struct AgentLinks {
    dialing: Arc<Dialing>,
    hosts: DashMap<HostName, Arc<AgentHost>>,
}

impl AgentLinks {
    pub fn new(
        dialer: Dialer,
        options: AgentLinksOptions,
        addresses: HashMap<HostName, AgentAddress>,
        blobs: Blobs,
        events: EventSink,
    ) -> AgentLinks {
        let dialing = Arc::new(Dialing::new(dialer, options, addresses, blobs, events));
        AgentLinks { dialing, hosts: DashMap::new() }
    }

    /// Says where a host is that nobody knew when this was made.
    pub fn introduce(&self, host: &HostName, address: AgentAddress) {
        self.dialing.introduce(host, address);
    }

    fn host(&self, name: &HostName) -> Arc<AgentHost> {
        if let Some(host) = self.hosts.get(name) {
            return Arc::clone(&host);
        }
        let new = || Arc::new(AgentHost::new(name.clone(), Arc::clone(&self.dialing)));
        Arc::clone(&*self.hosts.entry(name.clone()).or_insert_with(new))
    }

    /// Those that were asked for until now. The map's guards must not be held while waiting.
    fn all(&self) -> Vec<Arc<AgentHost>> {
        self.hosts.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Closes every connection; returns bytes sent and received over all of them.
    pub async fn close(&self, code: u32, reason: &str) -> (u64, u64) {
        for host in self.all() {
            host.acknowledge_all().await;
        }
        for _ in 0..CLOSE_TURNS {
            tokio::task::yield_now().await;
        }
        let (mut sent, mut received) = (0, 0);
        for session in self.sessions().await {
            let stats = session.connection().stats();
            sent += stats.udp_tx.bytes;
            received += stats.udp_rx.bytes;
            session.close(code, reason);
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
        self.all().iter().filter_map(|host| host.standing()).collect()
    }
}

impl Links for AgentLinks {
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        async move {
            let host = self.host(host);
            host.reach().await?;
            Ok(host as Arc<dyn HostLink>)
        }
        .boxed()
    }

    fn acknowledge(&self, host: &HostName, calls: &[CallKey]) {
        if let Some(host) = self.hosts.get(host) {
            host.acknowledge(calls);
        }
    }

    fn late<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Vec<(CallKey, CallOutcome)>> {
        async move { self.host(host).late().await }.boxed()
    }
}

/// Every host is this machine, and works by itself: two hosts' calls have nothing to do with each other.
pub struct LocalLinks {
    blobs: Blobs,
    links: DashMap<(HostName, Option<Arc<Path>>), Arc<LocalLink>>,
}

/// Calls that one host runs at once: those delegated to it come beside its own.
const LOCAL_CALLS: u32 = 1024;

impl LocalLinks {
    /// `blobs`: the files that the run sends.
    pub fn new(blobs: Blobs) -> LocalLinks {
        LocalLinks { blobs, links: DashMap::new() }
    }

    /// A folder that is not here, of a plan that was made elsewhere, is gone without.
    fn local(&self, host: &HostName, folder: Option<&Arc<Path>>) -> Arc<LocalLink> {
        let folder = folder.filter(|folder| folder.is_dir()).cloned();
        let new = || {
            let runner = Runner::new(Policy::default(), LOCAL_CALLS);
            let runner = match folder.clone() {
                Some(folder) => runner.standing_in(folder),
                None => runner,
            };
            Arc::new(LocalLink::new(Arc::new(runner), self.blobs.clone()))
        };
        Arc::clone(&*self.links.entry((host.clone(), folder.clone())).or_insert_with(new))
    }
}

impl Links for LocalLinks {
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        let link: Arc<dyn HostLink> = self.local(host, None);
        async move { Ok(link) }.boxed()
    }

    fn link_by<'a>(&'a self, host: &'a HostName, way: &'a Way) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        let link: Arc<dyn HostLink> = self.local(host, way.folder.as_ref());
        async move { Ok(link) }.boxed()
    }
}
