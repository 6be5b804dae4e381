//! Why something could not be done, step by step from what was wanted down to what is wrong.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::origin::Origin;
use crate::template::TemplateError;

/// A step on the way to what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What was being done, without the reason; the last one's says what is wrong.
    pub message: String,
    /// What text it was about. Without one it is about that of the step before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// What its author can do, in Ansible's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
}

/// What went wrong, and on the way to what. As text it is one sentence: the steps, outermost first, with colons between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    causes: Vec<Cause>,
}

impl Fault {
    /// Puts a step before the others: what was being done, about the text at `origin`.
    #[must_use]
    pub(crate) fn within(mut self, doing: impl Into<String>, origin: Option<&Origin>) -> Fault {
        self.causes.insert(0, Cause { message: doing.into(), origin: origin.cloned(), help: None });
        self
    }

    /// As Ansible begins what keeps a task from its work.
    #[must_use]
    pub(crate) fn of_task(self) -> Fault {
        self.within("Task failed", None)
    }

    /// One step alone: what is wrong with the text at `origin`, and what its author can do.
    pub(crate) fn at(message: String, origin: Option<&Origin>, help: &str) -> Fault {
        Fault { causes: vec![Cause { message, origin: origin.cloned(), help: Some(help.to_owned()) }] }
    }

    /// The steps; none where there is one alone that the text says whole, about the task itself.
    pub(crate) fn into_causes(self) -> Vec<Cause> {
        match &self.causes[..] {
            [Cause { help: None, origin: None, .. }] => Vec::new(),
            _ => self.causes,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, cause) in self.causes.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { ": " })?;
            f.write_str(&cause.message)?;
        }
        Ok(())
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault { causes: vec![Cause { message, origin: None, help: None }] }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Fault {
        Fault::from(message.to_owned())
    }
}

impl From<TemplateError> for Fault {
    fn from(error: TemplateError) -> Fault {
        match error {
            TemplateError::At { origin, error } => {
                let mut fault = Fault::from(*error);
                if let Some(first) = fault.causes.first_mut() {
                    first.origin.get_or_insert_with(|| (*origin).clone());
                }
                fault
            }
            TemplateError::Within { doing, error } => Fault::from(*error).within(doing, None),
            TemplateError::Untrusted { ref text } => {
                let origin = Some(Origin::unknown(text));
                Fault { causes: vec![Cause { message: error.to_string(), origin, help: help(&error) }] }
            }
            TemplateError::Undecryptable { .. } => {
                let origin = error.undecryptable().and_then(|sealed| sealed.origin());
                Fault { causes: vec![Cause { message: error.to_string(), origin, help: None }] }
            }
            other => Fault { causes: vec![Cause { message: other.to_string(), origin: None, help: help(&other) }] },
        }
    }
}

/// What Ansible says below some faults.
fn help(error: &TemplateError) -> Option<String> {
    let help = match error {
        TemplateError::Untrusted { .. } => {
            "Templates and expressions must be defined by trusted sources such as playbooks or roles, not untrusted \
             sources such as module results."
        }
        TemplateError::NotBoolean { .. } | TemplateError::EmptyCondition | TemplateError::NotText => {
            "Broken conditionals can be temporarily allowed with the `ALLOW_BROKEN_CONDITIONALS` configuration option."
        }
        _ => return None,
    };
    Some(help.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn origin(line: u32) -> Origin {
        Origin { file: Path::new("/p/site.yml").into(), line: Some(line), column: Some(1), text: None }
    }

    #[test]
    fn the_steps_to_a_fault_are_one_sentence_and_keep_their_places() {
        let undefined = TemplateError::undefined("nope").at(Some(&Arc::new(origin(4))));
        let in_argument = undefined.in_argument("msg").at(Some(&Arc::new(origin(9))));
        let fault = Fault::from(in_argument).within("Task failed", Some(&origin(8)));
        assert_eq!(fault.to_string(), "Task failed: Error while resolving value for 'msg': 'nope' is undefined");
        let lines: Vec<_> = fault.into_causes().into_iter().map(|cause| cause.origin.and_then(|at| at.line)).collect();
        assert_eq!(lines, [Some(8), Some(9), Some(4)]);
    }

    #[test]
    fn a_fault_further_in_keeps_its_own_place() {
        let (inner, outer) = (Arc::new(origin(4)), Arc::new(origin(9)));
        let error = TemplateError::undefined("nope").at(Some(&inner)).at(Some(&outer));
        assert_eq!(Fault::from(error).of_task().into_causes()[1].origin, Some(origin(4)));
        assert!(Fault::from("alone").into_causes().is_empty());
    }
}
