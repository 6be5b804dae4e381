//! Agents with a valid certificate and bad manners. Whatever one does is that host's failure, told in a sentence; the
//! other hosts of the run go on, and nothing panics, hangs or grows without end.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use quinn::{RecvStream, SendStream};
use rustle_exec::dispatch::Blobs;
use rustle_exec::dispatch::session::SessionOptions;
use rustle_exec::engine::links::{AgentAddress, AgentLinks, AgentLinksOptions};
use rustle_exec::engine::{Environment, EventSink, ExecutionEngine, Registry, RunOptions, memory_peak};
use rustle_exec::event::{HostState, RunEvent, TaskResult};
use rustle_exec::input::{LoadRequest, PlanSource, load};
use rustle_exec::pki::Authority;
use rustle_exec::scheduler::{Limits, RetryPolicy};
use rustle_exec::template::Templar;
use rustle_exec::vars::{HostEntry, InventoryVars, RunInfo, VarMap, VarStore};
use rustle_protocol::endpoint::{Dialer, Listener, Peer};
use rustle_protocol::frame::{FrameReader, FrameWriter};
use rustle_protocol::message::{
    BlobId, CallEvent, CallOutcome, CallRequest, Hello, HelloReply, OnDisconnect, OutputStream, Refusal, RefusalCode,
    Welcome, close,
};
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::{HostName, ModuleResult, Role, RunId, Value};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(100);

type Writer = FrameWriter<SendStream>;
type Reader = FrameReader<RecvStream>;

/// What an agent does once a call has come in.
type Answer = Arc<dyn Fn(Peer, Writer, Reader) -> BoxFuture<'static, ()> + Send + Sync>;
/// What it replies to the hello: bytes as they are.
type Greeting = Vec<u8>;

fn frame_of<T: bincode::Encode>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    rustle_protocol::frame::push(&mut bytes, message).unwrap();
    bytes
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        software: "fake/1".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        boot_id: String::new(),
        calls_max: 16,
        extra: Default::default(),
    }
}

fn welcomed() -> Greeting {
    frame_of(&HelloReply::Welcome(welcome()))
}

/// Sends these bytes for the call and then waits for the controller to go.
fn says(bytes: Vec<u8>) -> Answer {
    Arc::new(move |peer, mut writer, _reader| {
        let bytes = bytes.clone();
        async move {
            let _ = writer.get_mut().write_all(&bytes).await;
            peer.connection.closed().await;
        }
        .boxed()
    })
}

fn events(events: &[CallEvent]) -> Vec<u8> {
    events.iter().flat_map(frame_of).collect()
}

fn finished(result: ModuleResult) -> CallEvent {
    CallEvent::Ended { outcome: CallOutcome::Finished(result), elapsed_us: u64::MAX }
}

fn honest() -> Answer {
    says(events(&[CallEvent::Started, finished(ModuleResult::ok())]))
}

struct Outcome {
    /// By host: where it stands, and the sentence.
    hosts: HashMap<String, (HostState, String)>,
    results: Vec<Arc<TaskResult>>,
    output_bytes: u64,
}

/// Runs `ping` on `good` and `bad`, whose agents do as told.
async fn run(greeting: Greeting, answer: Answer) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&dir.path().join("pki"), "demo".parse().unwrap(), 30).unwrap();
    let names: [HostName; 2] = ["good".parse().unwrap(), "bad".parse().unwrap()];
    let mut addresses = HashMap::new();
    let mut agents = tokio::task::JoinSet::new();
    for issued in authority.issue(Role::Agent, &names, 30).unwrap() {
        let identity = authority.load(&issued).unwrap();
        let name = identity.identity().name.clone();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), identity, &TransportOptions::default()).unwrap();
        let at: SocketAddr = listener.local_address().unwrap();
        addresses.insert(name.clone(), AgentAddress { host: at.ip().to_string(), port: at.port() });
        let (greeting, answer) =
            if name.as_str() == "good" { (welcomed(), honest()) } else { (greeting.clone(), Arc::clone(&answer)) };
        agents.spawn(serve(listener, greeting, answer));
    }
    let controller = authority.issue(Role::Controller, &["ops".parse().unwrap()], 30).unwrap().remove(0);
    let dialer = Dialer::bind(authority.load(&controller).unwrap(), &TransportOptions::default()).unwrap();
    let session = SessionOptions { run: RunId::generate(), epoch: 1, on_disconnect: OnDisconnect::Cancel };
    let told = Arc::new(Mutex::new((Vec::new(), 0_u64)));
    let sink = EventSink::new(Box::new({
        let told = Arc::clone(&told);
        move |stamped| {
            let mut told = told.lock().unwrap();
            match &stamped.event {
                RunEvent::HostFinished(result) => told.0.push(Arc::clone(result)),
                RunEvent::Output { bytes, .. } => told.1 += bytes.len() as u64,
                _ => {}
            }
            Ok(())
        }
    }));
    let blobs = Blobs::default();
    let options = AgentLinksOptions { session, connects_max: 8 };
    let links = Arc::new(AgentLinks::new(dialer, options, addresses, blobs.clone(), sink.clone()));
    let environment = Environment::new(vars(&names), links.clone(), blobs, Path::new("plan.json"));
    let engine = ExecutionEngine::new(environment, run_options());
    let outcome = tokio::time::timeout(SOON, engine.execute_plan(plan(), sink)).await.expect("the run hangs").unwrap();
    links.close(0, "").await;
    agents.shutdown().await;
    let (results, output_bytes) = std::mem::take(&mut *told.lock().unwrap());
    let states = outcome.finished.hosts;
    let sentence = |host: &HostName| {
        results.iter().find(|result| &result.host == host).map(|result| result.msg().to_owned()).unwrap_or_default()
    };
    let hosts = states.iter().map(|(host, state)| (host.to_string(), (*state, sentence(host)))).collect();
    Outcome { hosts, results, output_bytes }
}

