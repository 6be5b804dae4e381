//! One task of the tree, with everything around it, as the plan has it.

use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;

use super::around::{Around, Known};
use super::error::PlaybookError;
use super::keywords::{Keywords, Written, as_bool, not_vouched_for};
use super::module_defaults;
use super::tree::{LoopNode, TaskNode};
use crate::plan::{Background, Delegation, Failure, Keyword, KeywordValue, LoopControl, Looping, RunAs, Task, Until};
use crate::template::{Authored, Expression};

/// Tries after the first, and the time between two, where a task says only one of them.
const RETRIES: u32 = 3;
const DELAY: std::time::Duration = std::time::Duration::from_secs(5);

/// How often a task in the background is looked at.
const POLL: std::time::Duration = std::time::Duration::from_secs(15);

/// The task of `node`. `blank` is what a task of the play begins as.
///
/// # Errors
/// A keyword's value that cannot be used, or that would have to be known before any host is and is not.
pub(super) fn task(node: &TaskNode, around: &Around, known: &Known, blank: &Task) -> Result<Task, PlaybookError> {
    let keywords = around.keywords.around(&node.keywords);
    let lower = Lower { around, known, keywords: &keywords };
    let mut task = lower.inherited(blank)?;
    task.name = node.name.clone();
    task.module = node.call.module.clone();
    task.action = node.call.written.clone();
    task.args = node.call.args.clone();
    task.call = Some(Arc::clone(&node.call.origins));
    task.more_args = task.args.shift_remove(super::call::VARIABLE_PARAMS);
    module_defaults::apply(&mut task, &keywords, around, known)?;
    if node.call.local {
        task.delegation =
            Some(Delegation { to: Authored::literal("localhost"), facts: lower.or("delegate_facts", false)? });
    }
    task.vars = node.vars.clone();
    task.register = node.register.clone();
    task.looping = node.looped.as_ref().map(|looped| lower.looping(looped, &node.loop_control)).transpose()?;
    task.changed_when = node.changed_when.clone();
    task.failed_when = node.failed_when.clone();
    task.until = lower.until(node)?;
    task.background = lower.background(&node.numbers)?;
    if let Some(listen) = &node.listen {
        // Topics are no templates, unlike what `notify` says.
        task.listen = names(&listen.value.source());
    }
    task.position = Some(around.document.origin(node.at));
    Ok(task)
}

/// A task that stands in no file, with all that it inherits.
///
/// # Errors
/// As [`task`].
pub(super) fn generated(around: &Around, known: &Known, blank: &Task) -> Result<Task, PlaybookError> {
    Lower { around, known, keywords: &around.keywords }.inherited(blank)
}

struct Lower<'a> {
    around: &'a Around,
    known: &'a Known,
    /// The task's own among them.
    keywords: &'a Keywords,
}

