//! `wait_for`: waits until a port, a file or a text in either is there, or is gone.

mod path;
mod port;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::module::args::Choice;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::process::stopped_words;
use crate::regex_complaint::complaint;
use crate::{arguments, choices};

arguments! {
    pub(crate) struct WaitForArgs {
        /// The host whose port it is, by name or address.
        host: String = "127.0.0.1".into(),
        /// The port.
        port: Option<u16>,
        /// The file.
        path: Option<PathBuf>,
        /// What to wait for.
        state: State = State::Started,
        /// Text that has to be in the file, or has to come out of the connection.
        search_regex: Option<String>,
        /// Seconds before the first look.
        delay: u64 = 0,
        /// Seconds until it fails.
        timeout: u64 = 300,
        /// Seconds between looks.
        sleep: u64 = 1,
        /// Seconds for one connection.
        connect_timeout: u64 = 5,
        /// Hosts whose connections do not count when a port is drained.
        exclude_hosts: Option<Vec<String>>,
        /// Connections in these states keep a port from being drained.
        active_connection_states: Vec<String> = port::ACTIVE_STATES.map(str::to_owned).to_vec(),
        /// What to say on failure instead.
        msg: Option<String>,
    }
}

choices! {
    /// What to wait for.
    pub(crate) enum State {
        Absent = "absent",
        Drained = "drained",
        Present = "present",
        Started = "started",
        Stopped = "stopped",
    }
}

pub(super) struct WaitFor;

impl Module for WaitFor {
    type Args = WaitForArgs;

    const NAME: &'static str = "ansible.builtin.wait_for";
    const SUMMARY: &'static str = "Waits until a port, a file or a text is there, or is gone.";
    const SUPPORTS_CHECK: bool = false;
    const IDEMPOTENT: bool = true;

    fn run(&self, args: WaitForArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let started = Instant::now();
        let failed = |msg: String| ModuleError::new(msg).with("elapsed", started.elapsed().as_secs());
        rule(&args).map_or(Ok(()), |rule| Err(failed(rule)))?;
        let search = args.search_regex.as_deref().map(Search::new).transpose().map_err(ModuleError::new)?;
        let deadline = Deadline { at: started + Duration::from_secs(args.timeout), cx };
        cx.cancel.sleep(Duration::from_secs(args.delay));
        let timeout = || failed(args.msg.clone().unwrap_or_else(|| format!("Timeout when {}", wait_words(&args))));
        if args.port.is_none() && args.path.is_none() {
            cx.cancel.sleep(Duration::from_secs(args.timeout));
        } else if deadline.left().is_zero() {
            // The delay counts, as in Ansible: nothing is looked at once the time is over.
            return Err(timeout());
        }
        let found = loop {
            match look(&args, search.as_ref(), &deadline) {
                Look::Done(found) => break found,
                Look::NotYet => {}
            }
            if let Some(reason) = cx.cancel.reason() {
                return Err(failed(format!("{} while {}", stopped_words(reason), wait_words(&args))));
            }
            if deadline.left().is_zero() {
                return Err(timeout());
            }
            cx.cancel.sleep(Duration::from_secs(args.sleep).min(deadline.left()));
        };
        if let Some(reason) = cx.cancel.reason() {
            return Err(failed(format!("{} while {}", stopped_words(reason), wait_words(&args))));
        }
        Ok(result(&args, found, started.elapsed()))
    }
}

/// What the arguments together do not make sense for.
fn rule(args: &WaitForArgs) -> Option<String> {
    let rule = match (args.port, &args.path, args.state) {
        (Some(_), Some(_), _) => "port and path parameter can not both be passed to wait_for",
        (_, Some(_), State::Stopped) => "state=stopped should only be used for checking a port in the wait_for module",
        (_, Some(_), State::Drained) => "state=drained should only be used for checking a port in the wait_for module",
        (_, _, state) if args.exclude_hosts.is_some() && state != State::Drained => {
            "exclude_hosts should only be with state=drained"
        }
        _ => {
            let unknown = unknown_state(&args.active_connection_states);
            return unknown.map(|state| format!("unknown active_connection_state ({state}) defined"));
        }
    };
    Some(rule.to_owned())
}

fn unknown_state(states: &[String]) -> Option<&String> {
    states.iter().find(|state| port::state_code(state).is_none())
}

/// When to give up, and who may say so earlier.
struct Deadline<'a> {
    at: Instant,
    cx: &'a ModuleContext<'a>,
}