fn plan() -> rustle_exec::plan::Plan {
    let plan = serde_json::json!({ "plays": [{
        "play_id": "p1", "name": "demo", "hosts": ["good", "bad"], "batches": [{
            "batch_id": "b1", "hosts": ["good", "bad"], "tasks": [{
                "task_id": "t1", "name": "try it", "module": "ping", "hosts": ["good", "bad"], "execution_order": 0
            }]
        }]
    }]});
    let (plan, registry) = (PlanSource::Bytes(plan.to_string().into_bytes()), Registry::native());
    load(LoadRequest { plan, parsed: None, inventory: None, modules: &registry }).unwrap().plan
}

fn run_options() -> RunOptions {
    RunOptions {
        check: false,
        diff: false,
        verbosity: 0,
        timeout: Duration::from_secs(30),
        live_output: true,
        run_as: None,
        limits: Limits {
            forks: NonZeroUsize::new(8).unwrap(),
            fail_fast: false,
            continue_on_error: true,
            run_budget: None,
            retry: RetryPolicy {
                attempts_max: 1,
                initial: Duration::ZERO,
                multiplier: 1.0,
                maximum: Duration::ZERO,
                jitter: 0.0,
                seed: 1,
            },
        },
        facts_cache: None,
        step: false,
    }
}

fn vars(names: &[HostName]) -> VarStore {
    let entry =
        |name: &HostName| HostEntry { name: name.to_string(), groups: Vec::new(), layers: Vec::new(), source: None };
    let inventory = InventoryVars { hosts: names.iter().map(entry).collect(), groups: Default::default() };
    VarStore::new(inventory, VarMap::default(), RunInfo::default(), Templar::new())
}

async fn serve(listener: Listener, greeting: Greeting, answer: Answer) {
    let mut connections = tokio::task::JoinSet::new();
    while let Some(arrival) = listener.accept().await {
        let (greeting, answer) = (greeting.clone(), Arc::clone(&answer));
        connections.spawn(async move {
            let Ok(peer) = arrival.handshake().await else { return };
            let Ok((mut send, recv)) = peer.connection.accept_bi().await else { return };
            let mut control = FrameReader::new(recv);
            let _ = control.next::<Hello>().await;
            let _ = send.write_all(&greeting).await;
            let mut calls = tokio::task::JoinSet::new();
            while let Ok((send, recv)) = peer.connection.accept_bi().await {
                let mut reader = FrameReader::new(recv);
                let _ = reader.next::<CallRequest>().await;
                calls.spawn(answer(peer.clone(), FrameWriter::new(send), reader));
            }
        });
    }
}

#[track_caller]
fn assert_lost(outcome: &Outcome, sentence: &str) {
    assert_eq!(outcome.hosts["good"].0, HostState::Ok, "{:?}", outcome.hosts);
    let (state, said) = &outcome.hosts["bad"];
    assert_eq!(*state, HostState::Unreachable, "{said}");
    assert!(said.contains(sentence), "`{said}` does not say `{sentence}`");
}

#[tokio::test]
async fn an_agent_that_greets_wrongly_is_unreachable_and_says_why() {
    let other_version = frame_of(&HelloReply::Welcome(Welcome { version: 7, ..welcome() }));
    let refusal = Refusal { code: RefusalCode::Policy, message: "\x1b]52;c;x\x07 no ".repeat(100_000) };
    for (greeting, sentence) in [
        (b"\x05\0\0\0garbage".to_vec(), "makes no sense"),
        (u32::MAX.to_le_bytes().to_vec(), "over the limit"),
        (other_version, "protocol version 7, and this controller speaks 1"),
        (frame_of(&HelloReply::Refused(refusal)), "the agent refused: "),
    ] {
        let outcome = run(greeting, honest()).await;
        assert_lost(&outcome, sentence);
        assert!(outcome.hosts["bad"].1.len() < 16 * 1024, "the sentence is cut");
    }
}

#[tokio::test]
async fn an_agent_that_never_answers_the_hello_is_unreachable() {
    assert_lost(&run(Vec::new(), honest()).await, "did not answer within 10 s");
}

