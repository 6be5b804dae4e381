//! A task's loop on one host: where its items come from, what each of them is called, and when it ends.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustle_agent::module::short_name;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::call_key::LOOP_ITEMS_MAX;
use super::conclude::TaskDone;
use super::prepare::{in_keyword, unresolved};
use super::result::{Tried, of_loop};
use super::run::Progress;
use super::target::delegated_to;
use super::task::TaskRun;
use crate::dispatch::LinkError;
use crate::event::{ItemResult, RunEvent, TaskStatus};
use crate::fault::Fault;
use crate::journal::{ItemRecord, Record};
use crate::origin::Origin;
use crate::plan::{LoopControl, Looping};
use crate::template::{Authored, FILES_FOLDER, TemplateError, needs_rendering, python_repr, python_type};
use crate::vars::{Lesson, Scope, TaskVars, VarMap, Variable, is_variable_name};

/// The names under which a lookup of `with_…` finds its name and its terms. No author can write them.
const LOOKUP: &str = "__with_lookup";
const TERMS: &str = "__with_terms";

/// Ansible's words below a loop over something else than a list, and below a loop variable that can be none.
const LOOP_HELP: &str = "Provide a list of items/templates, or a template resolving to a list.";
const NAME_HELP: &str = "Variable names must be strings starting with a letter or underscore character, and contain only letters, \
                         numbers and underscores.";

/// Why a loop has no items, as Ansible says it: what is undefined keeps the task from its work, and anything else is told alone.
fn without_items(error: TemplateError) -> Fault {
    let is_alone = !error.is_undefined() && !matches!(error, TemplateError::Omitted | TemplateError::Deferred);
    if is_alone { Fault::from(error) } else { unresolved(error) }
}

