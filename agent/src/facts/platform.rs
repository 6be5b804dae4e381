//! Kernel, architecture, names of the host, kernel command line.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;
use crate::process::words;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let machine = text(uname.machine());
    let nodename = text(uname.nodename());
    let fqdn = fqdn(&nodename, &host.read("/etc/hosts").unwrap_or_default(), resolved);
    let bits = if size_of::<usize>() == 8 { "64" } else { "32" };
    let mut set = |name: &str, value: String| drop(facts.insert(name.to_owned(), value.into()));
    set("system", text(uname.sysname()));
    set("kernel", text(uname.release()));
    set("kernel_version", text(uname.version()));
    set("machine", machine.clone());
    set("fqdn", fqdn.clone());
    set("hostname", nodename.split('.').next().unwrap_or_default().to_owned());
    set("nodename", nodename);
    set("domain", fqdn.split_once('.').map(|(_, domain)| domain.to_owned()).unwrap_or_default());
    set("userspace_bits", bits.to_owned());
    set("architecture", architecture(&machine));
    set("userspace_architecture", architecture(std::env::consts::ARCH));
    let machine_id = host.line("/var/lib/dbus/machine-id").or_else(|| host.line("/etc/machine-id"));
    if let Some(id) = machine_id {
        set("machine_id", id);
    }
}

fn architecture(machine: &str) -> String {
    match machine {
        "i386" | "i486" | "i586" | "i686" | "x86" => "i386",
        other => other,
    }
    .to_owned()
}

/// As Python's `socket.getfqdn` has it: of the names of the address that the host's own name leads to the first with a domain,
/// or else the first one. `/etc/hosts` is asked, and `resolve` for a name that is not in there; a name that leads nowhere stays.
fn fqdn(nodename: &str, hosts: &str, resolve: impl FnOnce(&str) -> Option<String>) -> String {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let is_of_host = |entry: &&Vec<&str>| entry.iter().skip(1).any(|name| *name == nodename);
    let Some(entry) = entries.iter().find(is_of_host) else {
        return resolve(nodename).unwrap_or_else(|| nodename.to_owned());
    };
    // An address has the names of its first line alone.
    let names = &entries.iter().find(|other| other.first() == entry.first()).unwrap_or(entry)[1..];
    names
        .iter()
        .find(|name| name.contains('.'))
        .or(names.first())
        .map_or_else(|| nodename.to_owned(), |name| (*name).to_owned())
}

/// How long the name of a host is waited for: a name server that is down must not hold the facts.
const RESOLVED_WITHIN: Duration = Duration::from_secs(1);

/// What the system's resolver calls the address of this name.
fn resolved(name: &str) -> Option<String> {
    let (name, (answer, answered)) = (name.to_owned(), mpsc::channel());
    // Left to itself if it takes longer: the resolver gives up by its own time-outs.
    std::thread::spawn(move || {
        let address = (name.as_str(), 0).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        drop(answer.send(address.and_then(|address| dns_lookup::lookup_addr(&address.ip()).ok())));
    });
    // An address without a name is given as it is.
    answered.recv_timeout(RESOLVED_WITHIN).ok().flatten().filter(|name| name.parse::<IpAddr>().is_err())
}

pub(super) fn gather_cmdline(host: &Host<'_>, facts: &mut Map) {
    let text = host.line("/proc/cmdline").unwrap_or_default();
    let Ok(words) = words::split(&text) else { return };
    let (mut last, mut all) = (Map::new(), Map::new());
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Value::from(value)),
            None => (word, Value::Bool(true)),
        };
        last.insert(name.clone(), value.clone());
        let all = all.entry(name).or_insert(Value::Null);
        *all = match std::mem::take(all) {
            Value::Null => value,
            Value::List(mut values) => {
                values.push(value);
                Value::List(values)
            }
            first => Value::List(vec![first, value]),
        };
    }
    facts.insert("cmdline".into(), Value::Map(last));
    facts.insert("proc_cmdline".into(), Value::Map(all));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_is_the_first_with_a_domain() {
        let hosts = "127.0.0.1 localhost\n10.0.0.5 web1 web1.example.org www # web2.x\n127.0.0.1 vm\n";
        let unknown = |_: &str| None;
        assert_eq!(fqdn("web1", hosts, unknown), "web1.example.org");
        assert_eq!(fqdn("localhost", hosts, unknown), "localhost");
        assert_eq!(fqdn("vm", hosts, unknown), "localhost", "the first line of its address");
        assert_eq!(fqdn("web2", hosts, unknown), "web2");
        assert_eq!(fqdn("web2", hosts, |name| Some(format!("{name}.example.org"))), "web2.example.org");
    }
}
