//! The command line. What is not given is `None`: the environment, the configuration file and the defaults come after
//! it, in `settings`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::pki::PkiCommand;

/// Runs automation plans on fleets of agents over mutual-TLS QUIC.
#[derive(Debug, Parser)]
#[command(
    name = "rustle-exec",
    version,
    propagate_version = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    args_override_self = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub run: PlanArgs,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of these in a process")]
pub enum Command {
    /// Run one module on the hosts of a pattern
    Adhoc(AdhocArgs),
    /// Print the plan of playbooks as JSON, to look at, to keep and to run
    ///
    /// What is printed can be run in the place of the playbooks, from any folder: `rustle-exec -i hosts.ini plan.json`.
    /// Which tasks and hosts take part (--tags, --limit) and whether anything is changed (--check) is said then.
    Plan(PlanFileArgs),
    /// Show, steer and resume runs
    Runs(RunsArgs),
    /// Show the inventory
    Inventory(InventoryArgs),
    /// Make and manage the fleet's certificates
    Pki(PkiCommand),
    /// Keep a throw-away fleet of agents on this machine
    Lab {
        #[command(subcommand)]
        command: LabCommand,
    },
    /// Encrypt and decrypt text of ansible-vault
    Vault {
        #[command(subcommand)]
        command: super::vault_args::VaultCommand,
    },
    /// Print the JSON schema of a file format
    Schema {
        /// The file format
        what: Schema,
    },
    /// What a lab's agents are: this program, started again
    #[command(hide = true)]
    LabAgent {
        #[command(flatten)]
        agent: rustle_agent::cli::AgentArgs,
        #[command(flatten)]
        overlay: crate::lab::overlay::OverlayArgs,
    },
}

/// `rustle-exec [OPTIONS] PLAN`
#[derive(Debug, Default, Args)]
pub struct PlanArgs {
    /// Playbooks, or a plan: rustle-plan's or rustle-parse's JSON, or `-` for standard input
    #[arg(value_name = "PLAN", required = true)]
    pub plan: Vec<PathBuf>,

    /// rustle-parse's JSON for this plan: brings back inventory, variables, loops and more that the plan lost
    #[arg(long, value_name = "FILE")]
    pub parsed: Option<PathBuf>,

    /// Only tasks with one of these tags (repeatable, or comma-separated)
    #[arg(short, long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,

    /// No tasks with one of these tags
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub skip_tags: Vec<String>,

    /// Only hosts that failed or were unreachable in this earlier run
    #[arg(long, value_name = "RUN")]
    pub retry_failed: Option<String>,

    /// Begin at the task of this name
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,

    /// Ask before each task: yes, no, continue without asking
    #[arg(long)]
    pub step: bool,

    /// Read and check everything, show what would run where, contact nobody
    #[arg(long)]
    pub dry_run: bool,

    /// Read and check a playbook, run nothing
    #[arg(long)]
    pub syntax_check: bool,

    /// Show the tasks that would run
    #[arg(long)]
    pub list_tasks: bool,

    /// Show the tags that there are
    #[arg(long)]
    pub list_tags: bool,

    /// Show the hosts of each play
    #[arg(long)]
    pub list_hosts: bool,

    /// Run handlers even on hosts on which a task failed
    #[arg(long)]
    pub force_handlers: bool,

    /// Hosts at once in a batch: a number, a percentage, or a comma-separated list of both
    #[arg(long, value_name = "SIZES")]
    pub serial: Option<String>,

    /// How hosts go through the tasks
    #[arg(long)]
    pub strategy: Option<StrategyArg>,

    /// Gather facts: when a play mentions one, always, or never
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always", require_equals = true)]
    pub gather_facts: Option<GatherFacts>,

    /// Keep facts in this folder and use them again
    #[arg(long, value_name = "DIR")]
    pub facts_cache: Option<PathBuf>,

    /// Forget the facts that were kept
    #[arg(long)]
    pub flush_cache: bool,

    #[command(flatten)]
    pub common: CommonArgs,
}

impl PlanArgs {
    /// Whether nothing is to be run.
    pub(super) fn is_listing(&self) -> bool {
        self.dry_run || self.listing_option().is_some()
    }