impl TaskRun<'_> {
    /// The loop's items, rendered; `None` without a loop. A loop whose items cannot be had is no failure if a condition
    /// that needs no item says that the task does not run.
    pub(super) fn items(&self, vars: &TaskVars) -> Result<Option<Vec<Value>>, Box<Tried>> {
        let Some(looping) = &self.task.looping else { return Ok(None) };
        let scope = self.scope(vars).map_err(|message| Box::new(Tried::failed(message)))?;
        self.items_of(looping, vars, &scope).map(Some).map_err(|message| match self.unmet_condition(&scope) {
            Ok(Some(condition)) => Box::new(Tried::skipped(condition)),
            Ok(None) | Err(_) => Box::new(Tried::failed(message)),
        })
    }

    fn items_of(&self, looping: &Looping, vars: &TaskVars, scope: &Scope) -> Result<Vec<Value>, Fault> {
        let is_search = looping.lookup.as_deref().map(short_name) == Some("first_found");
        let rendered = match is_search {
            // It looks for the first that there is, so names that cannot be made yet are no error.
            true => self.run.templar().render_defined(&looping.items, scope).map(Option::unwrap_or_default),
            false => self.kept_items(looping, scope),
        };
        let rendered = rendered.map_err(without_items)?;
        let items = match &looping.lookup {
            None => rendered,
            Some(lookup) => {
                let asked = Arc::new(Origin::unknown("invoke_lookup()"));
                self.looked_up(lookup, rendered, vars).map_err(|error| without_items(error.at(Some(&asked))))?
            }
        };
        match items {
            Value::List(items) if items.len() > LOOP_ITEMS_MAX => {
                Err(format!("the loop has {} items; {LOOP_ITEMS_MAX} is the most", items.len()).into())
            }
            Value::List(items) => Ok(items),
            other => {
                let what = format!("The `loop` value must resolve to a 'list', not '{}'.", python_type(&other));
                Err(Fault::at(what, looping.items.origin().map(|origin| &**origin), LOOP_HELP))
            }
        }
    }

    /// The items, rendered. Those that hold what is encrypted are remembered as they are.
    fn kept_items(&self, looping: &Looping, scope: &Scope) -> Result<Value, TemplateError> {
        let templar = self.run.templar();
        let kept = templar.render_kept(&looping.items, scope)?.ok_or(TemplateError::Omitted)?;
        let kept = match kept {
            Authored::Data(items) | Authored::Unsafe(items) => return Ok(items),
            kept => kept,
        };
        let items = kept.plain(templar.vault())?;
        if let (Authored::List(kept), None) = (kept, &looping.lookup) {
            let sealed = kept.into_iter().enumerate().filter(|(_, item)| item.holds_sealed());
            *self.sealed_items.lock().unwrap_or_else(PoisonError::into_inner) =
                sealed.map(|(number, item)| (number, Arc::new(item))).collect();
        }
        Ok(items)
    }

    /// What the lookup of a `with_…` answers to these terms, which are data by now.
    fn looked_up(&self, lookup: &str, terms: Value, vars: &TaskVars) -> Result<Value, TemplateError> {
        let terms = match terms {
            Value::List(terms) => terms,
            one => vec![one],
        };
        let mut locals = vars.locals.as_deref().cloned().unwrap_or_default();
        locals.insert(LOOKUP.to_owned(), Variable::data(lookup));
        locals.insert(TERMS.to_owned(), Variable::data(Value::List(terms)));
        let scope = self.scope(&vars.with_locals(locals)).map_err(|message| TemplateError::Failed { message })?;
        let folder = match short_name(lookup) {
            "first_found" => format!(", {FILES_FOLDER}='{}'", self.files_folder()),
            _ => String::new(),
        };
        self.run.templar().expression(&format!("query({LOOKUP}, *{TERMS}{folder})"), &scope)
    }

    /// The folder of a role or a playbook where the task's own files are.
    fn files_folder(&self) -> &'static str {
        match short_name(&self.task.module) {
            "template" => "templates",
            "include_vars" => "vars",
            _ => "files",
        }
    }

    pub(super) async fn perform_loop(&self, items: Vec<Value>, vars: &TaskVars) -> Result<TaskDone, LinkError> {
        let (control, pause) = match self.control(vars) {
            Ok(rendered) => rendered,
            Err(message) => return Ok(self.conclude(Tried::failed(message), Vec::new(), vars)),
        };
        let control = &control;
        self.warn_of_taken_name(control, vars);
        let Progress { items: mut done, mut tries, is_over } = self.run.take_progress(self.host, self.work);
        let rest = if is_over { 0..0 } else { done.len()..items.len() };
        for number in rest {
            if number > 0 && !pause.is_zero() {
                self.wait(pause).await;
            }
            if self.cancel.is_cancelled() {
                break;
            }
            let item_vars = self.item_vars(control, &items, number, vars);
            let mut tried = match self.perform_item(number as u32, std::mem::take(&mut tries), &item_vars).await {
                Ok(tried) => tried,
                Err(error) => {
                    self.run.keep_progress(self.host, self.work, done);
                    return Err(error);
                }
            };
            note_names(&mut tried.values, control, &items[number], number, &item_vars);
            let label = self.label(control, &items[number], &item_vars, &mut tried);
            let lessons = self.lessons(&tried);
            self.learn(&lessons);
            let shown = Arc::new(self.shown_item(label, tried.clone(), &item_vars));
            self.run.sink.emit(RunEvent::ItemFinished {
                task: self.task.id,
                host: self.host.clone(),
                item: Arc::clone(&shown),
            });
            let is_last = self.breaks(control, &mut tried, &item_vars);
            self.keep_item(number as u32, &tried, &shown, lessons, is_last).await;
            done.push((tried, shown));
            if is_last {
                break;
            }
        }
        let (tried, shown): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        // As in Ansible: those that changed nothing, too, if another did.
        let was_done = |number: &usize| tried[*number].status != TaskStatus::Skipped;
        let notifying: Vec<TaskVars> = match self.task.notify.iter().any(|name| needs_rendering(name)) {
            true => (0..tried.len()).filter(was_done).map(|it| self.item_vars(control, &items, it, vars)).collect(),
            false => vec![vars.clone()],
        };
        // As in Ansible each item that failed has to say so.
        let ignore_errors = shown.iter().filter(|item| item.status.is_failure()).all(|item| item.ignored);
        Ok(self.conclude_as(of_loop(&tried), shown, vars, ignore_errors, &notifying))
    }

    /// An item that is over stays so: before the next one begins it is durable, and then its host may forget it.
    async fn keep_item(&self, item: u32, tried: &Tried, shown: &Arc<ItemResult>, lessons: Vec<Lesson>, is_last: bool) {
        if self.run.journal.is_none() {
            return;
        }
        let Tried { status, values, diff, warnings, .. } = tried.clone();
        let record = ItemRecord {
            host: self.host.clone(),
            task: self.task.id,
            round: self.work.round,
            item,
            status,
            values,
            diff,
            warnings,
            shown: Arc::clone(shown),
            lessons,
            is_last,
        };
        self.run.record(Record::Item(Box::new(record))).await;
        for (host, call) in self.take_calls().kept {
            self.run.environment.links.acknowledge(&host, &[call]);
        }
    }

    /// `loop_control` with the names it gives, which may be templates, and the pause between items.
    pub(super) fn control(&self, vars: &TaskVars) -> Result<(LoopControl, Duration), Fault> {
        let Some(looping) = &self.task.looping else { return Ok((LoopControl::default(), Duration::ZERO)) };
        let (control, scope) = (&looping.control, self.scope(vars)?);
        let named = |name: &String| {
            self.run.templar().render_text(name, &scope).map_err(|error| in_keyword("loop_control", None, error))
        };
        let loop_var = named(&control.loop_var)?;
        if !is_variable_name(&loop_var) {
            let what = format!("Invalid variable name {}.", python_repr(&loop_var.as_str().into()));
            return Err(Fault::at(what, None, NAME_HELP));
        }
        let index_var = control.index_var.as_ref().map(named).transpose()?;
        let pause = self.rendered(&control.pause, "pause", &scope)?;
        Ok((LoopControl { loop_var, index_var, ..control.clone() }, pause))
    }

    /// Tells, in Ansible's words, that the loop hides a variable of its author.
    fn warn_of_taken_name(&self, control: &LoopControl, vars: &TaskVars) {
        let is_taken = || self.scope(vars).is_ok_and(|scope| scope.contains(&control.loop_var));
        if is_taken() && self.run.is_first_to_hide(self.task.id) {
            let message = format!(
                "The loop variable '{}' is already in use. You should set the `loop_var` value in the `loop_control` option \
                 for the task to something else to avoid variable collisions and unexpected behavior.",
                control.loop_var
            );
            self.run.sink.emit(RunEvent::Warning { message, host: None });
        }
    }

    /// The task's variables with those that the loop gives the item at place `number`.
    pub(super) fn item_vars(&self, control: &LoopControl, items: &[Value], number: usize, vars: &TaskVars) -> TaskVars {
        let mut names = names_of(control, items, number, vars);
        if let Some(item) = self.sealed_items.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
            names.insert(control.loop_var.clone(), Variable::Authored(Arc::clone(item)));
        }
        TaskVars { locals: Some(Arc::new(names)), ..vars.clone() }
    }

    /// Whether `break_when` ends the loop after this item. A condition that fails is the item's failure.
    pub(super) fn breaks(&self, control: &LoopControl, tried: &mut Tried, vars: &TaskVars) -> bool {
        if control.break_when.is_empty() {
            return false;
        }
        match self.holds_of(&control.break_when, tried, vars) {
            Ok(holds) => holds,
            Err(error) => {
                tried.fail_before_work(unresolved(error));
                true
            }
        }
    }

    async fn wait(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// What is shown in the place of the item. A label that cannot be rendered is the item's failure, and the item is shown.
    pub(super) fn label(&self, control: &LoopControl, item: &Value, vars: &TaskVars, tried: &mut Tried) -> String {
        let shown = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => crate::template::python_text(other),
        };
        if self.is_secret() {
            return "(censored due to no_log)".to_owned();
        }
        match control.label.as_ref().map(|label| self.label_of(label, &self.with_result(tried, vars))) {
            None => shown(item),
            Some(Ok(label)) => shown(&label),
            Some(Err(why)) => {
                // Ansible, too, leaves it to this sentence alone.
                tried.fail(None);
                tried.values.insert("msg".into(), format!("Failed to template loop_control.label: {why}").into());
                shown(item)
            }
        }
    }

    fn label_of(&self, label: &Authored, vars: &TaskVars) -> Result<Value, String> {
        let scope = self.scope(vars)?;
        self.run.templar().render(label, &scope).map_err(|error| error.to_string())
    }

    pub(super) fn shown_item(&self, label: String, tried: Tried, vars: &TaskVars) -> ItemResult {
        let may_be_ignored = matches!(tried.status, TaskStatus::Failed | TaskStatus::TimedOut);
        let ignored = may_be_ignored && self.ignores_errors(vars);
        let tried = if self.is_secret() || tried.is_secret() { tried.censored() } else { tried };
        let delegated_to = delegated_to(&tried.values);
        let failed_in = tried.failed_in();
        let Tried { status, causes, values, diff, warnings, .. } = tried;
        ItemResult { label, status, ignored, failed_in, causes, values, diff, warnings, delegated_to }
    }
}

