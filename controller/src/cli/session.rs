//! One run from the command line: variables, connections, reporters, the operator's signals, and the end.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::endpoint::Dialer;
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::message::{CallOutcome, ControlRequest, close};
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::{CallKey, HostName, LoadedIdentity};

use super::args::ConnectionPlugin;
use super::asker::Answers;
use super::operator::Operator;
use super::recording::Recording;
use super::settings::Settings;
use super::{CliError, chain, modules};
use crate::control::Server;
use crate::dispatch::session::SessionOptions;
use crate::dispatch::{Blobs, HostLink, LinkError};
use crate::engine::links::{AgentAddress, AgentLinks, AgentLinksOptions, Connection, Links, LocalLinks, Way};
use crate::engine::{
    Environment, EventSink, ExecutionEngine, ExecutionError, FactsCacheSettings, FileSearch, Registry, RunOptions,
    memory_peak,
};
use crate::event::{CancelReason, HostState, RunEvent, RunFinished, Stamped};
use crate::exit_code::{self, ExitCode};
use crate::input::inventory::{Inventory, InventorySources, LOCALHOSTS, Live};
use crate::lab::{Lab, LabOptions, Overlay};
use crate::plan::{Fragments, Keyword, Plan, TagFilter, Task};
use crate::report::{Reporters, TICK_INTERVAL};
use crate::template::Templar;
use crate::vars::{Layer, RunInfo, VarMap, VarStore};

/// How long agents may take to hear the last thing that is said to them.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What a run from the command line is made of.
pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) inventory: Inventory,
    pub(super) plan: Plan,
    pub(super) templar: Templar,
    pub(super) registry: Registry,
    /// Files are looked for in here.
    pub(super) base: PathBuf,
    /// Run on agents of our own, thrown away afterwards.
    pub(super) lab: Option<Overlay>,
    /// Reads what tasks of a playbook include.
    pub(super) fragments: Option<Arc<dyn Fragments>>,
    /// The plan, if it was read from a pipe and cannot be read again.
    pub(super) piped: Option<Vec<u8>>,
    /// Nobody but these takes part, whatever tasks add.
    pub(super) only: Option<HashSet<HostName>>,
    /// What the operator was asked, and said.
    pub(super) answers: Answers,
}

