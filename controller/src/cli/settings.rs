//! What a run is to be like: flag over environment over file over default, decided once.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustle_protocol::message::OnDisconnect;
use rustle_protocol::transport::TransportOptions;

use super::ansible_settings::AnsibleSettings;
use super::args::{CommonArgs, ConnectionPlugin, GatherFacts, PlanArgs, StrategyArg};
use super::become_args::BecomeArgs;
use super::config_file::{ConfigFile, JournalSection, state_folder, user_folder};
use super::recording::JournalSettings;
use super::{CliError, chain, extra_vars};
use crate::custom::{OtherPlugin, PluginKind};
use crate::dispatch::session::OnBusyHost;
use crate::engine::RunOptions;
use crate::engine::links::{CONNECTS_MAX, RECONNECT_WINDOW};
use crate::input::playbook::{PlayDefaults, SearchPaths};
use crate::journal::Durability;
use crate::plan::{SerialSize, Strategy, TagFilter, serial_sizes};
use crate::report::{OutputSettings, ReportOptions};
use crate::scheduler::{Limits, Percent, RetryPolicy};
use crate::vars::VarMap;
use crate::vault::Vault;

/// The longest time that may be given on the command line: a year.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

/// How long a host waits for this controller to come back, if nobody says: as long as retries take that are not told
/// otherwise.
const DISCONNECT_GRACE_S: u64 = 60;

