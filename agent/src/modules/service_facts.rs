//! `service_facts`: the services of the host, as facts.

use std::path::Path;

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::arguments;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::process::{Program, find_program};

/// The lists of units of a large host.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

arguments! {
    pub(crate) struct ServiceFactsArgs {}
}

pub(super) struct ServiceFacts;

impl Module for ServiceFacts {
    type Args = ServiceFactsArgs;

    const NAME: &'static str = "ansible.builtin.service_facts";
    const SUMMARY: &'static str = "Returns the state of all services as facts.";
    const IDEMPOTENT: bool = true;

    fn run(&self, _args: ServiceFactsArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let mut services = Map::new();
        let ask = |program: &str, args: &[&str]| -> Result<Option<String>, ModuleError> {
            if find_program(program, None).is_none() {
                return Ok(None);
            }
            let ended = Program::new(program).args(args.iter().copied()).plain().keep(OUTPUT_BYTES_MAX).run(cx)?;
            Ok(Some(ended.stdout.text().into_owned()))
        };
        if let Some(text) = ask("service", &["--status-all"])? {
            services.extend(of_sysv(&text));
        }
        if let Some(text) = ask("rc-status", &["-a", "-s", "-m"])? {
            services.extend(of_openrc(&text));
        }
        if Path::new("/run/systemd/system").exists() {
            let units = ["list-units", "--no-pager", "--no-legend", "--plain", "--type", "service", "--all"];
            let files = ["list-unit-files", "--no-pager", "--no-legend", "--type", "service", "--all"];
            let (units, files) = (ask("systemctl", &units)?, ask("systemctl", &files)?);
            services.extend(of_systemd(&units.unwrap_or_default(), &files.unwrap_or_default()));
        }
        if services.is_empty() {
            return Ok(ModuleResult::skipped(
                "Failed to find any services. This can be due to privileges or some other configuration issue.",
            ));
        }
        let facts = Map::from([("services".to_owned(), Value::Map(services))]);
        Ok(ModuleResult::ok().with("ansible_facts", facts))
    }
}

fn entry(name: &str, source: &str, state: &str, status: Option<&str>) -> (String, Value) {
    let mut entry: Map = [("name", name), ("source", source), ("state", state)]
        .map(|(key, value)| (key.to_owned(), value.into()))
        .into();
    if let Some(status) = status {
        entry.insert("status".into(), status.into());
    }
    (name.to_owned(), Value::Map(entry))
}

/// ` [ + ]  ssh`; `-` is stopped, `?` unknown.
fn of_sysv(text: &str) -> Vec<(String, Value)> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix('[')?.split_once(']'));
    lines
        .map(|(mark, name)| {
            let state = match mark.trim() {
                "+" => "running",
                "-" => "stopped",
                _ => "unknown",
            };
            entry(name.trim(), "sysv", state, None)
        })
        .collect()
}

/// `sshd [ started 3 day(s) ]`.
fn of_openrc(text: &str) -> Vec<(String, Value)> {
    let lines = text.lines().filter_map(|line| line.trim().strip_suffix(']')?.split_once('['));
    lines
        .map(|(name, state)| {
            let state = match state.split_whitespace().next() {
                Some("started") => "running",
                Some(other) => other,
                None => "unknown",
            };
            entry(name.trim(), "openrc", state, None)
        })
        .collect()
}

/// What runs says the one list, what is enabled the other.
fn of_systemd(units: &str, files: &str) -> Vec<(String, Value)> {
    let statuses: std::collections::BTreeMap<&str, &str> = files
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .filter(|(name, _)| name.ends_with(".service"))
        .collect();
    let mut services = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for line in units.lines() {
        let words: Vec<&str> = line.trim_start_matches(['●', '*', ' ']).split_whitespace().collect();
        let [name, load, active, sub, ..] = words.as_slice() else { continue };
        if !name.ends_with(".service") {
            continue;
        }
        known.insert(*name);
        let state = match (*active, *sub) {
            (_, "running") => "running",
            ("failed", _) => "failed",
            _ => "stopped",
        };
        let status = match *load {
            "not-found" | "masked" => load,
            _ if *active == "failed" => "failed",
            _ => statuses.get(*name).copied().unwrap_or("unknown"),
        };
        services.push(entry(name, "systemd", state, Some(status)));
    }
    let rest = statuses.iter().filter(|(name, _)| !known.contains(*name));
    services.extend(rest.map(|(name, status)| entry(name, "systemd", "inactive", Some(status))));
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(services: Vec<(String, Value)>) -> Vec<String> {
        let text = |map: &Map, name: &str| map.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let one = |(_, value): &(String, Value)| {
            let map = value.as_map().unwrap();
            ["name", "state", "status", "source"].map(|name| text(map, name)).join(" ")
        };
        services.iter().map(one).collect()
    }

    #[test]
    fn both_lists_of_systemd_make_one() {
        let units = "ssh.service loaded active running OpenBSD Secure Shell server\n\
                     ● bad.service loaded failed failed A bad one\n\
                     gone.service not-found inactive dead gone.service\n\
                     once.service loaded active exited Once\n\
                     x.socket loaded active running\n";
        let files = "ssh.service enabled enabled\nonce.service static -\nother@.service disabled enabled\n";
        assert_eq!(
            states(of_systemd(units, files)),
            [
                "ssh.service running enabled systemd",
                "bad.service failed failed systemd",
                "gone.service stopped not-found systemd",
                "once.service stopped static systemd",
                "other@.service inactive disabled systemd",
            ]
        );
    }

    #[test]
    fn init_scripts_and_openrc_have_their_marks() {
        assert_eq!(
            states(of_sysv(" [ + ]  ssh\n [ - ]  sudo\n [ ? ]  odd\nnoise\n")),
            ["ssh running - sysv", "sudo stopped - sysv", "odd unknown - sysv"]
        );
        assert_eq!(
            states(of_openrc(" sshd   [  started 00:01:02 (0) ]\n cron   [  stopped  ]\n")),
            ["sshd running - openrc", "cron stopped - openrc"]
        );
    }
}