impl Session {
    /// Runs the plan to its end and tells how the program is to end.
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::own(format!("cannot start: {error}")))?;
        let lab = self.lab.map(|overlay| ThrowAway::start(&self.plan, overlay)).transpose()?;
        let ended = runtime.block_on(self.run_with(lab.as_ref().map(|lab| &lab.lab)));
        // A task that was given up on may still sit on its thread; the run's end does not wait for it.
        runtime.shutdown_background();
        ended
    }

    /// The run on disk, and what was told of it before.
    fn recording(&mut self, reporters: &mut Reporters) -> Result<Recording, CliError> {
        let Some(id) = self.settings.journal.resume else { return Ok(Recording::new(&self.settings)) };
        Recording::take_over(&mut self.settings, &self.plan, id, |stamped| {
            reporters.recall(stamped).map_err(|error| CliError::own(chain(&error)))
        })
    }

    async fn run_with(mut self, lab: Option<&Lab>) -> Result<ExitCode, CliError> {
        let mut reporters = Reporters::new(&self.settings.report).map_err(|error| CliError::input(chain(&error)))?;
        let mut recording = self.recording(&mut reporters)?;
        let (sink, reporters) = shared(reporters, recording.before);
        let blobs = Blobs::default();
        let ways = self.ways(lab, &recording, blobs.clone(), sink.clone())?;
        let links: Arc<dyn Links> = ways.clone();
        let vars = self.vars()?;
        make_facts_cache(&self.settings)?;
        let files = FileSearch::new(&self.base);
        // A throw-away fleet goes with its run: there would be nobody to go on with.
        if self.settings.journal.wanted && self.settings.journal.resume.is_none() && lab.is_none() {
            recording.begin(&self.settings, &self.plan, self.piped.as_deref(), std::mem::take(&mut self.answers))?;
        }
        let environment = Environment { vars, registry: self.registry, links, blobs, files, fragments: self.fragments };
        let tags = TagFilter::new(&self.settings.run_tags, &self.settings.skip_tags);
        let engine = ExecutionEngine::new(environment, RunOptions { tags, ..self.settings.run.clone() });
        for message in self.plan.warnings.iter().chain(self.inventory.warnings()) {
            sink.emit(RunEvent::Warning { message: message.clone(), host: None });
        }
        let running = engine.execute_recorded(
            self.plan,
            sink.clone(),
            recording.recorded(self.settings.journal.accept_changed_plan)?,
        );
        let server = recording.server();
        let outcome = tokio::select! {
            outcome = Operator::new(self.settings.batch, recording.advice())?.watch(&engine, running) => outcome.map_err(invalid)?,
            () = tick(&reporters, &sink) => return Err(CliError::own("the run was left alone")),
            () = serve(server.as_ref(), &engine, &sink) => return Err(CliError::own("the run was left alone")),
        };
        drop(server);
        let finished = finish(outcome.finished, &ways, self.settings.cleanup_on_failure).await;
        let code = exit_code::of(&finished, self.settings.require_all_success);
        let last = sink.stamp(RunEvent::RunFinished(finished.clone()));
        recording.write_end(&last);
        sink.tell(&last);
        let reported = reporters.finish().map_err(|error| CliError::own(chain(&error)));
        let written = recording.close(&finished);
        let broken: Vec<_> = reported.err().into_iter().chain(written.err()).collect();
        for error in &broken {
            error.tell();
        }
        Ok(if broken.is_empty() || code == ExitCode::Interrupted { code } else { ExitCode::OwnError })
    }

    fn ways(
        &self,
        lab: Option<&Lab>,
        recording: &Recording,
        blobs: Blobs,
        sink: EventSink,
    ) -> Result<Arc<Ways>, CliError> {
        let local = LocalLinks::new(blobs.clone());
        let is_local = |name: &HostName| match self.inventory.host_id(name.as_str()) {
            Some(host) => self.inventory.connection(host).as_deref() == Some("local"),
            None => LOCALHOSTS.contains(&name.as_str()),
        };
        let all_local = self.settings.connection == ConnectionPlugin::Local && lab.is_none();
        let mut local_hosts = HashSet::new();
        if lab.is_none() {
            let named = self.inventory.hosts().map(|(_, name)| name.clone());
            let here = LOCALHOSTS.iter().filter_map(|name| HostName::new(name).ok());
            local_hosts.extend(named.chain(here).filter(|host| all_local || is_local(host)));
        }
        let agents = AgentMaker {
            identity: match lab {
                Some(lab) => Some(lab.identity()),
                None => self.settings.identity.clone().or_else(Settings::default_identity),
            },
            transport: self.settings.transport,
            options: AgentLinksOptions {
                session: SessionOptions {
                    run: recording.id,
                    epoch: recording.epoch,
                    on_disconnect: self.settings.on_disconnect,
                    grace: self.settings.disconnect_grace,
                    on_busy_host: self.settings.on_busy_host,
                },
                connects_max: self.settings.connects_max,
                reconnect_window: self.settings.reconnect_window,
            },
            addresses: self.addresses(lab)?,
            blobs,
            sink,
        };
        let ways =
            Ways { agents: OnceLock::new(), maker: agents, local, local_hosts, all_local, in_lab: lab.is_some() };
        if self.needs_agents(&ways) {
            ways.agents()?;
        }
        Ok(Arc::new(ways))
    }

    /// Whether a host is certainly to be reached through its agent: then what that takes is looked at before the run.
    fn needs_agents(&self, ways: &Ways) -> bool {
        let is_here = |task: &Task| {
            let connection = task.connection.as_ref().and_then(Keyword::known);
            connection.is_some_and(|name| Connection::of(name) == Connection::Local)
        };
        // What a variable says is known when it is rendered.
        const CONNECTION: &str = "ansible_connection";
        if self.settings.extra_vars.contains_key(CONNECTION) {
            return false;
        }
        let says = |layers: &[Layer]| layers.iter().any(|layer| layer.vars.contains_key(CONNECTION));
        let may_be_elsewhere = |task: &Task| {
            let by_variable = task.vars.contains_key(CONNECTION) || says(&task.layers);
            let needs_host = self.registry.find(&task.module).is_some_and(|module| module.needs_host());
            let is_own = task.include.is_none() && task.delegation.is_none() && needs_host;
            is_own && !is_here(task) && !by_variable
        };
        let templated = |host: &HostName| {
            let id = self.inventory.host_id(host.as_str());
            let connection = id.and_then(|id| self.inventory.connection(id));
            connection.is_some_and(|name| crate::template::needs_rendering(&name))
        };
        self.plan.plays.iter().any(|play| {
            let of_play = play.vars.contains_key(CONNECTION) || says(&play.layers);
            let tasks = || play.tasks.iter().map(|id| self.plan.task(*id));
            let anybody = || play.hosts.iter().any(|host| !ways.local_hosts.contains(host) && !templated(host));
            !of_play && !ways.all_local && tasks().any(may_be_elsewhere) && anybody()
        })
    }

    fn addresses(&self, lab: Option<&Lab>) -> Result<HashMap<HostName, AgentAddress>, CliError> {
        if let Some(lab) = lab {
            let address =
                |address: &std::net::SocketAddr| AgentAddress { host: address.ip().to_string(), port: address.port() };
            return Ok(lab.addresses().iter().map(|(host, at)| (host.clone(), address(at))).collect());
        }
        let hosts = self.inventory.hosts();
        hosts
            .map(|(id, name)| {
                let port = self.inventory.port(id).map_err(CliError::input)?;
                let host = self.inventory.address(id).map_err(CliError::input)?;
                Ok((name.clone(), AgentAddress { host, port }))
            })
            .collect()
    }

    fn vars(&self) -> Result<VarStore, CliError> {
        let info = RunInfo {
            check_mode: self.settings.run.check || self.plan.check_mode,
            diff_mode: self.settings.run.diff || self.plan.diff,
            verbosity: self.settings.run.verbosity,
            forks: self.settings.run.limits.forks.get(),
            limit: self.settings.limit.clone(),
            playbook_dir: self.base.to_string_lossy().into_owned(),
            run_tags: if self.settings.run_tags.is_empty() {
                vec!["all".to_owned()]
            } else {
                self.settings.run_tags.clone()
            },
            skip_tags: self.settings.skip_tags.clone(),
            inventory_sources: self.settings.inventory.iter().map(|path| path.display().to_string()).collect(),
            config_file: self.settings.ansible_config.as_ref().map(|path| path.display().to_string()),
            playbook_python: crate::custom::controller_python().map(|path| path.display().to_string()),
            merges_dicts: self.settings.merges_dicts,
            keeps_facts_apart: self.settings.keeps_facts_apart,
            vault: self.settings.vault.clone(),
        };
        let extra = VarMap::clone(&self.settings.extra_vars);
        let live = Live::new(self.inventory.clone(), self.sources());
        Ok(VarStore::of(Box::new(live), extra, info, self.templar.clone()))
    }

    /// Where the inventory is from, for what tasks make of it, and who takes part.
    fn sources(&self) -> InventorySources {
        let is_playbook = self.plan.plays.iter().any(|play| !play.patterns.is_empty());
        InventorySources {
            paths: self.settings.inventory.clone(),
            vault: self.settings.vault.clone(),
            playbook: is_playbook.then(|| self.base.clone()),
            limit: self.settings.limit.clone(),
            only: self.only.clone(),
        }
    }
}

