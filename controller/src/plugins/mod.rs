//! Filters, tests and lookups in Python that people keep beside their playbooks and in collections, run by one Python
//! process on the controller. It is started when a template names a plug-in that is none of ours.
//!
//! What a plug-in gives is data, and is never a template, whatever it was made of.

mod process;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustle_protocol::Value;
use rustle_protocol::value::Map;
use serde::Serialize;

use crate::custom::{ModuleFiles, PluginKind, PluginPlaces, controller_python};
use process::{Answer, Helper, Lane, Question};

/// Finds and runs plug-ins; the default has none. Cheap to clone; all clones share one process.
#[derive(Clone, Debug, Default)]
pub struct Plugins(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// None: there are no plug-ins.
    files: Option<ModuleFiles>,
    running: Mutex<Option<Running>>,
}

/// The process, where it looks for plug-ins, and the full names of what it is known to have found there, or not.
struct Running {
    helper: Arc<Helper>,
    places: PluginPlaces,
    found: HashMap<(PluginKind, String), Option<String>>,
}

/// What a lookup is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LookupInput {
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map,
    /// Names of all variables that there are.
    pub(crate) names: Vec<String>,
    /// Those of them that it is given, …
    pub(crate) variables: Map,
    /// … and why others have no value.
    pub(crate) failed: HashMap<String, String>,
}

/// What becomes of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Looked {
    Found(Vec<Value>),
    /// It reads variables that it was not given, and is to be called again with them.
    Needs(Vec<String>),
}

#[derive(Serialize)]
struct Find<'a> {
    op: &'static str,
    kind: PluginKind,
    name: &'a str,
}

#[derive(Serialize)]
struct Call<'a, T> {
    op: &'static str,
    kind: PluginKind,
    name: &'a str,
    #[serde(flatten)]
    input: T,
}

#[derive(Serialize)]
struct FilterInput<'a> {
    args: &'a [Value],
    kwargs: &'a Map,
}

impl Plugins {
    /// Plug-ins of the folders and collections that `files` has at the time of asking.
    pub fn new(files: ModuleFiles) -> Plugins {
        Plugins(Arc::new(Inner { files: Some(files), ..Inner::default() }))
    }

    /// The full name of the plug-in of this name, if there is one: `NAME` in a plug-in folder, `NAMESPACE.COLLECTION.NAME`
    /// in a collection, or one that an installed ansible-core has.
    ///
    /// # Errors
    /// There may be one, and no Python to ask; or its file is faulty.
    pub(crate) fn find(&self, kind: PluginKind, name: &str) -> Result<Option<String>, String> {
        let Some(places) = self.places() else { return Ok(None) };
        let Some(candidate) = places.candidate(kind, name) else { return Ok(None) };
        let key = (kind, name.to_owned());
        if let Some(known) = locked(&self.0.running).as_ref().filter(|running| running.places == places)
            && let Some(found) = known.found.get(&key)
        {
            return Ok(found.clone());
        }
        let helper = self.helper(places).map_err(|why| unavailable(kind, name, &candidate, &why))?;
        let what = Find { op: "find", kind, name };
        let answer = spoken(helper.ask(&Question { lane: Lane::Filters, what })?)?;
        let found = answer.ok.as_str().map(str::to_owned);
        if let Some(running) = locked(&self.0.running).as_mut() {
            running.found.insert(key, found.clone());
        }
        Ok(found)
    }

    /// Runs a filter or a test. Waits for it, at most a minute.
    ///
    /// # Errors
    /// What it said, or what keeps it from running.
    pub(crate) fn call(&self, kind: PluginKind, name: &str, args: &[Value], kwargs: &Map) -> Result<Value, String> {
        let what = Call { op: "call", kind, name, input: FilterInput { args, kwargs } };
        let helper = self.helper(self.places().ok_or("there are no plug-ins here")?)?;
        spoken(helper.ask(&Question { lane: Lane::Filters, what })?).map(|answer| answer.ok)
    }

    /// Runs a lookup. Waits for it and for those before it, at most ten minutes each.
    ///
    /// # Errors
    /// What it said, or what keeps it from running.
    pub(crate) fn look_up(&self, name: &str, input: &LookupInput) -> Result<Looked, String> {
        let what = Call { op: "call", kind: PluginKind::Lookup, name, input };
        let helper = self.helper(self.places().ok_or("there are no plug-ins here")?)?;
        let answer = spoken(helper.ask(&Question { lane: Lane::Lookups, what })?)?;
        Ok(match (answer.needs, answer.ok) {
            (Some(names), _) => Looked::Needs(names),
            (None, Value::List(found)) => Looked::Found(found),
            (None, one) => Looked::Found(vec![one]),
        })
    }

