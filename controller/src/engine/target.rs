//! Who does a task's work: its own host, or the one that it is delegated to; and how they are reached.

use std::path::Path;
use std::sync::Arc;

use rustle_protocol::value::Map;
use rustle_protocol::{HostName, Value};

use super::Registry;
use super::links::{AgentAddress, Connection, Way};
use super::prepare::unresolved;
use super::result::Tried;
use super::task::TaskRun;
use crate::custom::OtherPlugin;
use crate::fault::Fault;
use crate::plan::Delegation;
use crate::template::{Authored, Template, TemplateError};
use crate::vars::{Scope, Variable};

/// Under this name a result says who has done the work, as in Ansible. It is not shown and not registered.
const DELEGATED: &str = "_ansible_delegated_vars";

/// Who does the work of a task for a host, or for an item of its loop.
pub(super) struct Target {
    pub(super) host: HostName,
    pub(super) way: Way,
    /// The variables that say how the target is reached and as whom work is done there.
    pub(super) scope: Scope,
    /// The task is delegated.
    is_other: bool,
    /// The target is in the inventory.
    is_known: bool,
    /// The facts that are found are the target's.
    keeps_facts: bool,
    address: Option<String>,
}

impl TaskRun<'_> {
    /// Who does the work, as the host's variables say; or the sentence that says why nobody can.
    pub(super) fn target(&self, scope: &Scope) -> Result<Target, Fault> {
        let Some(Delegation { to, facts }) = &self.task.delegation else { return self.own_target(scope) };
        let name = match self.run.templar().render(to, scope) {
            // Not what is said further out: as in Ansible the task is not delegated then.
            Err(TemplateError::Omitted) => return self.own_target(scope),
            rendered => rendered.map_err(unresolved)?,
        };
        if name.is_null() || name.as_str() == Some("") {
            let written = rustle_agent::module::shown(&to.source());
            return Err(Fault::from(format!("Empty hostname produced from delegate_to: \"{written}\"")).of_task());
        }
        let name = name.as_str().ok_or_else(|| format!("delegate_to must name a host, not {name}"))?;
        let host = HostName::new(name).map_err(|error| format!("delegate_to: {error}"))?;
        let keeps_facts = self.rendered(facts, "delegate_facts", scope)?;
        let of_target = self.run.environment.vars.delegate_scope(host.as_str());
        let way = self.way(&host, &of_target, scope)?;
        let address = text(&of_target, "ansible_host")?;
        let is_known = self.run.environment.vars.facts(host.as_str()).is_ok();
        Ok(Target { host, way, scope: of_target, is_other: true, is_known, keeps_facts, address })
    }

    fn own_target(&self, scope: &Scope) -> Result<Target, Fault> {
        let way = self.way(self.host, scope, scope)?;
        let (host, scope) = (self.host.clone(), scope.clone());
        Ok(Target { host, way, scope, is_other: false, is_known: true, keeps_facts: false, address: None })
    }

    /// Where this machine does the work itself: in the play's folder.
    fn folder(&self) -> Arc<Path> {
        self.files().base_folder()
    }

    /// The way of a task that says nothing of it.
    pub(super) fn plain_way(&self) -> Way {
        Way { folder: Some(self.folder()), ..Way::default() }
    }

    /// Ansible's order: what variables of the target say goes before what the task does.
    fn way(&self, target: &HostName, of_target: &Scope, of_task: &Scope) -> Result<Way, Fault> {
        let connection = match (text(of_target, "ansible_connection")?, &self.task.connection) {
            (Some(name), _) => Some(name),
            (None, Some(keyword)) => Some(self.rendered(keyword, "connection", of_task)?),
            (None, None) => None,
        };
        let files = Registry::files(&self.run.environment.registry);
        if let Some(name) = connection.as_deref()
            && let Some(file) = files.other_plugin(OtherPlugin::Connection, name)
        {
            let file = file.display();
            return Err(
                format!("'{name}' is a connection plug-in in Python ({file}), and rustle-exec runs none").into()
            );
        }
        let connection = connection.as_deref().map(Connection::of);
        if connection == Some(Connection::Local) || self.run.environment.links.knows(target) {
            return Ok(Way { connection, address: None, folder: Some(self.folder()) });
        }
        let named = match text(of_target, "rustle_host")? {
            Some(host) => Some(host),
            None => text(of_target, "ansible_host")?,
        };
        let port = match text(of_target, "rustle_port")? {
            Some(port) => port.trim().parse().map_err(|_| {
                format!("rustle_port of host `{target}` is {port}, which is not a port from 1 to 65535")
            })?,
            None => rustle_agent::config::PORT,
        };
        let address = AgentAddress { host: named.unwrap_or_else(|| target.to_string()), port };
        Ok(Way { connection, address: Some(address), folder: Some(self.folder()) })
    }
}

