//! What one run consists of, shared by everything that works on it. Read-only but for what hosts report.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustle_protocol::{HostName, Password, RunId};

use super::engine_api::Environment;
use super::facts_cache::{FactsCache, FactsCacheSettings};
use super::include::{Additions, TaskRef};
use super::late_vars::LateVars;
use super::recorder::Recorded;
use super::result::Tried;
use super::run_as::BecomeSettings;
use super::sink::EventSink;
use crate::event::{ItemResult, RunEvent};
use crate::journal::{Growth, Journal, Record};
use crate::plan::{Plan, PlayId, RunAs, TagFilter, Task, TaskId};
use crate::scheduler::{Limits, Work};
use crate::template::{Conditionals, Templar, Untrusted, needs_rendering};
use crate::vars::{FACTS_GATHERED, Layer, PlayVars, Precedence, Selection, TaskMagic, TaskVars, VarMap, Variable};

/// How tasks are run, whatever the plan says.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub check: bool,
    pub diff: bool,
    /// As `-v` repeated.
    pub verbosity: u8,
    /// For tasks that have none of their own; zero for none.
    pub timeout: Duration,
    /// Ask agents for output while tasks run.
    pub live_output: bool,
    /// `become` for tasks that say nothing.
    pub run_as: Option<RunAs>,
    /// For hosts without `ansible_become_password`.
    pub become_password: Option<Password>,
    /// What was set about each method, by its name.
    pub become_settings: BTreeMap<&'static str, BecomeSettings>,
    pub limits: Limits,
    /// Where facts are kept between runs.
    pub facts_cache: Option<FactsCacheSettings>,
    /// Begin without the facts that were kept.
    pub flush_facts: bool,
    /// Which of the tasks that others include take part.
    pub tags: TagFilter,
    /// Ask before each task.
    pub step: bool,
    /// Tell of each host that comes to a task.
    pub tells_arrivals: bool,
    /// What results of conditions are accepted.
    pub conditionals: Conditionals,
    /// What is done about text that looks like a template and that nobody vouches for.
    pub untrusted: Untrusted,
    /// A notified name that nobody answers to ends the run; otherwise it is a warning.
    pub unknown_handler_ends_run: bool,
}

impl Default for RunOptions {
    /// Changes are made, tasks get 600 s, limits are [`Limits::default`].
    fn default() -> RunOptions {
        RunOptions {
            check: false,
            diff: false,
            verbosity: 0,
            timeout: Duration::from_secs(600),
            live_output: false,
            run_as: None,
            become_password: None,
            become_settings: BTreeMap::new(),
            limits: Limits::default(),
            facts_cache: None,
            flush_facts: false,
            tags: TagFilter::default(),
            step: false,
            tells_arrivals: false,
            conditionals: Conditionals::Lenient,
            untrusted: Untrusted::Ignore,
            unknown_handler_ends_run: false,
        }
    }
}

pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) plan: Plan,
    pub(super) environment: Environment,
    pub(super) options: RunOptions,
    pub(super) sink: EventSink,
    pub(super) journal: Option<Journal>,
    task_vars: Vec<TaskVars>,
    /// By play and by name or topic.
    handlers: Vec<BTreeMap<String, Answering>>,
    /// Loops that a lost connection has cut in two.
    progress: Mutex<HashMap<(HostName, TaskId, u32), Progress>>,
    /// Tasks whose loop is known to hide a variable: told once, not by every host.
    hiding: Mutex<HashSet<TaskId>>,
    /// How often the agent's death has cut a task off.
    cut_off: Mutex<HashMap<(HostName, TaskId, u32), u32>>,
    facts_cache: Option<FactsCache>,
    pub(super) additions: Additions,
    pub(super) late_vars: LateVars,
}

/// How far a host is in a task that is cut in two.
#[derive(Default)]
pub(super) struct Progress {
    /// Items of the loop that are over, from the first.
    pub(super) items: Vec<ItemDone>,
    /// Tries of the item after them that did not reach what `until` waits for.
    pub(super) tries: u32,
    /// The loop ended with the last of these items, whatever comes after it.
    pub(super) is_over: bool,
}

/// A loop item that is over.
pub(super) type ItemDone = (Tried, Arc<ItemResult>);

impl Run {
    pub(super) fn new(
        recorded: &Recorded,
        plan: Plan,
        environment: Environment,
        options: RunOptions,
        sink: EventSink,
    ) -> Run {
        let (id, journal) = (recorded.id, recorded.journal.clone());
        let task_vars = plan.tasks.iter().map(task_vars).collect();
        let handlers = plan.plays.iter().map(|play| handlers(&plan, &play.handlers)).collect();
        let facts_cache = options.facts_cache.clone().map(FactsCache::new);
        let (progress, hiding, cut_off) = Default::default();
        let additions = Additions::default();
        Run {
            id,
            plan,
            environment,
            options,
            sink,
            journal,
            task_vars,
            handlers,
            progress,
            hiding,
            cut_off,
            facts_cache,
            additions,
            late_vars: LateVars::default(),
        }
    }

