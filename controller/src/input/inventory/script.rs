//! Executable inventories: `--list` prints groups as JSON, `--host NAME` a host's variables if `_meta` did not.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::build::Builder;
use super::{HostId, InventoryError, Limits};
use crate::input::json;
use crate::input::source::{Place, shown};
use crate::input::vaulted::authored_json;
use crate::vars::{VarMap, Variable};

/// A script that takes longer is killed: clouds answer slowly, but a run that hangs before its first line helps nobody.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);

/// What is kept of a script's complaints.
const STDERR_BYTES_MAX: u64 = 64 * 1024;

/// Runs the script and adds what it prints.
pub(super) fn read(path: &Path, source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let deadline = Instant::now() + SCRIPT_TIMEOUT;
    let limits = builder.limits;
    let list = run(path, &["--list"], &limits, deadline)?;
    let Listed { hosts, vars_told: false } = read_list(&list, source, builder)? else { return Ok(()) };
    for (name, id) in hosts {
        let output = run(path, &["--host", &name], &limits, deadline)?;
        if output.trim().is_empty() {
            continue;
        }
        let vars = json::parse(&output)
            .map_err(|error| complaint(path, format!("--host {name} printed what is not JSON: {error}")))?;
        match vars {
            Value::Map(vars) => {
                builder.set_host_vars(id, &Arc::new(variables(vars, &Place::whole(Arc::clone(source)))))
            }
            other => return Err(complaint(path, format!("--host {name} printed a {}, not a dict", other.kind()))),
        }
    }
    Ok(())
}

/// What a script's `--list` printed.
pub(super) struct Listed {
    /// The hosts of its groups, in order of appearance.
    hosts: IndexMap<String, HostId>,
    /// Whether it held their variables as well.
    vars_told: bool,
}

/// Adds what a script's `--list` printed. Variables of hosts that are in none of its groups are passed over.
pub(super) fn read_list(text: &str, source: &Arc<str>, builder: &mut Builder) -> Result<Listed, InventoryError> {
    let document = json::parse(text).map_err(|error| InventoryError::json(source, error.at, error.what))?;
    let place = Place::whole(Arc::clone(source));
    let Value::Map(mut groups) = document else {
        return Err(InventoryError::content(place, format!("expected a dict of groups, not a {}", document.kind())));
    };
    let meta = groups.shift_remove("_meta");
    let mut hosts = IndexMap::new();
    for (name, group) in groups {
        read_group(&name, group, &place, &mut hosts, builder)?;
    }
    let hostvars = match meta {
        Some(Value::Map(mut meta)) => meta.shift_remove("hostvars"),
        _ => None,
    };
    let Some(hostvars) = hostvars else { return Ok(Listed { hosts, vars_told: false }) };
    for (name, vars) in into_map(hostvars, "_meta.hostvars", &place)? {
        let vars = into_map(vars, &format!("the variables of host `{}`", shown(&name)), &place)?;
        if let Some(host) = hosts.get(&name) {
            builder.set_host_vars(*host, &Arc::new(variables(vars, &place)));
        }
    }
    Ok(Listed { hosts, vars_told: true })
}

fn read_group(
    name: &str,
    group: Value,
    place: &Place,
    known: &mut IndexMap<String, HostId>,
    builder: &mut Builder,
) -> Result<(), InventoryError> {
    let id = builder.named_group(name, place)?;
    let mut parts = match group {
        Value::List(_) => Map::from_iter([("hosts".to_owned(), group)]),
        other => into_map(other, &format!("group `{}`", shown(name)), place)?,
    };
    let is_group = ["hosts", "children", "vars"].iter().any(|part| parts.contains_key(*part));
    if !is_group && !parts.is_empty() {
        // Of old, a dict that is no group was a host with its variables.
        let host = builder.host(name, id, place)?;
        known.insert(name.to_owned(), host);
        builder.set_host_vars(host, &Arc::new(variables(parts, place)));
        return Ok(());
    }
    for host in names(parts.shift_remove("hosts"), "hosts", name, place)? {
        let id = builder.host(&host, id, place)?;
        known.insert(host, id);
    }
    if let Some(vars) = parts.shift_remove("vars") {
        let vars = into_map(vars, &format!("vars of group `{}`", shown(name)), place)?;
        builder.set_group_vars(id, variables(vars, place));
    }
    for child in names(parts.shift_remove("children"), "children", name, place)? {
        let child = builder.named_group(&child, place)?;
        builder.add_child(id, child, place)?;
    }
    Ok(())
}