/// The variables that the loop gives the item at place `number`.
fn names_of(control: &LoopControl, items: &[Value], number: usize, vars: &TaskVars) -> VarMap {
    let mut names = vars.locals.as_deref().cloned().unwrap_or_default();
    names.insert(control.loop_var.clone(), Variable::data(items[number].clone()));
    names.insert("ansible_loop_var".to_owned(), Variable::data(control.loop_var.as_str()));
    if let Some(index) = &control.index_var {
        names.insert(index.clone(), Variable::data(number as i64));
        names.insert("ansible_index_var".to_owned(), Variable::data(index.as_str()));
    }
    if control.extended {
        let all = control.extended_allitems;
        names.insert("ansible_loop".to_owned(), Variable::data(Value::Map(extended(items, number, all))));
    }
    names
}

/// `ansible_loop`
fn extended(items: &[Value], number: usize, with_all: bool) -> Map {
    let length = items.len();
    let count = |number: usize| Value::Int(number as i64);
    let mut told = Map::new();
    if with_all {
        told.insert("allitems".to_owned(), items.iter().cloned().collect());
    }
    for (name, value) in [
        ("index", count(number + 1)),
        ("index0", count(number)),
        ("first", (number == 0).into()),
        ("last", (number + 1 == length).into()),
        ("length", count(length)),
        ("revindex", count(length - number)),
        ("revindex0", count(length - number - 1)),
    ] {
        told.insert(name.to_owned(), value);
    }
    let next = items.get(number + 1).map(|item| ("nextitem", item));
    let previous = number.checked_sub(1).map(|before| ("previtem", &items[before]));
    told.extend(next.into_iter().chain(previous).map(|(name, item)| (name.to_owned(), item.clone())));
    told
}

