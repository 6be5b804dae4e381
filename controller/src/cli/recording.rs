//! Where a run from the command line is written down, and how one that was interrupted is taken up again.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use rustle_protocol::RunId;

use super::asker::Answers;
use super::settings::Settings;
use super::{CliError, chain};
use crate::control::Server;
use crate::dispatch::session::SOFTWARE;
use crate::engine::Recorded;
use crate::event::{RunEvent, RunFinished, Stamped};
use crate::journal::{
    Durability, Header, Inputs, Journal, Lease, LeaseError, Past, PastStep, PlanPrint, RUNS_KEPT_MAX, Record,
    RunFolder, Runs, last_record, repair,
};
use crate::plan::Plan;

/// Settings of ours in the environment begin so.
const OUR_VARIABLES: &str = "RUSTLE_";

pub(super) const ACCEPT_CHANGED_PLAN: &str =
    "--accept-changed-plan goes on with this plan: what is done stays done, and what is left is done as it says now";

/// What is said of a run's journal on the command line and in the configuration file.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// `None` if there is no home to have it in.
    pub state: Option<PathBuf>,
    pub durability: Durability,
    pub wanted: bool,
    /// The run that is to go on, instead of a new one.
    pub resume: Option<RunId>,
    pub accept_changed_plan: bool,
}

/// A run's place on disk, and the right to write there.
pub(super) struct Recording {
    pub(super) id: RunId,
    pub(super) epoch: u64,
    /// The run's time when it was taken up again.
    pub(super) before: Duration,
    place: Option<Place>,
}

struct Place {
    folder: RunFolder,
    journal: Journal,
    is_resumed: bool,
    // Held as long as anything may be written.
    _lease: Lease,
}

impl JournalSettings {
    pub(super) fn runs(&self) -> Result<Runs, CliError> {
        let state = self.state.as_ref().ok_or_else(|| {
            CliError::input("there is no home folder to keep runs in")
                .hint(Some("give a folder with --state-dir DIR, or --no-journal for a run that cannot be resumed"))
        })?;
        Ok(Runs::new(state))
    }
}

impl Recording {
    /// A new run, which is written down nowhere yet.
    pub(super) fn new(settings: &Settings) -> Recording {
        let id = settings.journal.runs().map_or_else(|_| RunId::generate(), |runs| runs.fresh_id());
        Recording { id, epoch: 1, before: Duration::ZERO, place: None }
    }

    /// Writes a new run down from now on. Its header is durable when this returns.
    pub(super) fn begin(
        &mut self,
        settings: &Settings,
        plan: &Plan,
        plan_bytes: Option<&[u8]>,
        answers: Answers,
    ) -> Result<(), CliError> {
        let runs = settings.journal.runs()?;
        let id = self.id;
        let folder = runs.create(id).map_err(|error| CliError::input(chain(&error)))?;
        forget_old(&runs);
        let lease = Lease::acquire(&folder.lock()).map_err(|error| CliError::own(chain(&error)))?;
        let place = Place::new(folder, lease, plan_bytes, settings.journal.durability)?;
        place.append(&Record::Begun(Box::new(Header {
            run: id,
            started: Utc::now(),
            software: SOFTWARE.to_owned(),
            inputs: inputs(answers),
            limits: settings.run.limits.clone(),
            hosts: plan.hosts().into_iter().cloned().collect(),
            plan: PlanPrint::of(plan),
        })))?;
        self.place = Some(place);
        Ok(())
    }