pub(super) fn load_identity(folder: &Path) -> Result<LoadedIdentity, CliError> {
    let identity = LoadedIdentity::load(&IdentityFiles::in_dir(folder)).map_err(|error| {
        CliError::input(format!("cannot use the identity in {}: {}", folder.display(), chain(&error)))
            .hint(Some("`rustle-exec pki issue controller NAME` makes one; give its folder with --identity DIR"))
    })?;
    match identity.problem_at(rustls::pki_types::UnixTime::now()) {
        None => Ok(identity),
        Some(problem) => {
            Err(CliError::input(format!("the identity in {} would be refused: {problem}", folder.display()))
                .hint(Some(problem.hint())))
        }
    }
}

/// Tells what the connections have counted, closes them, and cleans up if that was asked for.
async fn finish(mut finished: RunFinished, ways: &Ways, cleanup_on_failure: bool) -> RunFinished {
    let failed = finished.hosts.iter().any(|(_, state)| !matches!(state, HostState::Ok | HostState::NotStarted));
    let (code, reason) = match finished.cancelled {
        Some(CancelReason::Interrupted) => (close::INTERRUPTED, "the operator interrupted the run"),
        _ => (close::DONE, "the run is over"),
    };
    if let Some(agents) = ways.agents.get() {
        if failed && cleanup_on_failure {
            let sessions = agents.sessions().await;
            // A host that is gone keeps what it has; its cache is bounded.
            let telling = sessions.iter().map(|session| session.tell_last(ControlRequest::ForgetBlobs, LAST_WORD));
            futures::future::join_all(telling).await;
        }
        (finished.metrics.bytes_sent, finished.metrics.bytes_received) = agents.close(code, reason).await;
    }
    finished.metrics.memory_peak = memory_peak();
    finished
}

