//! `reboot`: restarts the host and waits until it is back.
//!
//! That it has restarted is known by what `boot_time_command` prints, the kernel's boot id by default; that its agent
//! answers again is not enough, since it may answer while the host is still going down.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ArgSpec, ModuleArgs, args};
use rustle_agent::process::words::quote;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

/// Between two looks: 1 s, twice as long each time, and no longer than this.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(12);

arguments! {
    pub(super) struct RebootArgs {
        /// Seconds until the restart; whole minutes of it count.
        pre_reboot_delay: u64 = 0,
        /// Seconds to wait before the first look at the host.
        post_reboot_delay: u64 = 0,
        /// Seconds until the host must be back, and then again until `test_command` must have succeeded.
        reboot_timeout: u64 = 600,
        /// Accepted; the transport has its own.
        connect_timeout: Option<u64>,
        /// What must succeed on the host that is back.
        test_command: String = "whoami".into(),
        /// What users of the host are told.
        msg: String = "Reboot initiated by Ansible".into(),
        /// Where `shutdown` is looked for.
        search_paths: Vec<String> =
            ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(str::to_owned).to_vec(),
        /// What prints something else after each start.
        boot_time_command: String = "cat /proc/sys/kernel/random/boot_id".into(),
        /// What restarts the host, instead of `shutdown`.
        reboot_command: Option<String>,
    }
}

pub(super) struct Reboot;

impl ModuleExecutor for Reboot {
    fn name(&self) -> &str {
        "ansible.builtin.reboot"
    }

    fn summary(&self) -> &str {
        "Restarts the host and waits until it is back."
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        RebootArgs::GROUPS
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        args::parse::<RebootArgs>("reboot", args.clone()).map(drop).map_err(super::invalid_options)
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match args::parse::<RebootArgs>("reboot", args) {
                Ok(args) => reboot(&args, cx).await,
                Err(error) => Ok(ModuleResult::failed(error.to_string())),
            }
        }
        .boxed()
    }
}

async fn reboot(args: &RebootArgs, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
    if cx.is_local().await? {
        let msg = "Running reboot with local connection would reboot the control node.";
        return Ok(ModuleResult::failed(msg).with("elapsed", 0).with("rebooted", false));
    }
    if cx.settings.check {
        return Ok(ModuleResult::changed(true).with("elapsed", 0).with("rebooted", true));
    }
    let before = match run(&args.boot_time_command, cx).await? {
        Ran { rc: Some(0), stdout, .. } => stdout,
        Ran { rc, stdout, stderr } => {
            let rc = rc.unwrap_or(-1);
            let said = [stdout, stderr].join(", ");
            return Ok(ModuleResult::failed(format!(
                "{}: failed to get host boot time info, rc: {rc}, {said}",
                cx.target
            )));
        }
    };
    let started = Instant::now();
    match run(&command(args), cx).await {
        // It went down before it could answer, or before the command had ended.
        Ok(Ran { rc: Some(0) | None, .. }) | Err(Stop::Unreachable(_) | Stop::Interrupted) => {}
        Ok(Ran { stdout, stderr, .. }) => {
            let msg = format!("Reboot command failed. Error was: '{stdout}, {stderr}'");
            return Ok(ModuleResult::failed(msg).with("rebooted", false));
        }
        Err(stopped) => return Err(stopped),
    }
    cx.pause(Duration::from_secs(args.post_reboot_delay)).await?;
    let is_new = |ran: &Ran| ran.rc == Some(0) && ran.stdout != before;
    let back = until(&args.boot_time_command, args.reboot_timeout, is_new, cx).await?;
    let works = back && until(&args.test_command, args.reboot_timeout, |ran| ran.rc == Some(0), cx).await?;
    let mut result = ModuleResult::changed(true).with("rebooted", true).with("elapsed", started.elapsed().as_secs());
    if !works {
        let what = if back { "post-reboot test command" } else { "last boot time check" };
        result.failed = true;
        result.set("msg", format!("Timed out waiting for {what} (timeout={})", args.reboot_timeout));
    }
    Ok(result)
}

/// What restarts the host.
fn command(args: &RebootArgs) -> String {
    args.reboot_command.clone().unwrap_or_else(|| {
        let minutes = args.pre_reboot_delay / 60;
        format!("PATH={} shutdown -r {minutes} {}", quote(&args.search_paths.join(":")), quote(&args.msg))
    })
}

/// Runs `command` on the host again and again, however often it cannot be reached. False if `seconds` were not enough.
async fn until(
    command: &str,
    seconds: u64,
    is_it: impl Fn(&Ran) -> bool,
    cx: &mut ExecutionContext<'_>,
) -> Result<bool, Stop> {
    let started = Instant::now();
    let mut wait = Duration::from_secs(1);
    loop {
        match run(command, cx).await {
            Ok(ran) if is_it(&ran) => return Ok(true),
            Ok(_) | Err(Stop::Unreachable(_) | Stop::Interrupted) => {}
            Err(stopped) => return Err(stopped),
        }
        if started.elapsed().as_secs() >= seconds {
            return Ok(false);
        }
        cx.pause(wait).await?;
        wait = (wait * 2).min(LOOK_EVERY_MAX);
    }
}

/// How a command on the host ended.
struct Ran {
    /// `None` if it did not come to its end, and nobody knows how far it came.
    rc: Option<i64>,
    stdout: String,
    stderr: String,
}

async fn run(command: &str, cx: &mut ExecutionContext<'_>) -> Result<Ran, Stop> {
    let args = Map::from([("_raw_params".to_owned(), command.into())]);
    let result = cx.call("ansible.builtin.shell", args).await?;
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    // A refusal has no return code and tells why.
    let stderr = if result.get("rc").is_none() { result.msg().to_owned() } else { text("stderr") };
    Ok(Ran { rc: result.get("rc").and_then(Value::as_i64), stdout: text("stdout"), stderr })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(args: serde_json::Value) -> String {
        command(&args::parse("reboot", Value::from(args).as_map().unwrap().clone()).unwrap())
    }

    #[test]
    fn shutdown_is_told_whole_minutes_and_what_users_are_to_read() {
        assert_eq!(
            line(json!({"pre_reboot_delay": 119, "msg": "it's time", "search_paths": ["/sbin", "/my bin"]})),
            "PATH='/sbin:/my bin' shutdown -r 1 'it'\"'\"'s time'"
        );
        assert_eq!(line(json!({"reboot_command": "systemctl reboot"})), "systemctl reboot");
    }
}
