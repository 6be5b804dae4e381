//! How every host of the run stands, and the counts of that.

use crate::event::{HostCounts, HostState};

use super::program::HostIx;

/// Where a host stands, as the counts have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Has not begun, or is between two tasks or plays.
    Waiting,
    Running,
    /// Went through all it had to do.
    Done,
    Failed,
    Unreachable,
    Cancelled,
}

#[derive(Clone, Debug)]
struct Host {
    standing: Standing,
    /// Something was dispatched to it.
    begun: bool,
    /// The run's error budget has counted it.
    counted: bool,
    /// The last play that names it.
    last_play: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Roster {
    hosts: Vec<Host>,
    counts: HostCounts,
    failures: usize,
}

impl Roster {
    pub(super) fn new(hosts: usize) -> Roster {
        let host = Host { standing: Standing::Waiting, begun: false, counted: false, last_play: None };
        let counts = HostCounts { waiting: hosts, ..HostCounts::default() };
        Roster { hosts: vec![host; hosts], counts, failures: 0 }
    }

    /// Says that the play at place `play` names `host`, which is not through with the run then.
    pub(super) fn enlist(&mut self, host: HostIx, play: usize) {
        let last_play = &mut self.hosts[host.index()].last_play;
        *last_play = (*last_play).max(Some(play));
        if self.standing(host) == Standing::Done {
            self.set(host, Standing::Waiting);
        }
    }

    /// So many hosts have joined the run.
    pub(super) fn grow(&mut self, joined: usize) {
        let host = Host { standing: Standing::Waiting, begun: false, counted: false, last_play: None };
        self.hosts.resize(self.hosts.len() + joined, host);
        self.counts.waiting += joined;
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn counts(&self) -> HostCounts {
        self.counts
    }

    /// Hosts the run's error budget has counted.
    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    pub(super) fn standing(&self, host: HostIx) -> Standing {
        self.hosts[host.index()].standing
    }

    /// Whether a play that begins now has this host.
    pub(super) fn takes_part(&self, host: HostIx) -> bool {
        self.standing(host) == Standing::Waiting
    }

    /// Whether the host was lost to the run.
    pub(super) fn is_lost(&self, host: HostIx) -> bool {
        match self.standing(host) {
            Standing::Waiting | Standing::Running | Standing::Done => false,
            Standing::Failed | Standing::Unreachable | Standing::Cancelled => true,
        }
    }

    /// Whether a host is lost that failed or could not be reached.
    pub(super) fn has_failures(&self) -> bool {
        self.counts.failed + self.counts.unreachable > 0
    }

    /// Work goes to the host. One that is lost stays lost: it only runs its handlers.
    pub(super) fn begin(&mut self, host: HostIx) {
        self.hosts[host.index()].begun = true;
        if self.standing(host) == Standing::Waiting {
            self.set(host, Standing::Running);
        }
    }

    /// The host's work is over.
    pub(super) fn rest(&mut self, host: HostIx) {
        if self.standing(host) == Standing::Running {
            self.set(host, Standing::Waiting);
        }
    }

    /// The host went through the play at place `play`.
    pub(super) fn finish_play(&mut self, host: HostIx, play: usize) {
        if self.standing(host) == Standing::Waiting && self.hosts[host.index()].last_play <= Some(play) {
            self.set(host, Standing::Done);
        }
    }

    /// The host is lost to the run.
    pub(super) fn lose(&mut self, host: HostIx, state: HostState) {
        self.set(host, standing_of(state));
    }

    /// Counts the host in the run's error budget, unless it has been.
    pub(super) fn count_failure(&mut self, host: HostIx) {
        if !std::mem::replace(&mut self.hosts[host.index()].counted, true) {
            self.failures += 1;
        }
    }

    /// A host that was through has more to do after all.
    pub(super) fn call_back(&mut self, host: HostIx) {
        if self.standing(host) == Standing::Done {
            self.set(host, Standing::Waiting);
        }
    }

    /// A lost host may go on.
    pub(super) fn forgive(&mut self, host: HostIx) {
        self.set(host, Standing::Waiting);
    }

    /// Those of `hosts`, which are in the play that runs and not in its batch, that failed or were unreachable may take part in
    /// what follows. Gives these.
    pub(super) fn forgive_absent(&mut self, mut hosts: Vec<HostIx>) -> Vec<HostIx> {
        hosts.retain(|host| matches!(self.standing(*host), Standing::Failed | Standing::Unreachable));
        hosts.iter().for_each(|host| self.forgive(*host));
        hosts
    }

    /// Hosts that began and were not brought to their end, in order.
    pub(super) fn unfinished(&self) -> Vec<HostIx> {
        let unfinished = |host: &HostIx| self.hosts[host.index()].begun && self.takes_part(*host);
        self.indices().filter(unfinished).collect()
    }

    /// The run came to its end: whoever has not been lost is through.
    pub(super) fn finish_all(&mut self) {
        for host in self.indices() {
            if self.takes_part(host) {
                self.set(host, Standing::Done);
            }
        }
    }

    /// How each host stands after the run, by [`HostIx`].
    pub(super) fn final_states(&self) -> Vec<HostState> {
        self.hosts
            .iter()
            .map(|host| match host.standing {
                Standing::Waiting | Standing::Running | Standing::Done if !host.begun => HostState::NotStarted,
                Standing::Waiting | Standing::Running | Standing::Cancelled => HostState::Cancelled,
                Standing::Done => HostState::Ok,
                Standing::Failed => HostState::Failed,
                Standing::Unreachable => HostState::Unreachable,
            })
            .collect()
    }

    fn indices(&self) -> impl Iterator<Item = HostIx> + use<> {
        (0..).map(HostIx).take(self.hosts.len())
    }

    fn set(&mut self, host: HostIx, standing: Standing) {
        let before = std::mem::replace(&mut self.hosts[host.index()].standing, standing);
        *self.count(before) -= 1;
        *self.count(standing) += 1;
    }

    fn count(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Waiting => &mut self.counts.waiting,
            Standing::Running => &mut self.counts.running,
            Standing::Done => &mut self.counts.done,
            Standing::Failed => &mut self.counts.failed,
            Standing::Unreachable => &mut self.counts.unreachable,
            Standing::Cancelled => &mut self.counts.cancelled,
        }
    }
}

fn standing_of(state: HostState) -> Standing {
    match state {
        HostState::NotStarted => Standing::Waiting,
        HostState::Ok => Standing::Done,
        HostState::Failed => Standing::Failed,
        HostState::Unreachable => Standing::Unreachable,
        HostState::Cancelled => Standing::Cancelled,
    }
}
