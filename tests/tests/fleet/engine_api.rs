//! The controller as a library.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_exec::dispatch::{Blobs, HostLink, LinkError};
use rustle_exec::engine::links::Links;
use rustle_exec::engine::{
    Environment, EventSink, ExecutionContext, ExecutionEngine, ExecutionError, ModuleExecutor, Recorded, RunOptions,
    Stop,
};
use rustle_exec::event::{CancelReason, HostState, RunEvent, TaskStatus};
use rustle_exec::journal::{Disk, Durability, Journal};
use rustle_exec::plan::{Block, BlockId, LoopControl, Looping, Plan, Play, PlayId, Section, Task, TaskId, Within};
use rustle_exec::template::Authored;
use rustle_protocol::value::Map;
use rustle_protocol::{HostName, ModuleResult};

/// Tasks of a run that is to meet its journal in each moment there is.
const QUICK_TASKS: usize = 6_000;

/// Longer than a run takes from an event to what follows from it.
const QUICK_NANOS_MAX: u64 = 100_000;

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn command(text: &str) -> Task {
    let mut task = Task::new(TaskId(0), PlayId(0), "shell");
    task.args.insert("_raw_params".to_owned(), Authored::literal(text));
    task
}

fn engine(hosts: &[&str], options: RunOptions) -> ExecutionEngine {
    let hosts: Vec<_> = hosts.iter().map(|name| host(name)).collect();
    ExecutionEngine::new(Environment::local(&hosts), options)
}

fn plan(hosts: &[&str], tasks: Vec<Task>) -> Plan {
    let numbered = (0..).zip(tasks).map(|(n, task)| Task { id: TaskId(n), ..task });
    let tasks: Vec<_> = numbered.collect();
    let play = Play {
        gather_facts: Some(false),
        tasks: tasks.iter().map(|task| task.id).collect(),
        ..Play::new(PlayId(0), "Play", hosts.iter().map(|name| host(name)).collect())
    };
    Plan {
        sources: vec!["test".to_owned()],
        plays: vec![play],
        tasks,
        blocks: Vec::new(),
        check_mode: false,
        diff: false,
        forks: None,
        digest: String::new(),
        warnings: Vec::new(),
    }
}

/// A sink and what it has heard.
fn recorder() -> (EventSink, Arc<Mutex<Vec<RunEvent>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&heard);
    let sink = EventSink::new(Box::new(move |stamped| {
        into.lock().unwrap().push(stamped.event.clone());
        Ok(())
    }));
    (sink, heard)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits, between other work of this thread, until the file is there.
async fn appears(path: &Path) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

fn wait_for(path: &Path) -> String {
    format!("until test -e {}; do sleep 0.02; done", path.display())
}

#[test]
fn a_plan_is_run_and_everything_is_told() {
    let (sink, heard) = recorder();
    let outcome = block_on(
        engine(&["a", "b"], RunOptions::default()).execute_plan(plan(&["a", "b"], vec![command("true")]), sink),
    );
    let outcome = outcome.unwrap();
    assert!(outcome.is_success());
    assert_eq!(outcome.finished.hosts, [(host("a"), HostState::Ok), (host("b"), HostState::Ok)]);
    let heard = heard.lock().unwrap();
    let finished = heard.iter().filter(|event| matches!(event, RunEvent::HostFinished(_))).count();
    assert_eq!(finished, 2);
    assert!(matches!(heard[0], RunEvent::RunStarted(_)));
}

#[test]
fn one_task_on_one_host_gives_its_result() {
    let result =
        block_on(engine(&["a"], RunOptions::default()).execute_task(command("echo hello"), &host("a"))).unwrap();
    assert_eq!((result.status, result.values["stdout"].as_str()), (TaskStatus::Changed, Some("hello")));
}

