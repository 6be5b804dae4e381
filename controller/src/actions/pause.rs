//! `pause`: waits, or asks whoever sits at the terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Local;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ArgKind, ArgSpec, FromArg, ModuleArgs, args};
use rustle_protocol::message::OutputStream;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::fault::Fault;
use crate::prompt::{self, Interruptible};

arguments! {
    pub(super) struct PauseArgs {
        /// How long, in seconds; at least one.
        seconds: Option<Whole>,
        /// How long, in minutes.
        minutes: Option<Whole>,
        /// What to ask. Without a time, an answer is waited for.
        prompt: Option<String>,
        /// Show what is typed.
        echo: bool = true,
    }
}

/// What may be pressed while a time passes.
const KEYS: &str = "(ctrl+C then 'C' = continue early, ctrl+C then 'A' = abort)\n";

/// How long a question that is given up may take to leave the terminal.
const GIVEN_UP: Duration = Duration::from_secs(1);

const NAME: &str = "ansible.builtin.pause";

pub(super) struct Pause;

impl ModuleExecutor for Pause {
    fn name(&self) -> &str {
        NAME
    }

    fn summary(&self) -> &str {
        "Waits for a time, or for an answer at the terminal."
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn needs_host(&self) -> bool {
        false
    }

    /// It changes nothing.
    fn is_idempotent(&self) -> bool {
        true
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        PauseArgs::GROUPS
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        parse(args.clone()).map(drop)
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match parse(args) {
                Ok(args) => pause(args, cx).await,
                Err(error) => Ok(ModuleResult::failed(error.to_string())),
            }
        }
        .boxed()
    }
}

/// A number of which a part is left out, as Python's `int` does it: Ansible's `pause` takes it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole(i64);

impl FromArg for Whole {
    const KIND: ArgKind = ArgKind::Int;

    fn from_arg(value: Value) -> Result<Self, String> {
        match value {
            Value::Float(number) if number.is_finite() => Ok(Whole(number as i64)),
            other => i64::from_arg(other).map(Whole),
        }
    }
}

fn parse(args: Map) -> Result<PauseArgs, ArgError> {
    let parsed: PauseArgs = args::parse("pause", args)?;
    if parsed.seconds.is_some() && parsed.minutes.is_some() {
        return Err(ArgError::Rule("parameters are mutually exclusive: minutes|seconds".to_owned()));
    }
    Ok(parsed)
}

async fn pause(args: PauseArgs, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
    let (started, start) = (Instant::now(), Local::now());
    let seconds = args.seconds.map(|seconds| seconds.0).or(args.minutes.map(|minutes| minutes.0.saturating_mul(60)));
    let hidden = if args.echo { "" } else { " (output is hidden)" };
    let is_asked = std::io::stdin().is_terminal();
    let mut result = ModuleResult::ok();
    let mut answer = Some(String::new());
    match seconds {
        Some(seconds) => {
            let time = Duration::from_secs(seconds.max(1).unsigned_abs());
            let prompt = args.prompt.filter(|_| is_asked);
            let prompt = prompt.map(|prompt| format!("{prompt}{hidden}:\n")).unwrap_or_default();
            let keys = if is_asked { KEYS } else { "" };
            cx.say(OutputStream::Stdout, &format!("Pausing for {} seconds{hidden}\n{keys}{prompt}", time.as_secs()));
            answer = wait(time, is_asked, cx).await?;
        }
        None if is_asked => {
            let prompt = args.prompt.unwrap_or_else(|| "Press enter to continue, Ctrl+C to interrupt".to_owned());
            answer = ask(format!("{prompt}{hidden}:\n"), args.echo, cx).await?;
        }
        None => {
            result = result.with_warning("Not waiting for response to prompt as stdin is not interactive");
        }
    }
    let Some(answer) = answer else {
        return Ok(cx.failed_before_work(Fault::from("user requested abort!").of_task()));
    };
    let took = started.elapsed();
    let stdout = match args.seconds {
        Some(_) => format!("Paused for {} seconds", shown(took.as_secs_f64())),
        None => format!("Paused for {} minutes", shown(took.as_secs_f64() / 60.0)),
    };
    let time = |at: chrono::DateTime<Local>| at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    Ok(result
        .with("delta", Value::Int(i64::try_from(took.as_secs()).unwrap_or(i64::MAX)))
        .with("echo", args.echo)
        .with("rc", 0)
        .with("start", time(start))
        .with("stderr", "")
        .with("stdout", stdout)
        .with("stop", time(Local::now()))
        .with("user_input", answer))
}

