//! The agent's command line and its life from start to end, for the `rustle-agent` binary and for the lab, whose
//! agents are `rustle-exec` started again.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustle_protocol::endpoint::Listener;
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::{LoadedIdentity, Role};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::blobs::BlobStore;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::process::leftovers;
use crate::runner::Runner;
use crate::server::{self, SOFTWARE, Shared};

/// Threads beyond one per call: for received files and the odd look at the disk.
const SPARE_THREADS: usize = 8;

/// How long an address that somebody has is tried: a program that is being started has begun by then on any machine, and
/// whoever gave two agents one address does not wait long to hear of it.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries.
const ADDRESS_TRY_AGAIN: Duration = Duration::from_millis(50);

/// `rustle-agent --config FILE`
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/rustle-agent/agent.toml")]
    pub config: PathBuf,

    /// Say what would stop the agent from starting, and stop
    #[arg(long)]
    pub check_config: bool,

    /// End, as at SIGTERM, when standard input is closed
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// What is read before the agent gives up the file system it was started in, if it does: a lab host's moves into its own.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    identity: LoadedIdentity,
    until_stdin_closes: bool,
}

/// Reads configuration and identity.
///
/// # Errors
/// The sentence to show.
pub fn prepare(args: &AgentArgs) -> Result<Prepared, String> {
    let config = Config::load(&args.config).map_err(|error| error.to_string())?;
    let identity = LoadedIdentity::load(&IdentityFiles::in_dir(&config.identity)).map_err(|error| chain(&error))?;
    if identity.identity().role != Role::Agent {
        return Err(format!(
            "{} holds the identity {}, which is not an agent's",
            config.identity.display(),
            identity.identity()
        ));
    }
    Ok(Prepared { config, identity, until_stdin_closes: args.until_stdin_closes })
}

/// Runs the agent until it is told to end. Logs to standard error; tells systemd when it is ready.
///
/// # Errors
/// The sentence that says why it could not start; it has been logged.
pub fn run(prepared: Prepared) -> Result<(), String> {
    init_logging();
    if let Err(error) = crate::process::become_subreaper() {
        warn!(%error, "what tasks leave behind cannot be collected");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(prepared.config.limits.calls as usize + SPARE_THREADS)
        .build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(prepared)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    served.inspect_err(|message| error!("{message}"))
}

fn init_logging() {
    let filter = log_filter(std::env::var("RUSTLE_LOG_LEVEL").ok().as_deref());
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A second start in one process keeps the first one's logging.
    let _ = tracing_subscriber::registry().with(written).with(filter).try_init();
}

/// What is logged: a level, or levels of parts, as `rustle_agent=debug`. Not the filter that knows spans and fields too: it
/// brings a second engine for regular expressions, by which each pattern of a task takes longer to compile.
fn log_filter(wanted: Option<&str>) -> Targets {
    let understood = wanted.and_then(|text| text.parse().ok());
    understood.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

async fn serve(prepared: Prepared) -> Result<(), String> {
    let Prepared { config, identity, until_stdin_closes } = prepared;
    let name = identity.identity().to_string();
    let shared = Arc::new(open(&config, identity)?);
    let address = shared.listener.local_address().map_err(|error| error.to_string())?;
    let shutdown = shutdown(until_stdin_closes)?;
    info!(identity = name, %address, "{SOFTWARE} listens");
    tell_ready(&shared, address);
    server::serve(shared, shutdown, config.limits.drain()).await;
    info!("ended");
    Ok(())
}

fn open(config: &Config, identity: LoadedIdentity) -> Result<Shared, String> {
    let options = TransportOptions { idle_timeout: config.limits.idle(), ..TransportOptions::default() };
    let listener = listen(config.listen, &identity, &options)?;
    if listener.buffers().are_small() {
        warn!("the system grants small UDP buffers; raise net.core.rmem_max and wmem_max to 8388608");
    }
    let runner = Runner::new(config.policy.clone(), config.limits.calls);
    let blobs = BlobStore::open(config.state.join("blobs"), config.limits.blob_cache_mib * 1024 * 1024)
        .map_err(|error| format!("cannot use {}: {error}", config.state.display()))?;
    let ledger = Ledger::open(&config.state.join("ledger"), config.ledger.options()).map_err(|error| chain(&error))?;
    let revocations = config.state.join("revocations.der");
    take_kept_revocations(&listener, &revocations)?;
    let mut shared = Shared::new(listener, runner, blobs, ledger, revocations);
    shared.one_run = config.limits.one_run;
    end_leftovers(&shared);
    Ok(shared)
}

/// Opens the address. An agent that was killed while it started a program has left its socket to that, until the program
/// has begun: the address is then free in a moment.
fn listen(address: SocketAddr, identity: &LoadedIdentity, options: &TransportOptions) -> Result<Listener, String> {
    let until = Instant::now() + ADDRESS_PATIENCE;
    let mut is_told = false;
    loop {
        match Listener::bind(address, identity.clone(), options) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.is_taken() && Instant::now() < until => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!(%address, "the address is taken, and tried again for {} s", ADDRESS_PATIENCE.as_secs());
                }
                // Nothing tells when an address becomes free; bounded by `until`, and nothing else runs here yet.
                std::thread::sleep(ADDRESS_TRY_AGAIN);
            }
            Err(error) => return Err(chain(&error)),
        }
    }
}

