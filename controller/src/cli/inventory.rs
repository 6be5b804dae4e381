//! `rustle-exec inventory --list | --graph | --host H`

use std::path::{Path, PathBuf};

use super::ansible_settings::AnsibleSettings;
use super::args::InventoryArgs;
use super::config_file::ConfigFile;
use super::{CliError, chain, extra_vars, notice, print};
use crate::exit_code::ExitCode;
use crate::input::inventory::show::{self, Format, View};
use crate::input::inventory::{self as patterns, GroupId, Inventory, InventoryError, Limits, Rules};
use crate::vars::{VarMap, Variable};
use crate::vault::Vault;

pub(super) fn run(args: &InventoryArgs) -> Result<ExitCode, CliError> {
    refuse_nonsense(args)?;
    let file = ConfigFile::load(args.config.as_deref()).map_err(|error| CliError::input(chain(&error)))?;
    let sources = match (&args.inventory[..], &file.executor.inventory[..]) {
        ([], []) => AnsibleSettings::read().inventory().unwrap_or_default(),
        ([], in_file) => in_file.to_owned(),
        (given, _) => given.to_owned(),
    };
    let vault = args.vault.vault()?;
    // As Ansible answers: nobody is contacted, and scripts look at what there is.
    let inventory = load_or_none(&sources, &vault, args.playbook_dir.as_deref())?;
    for warning in inventory.warnings() {
        notice(&format!("[WARNING]: {warning}"));
    }
    let ansible = AnsibleSettings::read();
    if inventory.host_count() == 0 && ansible.warns_of_no_inventory() {
        notice("[WARNING]: No inventory was parsed, only implicit localhost is available");
    }
    let format = match (args.yaml, args.toml) {
        (true, _) => Format::Yaml,
        (_, true) => Format::Toml,
        _ => Format::Json,
    };
    if let Some(name) = &args.host {
        let extra = extra_vars::read(&args.extra_vars, &vault)?;
        return print(&show::host(&host_vars(&inventory, name, &extra)?, format));
    }
    if args.graph {
        let top = args.group.as_deref().map_or(Some(GroupId::ALL), |name| inventory.group_id(name));
        let top = top.ok_or_else(|| CliError::input("Pattern must be valid group name when using --graph"))?;
        return print(&show::graph(&inventory, top, args.vars).map_err(CliError::input)?);
    }
    let text = View {
        only: only(&inventory, args.limit.as_deref())?,
        export: args.export || ansible.exports_inventory(),
        ..View::of(&inventory)
    };
    let text = text.list(format);
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

/// `localhost` need not be in the inventory.
fn host_vars(inventory: &Inventory, name: &str, extra: &VarMap) -> Result<VarMap, CliError> {
    let mut vars = match inventory.host_id(name) {
        Some(host) => inventory.merged_vars(host),
        None if matches!(name, "localhost" | "127.0.0.1") => {
            let local = [("ansible_connection".to_owned(), Variable::data("local"))];
            let of_all = inventory.group_layers(&[GroupId::ALL]).flat_map(|layer| layer.iter());
            local.into_iter().chain(of_all.map(|(name, value)| (name.clone(), value.clone()))).collect()
        }
        None => {
            return Err(CliError::input(format!(
                "Could not match supplied host pattern, ignoring: {name}\n  You must pass a single valid host to --host \
                 parameter"
            )));
        }
    };
    vars.extend(extra.clone());
    Ok(vars)
}

/// As [`load`], where nobody is contacted, or this machine alone: a source that cannot be read is a warning of the inventory,
/// and there is what the others say, unless the user has set that it is an error.
///
/// # Errors
/// Something is encrypted and no password fits, or variables beside a source or the playbook cannot be read.
pub(super) fn load_or_none(sources: &[PathBuf], vault: &Vault, playbook: Option<&Path>) -> Result<Inventory, CliError> {
    let skips_unread = !AnsibleSettings::read().unread_inventory_is_failure(sources.len() > 1);
    load_by(sources, vault, playbook, skips_unread)
}

/// Reads the sources, every one of them.
pub(super) fn load(sources: &[PathBuf], vault: &Vault, playbook: Option<&Path>) -> Result<Inventory, CliError> {
    load_by(sources, vault, playbook, false)
}

fn load_by(
    sources: &[PathBuf],
    vault: &Vault,
    playbook: Option<&Path>,
    skips_unread: bool,
) -> Result<Inventory, CliError> {
    let ansible = AnsibleSettings::read();
    let rules = Rules {
        group_names: ansible.group_names(),
        merges_dicts: ansible.merges_dicts(),
        ignored: ansible.ignored_sources().map_err(CliError::input)?.into(),
        skips_unread,
    };
    Inventory::load_with(sources, Limits::default(), rules, vault, playbook).map_err(|error| {
        // One that only lacks a password is there, and full of hosts.
        let is_dispensable = !matches!(error, InventoryError::Sealed { .. });
        CliError { is_dispensable, ..CliError::input(chain(&error)) }
    })
}