#[test]
fn a_rescue_knows_what_it_rescues_and_the_host_stays_well() {
    let within = |section| Some(Within { block: BlockId(0), section });
    let fails = Task { name: Some("breaks".to_owned()), within: within(Section::Tasks), ..command("exit 3") };
    let mut fixes = Task { within: within(Section::Rescue), ..command("true") };
    fixes.when = vec!["ansible_failed_task.name == 'breaks' and ansible_failed_result.rc == 3".into()];
    let always = Task { within: within(Section::Always), ..command("true") };
    let mut plan = plan(&["a"], vec![fails, fixes, always]);
    plan.blocks = vec![Block::default()];
    let (sink, heard) = recorder();
    let outcome = block_on(engine(&["a"], RunOptions::default()).execute_plan(plan, sink)).unwrap();
    assert_eq!(outcome.finished.hosts, [(host("a"), HostState::Ok)]);
    let heard = heard.lock().unwrap();
    let results = heard.iter().filter_map(|event| match event {
        RunEvent::HostFinished(result) => Some((result.status, result.rescued)),
        _ => None,
    });
    let expected = [(TaskStatus::Failed, true), (TaskStatus::Changed, false), (TaskStatus::Changed, false)];
    assert_eq!(results.collect::<Vec<_>>(), expected);
}

#[test]
fn a_loop_names_labels_and_ends_its_items_as_its_author_says() {
    let list = |items: [&str; 3]| {
        Authored::literal(items.into_iter().map(rustle_protocol::Value::from).collect::<rustle_protocol::Value>())
    };
    let template = |text: &str| Authored::from_value(text.into());
    let mut task = command("");
    task.args = [("_raw_params".to_owned(), template("echo {{ place }}-{{ word }}-{{ ansible_loop.length }}"))].into();
    task.register = Some("said".to_owned());
    let control = LoopControl {
        loop_var: "word".to_owned(),
        index_var: Some("place".to_owned()),
        label: Some(template("<{{ word }}>")),
        extended: true,
        break_when: vec!["said.stdout == '1-b-3'".into()],
        ..LoopControl::default()
    };
    task.looping = Some(Looping { items: list(["a", "b", "c"]), lookup: None, control });
    let result = block_on(engine(&["a"], RunOptions::default()).execute_task(task, &host("a"))).unwrap();
    let labels: Vec<&str> = result.items.iter().map(|item| item.label.as_str()).collect();
    assert_eq!(labels, ["<a>", "<b>"]);
    assert_eq!(result.items[1].values["stdout"].as_str(), Some("1-b-3"));
    assert_eq!(result.items[1].values["ansible_loop_var"].as_str(), Some("word"));
    let mut task = command("");
    task.args = [("_raw_params".to_owned(), template("echo {{ item.0 }}{{ item.1 }}"))].into();
    let terms = [list(["a", "b", "c"]), list(["x", "y", "{{ z }}"])].into_iter().map(|terms| terms.source());
    let items = Authored::literal(terms.collect::<rustle_protocol::Value>());
    task.looping = Some(Looping { items, lookup: Some("together".to_owned()), control: LoopControl::default() });
    let result = block_on(engine(&["a"], RunOptions::default()).execute_task(task, &host("a"))).unwrap();
    let said: Vec<_> = result.items.iter().map(|item| item.values["stdout"].as_str().unwrap()).collect();
    assert_eq!(said, ["ax", "by", "c{{ z }}"]);
}

