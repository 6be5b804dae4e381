//! Kernel, architecture, names of the host, kernel command line.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;
use crate::process::words;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let machine = text(uname.machine());
    let nodename = text(uname.nodename());
    let fqdn = fqdn(&nodename, &host.read("/etc/hosts").unwrap_or_default());
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

/// The name that `/etc/hosts` gives the host, the first one with a domain; without an entry, its own name. Not from
/// DNS: a name server that is down must not hold the facts.
fn fqdn(nodename: &str, hosts: &str) -> String {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    match entries.into_iter().find(|names| names.contains(&nodename)) {
        Some(names) => names.iter().find(|name| name.contains('.')).unwrap_or(&names[0]).to_string(),
        None => nodename.to_owned(),
    }
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
        let hosts = "127.0.0.1 localhost\n10.0.0.5 web1 web1.example.org www # web2.x\n";
        assert_eq!(fqdn("web1", hosts), "web1.example.org");
        assert_eq!(fqdn("localhost", hosts), "localhost");
        assert_eq!(fqdn("web2", hosts), "web2");
    }
}