/// What tasks had started that the death of an earlier agent cut off must not go on beside their next try.
fn end_leftovers(shared: &Shared) {
    let marks: HashSet<String> = shared.ledger.cut_off().iter().map(|key| leftovers::mark(&shared.host, key)).collect();
    let leftovers::Ended { gone, left } = leftovers::end(&marks);
    if !gone.is_empty() {
        warn!(processes = ?gone, "processes of tasks that were cut off when an earlier agent died have been ended");
    }
    if !left.is_empty() {
        warn!(processes = ?left, "processes of tasks that were cut off when an earlier agent died cannot be ended");
    }
}

/// The list that a controller brought in an earlier life.
fn take_kept_revocations(listener: &Listener, path: &Path) -> Result<(), String> {
    let list = match std::fs::read(path) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    match listener.identity().with_revocations(list.into()) {
        Ok(Some(identity)) => listener.replace_identity(identity).map_err(|error| chain(&error)),
        Ok(None) => Ok(()),
        Err(error) => {
            // After a change of CA, or with a newer list put in place by hand, the kept one has had its day.
            warn!(%error, path = %path.display(), "kept revocation list not used");
            Ok(())
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// `X_RUSTLE_LISTEN` tells the port to whoever started the agent with port 0.
fn tell_ready(shared: &Shared, address: SocketAddr) {
    let states = [
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&format!("{} listens on {address}", shared.host)),
        sd_notify::NotifyState::Custom(&format!("X_RUSTLE_LISTEN={} {address}", shared.host)),
    ];
    if let Err(error) = sd_notify::notify(&states) {
        warn!(%error, "cannot tell the service manager that the agent is ready");
    }
}

/// Ends at SIGTERM or SIGINT, or when standard input is closed if that was asked for.
fn shutdown(until_stdin_closes: bool) -> Result<impl Future<Output = ()>, String> {
    let handler = |kind| signal(kind).map_err(|error| format!("cannot take signals: {error}"));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    Ok(async move {
        let stdin_closed = async {
            if until_stdin_closes {
                // Reading blocks a thread for the agent's whole life; that thread is what the option costs.
                let _ =
                    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_closed => {}
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_log_has_the_levels_that_were_asked_for_and_info_if_none_were() {
        let logs = |wanted: Option<&str>, part: &str, level: Level| log_filter(wanted).would_enable(part, &level);
        assert!(logs(None, "quinn", Level::INFO) && !logs(None, "quinn", Level::DEBUG));
        assert!(logs(Some("debug"), "quinn", Level::DEBUG) && !logs(Some("debug"), "quinn", Level::TRACE));
        let of_parts = Some("warn,rustle_agent=debug");
        assert!(logs(of_parts, "rustle_agent::server", Level::DEBUG) && !logs(of_parts, "quinn", Level::INFO));
        assert!(
            logs(Some("rustle_agent=loud"), "quinn", Level::INFO),
            "what makes no sense is as if it were not there"
        );
    }
}
