//! What names a call: one key for each time that a module may really run, and the same key for the same time.
//!
//! An agent runs a key at most once and answers it again as often as it is asked. So a call that is sent again because a
//! connection broke keeps its key, and whatever is another run of the module has another one: the next try of `until`,
//! the next item, the next call of the same task, the same task of another host that is delegated here, and a call that
//! the agent's death cut off and that is repeated.

use rustle_protocol::{CallKey, RunId};

use crate::plan::TaskId;
use crate::scheduler::{HostIx, Work};

/// Items in one loop. A list longer than this is a mistake, and its results would not fit anywhere.
pub(super) const LOOP_ITEMS_MAX: usize = 100_000;

/// Bits of `item` that number the loop's item. The rest number the task's calls for it.
const ITEM_BITS: u32 = 17;
/// Bits of `attempt` that number the tries of `until`. The rest count how often the call was cut off.
const TRY_BITS: u32 = 24;
/// Bits of `round` that number a handler's flush. The rest name the host whose task is delegated.
const ROUND_BITS: u32 = 12;

/// Calls that one task may make for one item.
pub(super) const CALLS_MAX: u32 = 1 << (u32::BITS - ITEM_BITS);

const _: () = assert!(LOOP_ITEMS_MAX <= 1 << ITEM_BITS);

/// One try of one item of a task on one host; [`call`](Self::call) gives the keys of its calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct TryKey {
    pub(super) run: RunId,
    pub(super) work: Work,
    pub(super) item: u32,
    /// From 1.
    pub(super) until_try: u32,
    /// How often the agent's death has cut this task off.
    pub(super) cut_off: u32,
    /// The host whose task this is, if another one runs it.
    pub(super) delegated_by: Option<HostIx>,
}

impl TryKey {
    /// The key of call number `call`, from 0; `None` beyond [`CALLS_MAX`]. Tries beyond what can be told apart are answered
    /// as the last that can.
    pub(super) fn call(&self, call: u32) -> Option<CallKey> {
        let Work { task: TaskId(task), round, .. } = self.work;
        let delegated = self.delegated_by.map_or(0, |HostIx(host)| host + 1);
        let low = |number: u32, bits: u32| number.min((1 << bits) - 1);
        (call < CALLS_MAX).then(|| CallKey {
            run: self.run,
            task,
            round: low(round, ROUND_BITS) | delegated << ROUND_BITS,
            item: low(self.item, ITEM_BITS) | call << ITEM_BITS,
            attempt: low(self.until_try, TRY_BITS) | low(self.cut_off, u32::BITS - TRY_BITS) << TRY_BITS,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::event::TaskKind;

    fn first() -> TryKey {
        let work = Work { task: TaskId(7), kind: TaskKind::Task, round: 0, rescued: false };
        TryKey { run: RunId::from_u128(1), work, item: 0, until_try: 1, cut_off: 0, delegated_by: None }
    }

    #[test]
    fn whatever_is_another_run_of_the_module_has_another_key() {
        let work = |task, round| Work { task: TaskId(task), kind: TaskKind::Task, round, rescued: false };
        let other = [
            first(),
            TryKey { work: work(8, 0), ..first() },
            TryKey { work: work(7, 1), ..first() },
            TryKey { item: 1, ..first() },
            TryKey { item: u32::try_from(LOOP_ITEMS_MAX - 1).unwrap(), ..first() },
            TryKey { until_try: 2, ..first() },
            TryKey { cut_off: 1, ..first() },
            TryKey { delegated_by: Some(HostIx(0)), ..first() },
            TryKey { delegated_by: Some(HostIx(99_999)), ..first() },
        ];
        let calls = [0, 1, CALLS_MAX - 1];
        let keys: HashSet<_> = other.iter().flat_map(|key| calls.map(|call| key.call(call).unwrap())).collect();
        assert_eq!(keys.len(), other.len() * calls.len());
        assert_eq!(first().call(CALLS_MAX), None);
    }
}
