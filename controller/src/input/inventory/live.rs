//! The inventory of a run that goes on: as it was read, with what tasks have added, looked at host by host.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::HostName;
use rustle_protocol::value::Map;

use super::change::no_files;
use super::vars_files::VarsFolders;
use super::{FileVars, GroupId, HostId, Inventory, InventoryError, Limits, UnknownNames, load, patterns};
use crate::input::source::shown;
use crate::vars::{
    HostEntry, InventoryChange, Layer, LiveInventory, Precedence, Selection, VarMap, Variable, data_map,
};
use crate::vault::Vault;

/// Names of this machine that need not be in any inventory, as in Ansible.
pub const LOCALHOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where an inventory came from, and who of it takes part.
#[derive(Clone, Debug, Default)]
pub struct InventorySources {
    pub paths: Vec<PathBuf>,
    pub vault: Vault,
    /// The folder of the playbook whose play runs, which may hold variables of hosts and groups.
    pub playbook: Option<PathBuf>,
    /// `--limit`: nobody else takes part.
    pub limit: Option<String>,
    /// Nobody but these takes part, whatever is added.
    pub only: Option<HashSet<HostName>>,
}

/// An inventory that tasks change.
pub struct Live {
    inventory: Inventory,
    sources: InventorySources,
    /// The folder of the run's first playbook.
    home: Option<PathBuf>,
    folders: VarsFolders,
    /// What `add_host` gave to hosts. Data: rendered before, never again.
    added: HashMap<HostName, Map>,
    /// The variables that folders keep for hosts that are in no inventory.
    outsiders: HashMap<String, FileVars>,
    /// All changes so far, for an inventory that is read again.
    changes: Vec<InventoryChange>,
}

impl Live {
    pub fn new(inventory: Inventory, sources: InventorySources) -> Live {
        let folders = load::folders_of_vars(&sources.paths, sources.playbook.as_deref());
        let folders = VarsFolders::new(folders, Limits::default(), inventory.rules.clone(), sources.vault.clone());
        let (added, outsiders, changes) = Default::default();
        let home = sources.playbook.clone();
        Live { inventory, sources, home, folders, added, outsiders, changes }
    }

    fn entry(&self, id: HostId) -> HostEntry {
        let name = self.inventory.name(id).clone();
        let host = self.inventory.host(id).clone();
        // They come in rising precedence already; all at one place keeps that order.
        let vars = self.inventory.layers(id).filter(|vars| !vars.is_empty());
        let mut layers: Vec<Layer> = vars.map(|vars| Layer::new(Precedence::InventoryHost, Arc::clone(vars))).collect();
        if let Some(added) = self.added.get(&name) {
            layers.push(Layer::new(Precedence::InventoryHost, data_map(added.clone())));
        }
        let groups = host.groups.iter().map(|group| Arc::clone(&self.inventory.group(*group).name));
        HostEntry {
            groups: groups.filter(|group| &**group != "all").collect(),
            name: name.to_string(),
            layers,
            source: host.source,
        }
    }

    /// Reads the variables that folders keep for a group that is new.
    fn new_group(&mut self, name: &str) -> Result<GroupId, InventoryError> {
        let rule = self.inventory.rules.group_names;
        let fit = rule.name(name);
        if let Some(known) = self.inventory.group_id(&fit) {
            return Ok(known);
        }
        let told = |warning: &&str| self.inventory.warnings.iter().any(|told| told == warning);
        if let Some(warning) = rule.warning(name).filter(|warning| !told(warning)) {
            self.inventory.warnings.push(warning.to_owned());
        }
        let vars = self.folders.of("group_vars", &fit, &mut self.inventory.warnings)?;
        let id = self.inventory.ensure_group(&fit);
        self.inventory.groups[id.index()].file_vars = vars;
        Ok(id)
    }

    fn new_host(&mut self, name: &HostName) -> Result<HostId, InventoryError> {
        if let Some(known) = self.inventory.host_id(name.as_str()) {
            return Ok(known);
        }
        let vars = self.folders.of("host_vars", name.as_str(), &mut self.inventory.warnings)?;
        let id = self.inventory.ensure_host(name);
        self.inventory.hosts[id.index()].file_vars = vars;
        Ok(id)
    }

    /// A host that is in no inventory: what all have, `own`, and what `host_vars/` has for it, the last the strongest.
    fn nobodys(&mut self, name: &str, own: Option<VarMap>) -> HostEntry {
        let of_all = self.of_all().map(|vars| Layer::new(Precedence::InventoryGroup, Arc::clone(vars)));
        let mut layers: Vec<_> = of_all.collect();
        layers.extend(own.map(|own| Layer::new(Precedence::InventoryHost, own)));
        let files = self.files_of_outsider(name);
        let files = [&files.inventory, &files.playbook].into_iter().filter(|vars| !vars.is_empty());
        layers.extend(files.map(|vars| Layer::new(Precedence::InventoryHost, Arc::clone(vars))));
        HostEntry { name: name.to_owned(), layers, ..HostEntry::default() }
    }