    pub(super) fn templar(&self) -> &Templar {
        self.environment.vars.templar()
    }

    /// The task's own variables, shared by all hosts.
    pub(super) fn task_vars(&self, task: &Task) -> TaskVars {
        let place = task.id.index();
        let mut vars = match self.task_vars.get(place) {
            Some(vars) => vars.clone(),
            None => self.additions.vars(place - self.task_vars.len()),
        };
        // What a role says of itself is nearer than what another one says to the whole play.
        vars.layers = self.additions.exposed(task.play).into_iter().chain(vars.layers).collect();
        if let Some(magic) = &mut vars.magic {
            let planned = || Arc::clone(&self.plan.play(task.play).roles);
            magic.play_roles = self.additions.roles(task.play).unwrap_or_else(planned);
        }
        vars
    }

    /// A task's title for a host. What in it cannot be rendered says so, which is no reason to fail.
    pub(super) fn title(&self, title: &str, host: &HostName, play: &PlayVars, task: &TaskVars) -> String {
        if !needs_rendering(title) {
            return title.to_owned();
        }
        let scope = self.environment.vars.scope(host.as_str(), play, task);
        scope.map_or_else(|_| title.to_owned(), |scope| self.templar().render_title(title, &scope))
    }

    /// A task of the plan, or one that joined it.
    ///
    /// # Panics
    /// With an id of another run.
    pub(super) fn task(&self, id: TaskId) -> TaskRef<'_> {
        match self.plan.tasks.get(id.index()) {
            Some(task) => TaskRef::Planned(task),
            None => TaskRef::Added(self.additions.task(id.index() - self.plan.tasks.len())),
        }
    }

    /// The handlers of a play that answer to `name`.
    pub(super) fn handlers(&self, play: PlayId, name: &str) -> Vec<TaskId> {
        let added = self.additions.answering(self.plan.tasks.len(), play, name);
        let planned = self.handlers[play.index()].get(name);
        let named = added.named.or(planned.and_then(|planned| planned.named));
        let listening = planned.map_or(&[][..], |planned| &planned.listening).iter().chain(&added.listening);
        let mut found: Vec<TaskId> = named.into_iter().chain(self.last_of_each_name(listening)).collect();
        found.dedup();
        found
    }

    /// Of several that have one name the last.
    fn last_of_each_name<'t>(&self, handlers: impl DoubleEndedIterator<Item = &'t TaskId>) -> Vec<TaskId> {
        let mut seen = HashSet::new();
        let is_first = |id: &&TaskId| self.task(**id).name.as_ref().is_none_or(|name| seen.insert(name.clone()));
        let mut last: Vec<TaskId> = handlers.rev().filter(is_first).copied().collect();
        last.reverse();
        last
    }

    /// The handlers of a play whose own names have to be rendered first, in the order in which they are asked: see
    /// [`handlers`].
    pub(super) fn templated_handlers(&self, play: PlayId) -> Vec<TaskId> {
        let planned = self.plan.play(play).handlers.iter().copied();
        let all: Vec<TaskId> = planned.chain(self.additions.all_handlers(play)).collect();
        let of_role = |id: &TaskId| self.task(*id).role.as_ref().map(|role| role.instance);
        let lists = all.chunk_by(|one, next| of_role(one) == of_role(next)).rev();
        let is_templated = |id: &TaskId| self.task(*id).name.as_deref().is_some_and(needs_rendering);
        lists.flatten().copied().filter(is_templated).collect()
    }

    pub(super) fn keep_progress(&self, host: &HostName, work: Work, done: Vec<ItemDone>) {
        self.progress().entry((host.clone(), work.task, work.round)).or_default().items = done;
    }

    pub(super) fn take_progress(&self, host: &HostName, work: Work) -> Progress {
        self.progress().remove(&(host.clone(), work.task, work.round)).unwrap_or_default()
    }

    /// Whether nobody has said before that the task's loop hides a variable.
    pub(super) fn is_first_to_hide(&self, task: TaskId) -> bool {
        self.hiding.lock().unwrap_or_else(PoisonError::into_inner).insert(task)
    }

    /// How often the agent's death has cut this off. Not kept beyond this process: the agent remembers, and says so again.
    pub(super) fn cut_off(&self, host: &HostName, work: Work) -> u32 {
        let all = self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return 0;
        }
        all.get(&(host.clone(), work.task, work.round)).copied().unwrap_or_default()
    }

    pub(super) fn note_cut_off(&self, host: &HostName, work: Work) {
        let mut all = self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((host.clone(), work.task, work.round)).or_default() += 1;
    }

    /// Changes what is kept of a task that an earlier controller began.
    pub(super) fn recall_progress(
        &self,
        (host, task, round): (&HostName, TaskId, u32),
        change: impl FnOnce(&mut Progress),
    ) {
        change(self.progress().entry((host.clone(), task, round)).or_default());
    }

    /// Writes down what a task that is under way must not do again, and waits until that is durable.
    pub(super) async fn record(&self, record: Record) {
        let Some(journal) = &self.journal else { return };
        match journal.append(&record) {
            Ok(number) => journal.settled(number + 1).await,
            Err(error) => {
                let message =
                    format!("the journal does not hold this part of a task: {error}; a resumed run does it again");
                self.sink.emit(RunEvent::Warning { message, host: None });
            }
        }
    }

    /// Writes down what is about to join the plan, before any event can speak of it: what follows from it waits for that
    /// event, and so for this.
    ///
    /// # Errors
    /// No journal can hold it, so it must not join.
    pub(super) fn write_growth(&self, growth: impl FnOnce() -> Growth) -> Result<(), String> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let record = Record::Grown(Box::new(growth()));
        let written = journal.append(&record).map_err(|error| format!("it cannot be written down: {error}"));
        written.map(drop)
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, HashMap<(HostName, TaskId, u32), Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all facts of the host for later runs, or forgets them if there are none.
    pub(super) fn cache_facts(&self, host: &HostName) {
        let Some(cache) = &self.facts_cache else { return };
        let facts = self.environment.vars.returned_facts(host.as_str()).unwrap_or_default();
        let kept = if facts.is_empty() { cache.forget(host) } else { cache.store(host, &facts) };
        if let Err(error) = kept {
            tracing::warn!(%host, %error, "facts cannot be cached");
        }
    }

    /// Facts that an earlier run kept.
    pub(super) fn load_cached_facts(&self) {
        if self.facts_cache.is_some() {
            self.plan.hosts().into_iter().for_each(|host| self.load_cached_facts_of(host));
        }
    }

    pub(super) fn load_cached_facts_of(&self, host: &HostName) {
        let Some(cache) = &self.facts_cache else { return };
        if self.options.flush_facts {
            if let Err(error) = cache.forget(host) {
                tracing::warn!(%host, %error, "cached facts cannot be forgotten");
            }
            return;
        }
        match cache.load(host) {
            Ok(Some(facts)) => drop(self.environment.vars.set_facts(host.as_str(), facts)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%host, %error, "cached facts cannot be read"),
        }
    }

    /// Whether facts of the host were gathered: in this run, or in one that kept them.
    pub(super) fn knows_facts(&self, host: &HostName) -> bool {
        let facts = self.environment.vars.facts(host.as_str());
        facts.is_ok_and(|facts| facts.as_map().is_some_and(|facts| facts.contains_key(FACTS_GATHERED)))
    }

    /// The batches of a play that begins now, and what the operator should know of its pattern.
    pub(super) fn batches_now(&self, play: PlayId) -> (Vec<Vec<HostName>>, Vec<String>) {
        let play = self.plan.play(play);
        if play.patterns.is_empty() {
            return (play.waves.cut(&play.hosts), Vec::new());
        }
        let Selection { hosts, warnings } = self.environment.vars.select(&play.patterns.join(","));
        // What was known of a pattern before the run was told then.
        let warnings = warnings.into_iter().filter(|warning| !self.plan.warnings.contains(warning)).collect();
        (play.waves.cut(&play.shuffled(play.order.of(hosts), self.options.limits.retry.seed)), warnings)
    }
}