/// With two decimals, of which one may be missing, as Python shows a rounded number.
fn shown(number: f64) -> String {
    let rounded = (number * 100.0).round() / 100.0;
    if rounded.fract() == 0.0 { format!("{rounded:.1}") } else { rounded.to_string() }
}

/// Waits for the time, at a terminal until Ctrl-C at most. No answer if the play is to be aborted.
async fn wait(time: Duration, is_asked: bool, cx: &ExecutionContext<'_>) -> Result<Option<String>, Stop> {
    if !is_asked {
        return cx.pause(time).await.map(|()| Some(String::new()));
    }
    let interruptible = Interruptible::begin();
    tokio::select! {
        waited = cx.pause(time) => return waited.map(|()| Some(String::new())),
        () = interruptible.pressed() => {}
    }
    drop(interruptible);
    goes_on(cx).await
}

/// The answer to a question at the terminal; none if the play is to be aborted.
async fn ask(question: String, echo: bool, cx: &ExecutionContext<'_>) -> Result<Option<String>, Stop> {
    let interruptible = Interruptible::begin();
    let answer = at_terminal(cx, interruptible.pressed(), move |given_up| prompt::ask_until(&question, echo, given_up));
    match answer.await? {
        // Nobody there to answer is an empty answer.
        Answered::By(answer) => Ok(Some(answer.unwrap_or_default())),
        Answered::Interrupted => {
            drop(interruptible);
            goes_on(cx).await
        }
    }
}

/// Asks what Ctrl-C means: an empty answer to go on with, or none. Who cannot be asked goes on.
async fn goes_on(cx: &ExecutionContext<'_>) -> Result<Option<String>, Stop> {
    const QUESTION: &str = "Press 'C' to continue the play or 'A' to abort \n";
    let ask = |given_up: &AtomicBool| prompt::key(QUESTION, b"ca", given_up);
    let pressed = match at_terminal(cx, std::future::pending(), ask).await? {
        Answered::By(key) => key,
        Answered::Interrupted => None,
    };
    Ok((pressed != Some(b'a')).then(String::new))
}

enum Answered<T> {
    /// With nothing where nobody is.
    By(Option<T>),
    Interrupted,
}

/// Asks at the terminal, on a thread of its own, until there is an answer or the question is given up, for the run is being
/// stopped or somebody interrupts it. The terminal is as before then.
async fn at_terminal<T: Send + 'static>(
    cx: &ExecutionContext<'_>,
    interrupted: impl Future<Output = ()>,
    ask: impl FnOnce(&AtomicBool) -> std::io::Result<Option<T>> + Send + 'static,
) -> Result<Answered<T>, Stop> {
    let given_up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&given_up);
    let mut asked = tokio::task::spawn_blocking(move || ask(&flag));
    let ended = tokio::select! {
        answer = &mut asked => {
            return Ok(Answered::By(answer.ok().and_then(Result::ok).flatten()));
        }
        stopped = cx.unless_cancelled(interrupted) => stopped,
    };
    given_up.store(true, Ordering::SeqCst);
    // It looks for that often; a thread that reads something else than a terminal is not waited for.
    let _ = tokio::time::timeout(GIVEN_UP, asked).await;
    ended.map(|()| Answered::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_python_rounds_it() {
        assert_eq!([1.0013, 1.256, 0.5, 90.0].map(shown), ["1.0", "1.26", "0.5", "90.0"]);
    }

    #[test]
    fn a_part_of_a_second_or_minute_is_left_out_and_text_is_a_whole_number() {
        let seconds = |value: Value| parse(Map::from_iter([("seconds".to_owned(), value)]));
        assert_eq!(seconds(Value::Float(1.7)).unwrap().seconds, Some(Whole(1)));
        assert_eq!(seconds("2".into()).unwrap().seconds, Some(Whole(2)));
        assert!(seconds("1.7".into()).is_err() && seconds(Value::Float(f64::NAN)).is_err());
    }

    #[test]
    fn seconds_and_minutes_exclude_each_other() {
        let args = Map::from_iter([("seconds".to_owned(), 1.into()), ("minutes".to_owned(), 1.into())]);
        assert!(parse(args).is_err_and(|error| error.to_string().contains("mutually exclusive: minutes|seconds")));
    }
}
