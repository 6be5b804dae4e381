//! Plans of the real `rustle-plan`.
//!
//! Of such a plan only the pair (play, execution_order) names a task; ids repeat. So everything is kept apart by play, the
//! batches of a play are merged into one list in `execution_order`, and batches mean something only as the waves of a
//! rolling plan. `binary_deployments` repeat tasks that are in batches and are never run from.

mod conditions;
mod merge;
mod model;
mod waves;

use indexmap::{IndexMap, IndexSet};
use rustle_protocol::HostName;

pub(super) use model::or_default;

use self::merge::Merged;
use self::model::{HandlerFile, PlanFile, PlayFile, RiskFile, StrategyFile, TaskFile};
use super::assemble::Assembly;
use super::rustle_parse::{self, ParsedFile, ParsedPlay, ParsedTask};
use super::{Context, InputError, keywords};
use crate::event::TaskKind;
use crate::plan::{Plan, Play, PlayId, Risk, SerialSize, Strategy, Waves};

/// What rustle-plan calls a task without a name.
const UNNAMED: &str = "Unnamed task";

/// Builds the plan that `text` describes; `parsed` gives back what the planner lost.
pub(super) fn read(text: &str, parsed: Option<&ParsedFile>, cx: &Context<'_>) -> Result<Plan, InputError> {
    let file: PlanFile = cx.parse(text)?;
    let options = &file.metadata.planning_options;
    if options.forks == Some(0) {
        return Err(cx.invalid("planning_options.forks is 0", Some("plan again with --forks 1 or more")));
    }
    if file.plays.is_empty() {
        return Err(cx.invalid("it has no plays", None));
    }
    if let Some(parsed) = parsed
        && parsed.plays.len() != file.plays.len()
    {
        let what = format!("the plan has {} plays, the parsed playbook {}", file.plays.len(), parsed.plays.len());
        return Err(cx.invalid(what, Some("give --parsed the file that this plan was made of")));
    }
    let mut assembly = Assembly::new();
    assembly.check_mode = options.check_mode;
    for (at, play) in file.plays.iter().enumerate() {
        let parsed = parsed.map(|parsed| (parsed, &parsed.plays[at]));
        Reader { cx, options_skip_tags: &options.skip_tags, at, play, parsed, assembly: &mut assembly }.read()?;
    }
    for tags in options.tags.iter().filter(|tags| tags.contains(',')) {
        assembly.warn(format!(
            "the plan was made with --tags {tags}, which rustle-plan takes for one tag; give --tags once for each"
        ));
    }
    let mut plan = assembly.finish(cx)?;
    plan.diff = options.diff_mode;
    plan.forks = options.forks.map(|forks| forks as usize);
    Ok(plan)
}

/// Reads one play.
struct Reader<'a> {
    cx: &'a Context<'a>,
    options_skip_tags: &'a [String],
    at: usize,
    play: &'a PlayFile,
    parsed: Option<(&'a ParsedFile, &'a ParsedPlay)>,
    assembly: &'a mut Assembly,
}