pub(super) fn task_vars(task: &Task) -> TaskVars {
    let vars = task.vars.iter().map(|(name, value)| (name.clone(), Variable::Authored(Arc::new(value.clone()))));
    let own = (!task.vars.is_empty()).then(|| Layer::new(Precedence::TaskVars, vars.collect::<VarMap>()));
    let magic = TaskMagic { role: task.role.clone(), search: task.search.clone(), play_roles: Arc::default() };
    TaskVars { layers: task.layers.iter().cloned().chain(own).collect(), locals: None, magic: Some(magic) }
}

/// The handlers that answer to a word. A name means one handler, a topic every handler that listens to it. As in Ansible the
/// first of a name counts in a list of handlers, and of several lists, those of roles and the play's own, the last that has it.
#[derive(Default)]
pub(super) struct Answering {
    pub(super) named: Option<TaskId>,
    /// In the order in which they were defined.
    pub(super) listening: Vec<TaskId>,
}

fn handlers(plan: &Plan, ids: &[TaskId]) -> BTreeMap<String, Answering> {
    let mut by_word: BTreeMap<String, Answering> = BTreeMap::new();
    let of_role = |id: &TaskId| plan.task(*id).role.as_ref().map(|role| role.instance);
    for list in ids.chunk_by(|one, next| of_role(one) == of_role(next)) {
        for id in list.iter().rev() {
            for name in plan.task(*id).handler_names() {
                by_word.entry(name).or_default().named = Some(*id);
            }
        }
    }
    for id in ids {
        for topic in plan.task(*id).handler_topics() {
            let listening = &mut by_word.entry(topic).or_default().listening;
            if !listening.contains(id) {
                listening.push(*id);
            }
        }
    }
    by_word
}