impl Deadline<'_> {
    fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

enum Look {
    Done(Found),
    NotYet,
}

#[derive(Default)]
struct Found {
    groups: Vec<Value>,
    named: Map,
}

fn look(args: &WaitForArgs, search: Option<&Search>, deadline: &Deadline<'_>) -> Look {
    let done_if = |condition: bool| if condition { Look::Done(Found::default()) } else { Look::NotYet };
    match (&args.path, args.port, args.state) {
        (Some(path), _, State::Absent) => done_if(!path::exists(path)),
        (Some(path), _, _) => path::look(path, search),
        (None, Some(port), State::Started | State::Present) => {
            port::look(&args.host, port, Duration::from_secs(args.connect_timeout), search, deadline)
        }
        (None, Some(port), State::Stopped | State::Absent) => {
            let connection = port::connect(&args.host, port, Duration::from_secs(args.connect_timeout), deadline);
            done_if(connection.is_none())
        }
        (None, Some(port), State::Drained) => {
            let excluded = args.exclude_hosts.as_deref().unwrap_or_default();
            done_if(port::active_connections(&args.host, port, excluded, &args.active_connection_states) == 0)
        }
        (None, None, _) => Look::Done(Found::default()),
    }
}

/// What is being done, to follow "Timeout when".
fn wait_words(args: &WaitForArgs) -> String {
    let what = match (&args.path, args.port) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(port)) => format!("{}:{port}", args.host),
        (None, None) => return "waiting".to_owned(),
    };
    match (args.state, &args.search_regex, &args.path) {
        (State::Absent, _, Some(_)) => format!("waiting for {what} to be absent."),
        (State::Stopped | State::Absent, _, _) => format!("waiting for {what} to stop."),
        (State::Drained, _, _) => format!("waiting for {what} to drain"),
        (_, Some(regex), Some(_)) => format!("waiting for search string {regex} in {what}"),
        (_, Some(regex), None) => format!("waiting for search string {regex} in {what}"),
        (_, None, Some(_)) => format!("waiting for file {what}"),
        (_, None, None) => format!("waiting for {what}"),
    }
}

fn result(args: &WaitForArgs, found: Found, elapsed: Duration) -> ModuleResult {
    let mut result = ModuleResult::ok()
        .with("state", args.state.spelling())
        .with("port", args.port.map(u32::from))
        .with("search_regex", args.search_regex.clone())
        .with("match_groups", found.groups)
        .with("match_groupdict", found.named)
        .with("path", args.path.as_deref().map(|path| path.display().to_string()))
        .with("elapsed", elapsed.as_secs());
    if let Some(path) = &args.path {
        path::add_attributes(path, &mut result);
    }
    result
}

/// A pattern as Python means it. Lookarounds and back references are not in the fast engine, so there are two.
enum Search {
    Bytes(regex::bytes::Regex),
    Text(Box<fancy_regex::Regex>),
}

impl Search {
    fn new(pattern: &str) -> Result<Search, String> {
        if let Some(why) = complaint(pattern) {
            return Err(format!("Invalid regular expression: {why}"));
        }
        if let Ok(regex) = regex::bytes::RegexBuilder::new(pattern).multi_line(true).build() {
            return Ok(Search::Bytes(regex));
        }
        let regex = fancy_regex::Regex::new(&format!("(?m){pattern}"));
        regex.map(|regex| Search::Text(Box::new(regex))).map_err(|error| format!("search_regex `{pattern}`: {error}"))
    }

