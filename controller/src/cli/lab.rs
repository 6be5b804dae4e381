//! `rustle-exec lab up | down`, and the agents of labs.

use super::args::{CommonArgs, LabCommand, LabOverlay};
use super::{CliError, chain, print};
use crate::exit_code::ExitCode;
use crate::lab;
use crate::lab::Overlay;
use crate::lab::overlay::{self, OverlayArgs};

pub(super) fn run(command: LabCommand) -> Result<ExitCode, CliError> {
    match command {
        LabCommand::Up { hosts, names, dir, overlay } => {
            let names = if names.is_empty() { lab::host_names(hosts) } else { names };
            let lab = lab::up(&dir, &names, overlay).map_err(|error| error_of(&error))?;
            let count = lab.addresses().len();
            let dir = dir.display();
            print(&format!(
                "{count} agents are up. Run a plan on them:\n  rustle-exec --config {dir}/config.toml -i {dir}/hosts.ini \
                 PLAN\nStop them:\n  rustle-exec lab down --dir {dir}\n"
            ))
        }
        LabCommand::Down { dir } => {
            let ended = lab::down(&dir).map_err(|error| error_of(&error))?;
            print(&format!("{ended} agents stopped; {} is clean\n", dir.display()))
        }
    }
}

pub(super) fn error_of(error: &lab::LabError) -> CliError {
    let message = chain(error);
    match error {
        lab::LabError::NotEmpty(_) | lab::LabError::NotALab { .. } | lab::LabError::NotRoot => CliError::input(message),
        lab::LabError::Pki(_)
        | lab::LabError::Io { .. }
        | lab::LabError::AgentDied { .. }
        | lab::LabError::NotReady { .. } => CliError::own(message),
    }
}

/// What `--lab` and `--lab-overlay` want.
pub(super) fn wanted(common: &CommonArgs) -> Option<Overlay> {
    common.lab?;
    Some(match common.lab_overlay {
        None => Overlay::IfPossible,
        Some(LabOverlay::Yes) => Overlay::Yes,
        Some(LabOverlay::No) => Overlay::No,
    })
}

/// The agent of one lab host, in its own root if it has one.
pub(super) fn agent(args: &rustle_agent::cli::AgentArgs, overlay: &OverlayArgs) -> Result<ExitCode, CliError> {
    // Identity and configuration are read first: they may not be there in the host's own root.
    let prepared = rustle_agent::cli::prepare(args).map_err(CliError::own)?;
    overlay::enter(overlay).map_err(CliError::own)?;
    rustle_agent::cli::run(prepared).map_err(CliError::own)?;
    Ok(ExitCode::Success)
}