    /// Takes up a run that was interrupted. `told` is given everything that was told of it.
    pub(super) fn take_over(
        settings: &mut Settings,
        plan: &Plan,
        id: RunId,
        mut told: impl FnMut(&Stamped) -> Result<(), CliError>,
    ) -> Result<Recording, CliError> {
        let folder = settings.journal.runs()?.find(&id.to_string()).map_err(|error| CliError::input(chain(&error)))?;
        let lease = Lease::acquire(&folder.lock()).map_err(|error| refused(id, &error))?;
        let unusable = |error: crate::journal::JournalError| CliError::input(chain(&error));
        let mut past = Past::open(&folder.journal()).map_err(unusable)?;
        let plan_changed = check_plan(past.header(), plan, settings.journal.accept_changed_plan)?;
        settings.run.limits = past.header().limits.clone();
        let mut before = Duration::ZERO;
        let mut results = 0;
        for step in past.by_ref() {
            let PastStep::Record(record) = step.map_err(unusable)? else { continue };
            before = before.max(record.elapsed().unwrap_or_default());
            if let Some(stamped) = record.told() {
                before = before.max(stamped.elapsed);
                results += usize::from(matches!(stamped.event, RunEvent::HostFinished(_)));
                told(stamped)?;
            }
        }
        if past.is_over() {
            return Err(CliError::input(format!("run {id} is over: there is nothing to resume"))
                .hint(Some(format!("`rustle-exec runs show {id}` tells how it ended"))));
        }
        if let Some(damage) = past.damage() {
            super::notice(&format!(
                "the journal of run {id} is not whole at its end ({}): {} bytes are cut off, and what they told is asked \
                 of the hosts again",
                damage.what, damage.lost
            ));
        }
        super::notice(&format!("run {id} goes on: {results} results are in"));
        let epoch = past.epoch() + 1;
        let file = repair(&folder.journal(), past.good_bytes())
            .map_err(|error| CliError::own(format!("cannot go on with {}: {error}", folder.journal().display())))?;
        let (good, count) = (past.good_bytes(), past.records_read());
        let journal = Journal::new(Box::new(file), settings.journal.durability, good, count);
        let place = Place { folder, journal, is_resumed: true, _lease: lease };
        place.append(&Record::TakenOver { epoch, at: Utc::now(), software: SOFTWARE.to_owned(), plan_changed })?;
        Ok(Recording { id, epoch, before, place: Some(place) })
    }

    /// What the engine needs of it.
    pub(super) fn recorded(&self, accept_changed_plan: bool) -> Result<Recorded, CliError> {
        let Some(place) = &self.place else { return Ok(Recorded { id: self.id, ..Recorded::nowhere() }) };
        let open = || Past::open(&place.folder.journal()).map_err(|error| CliError::input(chain(&error)));
        let past = if place.is_resumed { Some(open()?) } else { None };
        Ok(Recorded { id: self.id, journal: Some(place.journal.clone()), past, accept_changed_plan })
    }

    /// Where other processes can ask about the run. A run goes on without.
    pub(super) fn server(&self) -> Option<Server> {
        let place = self.place.as_ref()?;
        let bound = Server::bind(&place.folder.path, RunFolder::socket_name());
        bound.inspect_err(|error| tracing::warn!(%error, "other processes cannot ask about this run")).ok()
    }

    /// What an operator who looks at a status can do about it.
    pub(super) fn advice(&self) -> Option<String> {
        let id = self.place.as_ref()?.folder.id;
        Some(format!("to give a host up: rustle-exec runs drop {id} HOST"))
    }

    pub(super) fn write_end(&self, stamped: &Stamped) {
        if let Some(place) = &self.place
            && let Err(error) = place.journal.append(&Record::Told(stamped.clone()))
        {
            tracing::error!(%error, "the run's end is not in its journal");
        }
    }

    /// Everything is on disk, and the run's lease is given back, when this returns.
    ///
    /// # Errors
    /// Not everything is.
    pub(super) fn close(self, finished: &RunFinished) -> Result<(), CliError> {
        let Some(place) = self.place else { return Ok(()) };
        let closed = place.journal.close();
        let goes_on = Past::may_go_on(finished) || closed.is_err();
        if goes_on {
            super::notice(&format!("run {} can go on: rustle-exec runs resume {}", self.id, self.id));
        }
        closed.map_err(|trouble| {
            CliError::own(format!("the journal of run {} is not complete: {}", self.id, trouble.message))
                .hint(Some("what is missing is asked of the hosts again when the run is resumed"))
        })
    }
}

