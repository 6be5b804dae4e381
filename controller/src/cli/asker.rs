//! Whoever started the run, asked what `vars_prompt` wants to know. A run that goes on has the answers that were given then,
//! but for secret ones: those are kept nowhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IsTerminal;

use super::recording::JournalSettings;
use super::{CliError, chain};
use crate::input::playbook::{Ask, Question};
use crate::journal::Past;

/// Variables and what was said, in the order of the questions.
pub(super) type Answers = Vec<(String, String)>;

pub(super) struct Asker {
    /// Of the run that goes on, if it is one.
    kept: Option<RefCell<VecDeque<(String, String)>>>,
    /// What may be kept of the answers given now.
    given: RefCell<Answers>,
    /// It was said that there is nobody to ask.
    has_told: Cell<bool>,
}

impl Asker {
    /// # Errors
    /// The journal of the run that is to go on cannot be read.
    pub(super) fn of(journal: &JournalSettings) -> Result<Asker, CliError> {
        let Some(id) = journal.resume else { return Ok(Asker::new(None)) };
        let folder = journal.runs()?.find(&id.to_string()).map_err(|error| CliError::input(chain(&error)))?;
        let past = Past::open(&folder.journal()).map_err(|error| CliError::input(chain(&error)))?;
        let kept = past.header().inputs.answers.iter().cloned().collect();
        Ok(Asker::new(Some(kept)))
    }

    fn new(kept: Option<VecDeque<(String, String)>>) -> Asker {
        Asker { kept: kept.map(RefCell::new), given: RefCell::default(), has_told: Cell::new(false) }
    }

    pub(super) fn answers(&self) -> Answers {
        self.given.borrow().clone()
    }
}

impl Ask for Asker {
    fn ask(&self, question: &Question) -> Result<Option<String>, String> {
        if let Some(kept) = &self.kept {
            if !question.private {
                // Who had nobody to ask then has the default now, too.
                let mut kept = kept.borrow_mut();
                let is_next = kept.front().is_some_and(|(name, _)| *name == question.name);
                return Ok(if is_next { kept.pop_front().map(|(_, answer)| answer) } else { None });
            }
            super::notice(&format!(
                "the answer for `{}` is secret and was not kept: it is asked for again",
                question.name
            ));
        }
        if !std::io::stdin().is_terminal() {
            if !self.has_told.replace(true) {
                super::notice("[WARNING]: Not prompting as we are not in interactive mode");
            }
            return Ok(None);
        }
        let answer = Some(on_terminal(question)?);
        if let Some(answer) = answer.as_ref().filter(|_| !question.private) {
            self.given.borrow_mut().push((question.name.clone(), answer.clone()));
        }
        Ok(answer)
    }
}

fn on_terminal(question: &Question) -> Result<String, String> {
    let default = question.default.as_ref().filter(|_| !question.private);
    let text = match default {
        Some(default) => format!("{} [{default}]: ", question.text),
        None => format!("{}: ", question.text),
    };
    let ask = |text: &str| {
        let answer = if question.private { crate::prompt::secret(text) } else { crate::prompt::text(text) };
        answer.map_err(|error| error.to_string())
    };
    let mut complaint = "";
    loop {
        let answer = ask(&format!("{complaint}{text}"))?;
        if !question.confirm || ask(&format!("confirm {text}"))? == answer {
            return Ok(answer);
        }
        complaint = "***** VALUES ENTERED DO NOT MATCH ****\n";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, private: bool) -> Question {
        Question { name: name.into(), text: name.into(), private, confirm: false, default: None }
    }

    #[test]
    fn a_run_that_goes_on_has_the_answers_of_then_but_for_secret_ones() {
        let kept = [("a", "1"), ("b", "2")].map(|(name, answer)| (name.to_owned(), answer.to_owned()));
        let asker = Asker::new(Some(kept.into()));
        let said = |name| asker.ask(&question(name, false)).unwrap();
        assert_eq!(said("a").as_deref(), Some("1"));
        assert_eq!(said("nobody was there to be asked"), None);
        assert_eq!(said("b").as_deref(), Some("2"));
        assert_eq!(said("b"), None);
    }
}
