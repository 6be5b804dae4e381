//! Agents that share a process, and are real but for that: `many-agents HOME NAME...` serves those whose identities stand in
//! `HOME/agents/NAME/identity`, each with a socket and a ledger of its own. It writes their lines of an inventory and an empty
//! one, and ends with its standard input.

#![expect(clippy::unwrap_used, reason = "a test whose scene cannot be set has failed")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustle_agent::blobs::BlobStore;
use rustle_agent::ledger::{Durability, Ledger, LedgerOptions};
use rustle_agent::policy::Policy;
use rustle_agent::runner::Runner;
use rustle_agent::server::{Shared, serve};
use rustle_protocol::LoadedIdentity;
use rustle_protocol::endpoint::Listener;
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::transport::TransportOptions;
use tokio::sync::oneshot;

/// Calls at once on one host.
const CALLS: u32 = 4;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let agents = PathBuf::from(args.next().unwrap()).join("agents");
    let (tell, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        tell.send(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut lines = String::new();
        for name in args {
            let agent = agent(&agents.join(name));
            let at = agent.listener.local_address().unwrap();
            lines += &format!("{} rustle_host={} rustle_port={}\n", agent.host, at.ip(), at.port());
            tokio::spawn(serve(Arc::new(agent), std::future::pending(), Duration::ZERO));
        }
        std::io::stdout().write_all((lines + "\n").as_bytes()).unwrap();
        drop(ended.await);
    });
}

fn agent(state: &Path) -> Shared {
    let identity = LoadedIdentity::load(&IdentityFiles::in_dir(&state.join("identity"))).unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), identity, &TransportOptions::default()).unwrap();
    let options =
        LedgerOptions { durability: Durability::Process, bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };
    let ledger = Ledger::open(&state.join("ledger"), options).unwrap();
    let blobs = BlobStore::open(state.join("blobs"), 1 << 20).unwrap();
    Shared::new(listener, Runner::new(Policy::default(), CALLS), blobs, ledger, state.join("revocations.der"))
}
