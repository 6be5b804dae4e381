//! `meta` tasks: words to the run itself. What they do is the scheduler's and the variables' business; here is whether a host's
//! conditions want it, and the sentences that Ansible has for it.

use rustle_protocol::ModuleResult;

use super::conclude::TaskDone;
use super::result::Tried;
use super::task::TaskRun;
use crate::actions::Meta;
use crate::event::RunEvent;
use crate::vars::TaskVars;

impl TaskRun<'_> {
    /// Runs a `meta` task. It touches no host, so it cannot be lost on the way.
    pub(super) fn perform_meta(&self, meta: Meta, vars: &TaskVars) -> TaskDone {
        let host = self.host.as_str();
        let role = self.task.role.as_ref().map_or("", |role| role.name.as_str());
        let tried = match self.is_unmet(meta, vars) {
            Ok(false) => Tried::finished(ModuleResult::ok().with("msg", done(meta, host))),
            Ok(true) => {
                let mut result =
                    ModuleResult::ok().with("msg", left_out(meta, host)).with("skip_reason", skipped(meta, host, role));
                result.skipped = true;
                let mut tried = Tried::finished(result);
                tried.values.shift_remove("changed");
                tried
            }
            Err(failed) => *failed,
        };
        self.conclude(tried, Vec::new(), vars)
    }

    fn is_unmet(&self, meta: Meta, vars: &TaskVars) -> Result<bool, Box<Tried>> {
        if self.task.when.is_empty() {
            return Ok(false);
        }
        if matches!(meta, Meta::Noop | Meta::RefreshInventory | Meta::ResetConnection) {
            let message = format!("{} task does not support when conditional", meta.word());
            self.run.sink.emit(RunEvent::Warning { message, host: None });
            return Ok(false);
        }
        let scope = self.scope(vars).map_err(|message| Box::new(Tried::failed(message)))?;
        Ok(self.unmet_condition(&scope)?.is_some())
    }
}

/// What Ansible says of one that was done.
fn done(meta: Meta, host: &str) -> String {
    match meta {
        Meta::FlushHandlers => format!("triggered running handlers for {host}"),
        Meta::EndPlay => "ending play".to_owned(),
        Meta::EndBatch => "ending batch".to_owned(),
        Meta::EndHost => format!("ending play for {host}"),
        Meta::EndRole => format!("ending role for {host}"),
        Meta::ClearFacts => "facts cleared".to_owned(),
        Meta::ClearHostErrors => "cleared host errors".to_owned(),
        Meta::RefreshInventory => "inventory successfully refreshed".to_owned(),
        Meta::ResetConnection => "reset connection".to_owned(),
        Meta::Noop => "noop".to_owned(),
    }
}

/// The message of one whose conditions do not hold: its name, as Ansible has it but for one.
fn left_out(meta: Meta, host: &str) -> String {
    match meta {
        Meta::EndHost => format!("end_host conditional evaluated to false, continuing execution for {host}"),
        _ => meta.word().to_owned(),
    }
}

/// Why one whose conditions do not hold was left out, in Ansible's words.
fn skipped(meta: Meta, host: &str, role: &str) -> String {
    let instead = match meta {
        Meta::FlushHandlers => format!(", not running handlers for {host}"),
        Meta::EndPlay => ", continuing play".to_owned(),
        Meta::EndBatch => ", continuing current batch".to_owned(),
        Meta::EndHost => format!(", continuing execution for {host}"),
        // Without a comma, as Ansible has it.
        Meta::EndRole => format!("continuing role {role} for {host}"),
        Meta::ClearFacts => format!(", not clearing facts and fact cache for {host}"),
        Meta::ClearHostErrors => format!(", not clearing host error state for {host}"),
        Meta::RefreshInventory | Meta::ResetConnection | Meta::Noop => String::new(),
    };
    format!("{} conditional evaluated to False{instead}", meta.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentences_are_those_that_scripts_look_for() {
        assert_eq!(done(Meta::EndHost, "web1"), "ending play for web1");
        assert_eq!(
            skipped(Meta::EndHost, "web1", ""),
            "end_host conditional evaluated to False, continuing execution for web1"
        );
        assert_eq!(skipped(Meta::EndPlay, "web1", ""), "end_play conditional evaluated to False, continuing play");
    }
}