/// Answers other processes, if anybody can ask.
async fn serve(server: Option<&Server>, engine: &ExecutionEngine, sink: &EventSink) {
    match server {
        Some(server) => server.serve(engine, sink).await,
        None => std::future::pending().await,
    }
}

/// What it takes to talk to agents.
struct AgentMaker {
    identity: Option<PathBuf>,
    transport: TransportOptions,
    options: AgentLinksOptions,
    addresses: HashMap<HostName, AgentAddress>,
    blobs: Blobs,
    sink: EventSink,
}

impl AgentMaker {
    /// # Errors
    /// The controller's identity cannot be used, or no socket is to be had.
    fn make(&self) -> Result<AgentLinks, CliError> {
        let folder = self.identity.as_ref().ok_or_else(|| {
            CliError::input("no identity: this controller needs a certificate of its fleet")
                .hint(Some("give its folder with --identity DIR; `rustle-exec pki issue controller NAME` makes one"))
        })?;
        let identity = load_identity(folder)?;
        let dialer = Dialer::bind(identity, &self.transport).map_err(|error| CliError::input(chain(&error)))?;
        if dialer.buffers().are_small() {
            tracing::warn!("the system grants small UDP buffers; raise net.core.rmem_max and wmem_max to 8388608");
        }
        let (options, addresses) = (self.options.clone(), self.addresses.clone());
        Ok(AgentLinks::new(dialer, options, addresses, self.blobs.clone(), self.sink.clone()))
    }
}

/// The ways to the hosts of a run: some are this machine.
struct Ways {
    /// Made when the first host is to be reached through its agent.
    agents: OnceLock<AgentLinks>,
    maker: AgentMaker,
    local: LocalLinks,
    /// Hosts that are this machine unless their task says otherwise.
    local_hosts: HashSet<HostName>,
    all_local: bool,
    /// Every host is an agent of a lab, whatever its variables say.
    in_lab: bool,
}

impl Ways {
    fn agents(&self) -> Result<&AgentLinks, CliError> {
        if let Some(agents) = self.agents.get() {
            return Ok(agents);
        }
        let made = self.maker.make()?;
        Ok(self.agents.get_or_init(|| made))
    }

    fn is_local(&self, host: &HostName, way: &Way) -> bool {
        let by_itself = || self.all_local || self.local_hosts.contains(host);
        !self.in_lab && way.connection.map_or_else(by_itself, |connection| connection == Connection::Local)
    }
}