    fn of_all(&self) -> impl Iterator<Item = &Arc<VarMap>> {
        self.inventory.group_layers(&[GroupId::ALL]).filter(|map| !map.is_empty())
    }

    /// What `host_vars/` has for a host that is in no inventory. What cannot be read is a warning, once.
    fn files_of_outsider(&mut self, name: &str) -> FileVars {
        if let Some(known) = self.outsiders.get(name) {
            return known.clone();
        }
        let files = self.folders.of("host_vars", name, &mut self.inventory.warnings).unwrap_or_else(|error| {
            self.inventory.warnings.push(error.to_string());
            no_files()
        });
        self.outsiders.insert(name.to_owned(), files.clone());
        files
    }

    fn take_in(&mut self, change: &InventoryChange) -> Result<(), String> {
        let told = |error: InventoryError| error.to_string();
        match change {
            InventoryChange::AddHost { name, groups, vars } => {
                let hosts_max = Limits::default().hosts_max;
                if !self.inventory.contains(name.as_str()) && self.inventory.host_count() >= hosts_max {
                    return Err(format!("the inventory holds {hosts_max} hosts, which is the most"));
                }
                let host = self.new_host(name).map_err(told)?;
                for group in groups {
                    let group = self.new_group(group).map_err(told)?;
                    self.inventory.enter(host, group);
                }
                self.added.entry(name.clone()).or_default().extend(vars.clone());
            }
            InventoryChange::Group { host, group, parents } => {
                let id = self.inventory.host_id(host.as_str());
                let id = id.ok_or_else(|| format!("host `{host}` is not in the inventory"))?;
                let group = self.new_group(group).map_err(told)?;
                for parent in parents {
                    let parent = self.new_group(parent).map_err(told)?;
                    self.inventory.adopt(parent, group)?;
                }
                self.inventory.enter(id, group);
            }
            InventoryChange::Refresh => self.refresh().map_err(told)?,
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), InventoryError> {
        let InventorySources { paths, vault, playbook, .. } = &self.sources;
        self.inventory =
            Inventory::load_with(paths, Limits::default(), self.inventory.rules.clone(), vault, playbook.as_deref())?;
        self.outsiders.clear();
        for change in self.changes.clone() {
            // What could be done to the old inventory and cannot to the new one is gone with it.
            if let Err(why) = self.take_in(&change) {
                self.inventory.warnings.push(why);
            }
        }
        Ok(())
    }

    /// The variables beside a playbook, for everybody who is there, in the place of those that were beside another.
    fn read_beside_playbook(&mut self) -> Result<(), InventoryError> {
        let InventorySources { paths, vault, playbook, .. } = &self.sources;
        let folders = load::folders_of_vars(paths, playbook.as_deref());
        self.folders = VarsFolders::new(folders, Limits::default(), self.inventory.rules.clone(), vault.clone());
        self.outsiders.clear();
        self.inventory.reread_beside_playbook(playbook.as_deref(), vault)
    }

    /// The group that a task means by `name`, if it is there.
    fn known_group(&self, name: &str) -> Option<GroupId> {
        self.inventory.group_id(&self.inventory.rules.group_names.name(name))
    }

    fn is_member(&self, host: &HostName, group: &str) -> bool {
        let (host, group) = (self.inventory.host_id(host.as_str()), self.known_group(group));
        host.zip(group)
            .is_some_and(|(host, group)| group == GroupId::ALL || self.inventory.is_direct_member(host, group))
    }

    fn takes_part(&self) -> impl Fn(&HostName) -> bool + '_ {
        let limit = self.sources.limit.as_ref().map(|pattern| {
            // It was read before the run: only its file can be gone since, and then it leaves nobody.
            let hosts = patterns::limit_known(&self.inventory, pattern).unwrap_or_default();
            hosts.into_iter().collect::<HashSet<_>>()
        });
        let only = self.sources.only.as_ref();
        move |host| {
            limit.as_ref().is_none_or(|limit| limit.contains(host)) && only.is_none_or(|only| only.contains(host))
        }
    }
}

impl LiveInventory for Live {
    fn host(&mut self, name: &str) -> Option<HostEntry> {
        match self.inventory.host_id(name) {
            Some(id) => Some(self.entry(id)),
            None if LOCALHOSTS.contains(&name) => {
                let python = crate::custom::controller_python();
                let python = python.map(|path| ("ansible_python_interpreter", path.display().to_string()));
                let own = [("ansible_connection", "local".to_owned())].into_iter().chain(python);
                let own = own.map(|(name, value)| (name.to_owned(), Variable::data(value)));
                Some(self.nobodys(name, Some(own.collect())))
            }
            None => None,
        }
    }