#[test]
fn failures_are_typed() {
    let engine = engine(&["a"], RunOptions::default());
    let run = |task: Task| block_on(engine.execute_task(task, &host("a"))).unwrap_err();
    assert!(
        matches!(run(command("exit 3")), ExecutionError::TaskFailed { message, .. } if message == "non-zero return code")
    );
    let timeout = Some(Duration::from_millis(1100).into());
    let error = run(Task { timeout, ..command("sleep 1000") });
    assert!(matches!(error, ExecutionError::ExecutionTimeout { seconds: 1, .. }), "{error}");
    let error = run(Task::new(TaskId(0), PlayId(0), "pong"));
    assert!(
        matches!(&error, ExecutionError::ModuleNotFound { nearest: Some(nearest), .. } if nearest == "ping"),
        "{error}"
    );
    let error = block_on(engine.execute_handler(command("false"), &host("a"))).unwrap_err();
    assert!(matches!(error, ExecutionError::HandlerFailed { .. }), "{error}");
    let (sink, _) = recorder();
    let error = block_on(engine.execute_plan(plan(&[], vec![command("true")]), sink)).unwrap_err();
    assert!(matches!(error, ExecutionError::InvalidPlan(_)), "{error}");
    let error = block_on(engine.pause_execution()).unwrap_err();
    assert!(matches!(error, ExecutionError::StateError(_)), "{error}");
    let hosts: Vec<String> = (0..100_001).map(|n| format!("h{n}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let (sink, _) = recorder();
    let error = block_on(engine.execute_plan(plan(&hosts, vec![command("true")]), sink)).unwrap_err();
    assert!(matches!(error, ExecutionError::ResourceLimitExceeded { limit: 100_000, .. }), "{error}");
}

/// Hosts that cannot be reached.
struct Broken(LinkError);

impl Links for Broken {
    fn link<'a>(&'a self, _host: &'a HostName) -> BoxFuture<'a, Result<Arc<dyn HostLink>, LinkError>> {
        std::future::ready(Err(self.0.clone())).boxed()
    }
}

#[test]
fn a_host_that_is_not_reached_is_told_apart_by_the_reason() {
    let run = |error: LinkError, attempts_max: u32| {
        let mut options = RunOptions::default();
        options.limits.retry.attempts_max = attempts_max;
        options.limits.retry.initial = Duration::from_millis(1);
        let links = Arc::new(Broken(error));
        let environment = Environment { links, ..Environment::local(&[host("a")]) };
        block_on(ExecutionEngine::new(environment, options).execute_task(command("true"), &host("a"))).unwrap_err()
    };
    let error = run(LinkError::transient("silence"), 1);
    assert!(matches!(error, ExecutionError::HostUnreachable { .. }), "{error}");
    let error = run(LinkError::transient("silence"), 3);
    assert!(matches!(error, ExecutionError::MaxRetriesExceeded { attempts: 3, .. }), "{error}");
    let error = run(LinkError::lasting("another CA"), 3);
    assert_eq!(error.to_string(), "connection to `a`: another CA");
    assert!(matches!(error, ExecutionError::ConnectionError { .. }), "{error}");
}

#[test]
fn a_paused_run_starts_nothing_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (begun, go, after) = (dir.path().join("begun"), dir.path().join("go"), dir.path().join("after"));
    let tasks = vec![
        command(&format!("touch {}; {}", begun.display(), wait_for(&go))),
        command(&format!("touch {}", after.display())),
    ];
    let engine = engine(&["a"], RunOptions::default());
    let (sink, heard) = recorder();
    let operator = async {
        appears(&begun).await;
        engine.pause_execution().await.unwrap();
        let status = engine.get_execution_status().await.unwrap();
        assert!(status.paused);
        assert_eq!((status.hosts.running, status.hosts.total()), (1, 1));
        std::fs::write(&go, "").unwrap();
        let finished = |event: &RunEvent| matches!(event, RunEvent::HostFinished(_));
        while !heard.lock().unwrap().iter().any(finished) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let status = engine.get_execution_status().await.unwrap();
        assert_eq!((status.hosts.running, status.paused), (0, true));
        assert!(!after.exists(), "a paused run started a task");
        engine.resume_execution().await.unwrap();
    };
    let run = engine.execute_plan(plan(&["a"], tasks), sink);
    let (outcome, ()) = block_on(async { tokio::join!(run, operator) });
    assert!(outcome.unwrap().is_success() && after.exists());
}

#[test]
fn a_cancelled_run_stops_its_tasks_and_the_engine_takes_another() {
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join("begun");
    let engine = engine(&["a"], RunOptions::default());
    let (sink, _) = recorder();
    let slow = plan(&["a"], vec![command(&format!("touch {}; sleep 1000", begun.display()))]);
    let operator = async {
        appears(&begun).await;
        let (sink, _) = recorder();
        let second = engine.execute_plan(plan(&["a"], vec![command("true")]), sink).await;
        assert!(matches!(second, Err(ExecutionError::StateError(_))), "one run at a time");
        engine.cancel_execution(CancelReason::Requested).await.unwrap();
    };
    let (outcome, ()) = block_on(async { tokio::join!(engine.execute_plan(slow, sink), operator) });
    let finished = outcome.unwrap().finished;
    assert_eq!(finished.cancelled, Some(CancelReason::Requested));
    assert_eq!(finished.hosts, [(host("a"), HostState::Cancelled)]);
    assert!(block_on(engine.execute_task(command("true"), &host("a"))).is_ok());
}

#[test]
fn any_errors_fatal_ends_the_play_for_everybody_after_the_task() {
    let mut plan = plan(&["a", "b", "c"], vec![command("test $0 != a"), command("true")]);
    plan.tasks[0]
        .args
        .insert("_raw_params".to_owned(), Authored::from_value("test {{ inventory_hostname }} != a".into()));
    plan.plays[0].any_errors_fatal = true;
    let (sink, heard) = recorder();
    let outcome = block_on(engine(&["a", "b", "c"], RunOptions::default()).execute_plan(plan, sink)).unwrap();
    assert!(outcome.finished.stopped_early && !outcome.is_success());
    let heard = heard.lock().unwrap();
    let finished = heard.iter().filter(|event| matches!(event, RunEvent::HostFinished(_))).count();
    assert_eq!(finished, 3, "the first task everywhere, the second nowhere");
}

#[test]
fn a_record_that_cannot_be_written_stops_the_run() {
    let mut events = 0;
    let sink = EventSink::new(Box::new(move |_| {
        events += 1;
        if events > 3 { Err(std::io::Error::other("disk full")) } else { Ok(()) }
    }));
    let tasks = vec![command("true"), command("true"), command("true")];
    let outcome = block_on(engine(&["a"], RunOptions::default()).execute_plan(plan(&["a"], tasks), sink)).unwrap();
    assert_eq!(outcome.finished.cancelled, Some(CancelReason::ReportFailed));
}

/// A disk that takes some microseconds, each time another number of them.
#[derive(Default)]
struct Quick {
    writes: u64,
}

impl Disk for Quick {
    fn append(&mut self, _: &[u8]) -> std::io::Result<()> {
        self.writes += 1;
        let done = Instant::now() + Duration::from_nanos(self.writes * 37 % QUICK_NANOS_MAX);
        while Instant::now() < done {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_record_that_becomes_durable_just_before_it_is_waited_for_keeps_nothing_waiting() {
    // A record is durable before, between and after the run's looks at it.
    let tasks: Vec<Task> = (0..QUICK_TASKS).map(|_| Task::new(TaskId(0), PlayId(0), "debug")).collect();
    let journal = Journal::new(Box::new(Quick::default()), Durability::Process, 0, 0);
    let recorded = Recorded { journal: Some(journal), ..Recorded::nowhere() };
    let engine = engine(&["a"], RunOptions::default());
    let (sink, _) = recorder();
    let run = engine.execute_recorded(plan(&["a"], tasks), sink, recorded);
    let ended = block_on(async { tokio::time::timeout(Duration::from_secs(120), run).await });
    assert!(ended.expect("the run is stuck").unwrap().is_success());
}

/// A module that only this program has.
struct Double;

impl ModuleExecutor for Double {
    fn name(&self) -> &str {
        "tests.builtin.double"
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        match args.get("number").and_then(|number| number.as_i64()) {
            Some(_) => Ok(()),
            None => Err(ArgError::Missing(vec!["number".to_owned()])),
        }
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            let doubled = args["number"].as_i64().unwrap_or_default() * 2;
            // A module may have the host work, too.
            let on_host = cx
                .call("ansible.builtin.command", [("_raw_params".to_owned(), format!("echo {doubled}").into())].into())
                .await?;
            Ok(ModuleResult::ok().with("doubled", on_host.get("stdout").cloned().unwrap_or_default()))
        }
        .boxed()
    }
}

#[test]
fn a_program_can_bring_modules_of_its_own() {
    let mut environment = Environment::local(&[host("a")]);
    environment.registry.register(Arc::new(Double));
    let engine = ExecutionEngine::new(environment, RunOptions::default());
    let mut task = Task::new(TaskId(0), PlayId(0), "tests.builtin.double");
    let error = block_on(engine.execute_task(task.clone(), &host("a"))).unwrap_err();
    assert!(error.to_string().contains("missing required arguments: number"), "{error}");
    task.args.insert("number".to_owned(), Authored::literal(21));
    let result = block_on(engine.execute_task(task, &host("a"))).unwrap();
    assert_eq!(result.values["doubled"].as_str(), Some("42"));
}

#[test]
fn blobs_are_shared_by_content() {
    let blobs = Blobs::default();
    assert_eq!(blobs.add_bytes("same".into()), blobs.add_bytes("same".into()));
    assert_ne!(blobs.add_bytes("same".into()), blobs.add_bytes("other".into()));
}
