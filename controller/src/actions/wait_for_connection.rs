//! `wait_for_connection`: waits until the host can be talked to.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ArgSpec, ModuleArgs, args};
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

arguments! {
    pub(super) struct WaitForConnectionArgs {
        /// Seconds for one try.
        connect_timeout: u64 = 5,
        /// Seconds before the first try.
        delay: u64 = 0,
        /// Seconds between tries.
        sleep: u64 = 1,
        /// Seconds until it fails.
        timeout: u64 = 600,
    }
}

pub(super) struct WaitForConnection;

impl ModuleExecutor for WaitForConnection {
    fn name(&self) -> &str {
        "ansible.builtin.wait_for_connection"
    }

    fn summary(&self) -> &str {
        "Waits until the host's agent answers."
    }

    fn supports_check_mode(&self) -> bool {
        false
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        WaitForConnectionArgs::GROUPS
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        args::parse::<WaitForConnectionArgs>("wait_for_connection", args.clone())
            .map(drop)
            .map_err(super::invalid_options)
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match args::parse::<WaitForConnectionArgs>("wait_for_connection", args) {
                Ok(args) => wait(&args, cx).await,
                Err(error) => Ok(ModuleResult::failed(error.to_string())),
            }
        }
        .boxed()
    }
}

async fn wait(args: &WaitForConnectionArgs, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
    let started = Instant::now();
    let ended = |result: ModuleResult| result.with("elapsed", started.elapsed().as_secs());
    cx.pause(Duration::from_secs(args.delay)).await?;
    loop {
        let why = match tokio::time::timeout(Duration::from_secs(args.connect_timeout), ping(cx)).await {
            Ok(Ok(())) => return Ok(ended(ModuleResult::ok())),
            Ok(Err(Stop::Unreachable(error))) => error.to_string(),
            Ok(Err(stopped)) => return Err(stopped),
            Err(_) => format!("no answer within {} s", args.connect_timeout),
        };
        if started.elapsed().as_secs() >= args.timeout {
            return Ok(ended(ModuleResult::failed(format!("timed out waiting for ping module test: {why}"))));
        }
        cx.pause(Duration::from_secs(args.sleep)).await?;
    }
}

/// Any answer of the agent's will do.
async fn ping(cx: &mut ExecutionContext<'_>) -> Result<(), Stop> {
    cx.call("ansible.builtin.ping", Map::new()).await.map(drop)
}