impl Lower<'_> {
    fn inherited(&self, blank: &Task) -> Result<Task, PlaybookError> {
        let mut task = blank.clone();
        task.when = self.keywords.when.clone();
        task.tags = self.tags()?;
        task.layers = Arc::clone(&self.around.layers);
        task.failure = Failure {
            ignore_errors: self.or("ignore_errors", false)?,
            ignore_unreachable: self.or("ignore_unreachable", false)?,
            any_errors_fatal: self.or("any_errors_fatal", false)?,
        };
        if let Some(notify) = self.keywords.get("notify") {
            task.notify = names(&notify.value.source());
        }
        let nobody = Authored::Data("".into());
        if let Some(host) = self.keywords.get("delegate_to").filter(|host| host.value != nobody) {
            task.delegation = Some(Delegation { to: host.value.clone(), facts: self.or("delegate_facts", false)? });
        }
        task.run_once = self.or("run_once", false)?;
        task.throttle = self.or("throttle", 0)?;
        task.timeout = self.keyword("timeout")?;
        task.check_mode = self.keyword("check_mode")?;
        task.diff = self.keyword("diff")?;
        task.no_log = self.or("no_log", false)?;
        task.run_as = self.run_as()?;
        task.connection = self.keyword("connection")?;
        task.environment = self.keywords.environment.iter().map(|written| written.value.clone()).collect();
        task.within = self.around.within;
        task.role = self.around.role.clone();
        task.search = Some(self.around.search.clone());
        Ok(task)
    }

    fn run_as(&self) -> Result<RunAs, PlaybookError> {
        let written = |name: &str| self.keywords.get(name).map(|written| written.value.clone());
        let run_as = RunAs {
            wanted: self.keyword("become")?,
            user: written("become_user"),
            method: written("become_method"),
            flags: written("become_flags"),
            exe: written("become_exe"),
        };
        match (run_as.check(), self.keywords.get("become_method")) {
            (Err(what), Some(method)) => Err(self.around.wrong_at(&method.place, what)),
            _ => Ok(run_as),
        }
    }

    fn keyword<T: KeywordValue>(&self, name: &str) -> Result<Option<Keyword<T>>, PlaybookError> {
        let mut said: Option<Keyword<T>> = None;
        for written in self.keywords.outermost_first(name) {
            let inner = keyword(written, name, self.around)?;
            said = Some(match said {
                Some(outer) => inner.or_if_omitted(outer),
                None => inner,
            });
        }
        Ok(said)
    }

    fn or<T: KeywordValue>(&self, name: &str, default: T) -> Result<Keyword<T>, PlaybookError> {
        let said = self.keyword(name)?.map(|said| said.or_if_omitted(Keyword::Is(default.clone())));
        Ok(said.unwrap_or(Keyword::Is(default)))
    }

    fn tags(&self) -> Result<Vec<String>, PlaybookError> {
        let mut tags: Vec<String> = Vec::with_capacity(self.keywords.tags.len());
        for written in &self.keywords.tags {
            for tag in names(&self.known.render(written, self.around)?) {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
        Ok(tags)
    }

    fn looping(&self, node: &LoopNode, control: &IndexMap<String, Written>) -> Result<Looping, PlaybookError> {
        // A template among the names is the task's own business.
        let text = |name: &str| {
            let value = control.get(name).map(|written| written.value.source());
            value.filter(|value| !value.is_null()).map(|value| rustle_agent::module::shown(&value))
        };
        let flag = |name: &str, default: bool| -> Result<bool, PlaybookError> {
            let value = control.get(name).map(|written| self.known.render(written, self.around)).transpose()?;
            Ok(value.as_ref().and_then(as_bool).unwrap_or(default))
        };
        let default = LoopControl::default();
        let break_when = control.get("break_when").map(|written| break_conditions(&written.value)).unwrap_or_default();
        Ok(Looping {
            items: node.items.value.clone(),
            lookup: node.lookup.clone(),
            control: LoopControl {
                loop_var: text("loop_var").unwrap_or(default.loop_var),
                index_var: text("index_var"),
                label: control.get("label").map(|written| written.value.clone()),
                pause: control
                    .get("pause")
                    .map_or(Ok(default.pause), |written| keyword(written, "pause", self.around))?,
                extended: flag("extended", default.extended)?,
                extended_allitems: flag("extended_allitems", default.extended_allitems)?,
                break_when,
            },
        })
    }

    fn until(&self, node: &TaskNode) -> Result<Option<Until>, PlaybookError> {
        let retries = node.numbers.get("retries").map(|w| keyword(w, "retries", self.around)).transpose()?;
        if node.until.is_empty() && retries.is_none() {
            return Ok(None);
        }
        let delay = node.numbers.get("delay").map(|w| keyword(w, "delay", self.around)).transpose()?;
        Ok(Some(Until {
            conditions: node.until.clone(),
            retries: said_or(retries, RETRIES),
            delay: said_or(delay, DELAY),
        }))
    }

    fn background(&self, numbers: &IndexMap<&'static str, Written>) -> Result<Option<Background>, PlaybookError> {
        let Some(limit) = numbers.get("async") else { return Ok(None) };
        let poll = numbers.get("poll").map(|written| keyword(written, "poll", self.around)).transpose()?;
        Ok(Some(Background { limit: keyword(limit, "async", self.around)?, poll: said_or(poll, POLL) }))
    }
}

fn said_or<T: Clone>(said: Option<Keyword<T>>, default: T) -> Keyword<T> {
    said.map_or(Keyword::Is(default.clone()), |said| said.or_if_omitted(Keyword::Is(default)))
}

/// # Errors
/// What was wanted instead.
pub(super) fn keyword<T: KeywordValue>(
    written: &Written,
    name: &str,
    around: &Around,
) -> Result<Keyword<T>, PlaybookError> {
    match &written.value {
        Authored::Data(value) => T::of(value).map(Keyword::Is).ok_or_else(|| {
            around.wrong_at(&written.place, format!("`{name}` must be {}, not {}", T::WANTED, value.to_json()))
        }),
        template => Ok(Keyword::late(template.clone())),
    }
}

/// A name, or a list of them, lists within it flattened.
pub(super) fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::List(items) => items.iter().flat_map(names).collect(),
        one => vec![rustle_agent::module::shown(one)],
    }
}

/// One condition, or a list of them.
fn break_conditions(written: &Authored) -> Vec<Expression> {
    match written {
        Authored::List(items) => items.iter().flat_map(break_conditions).collect(),
        Authored::Data(Value::List(items)) => {
            items.iter().map(|item| rustle_agent::module::shown(item).into()).collect()
        }
        Authored::Data(Value::Null) => Vec::new(),
        Authored::Unsafe(text) => vec![not_vouched_for(text)],
        one => vec![rustle_agent::module::shown(&one.source()).into()],
    }
}
