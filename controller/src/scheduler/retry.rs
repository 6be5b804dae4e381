//! When work that did not get through is sent again, and who waits for that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::TransportFault;
use super::program::{HostIx, RetryPolicy};
use super::time::RunTime;

impl TransportFault {
    /// Whether another try can help and does no harm.
    pub(super) fn allows_retry(self) -> bool {
        match self {
            TransportFault::NotAccepted => true,
            TransportFault::Lost { repeatable } => repeatable,
            TransportFault::Permanent => false,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after try number `attempt`, from 1, on `host` failed. A function of its arguments and the seed.
    pub fn delay(&self, host: HostIx, attempt: u32) -> Duration {
        let multiplier = if self.multiplier.is_finite() { self.multiplier.max(1.0) } else { 1.0 };
        let growth = multiplier.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
        let maximum = self.maximum.as_secs_f64();
        let full = (self.initial.as_secs_f64() * growth).min(maximum);
        // Not a number: nothing times for ever.
        let full = if full.is_nan() { 0.0 } else { full };
        let jitter = if self.jitter.is_nan() { 0.0 } else { self.jitter.clamp(0.0, 1.0) };
        let delay = full * (1.0 - jitter * self.chance(host, attempt));
        Duration::try_from_secs_f64(delay).unwrap_or(self.maximum).min(self.maximum)
    }

    /// From 0 to below 1, evenly.
    fn chance(&self, host: HostIx, attempt: u32) -> f64 {
        let place = u64::from(host.0) << 32 | u64::from(attempt);
        let bits = scramble(self.seed ^ scramble(place));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014): neighbouring numbers come out unlike each other.
pub fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Hosts that wait to try again, each at most once.
#[derive(Debug, Default)]
pub(super) struct RetryTimers {
    by_time: BTreeSet<(RunTime, HostIx)>,
    by_host: BTreeMap<HostIx, RunTime>,
}

impl RetryTimers {
    pub(super) fn set(&mut self, host: HostIx, at: RunTime) {
        self.clear(host);
        self.by_time.insert((at, host));
        self.by_host.insert(host, at);
    }

    pub(super) fn clear(&mut self, host: HostIx) {
        if let Some(at) = self.by_host.remove(&host) {
            self.by_time.remove(&(at, host));
        }
    }

    pub(super) fn clear_all(&mut self) {
        self.by_time.clear();
        self.by_host.clear();
    }

    pub(super) fn next(&self) -> Option<RunTime> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes a host whose moment has come, the longest overdue first.
    pub(super) fn take_due(&mut self, now: RunTime) -> Option<HostIx> {
        let (at, host) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(host);
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 9,
            initial: Duration::from_secs(5),
            multiplier: 2.0,
            maximum: Duration::from_secs(60),
            jitter: 0.0,
            seed: 42,
        }
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let seconds: Vec<u64> = (1..=6).map(|attempt| policy().delay(HostIx(0), attempt).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60]);
        assert_eq!(policy().delay(HostIx(0), u32::MAX), policy().maximum);
    }

    #[test]
    fn jitter_takes_off_a_share_that_differs_by_host_and_repeats_with_the_seed() {
        let policy = RetryPolicy { jitter: 0.5, ..policy() };
        let waits: BTreeSet<Duration> = (0..1_000).map(|host| policy.delay(HostIx(host), 1)).collect();
        assert!(waits.len() > 990, "hosts come back in step");
        let (least, most) = (waits.first().unwrap().as_secs_f64(), waits.last().unwrap().as_secs_f64());
        assert!(least > 2.5 && least < 2.6 && most < 5.0 && most > 4.9, "{least} to {most}");
        assert_eq!(policy.delay(HostIx(7), 2), policy.clone().delay(HostIx(7), 2));
        let other = RetryPolicy { seed: 43, ..policy.clone() };
        assert_ne!(policy.delay(HostIx(7), 2), other.delay(HostIx(7), 2));
    }

    #[test]
    fn a_policy_of_nonsense_still_gives_a_bounded_wait() {
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            let policy = RetryPolicy { multiplier: nonsense, jitter: nonsense, ..policy() };
            for attempt in [0, 1, 2, u32::MAX] {
                assert!(policy.delay(HostIx(1), attempt) <= policy.maximum);
            }
        }
    }

    #[test]
    fn a_host_has_one_timer() {
        let mut timers = RetryTimers::default();
        let at = |seconds| RunTime(Duration::from_secs(seconds));
        timers.set(HostIx(1), at(5));
        timers.set(HostIx(1), at(9));
        assert_eq!(timers.take_due(at(5)), None);
        assert_eq!(timers.next(), Some(at(9)));
        assert_eq!(timers.take_due(at(9)), Some(HostIx(1)));
        assert_eq!(timers.next(), None);
    }
}