    fn outsider(&mut self, name: &str) -> HostEntry {
        self.nobodys(name, None)
    }

    fn hosts(&self) -> Vec<String> {
        self.inventory.hosts().map(|(_, name)| name.to_string()).collect()
    }

    fn groups(&self) -> IndexMap<String, Vec<String>> {
        let name = |host| self.inventory.name(host).to_string();
        let members = |group| self.inventory.members(group).into_iter().map(name).collect();
        self.inventory.groups().map(|(id, group)| (group.name.to_string(), members(id))).collect()
    }

    fn select(&self, pattern: &str) -> Selection {
        match patterns::select_known(&self.inventory, pattern) {
            Ok((mut hosts, unknown)) => {
                hosts.retain(self.takes_part());
                let warning =
                    |name: &String| format!("Could not match supplied host pattern, ignoring: {}", shown(name));
                let is_told = self.inventory.unknown_names() != UnknownNames::Ignore;
                Selection { hosts, warnings: unknown.iter().filter(|_| is_told).map(warning).collect() }
            }
            // It was read before the run, and only what is not a pattern is an error.
            Err(error) => Selection { hosts: Vec::new(), warnings: vec![error.to_string()] },
        }
    }

    fn beside_playbook(&mut self, folder: Option<&Path>) -> Result<Vec<String>, String> {
        let told = self.inventory.warnings.len();
        self.sources.playbook = folder.map(Path::to_owned).or_else(|| self.home.clone());
        self.read_beside_playbook().map_err(|error| error.to_string())?;
        Ok(self.inventory.warnings[told..].to_vec())
    }

    fn would_change(&self, change: &InventoryChange) -> Result<bool, String> {
        Ok(match change {
            InventoryChange::AddHost { name, groups, vars } => {
                let Some(id) = self.inventory.host_id(name.as_str()) else { return Ok(true) };
                let added = self.added.get(name);
                let has = |(key, value): (&String, &rustle_protocol::Value)| match added.and_then(|vars| vars.get(key))
                {
                    Some(added) => added == value,
                    None => self.inventory.var(id, key).is_some_and(|var| var.source() == *value),
                };
                !groups.iter().all(|group| self.is_member(name, group)) || !vars.iter().all(has)
            }
            InventoryChange::Group { host, group, parents } => {
                let mut is_child = true;
                for parent in parents {
                    let (parent, child) = (self.known_group(parent), self.known_group(group));
                    is_child &= match parent.zip(child) {
                        Some((parent, child)) => !self.inventory.may_adopt(parent, child)?,
                        None => false,
                    };
                }
                !self.is_member(host, group) || !is_child
            }
            InventoryChange::Refresh => false,
        })
    }