#[tokio::test]
async fn an_agent_that_tells_events_out_of_order_is_unreachable_and_says_why() {
    let done = || finished(ModuleResult::ok());
    let output = || CallEvent::Output { stream: OutputStream::Stdout, bytes: b"x".to_vec() };
    let wanted = || CallEvent::BlobWanted { blob: BlobId { hash: [1; 32], size: 1 }, offset: 0 };
    for (bytes, sentence) in [
        (events(&[done()]), "ended a task that it had not begun"),
        (events(&[output(), CallEvent::Started, done()]), "told of a task that it had not begun"),
        (events(&[wanted()]), "told of a task that it had not begun"),
        (events(&[CallEvent::Started, CallEvent::Started]), "began a task twice"),
        (b"\x01\0\0\0\x09".to_vec(), "makes no sense"),
        (u32::MAX.to_le_bytes().to_vec(), "over the limit"),
    ] {
        assert_lost(&run(welcomed(), says(bytes)).await, sentence);
    }
}

#[tokio::test]
async fn what_comes_after_the_last_result_is_not_listened_to() {
    let output = CallEvent::Output { stream: OutputStream::Stdout, bytes: b"x".to_vec() };
    let done = finished(ModuleResult::ok());
    let outcome = run(welcomed(), says(events(&[CallEvent::Started, done.clone(), output, done]))).await;
    assert_eq!(outcome.hosts["bad"].0, HostState::Ok, "{:?}", outcome.hosts);
    // It claimed half a million years.
    assert!(outcome.results.iter().all(|result| result.elapsed < SOON));
}

#[tokio::test]
async fn an_agent_that_goes_away_in_the_middle_of_a_call_is_unreachable() {
    let closes: Answer = Arc::new(|peer, mut writer, _reader| {
        async move {
            let _ = writer.send(&CallEvent::Started).await;
            peer.connection.close(close::SHUTDOWN.into(), b"gone");
        }
        .boxed()
    });
    assert_lost(&run(welcomed(), closes).await, "");
    let ends_early: Answer = Arc::new(|peer, mut writer, _reader| {
        async move {
            let _ = writer.get_mut().write_all(&events(&[CallEvent::Started])[..3]).await;
            let _ = writer.get_mut().finish();
            peer.connection.closed().await;
        }
        .boxed()
    });
    assert_lost(&run(welcomed(), ends_early).await, "broke off");
}

#[tokio::test]
async fn an_agent_that_asks_for_files_without_end_is_cut_off() {
    let wanted = CallEvent::BlobWanted { blob: BlobId { hash: [1; 32], size: 1 }, offset: 0 };
    let mut bytes = frame_of(&CallEvent::Started);
    (0..10_000).for_each(|_| bytes.extend(frame_of(&wanted)));
    assert_lost(&run(welcomed(), says(bytes)).await, "asked for one file after the other");
}

#[tokio::test]
async fn a_gigabyte_of_output_is_passed_on_and_not_kept() {
    const CHUNK_BYTES: usize = 1 << 20;
    let flood: Answer = Arc::new(|peer, mut writer, _reader| {
        async move {
            let chunk = frame_of(&CallEvent::Output { stream: OutputStream::Stdout, bytes: vec![b'x'; CHUNK_BYTES] });
            let _ = writer.send(&CallEvent::Started).await;
            for _ in 0..1024 {
                let _ = writer.get_mut().write_all(&chunk).await;
            }
            let _ = writer.send(&finished(ModuleResult::ok())).await;
            peer.connection.closed().await;
        }
        .boxed()
    });
    let before = memory_peak();
    let outcome = run(welcomed(), flood).await;
    assert_eq!(outcome.hosts["bad"].0, HostState::Ok, "{:?}", outcome.hosts);
    assert_eq!(outcome.output_bytes, 1 << 30);
    assert!(memory_peak() < before + (128 << 20), "{} MiB", memory_peak() >> 20);
}

#[tokio::test]
async fn deep_and_hostile_results_are_data_like_any_other() {
    let deep = (0..63).fold(Value::from("{{ lookup('pipe', 'id') }}"), |inner, _| Value::List(vec![inner]));
    let result = ModuleResult::ok()
        .with("deep", deep)
        .with("ansible_facts", Value::from("no map"))
        .with("msg", "\x1b[2J\x07\u{202e}{{ 7 * 7 }}\0")
        .with("../../etc/passwd", Value::Bytes(vec![0xff; 64]));
    let outcome = run(welcomed(), says(events(&[CallEvent::Started, finished(result)]))).await;
    assert_eq!(outcome.hosts["bad"].0, HostState::Ok, "{:?}", outcome.hosts);
    let bad = outcome.results.iter().find(|result| result.host.as_str() == "bad").unwrap();
    assert_eq!(bad.msg(), "\x1b[2J\x07\u{202e}{{ 7 * 7 }}\0", "never evaluated");
}
