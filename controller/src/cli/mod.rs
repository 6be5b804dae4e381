//! The command line: reads what is wanted, puts the parts together, answers with an exit code.

mod adhoc;
mod ansible_settings;
pub mod args;
mod asker;
pub mod become_args;
mod config_file;
mod dry_run;
#[cfg(test)]
mod example_tests;
mod extra_vars;
mod inventory;
mod lab;
mod listing;
mod modules;
mod operator;
mod plan;
mod playbook;
mod recording;
mod runs;
mod session;
mod settings;
pub mod usage;
mod vault;
mod vault_args;

use std::io::Write;

use args::{Cli, Command, Schema};
pub use settings::{Settings, SettingsError};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit_code::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct CliError {
    /// The sentence, and its causes one a line.
    message: String,
    hint: Option<String>,
    code: ExitCode,
    /// It is about an inventory that is not there or makes no sense, which some commands can do without.
    is_dispensable: bool,
}

impl CliError {
    /// Plan, inventory, configuration or arguments make no sense; nothing was touched.
    fn input(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: ExitCode::InvalidInput, is_dispensable: false }
    }

    /// Something of ours did not work.
    fn own(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: ExitCode::OwnError, is_dispensable: false }
    }

    fn hint(mut self, hint: Option<impl Into<String>>) -> CliError {
        self.hint = hint.map(Into::into);
        self
    }

    /// As a warning: the sentence and its causes.
    fn on_one_line(&self) -> String {
        self.message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
    }

    /// As the reason why a host cannot be reached.
    fn into_link_error(self) -> crate::dispatch::LinkError {
        let error = crate::dispatch::LinkError::lasting(self.message);
        match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Tells it on standard error and gives the code to end with.
    pub fn tell(&self) -> ExitCode {
        let mut error = std::io::stderr().lock();
        let clean = |text: &str| crate::report::sanitize::lines(text).collect::<Vec<_>>().join("\n");
        // There is nowhere left to say that this cannot be said.
        let _ = writeln!(error, "error: {}", clean(&self.message));
        if let Some(hint) = &self.hint {
            let _ = writeln!(error, "hint: {}", clean(hint));
        }
        self.code
    }
}

/// Tells the operator something beside a run's own output: on standard error, which no layout has.
fn notice(text: &str) {
    let clean = crate::report::sanitize::lines(text).collect::<Vec<_>>().join("\n");
    // There is nowhere left to say that this cannot be said.
    let _ = writeln!(std::io::stderr().lock(), "{clean}");
}

/// An error and its causes, one a line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}\n  caused by: {cause}"))
}

/// Does what the command line says.
///
/// # Errors
/// Whatever kept it from being done, with the code to end with.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        None => plan::run(cli.run),
        Some(Command::Adhoc(args)) => adhoc::run(args),
        Some(Command::Plan(args)) => print(&playbook::print(&args)?),
        Some(Command::Runs(args)) => runs::run(args),
        Some(Command::Inventory(args)) => inventory::run(&args),
        Some(Command::Pki(command)) => pki(command),
        Some(Command::Lab { command }) => lab::run(command),
        Some(Command::Vault { command }) => vault::run(command),
        Some(Command::Schema { what }) => schema(what),
        Some(Command::LabAgent { agent, overlay }) => lab::agent(&agent, &overlay),
    }
}

fn pki(command: crate::pki::PkiCommand) -> Result<ExitCode, CliError> {
    command.run(&mut std::io::stdout().lock()).map_err(|error| CliError::input(chain(&error)))?;
    Ok(ExitCode::Success)
}

fn schema(what: Schema) -> Result<ExitCode, CliError> {
    let schema = match what {
        Schema::Report => crate::report::schema(),
        Schema::Plan => crate::input::plan_schema(),
        Schema::PrintedPlan => crate::input::playbook::printed_plan_schema(),
    };
    print(&format!("{schema:#}\n"))
}

/// Says something that is worth knowing and keeps nobody from anything.
fn note(text: &str) {
    let text = crate::report::sanitize::lines(text).collect::<Vec<_>>().join("\n");
    // There is nowhere left to say that this cannot be said.
    let _ = writeln!(std::io::stderr().lock(), "note: {text}");
}

/// Says what Ansible warns of, before a run that may say it itself.
fn warn(text: &str) {
    let text = crate::report::sanitize::lines(text).collect::<Vec<_>>().join("\n");
    // There is nowhere left to say that this cannot be said.
    let _ = writeln!(std::io::stderr().lock(), "[WARNING]: {text}");
}

/// Writes an answer to standard output. A reader that has gone away is no error.
fn print(text: &str) -> Result<ExitCode, CliError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::own(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(ExitCode::Success),
    }
}

/// Logs go to standard error, as much as was asked for.
fn init_logging(level: Option<&str>) -> Result<(), CliError> {
    let level = level.unwrap_or("error");
    let unknown = || CliError::input(format!("log level `{level}`: use error, warn, info, debug or trace"));
    // Taken for a filter, a misspelt level would be the name of a part that logs nothing.
    let is_filter = level.contains(['=', ',']);
    if !is_filter && level.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(unknown());
    }
    let filter: Targets = level.parse().map_err(|_| unknown())?;
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A second command in one process keeps the first one's logging.
    let _ = tracing_subscriber::registry().with(written).with(filter).try_init();
    Ok(())
}