impl Reader<'_> {
    fn read(mut self) -> Result<(), InputError> {
        let (cx, play) = (self.cx, self.play);
        self.check_parsed()?;
        let mut hosts = hosts_of(play);
        let mut empty_reason = None;
        if hosts.is_empty() {
            match self.parsed {
                Some((_, parsed)) => match rustle_parse::hosts_of(parsed, cx)? {
                    Ok(resolved) => hosts = resolved.into_iter().collect(),
                    Err(why) => empty_reason = Some(why),
                },
                None => {
                    let why = "the plan names no hosts for it: rustle-plan resolves `all` and hosts' names, but no groups or patterns";
                    empty_reason = Some(why.to_owned());
                }
            }
        }
        let batches = waves::in_order(play).map_err(|what| self.invalid(what))?;
        let waves = self.waves(&batches)?;
        let merged = merge::merge(play).map_err(|what| self.invalid(what))?;
        let id = PlayId(self.at as u32);
        let (vars, max_fail_percentage) = match self.parsed {
            Some((file, parsed)) => (rustle_parse::vars_of(file, parsed), parsed.max_fail_percentage),
            None => (IndexMap::new(), None),
        };
        let hosts: Vec<HostName> = hosts.into_iter().collect();
        let made = Play {
            empty_reason,
            strategy: strategy(play.strategy),
            waves,
            vars,
            max_fail_percentage,
            ..Play::new(id, play.name.clone(), hosts)
        };
        let mut more = self.parsed.map(|(_, parsed)| parsed.keywords.clone()).unwrap_or_default();
        more.extend(play.keywords.clone());
        self.assembly.begin(made, &more, cx)?;
        if merged.is_empty() && play.batches.is_empty() && matches!(play.strategy, StrategyFile::Rolling { .. }) {
            // A rolling play without hosts carries no tasks at all.
            return match self.parsed {
                Some((_, parsed)) => rustle_parse::add_tasks(parsed, self.assembly, cx),
                None => self.handlers(),
            };
        }
        self.tasks(&merged)?;
        self.handlers()
    }

    fn check_parsed(&self) -> Result<(), InputError> {
        match self.parsed {
            Some((_, parsed)) if parsed.name != self.play.name => {
                let what = format!("it is called `{}` in the parsed playbook", parsed.name);
                Err(self.not_the_same(what))
            }
            _ => Ok(()),
        }
    }

    fn not_the_same(&self, what: String) -> InputError {
        let hint = "give --parsed the file that this plan was made of";
        self.cx.invalid(format!("play `{}`: {what}", self.play.name), Some(hint))
    }

    fn invalid(&self, what: impl AsRef<str>) -> InputError {
        self.cx.invalid(format!("play `{}`: {}", self.play.name, what.as_ref()), None)
    }

    fn invalid_at(&self, place: &str, what: &str) -> InputError {
        self.cx.invalid(format!("{place}: {what}"), None)
    }

    fn waves(&self, batches: &[usize]) -> Result<Waves, InputError> {
        let parsed_serial = self.parsed.and_then(|(_, parsed)| parsed.serial);
        match self.play.strategy {
            StrategyFile::Rolling { batch_size } if self.play.batches.is_empty() => {
                Ok(serial(self.play.serial.or(Some(batch_size))))
            }
            StrategyFile::Rolling { .. } => waves::explicit(self.play, batches).map_err(|what| self.invalid(what)),
            _ => Ok(serial(self.play.serial.or(parsed_serial))),
        }
    }

    fn tasks(&mut self, merged: &[Merged<'_>]) -> Result<(), InputError> {
        let mut unmatched = self.parsed.map(|(_, parsed)| parsed.tasks.iter());
        for Merged { task: file, hosts } in merged {
            let name = name_of(&file.name);
            let parsed = match &mut unmatched {
                Some(tasks) => Some(self.matching(tasks, &file.task_id, &file.name, &file.module)?),
                None => None,
            };
            let place = format!("play `{}`, task `{}`", self.play.name, name.as_deref().unwrap_or(&file.module));
            let mut task = self.assembly.task(TaskKind::Task, &file.module);
            task.plan_id = file.task_id.clone();
            task.name = name;
            task.tags = file.tags.clone();
            task.notify = file.notify.clone();
            task.risk = file.risk_level.map(risk);
            task.hosts = self.assembly.narrowed(hosts);
            let kept = conditions::apply(&mut task, &file.conditions, self.options_skip_tags, self.assembly, self.cx)
                .map_err(|what| self.invalid_at(&place, &what))?;
            if let Some(parsed) = parsed {
                rustle_parse::enrich(&mut task, parsed).map_err(|what| self.invalid_at(&place, &what))?;
            }
            keywords::of_task(&mut task, &file.keywords).map_err(|what| self.invalid_at(&place, &what))?;
            if kept {
                self.assembly.add(task, &file.args, &place, self.cx)?;
            }
        }
        Ok(())
    }

    fn handlers(&mut self) -> Result<(), InputError> {
        let mut unmatched = self.parsed.map(|(_, parsed)| parsed.handlers.iter());
        for file in merge::handlers(self.play).map_err(|what| self.invalid(what))? {
            let HandlerFile { handler_id, name, module, args, conditions, keywords: more, .. } = file;
            let parsed = match &mut unmatched {
                Some(handlers) => Some(self.matching(handlers, handler_id, name, module)?),
                None => None,
            };
            let place = format!("play `{}`, handler `{name}`", self.play.name);
            let mut task = self.assembly.task(TaskKind::Handler, module);
            task.plan_id = handler_id.clone();
            task.name = name_of(name);
            let kept = conditions::apply(&mut task, conditions, self.options_skip_tags, self.assembly, self.cx)
                .map_err(|what| self.invalid_at(&place, &what))?;
            if let Some(parsed) = parsed {
                rustle_parse::enrich(&mut task, parsed).map_err(|what| self.invalid_at(&place, &what))?;
            }
            keywords::of_task(&mut task, more).map_err(|what| self.invalid_at(&place, &what))?;
            if kept {
                self.assembly.add(task, args, &place, self.cx)?;
            }
        }
        Ok(())
    }

    /// The next task of the parsed playbook that is this one: the plan has them in the same order, fewer with tags.
    fn matching<'p>(
        &self,
        tasks: &mut std::slice::Iter<'p, ParsedTask>,
        id: &str,
        name: &str,
        module: &str,
    ) -> Result<&'p ParsedTask, InputError> {
        tasks
            .find(|task| (task.id.as_str(), task.name.as_str(), task.module.as_str()) == (id, name, module))
            .ok_or_else(|| {
                self.not_the_same(format!("the parsed playbook has no {module} task `{name}` ({id}) at this place"))
            })
    }
}

/// The play's hosts in the plan's order, each once.
fn hosts_of(play: &PlayFile) -> IndexSet<HostName> {
    let of_tasks = |tasks: &[TaskFile]| tasks.iter().flat_map(|task| task.hosts.clone()).collect::<Vec<_>>();
    let in_batches = play.batches.iter().flat_map(|batch| batch.hosts.iter().cloned().chain(of_tasks(&batch.tasks)));
    play.hosts.iter().cloned().chain(in_batches).collect()
}

/// 0 or nothing: all at once.
pub(super) fn serial(size: Option<u32>) -> Waves {
    match size {
        None | Some(0) => Waves::One,
        Some(size) => Waves::Serial(vec![SerialSize::Count(size)]),
    }
}

pub(super) fn name_of(name: &str) -> Option<String> {
    (!name.is_empty() && name != UNNAMED).then(|| name.to_owned())
}

fn strategy(strategy: StrategyFile) -> Strategy {
    match strategy {
        StrategyFile::Linear => Strategy::Linear,
        StrategyFile::Free => Strategy::Free,
        StrategyFile::HostPinned => Strategy::HostPinned,
        StrategyFile::BinaryHybrid | StrategyFile::BinaryOnly => Strategy::Batch,
        StrategyFile::Rolling { .. } => Strategy::Rolling,
    }
}

fn risk(risk: RiskFile) -> Risk {
    match risk {
        RiskFile::Low => Risk::Low,
        RiskFile::Medium => Risk::Medium,
        RiskFile::High => Risk::High,
        RiskFile::Critical => Risk::Critical,
    }
}

/// The JSON schema of a plan, from the types that read it. Fields it does not name are ignored.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(PlanFile).to_value()
}
