//! Keywords of Ansible that `rustle-plan` and `rustle-parse` lose and have no field for. A file that somebody else made, or
//! completed by hand, may carry them: as `keywords`, a dict, of a play, a task or a handler.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::raw_task;
use super::source::shown;
use crate::plan::{Play, RunAs, Task};
use crate::template::Authored;

/// Where they stand, for messages.
const PLACE: &str = "in `keywords`";

/// # Errors
/// In a sentence: a keyword that a task does not have or that has no meaning here yet, or a value that is none of its.
pub(super) fn of_task(task: &mut Task, keywords: &Map) -> Result<(), String> {
    for (keyword, value) in keywords {
        if !raw_task::set(task, keyword, value, keywords, PLACE)? {
            return Err(format!("`{}` {PLACE} is no keyword of a task", shown(keyword)));
        }
    }
    Ok(())
}

/// Gives the user that the play's tasks run as if they do not say it themselves.
///
/// # Errors
/// As [`of_task`].
pub(super) fn of_play(play: &mut Play, keywords: &Map) -> Result<RunAs, String> {
    let mut run_as = RunAs::default();
    for (keyword, value) in keywords {
        let wrong = |wanted: &str| format!("`{keyword}` {PLACE} must be a {wanted}, not a {}", value.kind());
        let flag = || value.as_bool().ok_or_else(|| wrong("bool"));
        match keyword.as_str() {
            "any_errors_fatal" => play.any_errors_fatal = flag()?,
            "force_handlers" => play.force_handlers = flag()?,
            "gather_facts" => play.gather_facts = Some(flag()?),
            "max_fail_percentage" => {
                let percent = number(value).filter(|percent| (0.0..=100.0).contains(percent));
                play.max_fail_percentage = Some(percent.ok_or_else(|| wrong("percentage"))?);
            }
            "vars" => {
                let vars = value.as_map().ok_or_else(|| wrong("dict"))?;
                let vars = vars.iter().map(|(name, value)| (name.clone(), Authored::from_value(value.clone())));
                play.vars.extend(vars);
            }
            _ if raw_task::set_run_as(&mut run_as, keyword, value, PLACE)? => {}
            _ => return Err(format!("`{}` {PLACE} is no keyword of a play that is understood", shown(keyword))),
        }
    }
    Ok(run_as)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        other => other.as_i64().map(|number| number as f64),
    }
}