impl Target {
    /// The variables of the task, with those of whom it is delegated to under `ansible_delegated_vars`. How the target is reached
    /// is also the task's own, as far as its host says nothing of it.
    pub(super) fn seen_by_task(&self, scope: &Scope) -> Scope {
        if !self.is_other {
            return scope.clone();
        }
        let reached = self.reached();
        let host = scope.get("inventory_hostname").map_or_else(|_| Authored::literal(Value::Null), Authored::literal);
        let own = reached.clone().into_iter().chain([("inventory_hostname".to_owned(), host)]);
        let vars = Authored::Map(self.variables().chain(own).collect());
        let all = Authored::Map([(self.host.to_string(), vars)].into_iter().collect());
        let unsaid = reached.into_iter().filter(|(name, _)| !scope.contains(name));
        let seen = unsaid.chain([("ansible_delegated_vars".to_owned(), all)]);
        scope.with(seen.map(|(name, value)| (name, Variable::Authored(value.into()))).collect())
    }

    /// The target's variables, rendered only if the task asks for one. Those of a host of no inventory are as they were written,
    /// for `hostvars` knows no such host.
    fn variables(&self) -> impl Iterator<Item = (String, Authored)> + '_ {
        // Put into a template only where they can end no string.
        let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
        let host = self.host.as_str();
        let names = self.scope.names().into_iter().filter(move |name| plain(name) && plain(host));
        names.filter_map(move |name| {
            let value = match self.is_known {
                true => Authored::Template(Template::new(&format!("{{{{ hostvars['{host}']['{name}'] }}}}"))),
                false => Authored::clone(&*self.scope.authored(&name)?),
            };
            Some((name, value))
        })
    }

    /// What says how the target is reached, as Ansible's connections say it.
    fn reached(&self) -> Vec<(String, Authored)> {
        let address = self.address.as_deref().unwrap_or(self.host.as_str());
        let address = ["ansible_host", "ansible_ssh_host"].map(|name| (name, Some(Value::from(address))));
        let said = ["ansible_port", "ansible_user"].map(|name| {
            let value = self.scope.contains(name).then(|| self.scope.get(name).ok()).flatten();
            (name, value)
        });
        let all = address.into_iter().chain(said);
        all.filter_map(|(name, value)| Some((name.to_owned(), Authored::literal(value?)))).collect()
    }

    /// Writes into the result who has done the work.
    pub(super) fn note(&self, tried: &mut Tried) {
        if !self.is_other {
            return;
        }
        let mut told = Map::from_iter([("ansible_delegated_host".to_owned(), Value::from(self.host.as_str()))]);
        told.insert("ansible_host".to_owned(), self.address.as_deref().unwrap_or(self.host.as_str()).into());
        if self.keeps_facts {
            told.insert("delegate_facts".to_owned(), true.into());
        }
        tried.values.insert(DELEGATED.to_owned(), Value::Map(told));
    }
}

/// Who has done the work of a delegated task.
pub(super) fn delegated_to(values: &Map) -> Option<HostName> {
    HostName::new(values.get(DELEGATED)?.as_map()?.get("ansible_delegated_host")?.as_str()?).ok()
}

/// Whose the facts in a result are, if not the host's own.
pub(super) fn owner_of_facts(values: &Map) -> Option<HostName> {
    let told = values.get(DELEGATED)?.as_map()?;
    told.contains_key("delegate_facts").then(|| delegated_to(values)).flatten()
}

fn text(scope: &Scope, name: &str) -> Result<Option<String>, Fault> {
    if !scope.contains(name) {
        return Ok(None);
    }
    let value = scope.get(name).map_err(unresolved)?;
    Ok(Some(rustle_agent::module::shown(&value)).filter(|text| !text.is_empty()))
}
