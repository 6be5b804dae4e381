//! `--step`: asks before each task.

use std::collections::HashSet;
use std::io::{BufRead, Write};

use tokio::task::JoinHandle;

use crate::event::TaskKind;
use crate::plan::TaskId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Yes, and ask no more.
    Continue,
    /// Nobody is there to answer.
    End,
}

#[derive(Default)]
pub(super) struct Stepper {
    asking: Option<(TaskId, JoinHandle<Answer>)>,
    unwanted: HashSet<TaskId>,
}

impl Stepper {
    /// Asks on the terminal, without holding up anything but the dispatch of tasks.
    pub(super) fn ask(&mut self, task: TaskId, kind: TaskKind, name: &str) {
        let word = match kind {
            TaskKind::Task => "TASK",
            TaskKind::Handler => "HANDLER",
        };
        let question = format!("Perform task: {word}: {name} (N)o/(y)es/(c)ontinue: ");
        self.asking = Some((task, tokio::task::spawn_blocking(move || ask(&question))));
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn skips(&self, task: TaskId) -> bool {
        self.unwanted.contains(&task)
    }

    /// Waits for the answer to the question asked last; for ever if there is none.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn answered(stepper: &mut Option<Stepper>) -> Answer {
        let Some(stepper) = stepper else { return std::future::pending().await };
        let Some((task, asking)) = &mut stepper.asking else { return std::future::pending().await };
        let answer = asking.await.unwrap_or(Answer::No);
        match answer {
            Answer::No | Answer::End => {
                stepper.unwanted.insert(*task);
            }
            Answer::Yes | Answer::Continue => {
                stepper.unwanted.remove(task);
            }
        }
        stepper.asking = None;
        answer
    }
}

/// Anything but yes and continue is no.
fn ask(question: &str) -> Answer {
    let _asking = crate::prompt::Asking::begin();
    let mut error = std::io::stderr().lock();
    // A question that cannot be shown is answered by whoever can see the prompt's absence: with no.
    let _ = write!(error, "{question}").and_then(|()| error.flush());
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => Answer::End,
        Ok(_) => answer(&line),
    }
}

fn answer(line: &str) -> Answer {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        "c" | "continue" => Answer::Continue,
        _ => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_yes_and_continue_is_no() {
        assert_eq!(answer("y\n"), Answer::Yes);
        assert_eq!(answer(" Yes "), Answer::Yes);
        assert_eq!(answer("c\n"), Answer::Continue);
        for line in ["", "\n", "n", "yup", "no"] {
            assert_eq!(answer(line), Answer::No, "{line:?}");
        }
    }
}