    fn places(&self) -> Option<PluginPlaces> {
        self.0.files.as_ref().map(ModuleFiles::plugin_places)
    }

    /// The process that looks into `places`: another one if folders have been added since, by a role that was included.
    fn helper(&self, places: PluginPlaces) -> Result<Arc<Helper>, String> {
        let mut running = locked(&self.0.running);
        match running.as_ref() {
            Some(usable) if usable.places == places && !usable.helper.is_gone() => Ok(Arc::clone(&usable.helper)),
            _ => {
                let python = controller_python().ok_or("there is no python3 on this machine")?;
                let helper = Arc::new(Helper::start(&python, &places)?);
                *running = Some(Running { helper: Arc::clone(&helper), places, found: HashMap::new() });
                Ok(helper)
            }
        }
    }
}

/// What the process said of a plug-in, if it is no result, as an error.
fn spoken(answer: Answer) -> Result<Answer, String> {
    match answer.error {
        Some(why) => Err(why),
        None => Ok(answer),
    }
}

fn unavailable(kind: PluginKind, name: &str, candidate: &Path, why: &str) -> String {
    format!(
        "the {} plugin '{name}' is none of rustle-exec's and would be run in Python ({}): {why}",
        kind.name(),
        candidate.display()
    )
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("files", &self.files).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILTERS: &str = r"
import os
class FilterModule:
    def filters(self):
        return {'twice': lambda x, by=2: x * by, 'broken': lambda x: 1 / 0, 'crash': lambda x: os._exit(7)}
";
    const LOOKUP: &str = r"
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        print('noise')
        if 'fail' in terms:
            raise AnsibleError('as asked')
        try:
            return [term + kwargs.get('mark', '') + variables.get('extra', '-') for term in terms]
        except Exception:
            return ['no error of its own']
";

    /// Plug-ins beside a playbook. None, and said so, where there is no Python.
    fn beside_a_playbook() -> Option<(tempfile::TempDir, Plugins)> {
        if controller_python().is_none() {
            eprintln!("SKIPPED: there is no python3");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [("filter_plugins/mine.py", FILTERS), ("lookup_plugins/say.py", LOOKUP)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = ModuleFiles::default();
        files.add_project(folder.path());
        Some((folder, Plugins::new(files)))
    }

    fn filter(plugins: &Plugins, name: &str, kwargs: serde_json::Value) -> Result<Value, String> {
        let Value::Map(kwargs) = Value::from(kwargs) else { panic!("named arguments are a map") };
        plugins.call(PluginKind::Filter, name, &[Value::Int(3)], &kwargs)
    }

    fn input(term: &str) -> LookupInput {
        LookupInput { args: vec![Value::from(term)], ..LookupInput::default() }
    }

    #[test]
    fn plugins_beside_a_playbook_are_found_and_run() {
        let Some((_folder, plugins)) = beside_a_playbook() else { return };
        assert_eq!(plugins.find(PluginKind::Filter, "twice"), Ok(Some("twice".to_owned())));
        assert_eq!(plugins.find(PluginKind::Filter, "nowhere"), Ok(None));
        assert_eq!(plugins.find(PluginKind::Test, "twice"), Ok(None), "there is no folder for tests");
        assert_eq!(filter(&plugins, "twice", json!({"by": 5})), Ok(Value::Int(15)));
        assert_eq!(filter(&plugins, "broken", json!({})), Err("division by zero".to_owned()));
        let found = plugins.look_up("say", &input("a"));
        assert_eq!(found, Ok(Looked::Found(vec![Value::from("a-")])), "what it prints is no answer");
        assert_eq!(plugins.look_up("say", &input("fail")), Err("as asked".to_owned()));
    }

    #[test]
    fn a_lookup_asks_for_the_variables_that_it_reads() {
        let Some((_folder, plugins)) = beside_a_playbook() else { return };
        let mut input = LookupInput { names: vec!["extra".to_owned(), "other".to_owned()], ..input("a") };
        assert_eq!(plugins.look_up("say", &input), Ok(Looked::Needs(vec!["extra".to_owned()])));
        input.variables.insert("extra".to_owned(), Value::from("{{ x }}"));
        assert_eq!(plugins.look_up("say", &input), Ok(Looked::Found(vec![Value::from("a{{ x }}")])));
    }

    #[test]
    fn a_crash_is_an_error_and_the_next_call_has_another_process() {
        let Some((_folder, plugins)) = beside_a_playbook() else { return };
        let crashed = filter(&plugins, "crash", json!({})).unwrap_err();
        assert_eq!(crashed, "the Python process that runs plug-ins ended before it answered (exit status: 7)");
        assert_eq!(filter(&plugins, "twice", json!({})), Ok(Value::Int(6)));
    }
}
