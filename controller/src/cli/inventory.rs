//! `rustle-exec inventory --list | --graph | --host H`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ansible_settings::AnsibleSettings;
use super::args::InventoryArgs;
use super::config_file::ConfigFile;
use super::{CliError, chain, extra_vars, notice, print};
use crate::exit_code::ExitCode;
use crate::input::inventory::show::{self, Format, View};
use crate::input::inventory::{self as patterns, GroupId, Inventory, InventoryError, LOCALHOSTS, Limits, Rules};
use crate::vars::{VarMap, Variable};
use crate::vault::Vault;

pub(super) fn run(args: &InventoryArgs) -> Result<ExitCode, CliError> {
    let ansible = AnsibleSettings::read_and_check()?;
    refuse_nonsense(args)?;
    let file = ConfigFile::load(args.config.as_deref()).map_err(|error| CliError::input(chain(&error)))?;
    let sources = match (&args.inventory[..], &file.executor.inventory[..]) {
        ([], []) => ansible.inventory().unwrap_or_default(),
        ([], in_file) => in_file.to_owned(),
        (given, _) => given.to_owned(),
    };
    let vault = args.vault.vault()?;
    // As Ansible answers: nobody is contacted, and scripts look at what there is.
    let extra = extra_vars::read(&args.extra_vars, &vault)?.into();
    let playbook_dir = args.playbook_dir.clone().or_else(|| ansible.playbook_dir());
    let inventory = load_or_none(&sources, &vault, playbook_dir.as_deref(), &extra)?;
    for warning in inventory.warnings() {
        notice(&format!("[WARNING]: {warning}"));
    }
    if inventory.host_count() == 0 && ansible.warns_of_no_inventory() {
        notice("[WARNING]: No inventory was parsed, only implicit localhost is available");
    }
    let format = match (args.yaml, args.toml) {
        (true, _) => Format::Yaml,
        (_, true) => Format::Toml,
        _ => Format::Json,
    };
    let export = args.export || ansible.exports_inventory();
    if let Some(name) = &args.host {
        return print(&show::host(&host_vars(&inventory, name, export)?, format));
    }
    if args.graph {
        let top = args.group.as_deref().map_or(Some(GroupId::ALL), |name| inventory.group_id(name));
        let top = top.ok_or_else(|| CliError::input("Pattern must be valid group name when using --graph"))?;
        return print(&show::graph(&inventory, top, args.vars).map_err(CliError::input)?);
    }
    let only = only(&inventory, args.limit.as_deref())?;
    let text = View { inventory: &inventory, only, export }.list(format);
    match &args.output {
        None => print(&text),
        Some(path) => std::fs::write(path, text)
            .map(|()| ExitCode::Success)
            .map_err(|error| CliError::own(format!("cannot write {}: {error}", path.display()))),
    }
}

/// In Ansible's words, which scripts look for.
fn refuse_nonsense(args: &InventoryArgs) -> Result<(), CliError> {
    match [args.list, args.graph, args.host.is_some()].into_iter().filter(|given| *given).count() {
        0 => {
            Err(CliError::input("No action selected, at least one of --host, --graph or --list needs to be specified."))
        }
        1 => Ok(()),
        _ => Err(CliError::input(
            "Conflicting options used, only one of --host, --graph or --list can be used at the same time.",
        )),
    }
}

/// The hosts that a limit leaves. It may leave none.
fn only(
    inventory: &Inventory,
    limit: Option<&str>,
) -> Result<Option<std::collections::HashSet<patterns::HostId>>, CliError> {
    let Some(pattern) = limit else { return Ok(None) };
    let hosts = match patterns::limit(inventory, pattern) {
        Ok(hosts) => hosts,
        Err(patterns::PatternError::Empty { .. }) => Vec::new(),
        Err(error) => return Err(CliError::input(error.to_string()).hint(error.hint())),
    };
    Ok(Some(hosts.iter().filter_map(|host| inventory.host_id(host.as_str())).collect()))
}

/// A host's variables, those of its groups among them but for an export. `localhost` need not be in the inventory.
fn host_vars(inventory: &Inventory, name: &str, export: bool) -> Result<VarMap, CliError> {
    match inventory.host_id(name) {
        Some(host) if export => Ok(inventory.own_vars(host)),
        Some(host) => Ok(inventory.shown_vars(host)),
        None if LOCALHOSTS.contains(&name) => {
            let local = [("ansible_connection".to_owned(), Variable::data("local"))];
            let of_all = inventory.group_layers(&[GroupId::ALL]).flat_map(|layer| layer.iter());
            let vars = of_all.chain(inventory.extra_vars());
            Ok(local.into_iter().chain(vars.map(|(name, value)| (name.clone(), value.clone()))).collect())
        }
        None => {
            notice(&format!("[WARNING]: Could not match supplied host pattern, ignoring: {name}"));
            Err(CliError::input("You must pass a single valid host to --host parameter"))
        }
    }
}

/// As [`load`], where nobody is contacted, or this machine alone: a source that cannot be read is a warning of the inventory,
/// and there is what the others say, unless the user has set that it is an error.
///
/// # Errors
/// Something is encrypted and no password fits, or variables beside a source or the playbook cannot be read.
pub(super) fn load_or_none(
    sources: &[PathBuf],
    vault: &Vault,
    playbook: Option<&Path>,
    extra: &Arc<VarMap>,
) -> Result<Inventory, CliError> {
    let skips_unread = !AnsibleSettings::read().unread_inventory_is_failure(sources.len() > 1);
    load_by(sources, vault, playbook, extra, skips_unread)
}

/// Reads the sources, every one of them.
pub(super) fn load(
    sources: &[PathBuf],
    vault: &Vault,
    playbook: Option<&Path>,
    extra: &Arc<VarMap>,
) -> Result<Inventory, CliError> {
    load_by(sources, vault, playbook, extra, false)
}

fn load_by(
    sources: &[PathBuf],
    vault: &Vault,
    playbook: Option<&Path>,
    extra: &Arc<VarMap>,
    skips_unread: bool,
) -> Result<Inventory, CliError> {
    let ansible = AnsibleSettings::read();
    let rules = Rules {
        group_names: ansible.group_names(),
        merges_dicts: ansible.merges_dicts(),
        ignored: ansible.ignored_sources().map_err(CliError::input)?.into(),
        skips_unread,
        unknown_names: ansible.unknown_names(),
        extra_vars: Arc::clone(extra),
    };
    Inventory::load_with(sources, Limits::default(), rules, vault, playbook).map_err(|error| {
        // One that only lacks a password is there, and full of hosts.
        let is_dispensable = !matches!(error, InventoryError::Sealed { .. });
        CliError { is_dispensable, ..CliError::input(chain(&error)) }
    })
}
