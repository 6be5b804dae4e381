//! `rustle-exec inventory --list | --graph | --host H`

use std::path::{Path, PathBuf};

use super::args::InventoryArgs;
use super::{CliError, chain, print};
use crate::exit_code::ExitCode;
use crate::input::inventory::{self as patterns, GroupId, Inventory, Limits, show};
use crate::vault::Vault;

pub(super) fn run(args: &InventoryArgs) -> Result<ExitCode, CliError> {
    let inventory = load(&args.inventory, &args.vault.vault()?, args.playbook_dir.as_deref())?;
    if let Some(pattern) = &args.limit {
        patterns::limit(&inventory, pattern).map_err(|error| CliError::input(error.to_string()).hint(error.hint()))?;
    }
    if let Some(name) = &args.host {
        let host =
            inventory.host_id(name).ok_or_else(|| CliError::input(format!("host `{name}` is not in the inventory")))?;
        return print(&show::host(&inventory, host));
    }
    if args.graph {
        return print(&show::graph(&inventory, GroupId::ALL, args.vars));
    }
    print(&show::list(&inventory))
}

/// Reads the sources.
pub(super) fn load(sources: &[PathBuf], vault: &Vault, playbook: Option<&Path>) -> Result<Inventory, CliError> {
    Inventory::load_with(sources, Limits::default(), vault, playbook).map_err(|error| CliError::input(chain(&error)))
}
