//! What hosts include joins the steps and handlers that the model has.

use super::World;
use crate::plan::TaskId;
use crate::scheduler::{HandlerStep, HostIx, Splice, Step};

impl World {
    /// The host goes through what it included next, and nobody else who does not include it as well.
    pub(super) fn join(&mut self, host: HostIx, task: TaskId, included: &[Splice]) {
        let Some(step) = self.step(task) else { return self.join_handlers(host, task, included) };
        let play = self.play.unwrap();
        let depth = self.play().steps[step].depth;
        let behind = self.play().steps[step + 1..].iter().take_while(|other| other.depth > depth).count();
        let mut place = step + 1 + behind;
        for splice in included {
            let known = self.step(splice.steps[0].task);
            for (number, joining) in splice.steps.iter().enumerate() {
                let steps = &mut self.program.plays[play].steps;
                match known {
                    Some(known) => steps[known + number].hosts.get_or_insert_default().insert(host),
                    None => {
                        let only = Some([host].into_iter().collect());
                        steps.insert(place, Step { hosts: only, depth: depth + 1, ..joining.clone() });
                        self.move_on(place);
                    }
                }
                place += usize::from(known.is_none());
            }
            if known.is_none() {
                self.program.plays[play].roles.extend(splice.roles.clone());
                self.join_handlers_of_role(splice);
            }
        }
    }

    /// Handlers come last, and run in the place of those that they take over.
    fn join_handlers_of_role(&mut self, splice: &Splice) {
        self.program.plays[self.play.unwrap()].handlers.extend(&splice.handlers);
        for (old, new) in &splice.superseded {
            let (old, new) = (self.handler(*old).unwrap(), self.handler(*new).unwrap());
            for seen in self.batch.values_mut().filter(|seen| seen.pending.contains(&old)) {
                seen.pending.remove(&old);
                seen.pending.insert(new);
            }
        }
    }

    /// The host is notified of what its handler included.
    fn join_handlers(&mut self, host: HostIx, task: TaskId, included: &[Splice]) {
        let (play, including) = (self.play.unwrap(), self.handler(task).unwrap());
        let depth = self.play().handlers[including].depth + 1;
        for joining in included.iter().flat_map(|splice| &splice.steps) {
            if self.handler(joining.task).is_none() {
                let behind = self.play().handlers[including + 1..].iter().take_while(|other| other.depth >= depth);
                let place = including + 1 + behind.count();
                let handler =
                    HandlerStep { task: joining.task, on_failure: joining.on_failure, turns: joining.turns, depth };
                self.program.plays[play].handlers.insert(place, handler);
                let moved = |handler: usize| if handler >= place { handler + 1 } else { handler };
                for seen in self.batch.values_mut() {
                    seen.pending = std::mem::take(&mut seen.pending).into_iter().map(moved).collect();
                    seen.flushed = std::mem::take(&mut seen.flushed).into_iter().map(moved).collect();
                }
            }
            let handler = self.handler(joining.task).unwrap();
            self.batch.get_mut(&host).unwrap().pending.insert(handler);
        }
    }

    fn move_on(&mut self, place: usize) {
        let moved = |step: usize| if step >= place { step + 1 } else { step };
        for seen in self.batch.values_mut() {
            seen.finished = std::mem::take(&mut seen.finished).into_iter().map(moved).collect();
            seen.last_step = moved(seen.last_step);
        }
    }
}