/// Everything that flags, environment and file say of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub inventory: Vec<PathBuf>,
    pub limit: Option<String>,
    pub identity: Option<PathBuf>,
    pub connection: ConnectionPlugin,
    pub transport: TransportOptions,
    pub connects_max: usize,
    pub on_disconnect: OnDisconnect,
    pub disconnect_grace: Duration,
    pub reconnect_window: Duration,
    pub on_busy_host: OnBusyHost,
    pub run: RunOptions,
    /// `None` where the plan may say.
    pub forks_given: bool,
    pub report: ReportOptions,
    pub module_path: Vec<PathBuf>,
    /// What `-e` says. It is read once: a file of variables may be a pipe.
    pub extra_vars: Arc<VarMap>,
    /// Passwords for text of ansible-vault.
    pub vault: Vault,
    /// Where roles and collections are.
    pub search_paths: SearchPaths,
    /// Folders of Python code that modules import as `ansible.module_utils`.
    pub module_utils: Vec<PathBuf>,
    /// Folders of plug-ins in Python.
    pub plugins: Vec<(PluginKind, PathBuf)>,
    /// Seconds between looks at what runs in the background.
    pub poll_interval: Option<u32>,
    /// The folder that stands for a playbook's where there is none.
    pub playbook_dir: Option<PathBuf>,
    /// What is to be said of the settings themselves.
    pub warning: Option<String>,
    pub(crate) other_plugins: Vec<(OtherPlugin, PathBuf)>,
    /// Names of callback plug-ins that are wanted and that nobody here is.
    pub other_callbacks: Vec<String>,
    /// The `ansible.cfg` that counts.
    pub ansible_config: Option<PathBuf>,
    /// Ansible's `gathering`: implicit, explicit, smart.
    pub gathering: Option<String>,
    /// Ansible's `hash_behaviour = merge`.
    pub merges_dicts: bool,
    /// Ansible's `inject_facts_as_vars = false`.
    pub keeps_facts_apart: bool,
    /// Ansible's `private_role_vars`.
    pub private_role_vars: bool,
    pub force_handlers: bool,
    pub play_defaults: PlayDefaults,
    pub run_tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub require_all_success: bool,
    pub cleanup_on_failure: bool,
    pub batch: bool,
    pub log_level: Option<String>,
    pub strategy: Option<Strategy>,
    pub serial: Option<Vec<SerialSize>>,
    pub gather_facts: GatherFacts,
    pub journal: JournalSettings,
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{name} must be {wanted}, not {given}")]
    Value { name: &'static str, wanted: &'static str, given: String },
    #[error("{0}")]
    Vault(crate::vault::SecretError),
    #[error("{0}")]
    Become(String),
    #[error("{0}")]
    BecomePassword(#[from] super::become_args::BecomePasswordError),
    #[error("--serial: {0}")]
    Serial(#[from] crate::plan::SerialError),
}

impl Settings {
    /// What the command line, the environment and files say.
    ///
    /// # Errors
    /// The first setting that makes no sense, or a file that cannot be read.
    pub(super) fn read(common: &CommonArgs, plan: Option<&PlanArgs>) -> Result<Settings, CliError> {
        AnsibleSettings::read_and_check()?;
        let file = ConfigFile::load(common.config.as_deref()).map_err(|error| CliError::input(chain(&error)))?;
        let settings = Settings::resolve(common, plan, file).map_err(|error| CliError::input(error.to_string()))?;
        let extra_vars = extra_vars::read(&common.extra_vars, &settings.vault)?.into();
        if let Some(warning) = &settings.warning {
            super::warn(warning);
        }
        Ok(Settings { extra_vars, ..settings })
    }

    /// All but the extra variables.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn resolve(common: &CommonArgs, plan: Option<&PlanArgs>, file: ConfigFile) -> Result<Settings, SettingsError> {
        let executor = file.executor;
        let ansible = AnsibleSettings::read();
        let flag = |given: bool, in_file: bool| given || in_file;
        let serial = plan.and_then(|plan| plan.serial.clone()).or(executor.serial.clone());
        let verbosity = match common.verbose {
            0 => file.reporting.verbosity.or_else(|| ansible.verbosity()).unwrap_or(0),
            given => given,
        };
        let report_file = common.report_file.clone().or(file.reporting.report_file);
        let log_file = common.log_file.clone().or(file.reporting.log_file).or_else(|| ansible.log_path());
        let progress = common.progress.or(file.reporting.progress).unwrap_or_default();
        let report = ReportOptions {
            progress,
            verbosity,
            report_file,
            log_file,
            output: OutputSettings { asks: plan.is_some_and(|plan| plan.step), ..ansible.output() },
            ..ReportOptions::default()
        };
        let timeout = seconds(
            "--timeout",
            common
                .timeout
                .or(executor.timeout)
                .or_else(|| ansible.task_timeout())
                .unwrap_or(RunOptions::default().timeout.as_secs()),
        )?;
        let facts_cache = plan.and_then(|plan| plan.facts_cache.clone()).or(executor.facts_cache.clone());
        let facts_cache = ansible.facts_cache(facts_cache);
        let run = RunOptions {
            check: common.check,
            diff: common.diff || ansible.diff(),
            verbosity,
            timeout,
            live_output: progress == crate::report::ProgressMode::Json || report.log_file.is_some() || verbosity >= 2,
            run_as: common.run_as.run_as(&ansible).map_err(SettingsError::Become)?,
            become_password: common.run_as.password(&ansible)?,
            become_settings: BecomeArgs::settings(&ansible)?,
            limits: limits(common, &executor, &ansible)?,
            facts_cache,
            flush_facts: plan.is_some_and(|plan| plan.flush_cache),
            tags: TagFilter::default(),
            step: plan.is_some_and(|plan| plan.step),
            tells_arrivals: report.output.arrivals,
            conditionals: ansible.conditionals(),
            untrusted: ansible.untrusted_templates(),
            unknown_handler_ends_run: ansible.unknown_handler_ends_run(),
        };
        Ok(Settings {
            inventory: match (&common.inventory[..], &executor.inventory[..]) {
                ([], []) => ansible.inventory().unwrap_or_default(),
                ([], in_file) => in_file.to_owned(),
                (given, _) => given.to_owned(),
            },
            limit: common.limit.clone(),
            identity: common.identity.clone().or(executor.identity),
            connection: common
                .connection_plugin
                .or(executor.connection_plugin)
                .or_else(|| ansible.is_local().then_some(ConnectionPlugin::Local))
                .unwrap_or_default(),
            transport: transport(&file.performance)?,
            connects_max: at_least_one("[performance] connects", file.performance.connects.unwrap_or(CONNECTS_MAX))?
                .get(),
            on_disconnect: common.on_disconnect.map(Into::into).or(executor.on_disconnect).unwrap_or_default(),
            on_busy_host: common.on_busy_host.or(executor.on_busy_host).unwrap_or_default(),
            reconnect_window: seconds(
                "--reconnect-window",
                common.reconnect_window.or(executor.reconnect_window).unwrap_or(RECONNECT_WINDOW.as_secs()),
            )?,
            disconnect_grace: seconds(
                "--disconnect-grace",
                common.disconnect_grace.or(executor.disconnect_grace).unwrap_or(DISCONNECT_GRACE_S),
            )?,
            run,
            forks_given: common.forks.or(executor.forks).is_some(),
            report,
            module_path: match (&common.module_path[..], &file.modules.path[..]) {
                ([], []) => ansible.library().unwrap_or_default().into_iter().filter(|path| path.is_dir()).collect(),
                ([], in_file) => in_file.to_owned(),
                (given, _) => given.to_owned(),
            },
            extra_vars: Arc::default(),
            vault: common.vault.vault_with(&ansible.vault()).map_err(SettingsError::Vault)?,
            module_utils: ansible.module_utils(),
            plugins: folders_of(PluginKind::ALL, |kind| ansible.plugins(kind.name())),
            other_plugins: folders_of(OtherPlugin::ALL, |kind| ansible.plugins(kind.name())),
            search_paths: SearchPaths { roles: ansible.roles_path(), collections: ansible.collections_path() },
            other_callbacks: ansible.other_callbacks(),
            poll_interval: ansible.poll_interval(),
            playbook_dir: ansible.playbook_dir(),
            warning: ansible.warning(),
            ansible_config: ansible.config_file(),
            gathering: ansible.gathering().map(str::to_owned),
            merges_dicts: ansible.merges_dicts(),
            keeps_facts_apart: ansible.keeps_facts_apart(),
            private_role_vars: ansible.private_role_vars(),
            force_handlers: plan.is_some_and(|plan| plan.force_handlers) || ansible.force_handlers(),
            play_defaults: ansible.play_defaults(),
            run_tags: plan
                .map(|plan| plan.tags.clone())
                .filter(|tags| !tags.is_empty())
                .unwrap_or_else(|| ansible.run_tags()),
            skip_tags: plan
                .map(|plan| plan.skip_tags.clone())
                .filter(|tags| !tags.is_empty())
                .unwrap_or_else(|| ansible.skip_tags()),
            require_all_success: flag(common.require_all_success, executor.require_all_success),
            cleanup_on_failure: flag(common.cleanup_on_failure, executor.cleanup_on_failure),
            batch: common.batch,
            log_level: common.log_level.clone().or(file.reporting.log_level),
            strategy: plan.and_then(|plan| plan.strategy).or(executor.strategy).map(strategy),
            serial: serial.as_deref().map(serial_sizes).transpose()?,
            gather_facts: plan.and_then(|plan| plan.gather_facts).or(executor.gather_facts).unwrap_or_default(),
            journal: journal(common, plan.is_some(), file.journal),
        })
    }

    /// Where this controller's certificate is, if nobody says.
    pub fn default_identity() -> Option<PathBuf> {
        user_folder().map(|folder| folder.join("identity"))
    }
}