impl Place {
    fn new(
        folder: RunFolder,
        lease: Lease,
        plan_bytes: Option<&[u8]>,
        durability: Durability,
    ) -> Result<Place, CliError> {
        let own = |error: crate::journal::StateError| CliError::own(chain(&error));
        if let Some(bytes) = plan_bytes {
            folder.keep_plan(bytes).map_err(own)?;
        }
        folder.create_journal().map_err(own)?;
        let length = crate::journal::MAGIC.len() as u64;
        let file = repair(&folder.journal(), length)
            .map_err(|error| CliError::own(format!("cannot write {}: {error}", folder.journal().display())))?;
        let journal = Journal::new(Box::new(file), durability, length, 0);
        Ok(Place { folder, journal, is_resumed: false, _lease: lease })
    }

    /// Durable when this returns: before the run's first step there is nothing else to do.
    fn append(&self, record: &Record) -> Result<(), CliError> {
        let path = self.folder.journal();
        let failed = |why: String| CliError::own(format!("cannot write the journal {}: {why}", path.display()));
        let number = self.journal.append(record).map_err(|error| failed(chain(&error)))?;
        self.journal.wait_settled(number + 1).map_err(|trouble| failed(trouble.message))
    }
}

/// Whether the plan is another one than then, and may be.
fn check_plan(header: &Header, plan: &Plan, accept: bool) -> Result<bool, CliError> {
    let now = PlanPrint::of(plan);
    let differences = header.plan.differences(&now);
    if differences.is_empty() {
        return Ok(false);
    }
    let what = differences.join("\n  ");
    let version = if header.software == SOFTWARE {
        String::new()
    } else {
        format!(" (it began with {}; this is {SOFTWARE})", header.software)
    };
    let message = format!("the plan is not the one that run {} began with{version}:\n  {what}", header.run);
    if !header.plan.misfits(&now).is_empty() {
        return Err(CliError::input(message).hint(Some(format!(
            "places in the old plan are not places in this one; `--retry-failed {}` starts a new run for the hosts that \
             are not through",
            header.run
        ))));
    }
    if accept {
        super::notice(&format!("{message}\nwhat is not done yet is done as the plan says now"));
        return Ok(true);
    }
    Err(CliError::input(message).hint(Some(ACCEPT_CHANGED_PLAN)))
}

fn refused(id: RunId, error: &LeaseError) -> CliError {
    match error {
        LeaseError::Held(held) => CliError::input(format!("run {id} is under way: {held}"))
            .hint(Some(format!("`rustle-exec runs status {id}` asks it where it stands"))),
        LeaseError::Lock { .. } => CliError::own(chain(error)),
    }
}

/// How this program was called.
fn inputs(answers: Answers) -> Inputs {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with(OUR_VARIABLES))?;
        Some((name.to_owned(), value.to_string_lossy().into_owned()))
    });
    Inputs {
        arguments: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
        folder: std::env::current_dir().unwrap_or_default(),
        environment: variables.collect(),
        answers,
    }
}

/// Takes the oldest runs away that are over, if there are many. One that cannot be taken away stays.
fn forget_old(runs: &Runs) {
    let Ok(folders) = runs.list() else { return };
    let surplus = folders.len().saturating_sub(RUNS_KEPT_MAX);
    for folder in folders.iter().take(surplus).filter(|folder| is_over(folder)) {
        let _ = folder.remove();
    }
}

fn is_over(folder: &RunFolder) -> bool {
    let is_held = !matches!(Lease::holder(&folder.lock()), Ok(None));
    let ended = match last_record(&folder.journal()) {
        Ok(Some(Record::GivenUp { .. })) => true,
        Ok(Some(Record::Told(stamped))) => match &stamped.event {
            RunEvent::RunFinished(finished) => !Past::may_go_on(finished),
            _ => false,
        },
        _ => false,
    };
    ended && !is_held
}
