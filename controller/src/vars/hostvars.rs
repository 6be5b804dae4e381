//! `hostvars`: the variables of every host, each put together when it is asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use minijinja::value::{Enumerator, Object, Value as Jinja};

use super::scope::Scope;
use super::store::StoreInner;

/// A handle on `hostvars`. The scope of a task owns it; the scopes of hosts inside it point back.
#[derive(Debug)]
pub(super) enum HostVars {
    Owned(Arc<AllHosts>),
    Shared(Weak<AllHosts>),
}

impl HostVars {
    pub(super) fn new(store: Arc<StoreInner>) -> HostVars {
        HostVars::Owned(Arc::new_cyclic(|this| AllHosts { store, this: this.clone(), scopes: Mutex::default() }))
    }

    pub(super) fn to_jinja(&self) -> Jinja {
        match self {
            HostVars::Owned(all) => Jinja::from_dyn_object(Arc::clone(all)),
            HostVars::Shared(all) => all.upgrade().map_or(Jinja::UNDEFINED, Jinja::from_dyn_object),
        }
    }
}

pub(super) struct AllHosts {
    store: Arc<StoreInner>,
    this: Weak<AllHosts>,
    /// One scope per host asked for, so that a loop through other hosts is recognised.
    scopes: Mutex<HashMap<String, Scope>>,
}

impl AllHosts {
    fn scope(&self, host: &str) -> Option<Scope> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = scopes.get(host) {
            return Some(scope.clone());
        }
        let scope = self.store.host_scope(host, HostVars::Shared(self.this.clone()))?;
        scopes.insert(host.to_owned(), scope.clone());
        Some(scope)
    }
}

impl fmt::Debug for AllHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllHosts").finish_non_exhaustive()
    }
}

impl Object for AllHosts {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, host: &str) -> Option<Jinja> {
        self.scope(host).map(|scope| scope.context())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.store.host_names().into_iter().map(Jinja::from).collect())
    }
}