    fn find(&self, text: &[u8]) -> Option<Found> {
        let mut found = Found::default();
        let mut add = |name: Option<&str>, value: Value| {
            found.groups.push(value.clone());
            if let Some(name) = name {
                found.named.insert(name.to_owned(), value);
            }
        };
        match self {
            Search::Bytes(regex) => {
                let captures = regex.captures(text)?;
                for (at, name) in regex.capture_names().enumerate().skip(1) {
                    add(name, captures.get(at).map(|group| Value::from_output(group.as_bytes().to_vec())).into());
                }
            }
            Search::Text(regex) => {
                let text = String::from_utf8_lossy(text);
                // An error is a pattern that takes too long on this text: no match.
                let captures = regex.captures(&*text).ok()??;
                for (at, name) in regex.capture_names().enumerate().skip(1) {
                    add(name, captures.get(at).map(|group| group.as_str()).into());
                }
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{AnyModule, CancelReason};
    use crate::process::testing::Surroundings;
    use serde_json::json;
    use std::io::Write;
    use std::net::TcpListener;

    fn run_in(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&WaitFor, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
    }

    fn run(args: serde_json::Value) -> ModuleResult {
        run_in(&Surroundings::new(), args)
    }

    #[test]
    fn a_file_that_is_there_is_described() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\nport=80\n").unwrap();
        let path = file.path().to_str().unwrap();
        let result = run(json!({"path": path, "search_regex": "^port=(\\d+)(?P<end>$)"}));
        assert!(!result.failed && !result.changed, "{result:?}");
        assert_eq!(result.get("match_groups"), Some(&Value::from(json!(["80", ""]))));
        assert_eq!(result.get("match_groupdict"), Some(&Value::from(json!({"end": ""}))));
        assert_eq!((result.get("state"), result.get("size")), (Some(&Value::from("file")), Some(&Value::Int(12))));
        assert_eq!(result.get("mode"), Some(&Value::from("0600")));
    }

    #[test]
    fn look_behind_works_as_in_python() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a=1 b=2").unwrap();
        let result = run(json!({"path": file.path().to_str().unwrap(), "search_regex": "(?<=b=)(.)"}));
        assert_eq!(result.get("match_groups"), Some(&Value::from(json!(["2"]))));
        assert!(run(json!({"path": "/", "search_regex": "("})).msg().starts_with("Invalid regular expression: "));
    }

    #[test]
    fn a_port_is_open_or_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let result = run(json!({"port": port}));
        assert_eq!((result.failed, result.get("port")), (false, Some(&Value::Int(port.into()))));
        let result = run(json!({"port": port, "state": "stopped", "timeout": 0}));
        assert_eq!(result.msg(), format!("Timeout when waiting for 127.0.0.1:{port} to stop."));
        drop(listener);
        assert!(!run(json!({"port": port, "state": "stopped"})).failed);
        let result = run(json!({"port": port, "timeout": 0, "msg": "no server"}));
        assert_eq!((result.failed, result.msg()), (true, "no server"));
    }

    #[test]
    fn a_text_is_waited_for_on_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(b"SSH-2.0-OpenSSH_9").unwrap());
            let result = run(json!({"port": port, "search_regex": "SSH-([0-9.]+)"}));
            assert_eq!(result.get("match_groups"), Some(&Value::from(json!(["2.0"]))), "{result:?}");
        });
    }

    #[test]
    fn connections_of_others_are_seen_until_they_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!run(json!({"port": port, "state": "drained"})).failed);
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let args = json!({"port": port, "state": "drained", "timeout": 1});
        assert_eq!(run(args).msg(), format!("Timeout when waiting for 127.0.0.1:{port} to drain"));
        let excluded = json!({"port": port, "state": "drained", "timeout": 1, "exclude_hosts": ["127.0.0.1"]});
        assert!(!run(excluded).failed);
        drop(client);
    }

    #[test]
    fn time_running_out_names_what_was_waited_for() {
        let msg = |args| run(args).msg().to_owned();
        assert_eq!(msg(json!({"path": "/nonexistent", "timeout": 0})), "Timeout when waiting for file /nonexistent");
        assert_eq!(
            msg(json!({"path": "/proc", "state": "absent", "timeout": 0})),
            "Timeout when waiting for /proc to be absent."
        );
        assert_eq!(
            msg(json!({"path": "/proc/version", "search_regex": "q{99}", "timeout": 0})),
            "Timeout when waiting for search string q{99} in /proc/version"
        );
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        let msg = |args| run(args).msg().to_owned();
        assert_eq!(msg(json!({"path": "/x", "port": 1})), "port and path parameter can not both be passed to wait_for");
        assert!(msg(json!({"path": "/x", "state": "stopped"})).starts_with("state=stopped should only"));
        assert_eq!(msg(json!({"port": 1, "exclude_hosts": "a"})), "exclude_hosts should only be with state=drained");
    }

    #[test]
    fn a_cancelled_wait_ends_at_once() {
        let surroundings = Surroundings::new();
        surroundings.cancel.cancel(CancelReason::Requested);
        let result = run_in(&surroundings, json!({"path": "/nonexistent", "timeout": 600}));
        assert_eq!(result.msg(), "cancelled while waiting for file /nonexistent");
        assert!(run_in(&surroundings, json!({"timeout": 600})).failed);
    }
}