/// What an item's result says of its place in the loop.
pub(super) fn note_names(values: &mut Map, control: &LoopControl, item: &Value, number: usize, vars: &TaskVars) {
    values.insert(control.loop_var.clone(), item.clone());
    values.insert("ansible_loop_var".to_owned(), control.loop_var.as_str().into());
    if let Some(index) = &control.index_var {
        values.insert(index.clone(), Value::Int(number as i64));
        values.insert("ansible_index_var".to_owned(), index.as_str().into());
    }
    if let Some(extended) = vars.locals.as_ref().and_then(|locals| locals.get("ansible_loop")) {
        values.insert("ansible_loop".to_owned(), extended.source());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undefined_in_a_loop_is_the_tasks_fault_and_anything_else_is_told_alone() {
        let origin = Arc::new(Origin::unknown("invoke_lookup()"));
        let failed = without_items(TemplateError::failed("no file was found").at(Some(&origin)));
        assert_eq!(failed.to_string(), "no file was found");
        assert_eq!(failed.into_causes()[0].origin.as_ref(), Some(&*origin));
        let undefined = without_items(TemplateError::undefined("nope").at(Some(&origin)));
        assert_eq!(undefined.to_string(), "Task failed: 'nope' is undefined");
    }

    #[test]
    fn an_extended_loop_tells_where_the_item_stands() {
        let items: Vec<Value> = ["a", "b", "c"].into_iter().map(Value::from).collect();
        let told = |number| serde_json::to_string(&Value::Map(extended(&items, number, false))).unwrap();
        assert_eq!(
            told(0),
            r#"{"index":1,"index0":0,"first":true,"last":false,"length":3,"revindex":3,"revindex0":2,"nextitem":"b"}"#
        );
        assert_eq!(
            told(2),
            r#"{"index":3,"index0":2,"first":false,"last":true,"length":3,"revindex":1,"revindex0":0,"previtem":"b"}"#
        );
    }
}