fn variables(vars: Map, place: &Place) -> VarMap {
    vars.into_iter().map(|(name, value)| (name, Variable::Authored(authored_json(value, place).into()))).collect()
}

fn into_map(value: Value, what: &str, place: &Place) -> Result<Map, InventoryError> {
    match value {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(InventoryError::content(place.clone(), format!("{what} must be a dict, not a {}", other.kind()))),
    }
}

fn names(value: Option<Value>, part: &str, group: &str, place: &Place) -> Result<Vec<String>, InventoryError> {
    let wrong = |kind: &str| {
        let what = format!("{part} of group `{}` must be a list of names, not a {kind}", shown(group));
        InventoryError::content(place.clone(), what)
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(name) => Ok(name),
                other => Err(wrong(&format!("list with a {}", other.kind()))),
            })
            .collect(),
        Some(other) => Err(wrong(other.kind())),
    }
}

fn complaint(path: &Path, what: String) -> InventoryError {
    InventoryError::Script { path: path.to_owned(), what, hint: None }
}

/// The output of one call.
fn run(path: &Path, args: &[&str], limits: &Limits, deadline: Instant) -> Result<String, InventoryError> {
    let program = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| InventoryError::Read { path: path.to_owned(), source })?;
    let stdout = collect(child.stdout.take(), limits.source_bytes_max.saturating_add(1));
    let stderr = collect(child.stderr.take(), STDERR_BYTES_MAX);
    let output = match stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(output) => output.map_err(|source| InventoryError::Read { path: path.to_owned(), source }),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(too_slow(path)),
    };
    let output = output.inspect_err(|_| end(&mut child))?;
    if output.len() as u64 > limits.source_bytes_max {
        end(&mut child);
        return Err(complaint(path, format!("printed more than {} bytes", limits.source_bytes_max)));
    }
    let status = wait(&mut child, deadline).ok_or_else(|| too_slow(path)).inspect_err(|_| end(&mut child))?;
    if !status.success() {
        let grace = Duration::from_millis(200);
        let said = stderr.recv_timeout(grace).ok().and_then(Result::ok).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).trim().lines().last().map(shown);
        return Err(InventoryError::Script {
            path: path.to_owned(),
            what: format!("{} ended with {status}{}", args[0], said.map(|s| format!(": {s}")).unwrap_or_default()),
            hint: Some("run it by hand with --list".into()),
        });
    }
    String::from_utf8(output).map_err(|_| complaint(path, format!("{} printed what is not UTF-8 text", args[0])))
}

fn too_slow(path: &Path) -> InventoryError {
    complaint(path, format!("did not finish within {} s and was killed", SCRIPT_TIMEOUT.as_secs()))
}

/// Reads a pipe beside the child, so that neither can block the other.
fn collect(pipe: Option<impl Read + Send + 'static>, bytes_max: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = pipe.take(bytes_max).read_to_end(&mut bytes);
            // Nobody listens once the call has failed for another reason.
            let _ = sender.send(read.map(|_| bytes));
        });
    }
    receiver
}

fn wait(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    /// A script takes longer than this to start.
    const POLL: Duration = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            // The standard library waits for a child's end without a deadline alone. Bounded by `deadline`.
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Kills and reaps a script that failed us; it may be gone already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