/// One module on some hosts is not worth waiting for the disk, unless somebody says so.
fn journal(common: &CommonArgs, is_plan: bool, file: JournalSection) -> JournalSettings {
    let usual = if is_plan { Durability::Power } else { Durability::Process };
    JournalSettings {
        state: common.state_dir.clone().or(file.state_dir).or_else(state_folder),
        durability: common.durability.or(file.durability).unwrap_or(usual),
        wanted: !common.no_journal && file.enabled.unwrap_or(true),
        resume: common.resume_run,
        accept_changed_plan: common.accept_changed_plan,
    }
}

fn limits(
    common: &CommonArgs,
    executor: &super::config_file::Executor,
    ansible: &AnsibleSettings,
) -> Result<Limits, SettingsError> {
    let default = Limits::default();
    let percent = common.max_fail_percentage.or(executor.max_fail_percentage);
    let run_budget = percent
        .map(|percent| Percent::new(percent).ok_or_else(|| wrong("--max-fail-percentage", "a percentage", percent)))
        .transpose()?;
    let straggler = common.straggler_timeout.or(executor.straggler_timeout).filter(|seconds| *seconds > 0);
    Ok(Limits {
        forks: at_least_one(
            "--forks",
            common.forks.or(executor.forks).or_else(|| ansible.forks()).unwrap_or(default.forks.get()),
        )?,
        fail_fast: common.fail_fast || executor.fail_fast,
        continue_on_error: common.continue_on_error || executor.continue_on_error,
        run_budget,
        straggler: straggler.map(|given| seconds("--straggler-timeout", given)).transpose()?,
        retry: retry(common, executor, default.retry)?,
    })
}