    /// The first option that asks for a list instead of a run.
    pub(super) fn listing_option(&self) -> Option<&'static str> {
        let options = [
            ("--syntax-check", self.syntax_check),
            ("--list-tasks", self.list_tasks),
            ("--list-tags", self.list_tags),
            ("--list-hosts", self.list_hosts),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// `rustle-exec plan PLAYBOOK...`
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct PlanFileArgs {
    /// The playbooks
    #[arg(value_name = "PLAYBOOK", required = true)]
    pub playbooks: Vec<PathBuf>,

    /// Inventory: tells whom the plays' patterns mean; it is looked at again when the plan is run (repeatable)
    #[arg(short, long, alias = "inventory-file", value_name = "INVENTORY")]
    pub inventory: Vec<PathBuf>,

    /// Variables above all others (repeatable). They are in the plan
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,

    /// Run handlers even on hosts on which a task failed
    #[arg(long)]
    pub force_handlers: bool,

    #[command(flatten)]
    pub vault: super::vault_args::VaultOptions,

    /// Configuration file
    #[arg(long, value_name = "FILE", env = "RUSTLE_CONFIG")]
    pub config: Option<PathBuf>,
}

impl PlanFileArgs {
    /// As a run of these playbooks would be asked for. The paths are absolute: what is printed is of use everywhere.
    ///
    /// # Errors
    /// There is no folder to begin them with.
    pub(super) fn as_run(&self) -> std::io::Result<PlanArgs> {
        let common = CommonArgs {
            inventory: self.inventory.clone(),
            extra_vars: self.extra_vars.clone(),
            vault: self.vault.clone(),
            config: self.config.clone(),
            ..CommonArgs::default()
        };
        let plan = self.playbooks.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
        Ok(PlanArgs { plan, force_handlers: self.force_handlers, common, ..PlanArgs::default() })
    }
}

/// What a plan's run and an ad-hoc run have in common.
#[derive(Debug, Default, Args)]
pub struct CommonArgs {
    /// Inventory: an INI or YAML file, a folder, an executable that prints JSON, or `host1,host2,` (repeatable)
    #[arg(short, long, alias = "inventory-file", value_name = "INVENTORY")]
    pub inventory: Vec<PathBuf>,

    /// Only hosts of this pattern
    #[arg(short, long, alias = "subset", value_name = "PATTERN")]
    pub limit: Option<String>,

    /// Run against throw-away agents on this machine: one for each host, or hosts lab1..labN
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    pub lab: Option<u32>,

    /// Give each host of the lab an overlay of this machine's files and a name of its own, so that nothing here is changed
    /// [default: if possible, which takes root]
    #[arg(long, value_name = "WHETHER", requires = "lab")]
    pub lab_overlay: Option<LabOverlay>,

    /// Change nothing; say what would change
    #[arg(short = 'c', visible_short_alias = 'C', long)]
    pub check: bool,

    /// Show what changes in files
    #[arg(short = 'D', long)]
    pub diff: bool,

    /// Hosts with work in flight at once, at most [default: 50]
    #[arg(short, long, value_name = "N", env = "RUSTLE_FORKS")]
    pub forks: Option<usize>,

    /// How hosts are reached [default: agent]
    #[arg(long, value_name = "PLUGIN")]
    pub connection_plugin: Option<ConnectionPlugin>,

    /// Seconds a task may take [default: 600]
    #[arg(long, visible_alias = "task-timeout", value_name = "SECONDS", env = "RUSTLE_EXEC_TIMEOUT")]
    pub timeout: Option<u64>,

    /// Tries again after a transport failure [default: 3]
    #[arg(long, value_name = "N", env = "RUSTLE_MAX_RETRIES")]
    pub retries: Option<u32>,

    /// Seconds before the first retry; doubles each time [default: 5]
    #[arg(long, value_name = "SECONDS")]
    pub retry_delay: Option<f64>,

    /// Under linear, give a host up whose task takes longer than this while others wait for it [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub straggler_timeout: Option<u64>,

    /// Go on with later batches and plays after failures
    #[arg(long)]
    pub continue_on_error: bool,

    /// Stop at the first failure: start nothing more and cancel what runs
    #[arg(short = 'k', long)]
    pub fail_fast: bool,

    /// More failures than this percentage of all hosts stop the run
    #[arg(long, value_name = "PERCENT")]
    pub max_fail_percentage: Option<f64>,

    /// What becomes of running tasks when this controller is gone [default: finish]
    #[arg(long, value_name = "WHAT")]
    pub on_disconnect: Option<OnDisconnectArg>,

    /// Seconds that a host whose connection broke waits for this controller before it does so [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub disconnect_grace: Option<u64>,

    /// Seconds for which a host whose connection broke is looked for; 0 for one try [default: 60]
    #[arg(long, value_name = "SECONDS", env = "RUSTLE_RECONNECT_WINDOW")]
    pub reconnect_window: Option<u64>,

    /// Hosts that another run holds: share them; or hold hosts too, and wait or go without them [default: share]
    #[arg(long, value_name = "WHAT")]
    pub on_busy_host: Option<crate::dispatch::session::OnBusyHost>,

    /// One Ctrl-C is final
    #[arg(long)]
    pub batch: bool,

    #[command(flatten)]
    pub run_as: super::become_args::BecomeArgs,

    /// Exit 0 only if every host went through
    #[arg(long)]
    pub require_all_success: bool,

    /// Write a report of the run, JSON
    #[arg(long, value_name = "FILE")]
    pub report_file: Option<PathBuf>,

    /// Write a log of everything that happens
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Live progress: on a terminal, always, never; or every event as a JSON line
    #[arg(long, value_name = "MODE")]
    pub progress: Option<crate::report::ProgressMode>,

    /// Say more (repeatable)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Folders with custom modules (repeatable, or colon-separated)
    #[arg(short = 'M', long, value_name = "DIRS", value_delimiter = ':', env = "RUSTLE_MODULE_PATH")]
    pub module_path: Vec<PathBuf>,

    /// If the run fails, remove what it left on the hosts' agents: received files
    #[arg(long)]
    pub cleanup_on_failure: bool,

    /// Folder where runs are kept [default: rustle-exec in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Do not write the run down: it ends with this process and cannot be resumed
    #[arg(long)]
    pub no_journal: bool,

    /// What a run's journal is safe against: the death of this process, or loss of power too [default: power]
    #[arg(long, value_name = "AGAINST")]
    pub durability: Option<crate::journal::Durability>,

    /// Go on with this run: what `runs resume` adds to the command line that began it
    #[arg(long, hide = true)]
    pub resume_run: Option<rustle_protocol::RunId>,

    /// With `runs resume`: the plan may have changed
    #[arg(long, hide = true)]
    pub accept_changed_plan: bool,

    /// Variables above all others: `key=value ...`, JSON or YAML, or `@FILE` (repeatable)
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,

    #[command(flatten)]
    pub vault: super::vault_args::VaultOptions,

    /// Folder with this controller's cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,

    /// Configuration file [default: rustle-exec/config.toml in $XDG_CONFIG_HOME or ~/.config, else in /etc]
    #[arg(long, value_name = "FILE", env = "RUSTLE_CONFIG")]
    pub config: Option<PathBuf>,

    /// What is logged to standard error: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", env = "RUSTLE_LOG_LEVEL")]
    pub log_level: Option<String>,
}

/// `rustle-exec adhoc PATTERN -m MODULE -a ARGS`
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct AdhocArgs {
    /// Hosts: names, groups, globs
    pub pattern: String,

    /// The module [default: command]
    #[arg(short, long, alias = "module-name")]
    pub module: Option<String>,

    /// Its arguments: `key=value ...`, a command line, or JSON
    #[arg(short, long, allow_hyphen_values = true)]
    pub args: Option<String>,

    /// Show the hosts of the pattern, run nothing
    #[arg(long)]
    pub list_hosts: bool,

    /// Answer in one line for each host
    #[arg(short, long)]
    pub one_line: bool,

    /// Write each host's result, as JSON, into a file of its name in this folder
    #[arg(short, long, value_name = "DIR")]
    pub tree: Option<PathBuf>,

    /// Run the module in the background, for so many seconds at most
    #[arg(short = 'B', long, value_name = "SECONDS")]
    pub background: Option<u32>,

    /// Seconds between looks at what runs in the background; 0 to leave it running
    /// [default: 15]
    #[arg(short = 'P', long, value_name = "SECONDS")]
    pub poll: Option<u32>,

    /// Forget the facts that were kept
    #[arg(long)]
    pub flush_cache: bool,

    /// The folder whose group_vars and host_vars count as a playbook's, and beside which files are looked for
    #[arg(long, value_name = "DIR")]
    pub playbook_dir: Option<PathBuf>,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// `rustle-exec runs`
#[derive(Debug, Args)]
pub struct RunsArgs {
    #[command(subcommand)]
    pub command: RunsCommand,

    /// Folder where runs are kept [default: rustle-exec in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,

    /// Configuration file
    #[arg(long, value_name = "FILE", env = "RUSTLE_CONFIG", global = true)]
    pub config: Option<PathBuf>,
}

/// A run is named by its id, by as much of the id's beginning as is needed, or by `last`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// All runs, the oldest first
    List,
    /// What a run is and how it stands
    Show {
        /// Its id, the beginning of its id, or `last`
        run: String,
    },
    /// Where a run that is under way stands now
    Status {
        /// Its id, the beginning of its id, or `last`
        run: String,
    },
    /// Go on with a run that was interrupted or paused
    Resume {
        /// Its id, the beginning of its id, or `last`
        run: String,
        /// The plan may have changed: what is left is done as it says now
        #[arg(long)]
        accept_changed_plan: bool,
        /// More options for it, as `--report-file FILE`
        #[arg(last = true, value_name = "OPTIONS")]
        options: Vec<String>,
    },
    /// Start nothing new until `resume`; what runs goes on
    Pause {
        /// Its id, the beginning of its id, or `last`
        run: String,
    },
    /// Stop a run, for good
    Cancel {
        /// Its id, the beginning of its id, or `last`
        run: String,
    },
    /// Give a host up: its task is stopped and nobody waits for it
    Drop {
        /// Its id, the beginning of its id, or `last`
        run: String,
        /// The host's name in the inventory
        host: rustle_protocol::HostName,
    },
    /// Make the report of a run again
    Report {
        /// Its id, the beginning of its id, or `last`
        run: String,
        /// Where to, instead of standard output
        #[arg(long, value_name = "FILE")]
        report_file: Option<PathBuf>,
    },
    /// Forget runs that are over
    Prune {
        /// But keep this many, the newest
        #[arg(long, value_name = "N", default_value_t = 20)]
        keep: usize,
        /// Interrupted ones too
        #[arg(long)]
        interrupted: bool,
    },
}

/// `rustle-exec inventory`
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct InventoryArgs {
    /// With --graph: the group to begin with [default: all]
    pub group: Option<String>,

    /// Everything
    #[arg(long)]
    pub list: bool,

    /// Groups and hosts as a tree
    #[arg(long)]
    pub graph: bool,

    /// One host's variables
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// As YAML instead of JSON
    #[arg(short, long, conflicts_with = "toml")]
    pub yaml: bool,

    /// As TOML instead of JSON
    #[arg(long)]
    pub toml: bool,

    /// With --list: a group's variables stand at the group, not at each of its hosts
    #[arg(long)]
    pub export: bool,

    /// With --list: write to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Inventory (repeatable)
    #[arg(short, long, alias = "inventory-file", value_name = "INVENTORY")]
    pub inventory: Vec<PathBuf>,

    /// Variables above all others (repeatable)
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,

    /// Say more (repeatable)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Configuration file
    #[arg(long, value_name = "FILE", env = "RUSTLE_CONFIG")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub vault: super::vault_args::VaultOptions,

    /// The folder whose group_vars and host_vars count as a playbook's
    #[arg(long, value_name = "DIR")]
    pub playbook_dir: Option<PathBuf>,

    /// With --graph: show variables too
    #[arg(long)]
    pub vars: bool,

    /// With --list: only hosts of this pattern
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
}

/// `--lab-overlay`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabOverlay {
    Yes,
    No,
}

/// `rustle-exec lab`
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start agents and write DIR/hosts.ini
    Up {
        /// How many hosts: lab1..labN
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        hosts: u32,
        /// The hosts' names instead
        #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "hosts")]
        names: Vec<rustle_protocol::HostName>,
        /// Folder for everything the lab has
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Give each host an overlay of this machine's root file system and a host name of its own (root only)
        #[arg(long)]
        overlay: bool,
    },
    /// Stop the agents of a lab and remove what it made
    Down {
        /// The folder given to `lab up`
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    Report,
    /// Of rustle-plan
    Plan,
    /// As `rustle-exec plan` prints it
    PrintedPlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyArg {
    Linear,
    Rolling,
    Free,
    #[value(name = "host_pinned", alias = "host-pinned")]
    HostPinned,
    /// Tasks travel in segments: one round trip for many
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnDisconnectArg {
    Finish,
    Cancel,
}

impl From<OnDisconnectArg> for rustle_protocol::message::OnDisconnect {
    fn from(arg: OnDisconnectArg) -> Self {
        match arg {
            OnDisconnectArg::Finish => Self::Finish,
            OnDisconnectArg::Cancel => Self::Cancel,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatherFacts {
    /// When a play mentions a fact.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionPlugin {
    /// An agent over QUIC.
    #[default]
    Agent,
    /// This machine, in this process.
    Local,
}
