//! `vars_files` that only a host's variables name: read when the host comes to their play, once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rustle_protocol::{HostName, Value};

use super::run::Run;
use crate::plan::{LateVarsFile, PlayId};
use crate::vars::{Layer, Precedence, Scope, VarMap, Variable};

/// What was read so far, by play and host.
#[derive(Default)]
pub(super) struct LateVars(Mutex<HashMap<(PlayId, HostName), Vec<Layer>>>);

impl Run {
    /// What the play's late files hold for the host. `scope` is all that it has else.
    ///
    /// # Errors
    /// A file that is none of variables. An entry whose name is not known yet, or whose file is not there yet, is left out
    /// until it is.
    pub(super) fn late_vars(&self, play: PlayId, host: &HostName, scope: &Scope) -> Result<Vec<Layer>, String> {
        let key = (play, host.clone());
        let known = self.late_vars.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(layers) = known {
            return Ok(layers);
        }
        let files = &self.plan.play(play).late_vars_files;
        let mut layers = Vec::with_capacity(files.len());
        for file in files {
            layers.extend(self.late_vars_file(file, scope)?);
        }
        if layers.len() == files.len() {
            self.late_vars.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, layers.clone());
        }
        Ok(layers)
    }

    fn late_vars_file(&self, file: &LateVarsFile, scope: &Scope) -> Result<Option<Layer>, String> {
        let names = match self.templar().render(&file.names, scope) {
            Ok(Value::List(names)) => names.iter().map(rustle_agent::module::shown).collect(),
            Ok(name) => vec![rustle_agent::module::shown(&name)],
            Err(error) if error.is_undefined() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let places = names.iter().flat_map(|name| file.folders.iter().map(move |folder| folder.join(name)));
        // As in Ansible: not every host has a file, and a task may still write it.
        let Some(found) = places.into_iter().find(|place| place.is_file()) else { return Ok(None) };
        let reader = self.environment.fragments.as_ref().ok_or("no files of variables can be read here")?;
        let vars = reader.variables(&found)?.vars;
        let vars = vars.into_iter().map(|(name, value)| (name, Variable::Authored(value.into())));
        Ok(Some(Layer::new(Precedence::PlayVarsFiles, vars.collect::<VarMap>())))
    }
}