fn retry(
    common: &CommonArgs,
    executor: &super::config_file::Executor,
    default: RetryPolicy,
) -> Result<RetryPolicy, SettingsError> {
    let retries = common.retries.or(executor.retries);
    let initial = common.retry_delay.or(executor.retry_delay).map(delay).transpose()?;
    Ok(RetryPolicy {
        attempts_max: retries.map_or(default.attempts_max, |retries| retries.saturating_add(1)),
        initial: initial.unwrap_or(default.initial),
        seed: seed(),
        ..default
    })
}

/// Different in every run: what jitter is for.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

fn strategy(arg: StrategyArg) -> Strategy {
    match arg {
        StrategyArg::Linear => Strategy::Linear,
        StrategyArg::Rolling => Strategy::Rolling,
        StrategyArg::Free => Strategy::Free,
        StrategyArg::HostPinned => Strategy::HostPinned,
        StrategyArg::Batch => Strategy::Batch,
    }
}

fn transport(performance: &super::config_file::Performance) -> Result<TransportOptions, SettingsError> {
    let mut options = TransportOptions::default();
    if let Some(keep_alive) = performance.keep_alive_s {
        options.keep_alive = seconds("[performance] keep_alive_s", keep_alive.max(1))?;
    }
    if let Some(idle) = performance.idle_s {
        options.idle_timeout = seconds("[performance] idle_s", idle)?;
    }
    if options.idle_timeout < options.keep_alive * 2 {
        let given = format!("{} s", options.idle_timeout.as_secs());
        return Err(wrong("[performance] idle_s", "at least twice keep_alive_s", given));
    }
    Ok(options)
}

fn at_least_one(name: &'static str, number: usize) -> Result<NonZeroUsize, SettingsError> {
    NonZeroUsize::new(number).ok_or_else(|| wrong(name, "at least 1", number))
}

fn seconds(name: &'static str, seconds: u64) -> Result<Duration, SettingsError> {
    match seconds {
        0..=SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong(name, "at most a year", seconds)),
    }
}

fn delay(seconds: f64) -> Result<Duration, SettingsError> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(delay) if delay.as_secs() <= SECONDS_MAX => Ok(delay),
        _ => Err(wrong("--retry-delay", "a number of seconds", seconds)),
    }
}

fn wrong(name: &'static str, wanted: &'static str, given: impl std::fmt::Display) -> SettingsError {
    SettingsError::Value { name, wanted, given: given.to_string() }
}

/// Each folder with the kind of what is in it.
fn folders_of<K: Copy, const N: usize>(kinds: [K; N], of: impl Fn(K) -> Vec<PathBuf>) -> Vec<(K, PathBuf)> {
    kinds.into_iter().flat_map(|kind| of(kind).into_iter().map(move |folder| (kind, folder))).collect()
}
