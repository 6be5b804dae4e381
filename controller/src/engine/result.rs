//! From what a module returned to what the play sees: Ansible's result dictionary, and how the task stands.

use rustle_protocol::result::Diff;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::event::{CENSORED, FailedIn, TaskStatus};
use crate::fault::{Cause, Fault};

/// What a failed result has under this name.
const EXCEPTION: &str = "exception";
/// What it says of a traceback that nobody asked for.
const NO_TRACEBACK: &str = "(traceback unavailable)";

/// One try of one item: the result dictionary and what it amounts to.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) status: TaskStatus,
    /// Of a failure; without meaning else.
    pub(super) failed_in: Option<FailedIn>,
    /// Of a failure that has more than one: its text has them all.
    pub(super) causes: Vec<Cause>,
    pub(super) values: Map,
    pub(super) diff: Vec<Diff>,
    pub(super) warnings: Vec<String>,
}

impl Tried {
    pub(super) fn of(result: ModuleResult, status: TaskStatus) -> Tried {
        let ModuleResult { changed, failed, skipped, diff, warnings, .. } = &result;
        let (diff, warnings) = (diff.clone(), warnings.clone());
        let mut values = Map::with_capacity(result.values().len() + 4);
        values.insert("changed".into(), (*changed).into());
        values.extend(with_lines(result.values()));
        // Ansible says of what was skipped neither that it failed nor that it did not; a module that skips its work may.
        if *skipped {
            values.insert("skipped".into(), true.into());
        } else {
            values.insert("failed".into(), (*failed).into());
        }
        if !warnings.is_empty() {
            values.insert("warnings".into(), warnings.iter().map(|warning| Value::from(warning.as_str())).collect());
        }
        Tried { status, failed_in: None, causes: Vec::new(), values, diff, warnings }
    }

    /// The module came to its end.
    pub(super) fn finished(result: ModuleResult) -> Tried {
        let status = match &result {
            ModuleResult { failed: true, .. } => TaskStatus::Failed,
            ModuleResult { skipped: true, .. } => TaskStatus::Skipped,
            ModuleResult { changed: true, .. } => TaskStatus::Changed,
            _ => TaskStatus::Ok,
        };
        Tried::of(result, status)
    }

    /// The task never got to its module: a template that cannot be rendered, say.
    pub(super) fn failed(fault: impl Into<Fault>) -> Tried {
        let fault = fault.into();
        Tried::finished(ModuleResult::failed(fault.to_string())).found_in(FailedIn::Task).because(fault)
    }

    /// Why it has failed, step by step.
    pub(super) fn because(mut self, fault: Fault) -> Tried {
        self.causes = fault.into_causes();
        self
    }

    pub(super) fn found_in(mut self, place: FailedIn) -> Tried {
        self.failed_in = Some(place);
        self
    }

    /// Where the failure came about, if it is one.
    pub(super) fn failed_in(&self) -> Option<FailedIn> {
        self.failed_in.filter(|_| self.status.is_failure())
    }

    pub(super) fn skipped(condition: &str) -> Tried {
        // `when: false` is no text.
        let condition = if condition == "False" { Value::Bool(false) } else { condition.into() };
        let mut result = ModuleResult::ok().with("false_condition", condition);
        result.skipped = true;
        Tried::finished(result.with("skip_reason", "Conditional result was False"))
    }

    /// Puts the differences among what is registered.
    pub(super) fn with_diffs(mut self, as_list: bool) -> Tried {
        let diff = match self.diff.as_slice() {
            [] => return self,
            [diff] if !as_list => diff.to_value(),
            diffs => diffs.iter().map(Diff::to_value).collect(),
        };
        self.values.insert("diff".to_owned(), diff);
        self
    }

    pub(super) fn set_changed(&mut self, changed: bool) {
        self.values.insert("changed".into(), changed.into());
        if matches!(self.status, TaskStatus::Ok | TaskStatus::Changed) {
            self.status = if changed { TaskStatus::Changed } else { TaskStatus::Ok };
        }
    }

    /// Makes a failure of it, which came about there.
    pub(super) fn fail(&mut self, place: Option<FailedIn>) {
        self.set_failed(true);
        self.failed_in = place;
    }

    /// As if it had failed before its work.
    pub(super) fn fail_before_work(&mut self, fault: Fault) {
        self.values.insert("msg".into(), fault.to_string().into());
        self.fail(Some(FailedIn::Task));
        self.causes = fault.into_causes();
    }

    fn set_failed(&mut self, failed: bool) {
        self.values.insert("failed".into(), failed.into());
        self.status = match (failed, self.is_changed()) {
            (true, _) => TaskStatus::Failed,
            (false, true) => TaskStatus::Changed,
            (false, false) => TaskStatus::Ok,
        };
    }

    /// All tries that `until` had are used up. That is registered as a failure, but where `failed_when` has said of the last
    /// try that it is none, the play goes on.
    pub(super) fn give_up(&mut self) {
        if self.values.get("failed_when_result") == Some(&Value::Bool(false)) {
            self.values.insert("failed".into(), true.into());
        } else {
            self.fail(self.failed_in().or(Some(FailedIn::Action)));
        }
    }

