//! Hosts that everybody waits for. Only under linear does anybody: there a host that hangs would hold back all others for
//! ever.

use super::Scheduler;
use super::program::HostIx;
use super::time::RunTime;

impl Scheduler {
    /// When the time of a host that is waited for is over, if nothing else happens before.
    pub(super) fn stragglers_due(&self) -> Option<RunTime> {
        let limit = self.limits.straggler?;
        let batch = self.course.waiting_batch()?;
        let waited_for = self.in_flight.begun().filter(|(host, _)| batch.rank(*host).is_some());
        waited_for.map(|(_, since)| since.after(limit)).min()
    }

    /// Gives up the hosts whose time is over, as the operator would.
    pub(super) fn drop_stragglers(&mut self) {
        if self.stragglers_due().is_none_or(|due| due > self.now) {
            return;
        }
        let Some(limit) = self.limits.straggler else { return };
        let overdue = self.in_flight.begun().filter(|(_, since)| since.after(limit) <= self.now);
        let hosts: Vec<HostIx> = overdue.map(|(host, _)| host).collect();
        for host in hosts {
            self.on_drop(host, Some(limit));
        }
    }
}
