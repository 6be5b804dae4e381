//! systemd, by `systemctl`.

use std::path::Path;

use rustle_protocol::value::Map;

use super::{Service, legacy};
use crate::choices;
use crate::module::{ModuleContext, ModuleError};
use crate::process::Program;

/// There while systemd is process 1, and only then; below the root.
pub(super) const RUNNING: &str = "run/systemd/system";

choices! {
    /// Whose units.
    pub(crate) enum Scope { System = "system", User = "user", Global = "global" }
}

/// `systemctl` for one scope.
pub(crate) struct Systemctl<'a> {
    scope: Scope,
    cx: &'a ModuleContext<'a>,
}

impl<'a> Systemctl<'a> {
    pub(crate) fn new(scope: Scope, cx: &'a ModuleContext<'a>) -> Systemctl<'a> {
        Systemctl { scope, cx }
    }

    pub(crate) fn program(&self) -> Program {
        let program = Program::new("systemctl").plain();
        match self.scope {
            Scope::System => program,
            Scope::User => program.arg("--user"),
            Scope::Global => program.arg("--global"),
        }
    }

    /// What systemd knows of a unit: all its properties, as playbooks ask for one or the other.
    ///
    /// # Errors
    /// systemd does not answer, or the unit's file is wrong.
    pub(crate) fn query(&self, unit: &str) -> Result<Service, ModuleError> {
        let program = self.program().args(["show", "--no-pager", "--", unit]);
        let ended = program.run(self.cx)?;
        ended.not_stopped(&program)?;
        if ended.rc != 0 {
            let why = ended.stderr.text().trim().to_owned();
            return self.query_asleep(unit)?.ok_or_else(|| ended.error(&self.program(), why));
        }
        let status = properties(&ended.stdout.text());
        let is = |name: &str, values: &[&str]| {
            status.get(name).and_then(|value| value.as_str()).is_some_and(|value| values.contains(&value))
        };
        if is("LoadState", &["error", "bad-setting"]) {
            let why = status.get("LoadError").map(crate::module::shown).unwrap_or_default();
            return Err(ModuleError::new(format!("Error loading unit file '{unit}': {why}")));
        }
        Ok(Service {
            is_known: !is("LoadState", &["not-found"]),
            is_running: is("ActiveState", &["active", "activating", "reloading"]),
            // A static unit cannot be enabled, and needs not: others start it.
            is_enabled: is(
                "UnitFileState",
                &["enabled", "enabled-runtime", "alias", "static", "generated", "transient"],
            ),
            is_masked: is("LoadState", &["masked"]) || is("UnitFileState", &["masked", "masked-runtime"]),
            is_asleep: false,
            status,
        })
    }

    /// What the disk alone tells of a unit. None if it has no file and no script.
    fn query_asleep(&self, unit: &str) -> Result<Option<Service>, ModuleError> {
        let program = self.program().args(["is-enabled", "--", unit]);
        let ended = program.run(self.cx)?;
        ended.not_stopped(&program)?;
        let word = ended.stdout.text().trim().to_owned();
        let script = unit.strip_suffix(".service").unwrap_or(unit);
        let has_script = self.scope == Scope::System && legacy::has_script(script);
        let is_known = ended.rc == 0 || !word.is_empty() || has_script;
        Ok(is_known.then(|| Service {
            is_known,
            is_enabled: ended.rc == 0 || has_script && legacy::has_start_link(Path::new("/etc"), script),
            is_masked: word.starts_with("masked"),
            is_asleep: true,
            ..Service::default()
        }))
    }
}

/// `Name=value` lines. A value that opens a brace goes on until the brace closes.
fn properties(text: &str) -> Map {
    let mut out = Map::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let mut value = value.to_owned();
        while value.trim_start().starts_with('{') && !value.trim_end().ends_with('}') {
            let Some(more) = lines.next() else { break };
            value.push('\n');
            value.push_str(more);
        }
        out.insert(name.to_owned(), value.into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_may_span_lines() {
        let map = properties("Id=a.service\nExecStart={ path=/x ; argv[]=a\nb ; }\nEmpty=\nnonsense\n");
        assert_eq!(map.len(), 3);
        assert_eq!(map["ExecStart"].as_str(), Some("{ path=/x ; argv[]=a\nb ; }"));
    }
}