    /// `failed_when` has said that this is no failure.
    pub(super) fn excuse(&mut self) {
        if self.status.is_failure() {
            self.values.shift_remove(EXCEPTION);
            self.values.insert("failed_when_suppressed_exception".into(), NO_TRACEBACK.into());
        }
        self.set_failed(false);
    }

    pub(super) fn is_changed(&self) -> bool {
        self.values.get("changed") == Some(&Value::Bool(true))
    }

    /// Whether the result itself says that it must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.values.get("_ansible_no_log") == Some(&Value::Bool(true))
    }

    /// Only what may be shown of a result that must not be.
    pub(super) fn censored(mut self) -> Tried {
        let kept = ["changed", "failed", "skipped", "attempts", "_ansible_delegated_vars"];
        self.values.retain(|name, _| kept.contains(&name.as_str()));
        self.values.insert("censored".into(), CENSORED.into());
        self.causes.clear();
        self.diff.clear();
        self.warnings.clear();
        self
    }
}

/// What a variable is given of a task's result, or of an item's: without what is only for the controller, and with what
/// Ansible says in the place of a traceback.
pub(super) fn registered(values: &Map) -> Map {
    let is_public = |name: &str| !name.starts_with("_ansible_");
    let kept = values.iter().filter(|(name, _)| is_public(name));
    let mut kept: Map = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    let is = |name: &str| kept.get(name) == Some(&Value::Bool(true));
    if is("failed") || is("unreachable") {
        kept.entry(EXCEPTION.to_owned()).or_insert_with(|| NO_TRACEBACK.into());
    }
    kept
}

/// As [`registered`], of a loop: what its items came to stands in `results`.
pub(super) fn registered_loop(values: &Map) -> Map {
    let mut kept = registered(values);
    kept.shift_remove(EXCEPTION);
    if let Some(Value::List(items)) = kept.get_mut("results") {
        for item in items.iter_mut() {
            if let Value::Map(values) = item {
                *values = registered(values);
            }
        }
    }
    kept
}

/// The same values, and output also line by line.
pub(super) fn with_lines(values: &Map) -> Map {
    let mut all = Map::with_capacity(values.len() + 2);
    for (name, value) in values {
        all.insert(name.clone(), value.clone());
        if let (Some(lines), Value::String(text)) = (lines_name(name), value) {
            all.insert(lines.to_owned(), lines_of(text).map(Value::from).collect());
        }
    }
    all
}

/// Lines as Python splits them: a carriage return that stands alone ends one, too, as do form feeds and the like.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    const ENDS: [char; 10] =
        ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.find(ENDS) else { return Some(std::mem::take(&mut rest)) };
        let (line, behind) = rest.split_at(end);
        let width = if behind.starts_with("\r\n") { 2 } else { behind.chars().next().map_or(0, char::len_utf8) };
        rest = &behind[width..];
        Some(line)
    })
}

fn lines_name(name: &str) -> Option<&'static str> {
    match name {
        "stdout" => Some("stdout_lines"),
        "stderr" => Some("stderr_lines"),
        _ => None,
    }
}

/// The results of a loop's items as one, under Ansible's names.
pub(super) fn of_loop(items: &[Tried]) -> Tried {
    let worst = items.iter().map(|item| item.status).max_by_key(|status| severity(*status));
    let all_skipped = items.iter().all(|item| item.status == TaskStatus::Skipped);
    let status = match worst {
        Some(status) if status.is_failure() => status,
        None => TaskStatus::Skipped,
        _ if all_skipped => TaskStatus::Skipped,
        _ if items.iter().any(Tried::is_changed) => TaskStatus::Changed,
        _ => TaskStatus::Ok,
    };
    let (name, sentence) = match status {
        TaskStatus::Skipped if items.is_empty() => ("skipped_reason", "No items in the list"),
        TaskStatus::Skipped => ("msg", "All items skipped"),
        status if status.is_failure() => ("msg", "One or more items failed"),
        _ => ("msg", "All items completed"),
    };
    let mut values = Map::new();
    values.insert("results".into(), items.iter().map(|item| Value::Map(item.values.clone())).collect());
    values.insert("skipped".into(), (status == TaskStatus::Skipped).into());
    if status.is_failure() {
        values.insert("failed".into(), true.into());
    }
    values.insert(name.into(), sentence.into());
    values.insert("changed".into(), items.iter().any(Tried::is_changed).into());
    let failed_in = items.iter().find(|item| item.status == status).and_then(Tried::failed_in);
    Tried { status, failed_in, causes: Vec::new(), values, diff: Vec::new(), warnings: Vec::new() }
}

fn severity(status: TaskStatus) -> u8 {
    match status {
        TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Skipped => 0,
        TaskStatus::Failed => 1,
        TaskStatus::TimedOut => 2,
        TaskStatus::Cancelled => 3,
        TaskStatus::Unreachable => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::lines_of;

    #[test]
    fn text_is_split_into_lines_as_python_splits_it() {
        for (text, lines) in [
            ("", &[][..]),
            ("a\nb\n", &["a", "b"]),
            ("a\r\nb\rc", &["a", "b", "c"]),
            ("5%\r10%\r\n\ndone", &["5%", "10%", "", "done"]),
            ("a\u{b}b\u{2028}c\u{85}", &["a", "b", "c"]),
            ("\n", &[""]),
        ] {
            assert_eq!(lines_of(text).collect::<Vec<_>>(), lines, "{text:?}");
        }
    }
}
