//! Hosts with networks of their own: namespaces of the kernel, with a cable between them that can be pulled.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{is_root, not_tested};

/// A namespace for networks and mounts. It ends with this, or with this process, however that ends.
pub struct Space {
    holder: Child,
}

/// The name of the cable's end in each space.
const CABLE: &str = "cable";

impl Space {
    /// As many spaces as asked for; or none, which is said, where this user or this machine cannot have any.
    pub fn several<const N: usize>() -> Option<[Space; N]> {
        if !is_root() {
            not_tested("networks of their own need root");
            return None;
        }
        let spaces: Vec<Space> = (0..N).map_while(|_| Space::new()).collect();
        let spaces = spaces.try_into().ok();
        if spaces.is_none() {
            not_tested("this machine lets nobody have a network of their own, or lacks `unshare`, `nsenter` or `ip`");
        }
        spaces
    }

    fn new() -> Option<Space> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", "ip link set lo up && echo ready && exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let space = Space { holder };
        (line == "ready\n" && space.try_run("true", &[])).then_some(space)
    }

    /// A command that runs what follows it in this space, in the folder `within`.
    pub fn enter(&self, within: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let namespaces = Path::new("/proc").join(self.holder.id().to_string()).join("ns");
        for (option, name) in [("--net=", "net"), ("--mount=", "mnt")] {
            command.arg(format!("{option}{}", namespaces.join(name).display()));
        }
        command.arg(format!("--wd={}", within.display()));
        command
    }

    /// Runs a program of the system in this space.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) {
        assert!(self.try_run(program, args), "{program} {args:?}");
    }

    fn try_run(&self, program: &str, args: &[&str]) -> bool {
        let status = self.enter(Path::new("/")).arg(program).args(args).stdin(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// Lays a cable to another space; this end has the address `own`, the other one `others`, as in `10.0.0.1/24`.
    #[track_caller]
    pub fn connect(&self, own: &str, other: &Space, others: &str) {
        let there = other.holder.id().to_string();
        self.run("ip", &["link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", &there]);
        for (space, address) in [(self, own), (other, others)] {
            space.run("ip", &["address", "add", address, "dev", CABLE]);
            space.run("ip", &["link", "set", CABLE, "up"]);
        }
    }

    /// Pulls this end of the cable, or plugs it in again.
    #[track_caller]
    pub fn plug(&self, is_in: bool) {
        self.run("ip", &["link", "set", CABLE, if is_in { "up" } else { "down" }]);
    }

    /// From now on this end has another address.
    #[track_caller]
    pub fn moves(&self, from: &str, to: &str) {
        self.run("ip", &["address", "del", from, "dev", CABLE]);
        self.run("ip", &["address", "add", to, "dev", CABLE]);
    }

    /// In this space names are looked up in `hosts` alone, before whatever else the system asks.
    #[track_caller]
    pub fn names_are_in(&self, hosts: &Path) {
        self.run("mount", &["--bind", &hosts.to_string_lossy(), "/etc/hosts"]);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