    fn change(&mut self, change: &InventoryChange) -> Result<Vec<String>, String> {
        let told = self.inventory.warnings.len();
        self.take_in(change)?;
        if *change == InventoryChange::Refresh {
            return Ok(self.inventory.warnings.clone());
        }
        self.changes.push(change.clone());
        Ok(self.inventory.warnings[told..].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::inventory::GroupNames;

    fn live(text: &str) -> (tempfile::TempDir, Live) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.ini");
        std::fs::write(&path, text).unwrap();
        let inventory = Inventory::load(std::slice::from_ref(&path), Limits::default()).unwrap();
        let sources = InventorySources { paths: vec![path], ..InventorySources::default() };
        let live = Live::new(inventory, sources);
        (folder, live)
    }

    fn group_by(host: &str, group: &str, parents: &[&str]) -> InventoryChange {
        let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        InventoryChange::Group { host: host.parse().unwrap(), group: group.to_owned(), parents }
    }

    fn add_host(name: &str, groups: &[&str], vars: Map) -> InventoryChange {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        InventoryChange::AddHost { name: name.parse().unwrap(), groups, vars }
    }

    fn names(live: &Live, pattern: &str) -> Vec<String> {
        live.select(pattern).hosts.iter().map(ToString::to_string).collect()
    }

    fn groups_of(live: &mut Live, host: &str) -> Vec<String> {
        live.host(host).unwrap().groups.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_host_that_is_put_into_a_group_has_it_and_all_above_it() {
        let (_folder, mut live) = live("a\nb\n[web]\nb\n[site:children]\nweb\n");
        live.change(&group_by("a", "debian", &["linux", "site"])).unwrap();
        assert_eq!(names(&live, "debian"), ["a"]);
        assert_eq!(names(&live, "site"), ["b", "a"]);
        assert_eq!(groups_of(&mut live, "a"), ["linux", "site", "debian"]);
        assert_eq!(names(&live, "ungrouped"), [""; 0]);
        // Those who are in it already come along.
        live.change(&group_by("b", "debian", &["distributions"])).unwrap();
        assert_eq!(names(&live, "distributions"), ["a", "b"]);
        assert!(groups_of(&mut live, "a").contains(&"distributions".to_owned()));
    }

    #[test]
    fn a_group_is_not_put_below_itself() {
        let (_folder, live) = live("[web]\na\n[site:children]\nweb\n");
        let error = live.would_change(&group_by("a", "site", &["web"])).unwrap_err();
        assert!(error.contains("can't add group 'site' to group 'web'"), "{error}");
    }

    #[test]
    fn a_group_that_comes_later_has_its_variables_from_files() {
        let (folder, mut live) = live("a\n");
        std::fs::create_dir(folder.path().join("group_vars")).unwrap();
        std::fs::write(folder.path().join("group_vars/debian.yml"), "package: apt\n").unwrap();
        live.change(&group_by("a", "debian", &["all"])).unwrap();
        let entry = live.host("a").unwrap();
        assert!(entry.layers.iter().any(|layer| layer.vars.contains_key("package")));
    }

    #[test]
    fn a_change_that_is_none_is_told() {
        let (_folder, mut live) = live("a\n[web]\na\n");
        assert!(!live.would_change(&group_by("a", "web", &["all"])).unwrap());
        assert!(live.would_change(&group_by("a", "web", &["site"])).unwrap());
        let vars: Map = [("x".to_owned(), 1.into())].into();
        let new = add_host("b", &["web"], vars);
        assert!(live.would_change(&new).unwrap());
        live.change(&new).unwrap();
        assert!(!live.would_change(&new).unwrap());
        assert!(live.would_change(&add_host("b", &["web"], [("x".to_owned(), 2.into())].into())).unwrap());
    }

    #[test]
    fn names_of_groups_that_tasks_make_are_changed_or_warned_of_as_those_of_the_inventory_are() {
        let (_folder, mut live) = live("a\nb\n");
        live.inventory.rules.group_names = GroupNames::Always;
        assert_eq!(live.change(&group_by("a", "web-1", &["all"])).unwrap().len(), 1);
        assert_eq!(groups_of(&mut live, "a"), ["web_1"]);
        assert!(!live.would_change(&group_by("a", "web-1", &["all"])).unwrap());
        assert_eq!(live.change(&add_host("b", &["db-1"], Map::new())).unwrap(), [""; 0], "told once");
        live.inventory.rules.group_names = GroupNames::Never;
        assert_eq!(live.change(&group_by("b", "x-1", &["all"])).unwrap().len(), 1);
        assert_eq!(names(&live, "x-1"), ["b"]);
    }

    #[test]
    fn what_a_task_gives_a_host_is_data() {
        let (_folder, mut live) = live("a\n");
        live.change(&add_host("b", &[], [("x".to_owned(), "{{ 6 * 7 }}".into())].into())).unwrap();
        let entry = live.host("b").unwrap();
        let given = entry.layers.iter().find_map(|layer| layer.vars.get("x")).unwrap();
        assert!(matches!(given, Variable::Data(_)));
    }

    #[test]
    fn this_machine_is_there_and_in_no_group() {
        let (_folder, mut live) = live("a\n");
        assert_eq!(names(&live, "localhost"), ["localhost"]);
        assert_eq!(names(&live, "all"), ["a"]);
        assert!(live.host("localhost").unwrap().groups.is_empty());
        assert!(live.host("nobody").is_none());
        assert_eq!(live.hosts(), ["a"]);
    }

    #[test]
    fn an_inventory_that_is_read_again_keeps_what_tasks_have_added() {
        let (folder, mut live) = live("a\n");
        live.change(&add_host("b", &["web"], Map::new())).unwrap();
        std::fs::write(folder.path().join("hosts.ini"), "a\nc\n").unwrap();
        live.change(&InventoryChange::Refresh).unwrap();
        assert_eq!(names(&live, "all"), ["a", "c", "b"]);
        assert_eq!(names(&live, "web"), ["b"]);
    }

    #[test]
    fn a_limit_holds_for_hosts_that_come_later() {
        let (_folder, mut live) = live("a\nb\n");
        live.sources.limit = Some("a:new".to_owned());
        live.change(&add_host("c", &["new"], Map::new())).unwrap();
        live.change(&add_host("d", &[], Map::new())).unwrap();
        assert_eq!(names(&live, "all"), ["a", "c"]);
    }
}