impl Links for Ways {
    fn link<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        static AS_IT_IS: Way = Way { connection: None, address: None, folder: None };
        self.link_by(host, &AS_IT_IS)
    }

    fn link_by<'a>(&'a self, host: &'a HostName, way: &'a Way) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        if self.is_local(host, way) {
            return self.local.link_by(host, way);
        }
        if self.in_lab && !self.knows(host) {
            let error = LinkError::lasting(format!("the lab has no host `{host}`"));
            return std::future::ready(Err(error)).boxed();
        }
        match self.agents() {
            Ok(agents) => {
                if let Some(address) = &way.address {
                    agents.introduce(host, address.clone());
                }
                agents.link(host)
            }
            Err(error) => std::future::ready(Err(error.into_link_error())).boxed(),
        }
    }

    fn knows(&self, host: &HostName) -> bool {
        self.maker.addresses.contains_key(host)
    }

    fn acknowledge(&self, host: &HostName, calls: &[CallKey]) {
        if let Some(agents) = self.agents.get() {
            agents.acknowledge(host, calls);
        }
    }

    fn late<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Vec<(CallKey, CallOutcome)>> {
        match self.agents.get() {
            Some(agents) => agents.late(host),
            None => std::future::pending().boxed(),
        }
    }
}

/// Tells the reporters of the time, for as long as this is waited for.
async fn tick(reporters: &SharedReporters, sink: &EventSink) {
    loop {
        tokio::time::sleep(TICK_INTERVAL).await;
        reporters.lock().tick(sink.elapsed());
    }
}

/// Makes the folder for facts, so that one that cannot be written is known before the run.
fn make_facts_cache(settings: &Settings) -> Result<(), CliError> {
    let Some(FactsCacheSettings { folder, .. }) = &settings.run.facts_cache else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let written = made.and_then(|()| tempfile::tempfile_in(folder));
    let told = |error| CliError::input(format!("cannot keep facts in {}\n  caused by: {error}", folder.display()));
    written.map(drop).map_err(told)
}

/// Reporters behind a sink, and a hold on them for the end.
fn shared(reporters: Reporters, before: Duration) -> (EventSink, SharedReporters) {
    let shared = SharedReporters(Arc::new(std::sync::Mutex::new(reporters)));
    let told = shared.clone();
    let consumer = Box::new(move |event: &Stamped| {
        let told = told.lock().report(event);
        told.map_err(|error| std::io::Error::other(format!("{error}: {}", error.cause)))
    });
    let sink = EventSink::resumed(consumer, before);
    (sink, shared)
}

#[derive(Clone)]
struct SharedReporters(Arc<std::sync::Mutex<Reporters>>);

impl SharedReporters {
    fn lock(&self) -> std::sync::MutexGuard<'_, Reporters> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn finish(&self) -> Result<(), crate::report::ReportError> {
        self.lock().finish()
    }
}

fn invalid(error: ExecutionError) -> CliError {
    let hint = match &error {
        ExecutionError::PlanChanged { acceptable: true, .. } => Some(super::recording::ACCEPT_CHANGED_PLAN),
        _ => None,
    };
    CliError::input(chain(&error)).hint(hint)
}

/// A lab that lasts as long as the run.
struct ThrowAway {
    // Stopped before its folder goes.
    lab: Lab,
    _dir: tempfile::TempDir,
}

impl ThrowAway {
    fn start(plan: &Plan, overlay: Overlay) -> Result<ThrowAway, CliError> {
        let dir = tempfile::Builder::new()
            .prefix("rustle-lab-")
            .tempdir()
            .map_err(|error| CliError::own(format!("cannot make a folder for the lab: {error}")))?;
        let hosts: Vec<HostName> = plan.hosts().into_iter().cloned().collect();
        let options = LabOptions { overlay, detached: false };
        let lab = Lab::start(dir.path(), &hosts, &options).map_err(|error| super::lab::error_of(&error))?;
        if let Some(why) = lab.shares_files() {
            super::note(&format!(
                "tasks of this lab change this machine, since its hosts cannot have files of their own: {why}"
            ));
        }
        Ok(ThrowAway { lab, _dir: dir })
    }
}

/// The native modules and the custom ones.
pub(super) fn registry(settings: &Settings) -> Result<Registry, CliError> {
    let registry = Registry::native();
    modules::add(registry.files(), settings)?;
    Ok(registry)
}
