//! A fleet of two, `good` and `bad`, whose agents are what a test makes of them.

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
use rustle_exec::engine::{Environment, EventSink, ExecutionEngine, Registry, RunOptions};
use rustle_exec::event::{HostState, RunEvent, TaskResult};
use rustle_exec::input::{LoadRequest, PlanSource, load};
use rustle_exec::pki::Authority;
use rustle_exec::plan::Plan;
use rustle_exec::scheduler::{Limits, RetryPolicy};
use rustle_exec::template::{Conditionals, Templar, Untrusted};
use rustle_exec::vars::{HostEntry, InventoryVars, RunInfo, VarMap, VarStore};
use rustle_protocol::endpoint::{Dialer, Listener, Peer};
use rustle_protocol::frame::{FrameReader, FrameWriter};
use rustle_protocol::message::{CallEvent, CallOutcome, CallRequest, Hello, HelloReply, OnDisconnect, Welcome};
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::{HostName, ModuleResult, Role, RunId};

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(100);

pub(crate) type Writer = FrameWriter<SendStream>;
pub(crate) type Reader = FrameReader<RecvStream>;

/// What an agent does once a call has come in.
pub(crate) type Answer = Arc<dyn Fn(Peer, Writer, Reader) -> BoxFuture<'static, ()> + Send + Sync>;
/// What it replies to the hello: bytes as they are.
pub(crate) type Greeting = Vec<u8>;

pub(crate) fn frame_of<T: bincode::Encode>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    rustle_protocol::frame::push(&mut bytes, message).unwrap();
    bytes
}

pub(crate) fn welcome() -> Welcome {
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

pub(crate) fn welcomed() -> Greeting {
    frame_of(&HelloReply::Welcome(welcome()))
}

/// Sends these bytes for the call and then waits for the controller to go.
pub(crate) fn says(bytes: Vec<u8>) -> Answer {
    Arc::new(move |peer, mut writer, _reader| {
        let bytes = bytes.clone();
        async move {
            let _ = writer.get_mut().write_all(&bytes).await;
            peer.connection.closed().await;
        }
        .boxed()
    })
}

pub(crate) fn events(events: &[CallEvent]) -> Vec<u8> {
    events.iter().flat_map(frame_of).collect()
}

pub(crate) fn finished(result: ModuleResult) -> CallEvent {
    CallEvent::Ended { outcome: CallOutcome::Finished(result), elapsed_us: u64::MAX }
}

pub(crate) fn honest() -> Answer {
    says(events(&[CallEvent::Started, finished(ModuleResult::ok())]))
}

pub(crate) struct Outcome {
    /// By host: where it stands, and the sentence.
    pub(crate) hosts: HashMap<String, (HostState, String)>,
    pub(crate) results: Vec<Arc<TaskResult>>,
    pub(crate) output_bytes: u64,
}

/// Runs `ping` on `good`, whose agent does as it should, and on `bad`, whose agent does as told.
pub(crate) async fn run(greeting: Greeting, answer: Answer) -> Outcome {
    run_plan(plan("Linear", 1), [(welcomed(), honest()), (greeting, answer)]).await
}

/// Runs a plan on agents that do as told.
pub(crate) async fn run_plan(plan: Plan, agents: [(Greeting, Answer); 2]) -> Outcome {
    run_plan_and(plan, agents, async |_| {}).await
}

/// The same, with something to do before the connections are closed.
pub(crate) async fn run_plan_and(
    plan: Plan,
    [good, bad]: [(Greeting, Answer); 2],
    at_the_end: impl AsyncFnOnce(&AgentLinks),
) -> Outcome {
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
        let (greeting, answer) = if name.as_str() == "good" { good.clone() } else { bad.clone() };
        agents.spawn(serve(listener, greeting, answer));
    }
    let controller = authority.issue(Role::Controller, &["ops".parse().unwrap()], 30).unwrap().remove(0);
    let dialer = Dialer::bind(authority.load(&controller).unwrap(), &TransportOptions::default()).unwrap();
    let session = SessionOptions {
        run: RunId::generate(),
        epoch: 1,
        on_disconnect: OnDisconnect::Cancel,
        grace: Duration::ZERO,
        on_busy_host: Default::default(),
    };
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
    let options = AgentLinksOptions { session, connects_max: 8, reconnect_window: Duration::ZERO };
    let links = Arc::new(AgentLinks::new(dialer, options, addresses, blobs.clone(), sink.clone()));
    let environment = Environment::new(vars(&names), links.clone(), blobs, Path::new("plan.json"));
    let engine = ExecutionEngine::new(environment, run_options());
    let outcome = tokio::time::timeout(SOON, engine.execute_plan(plan, sink)).await.expect("the run hangs").unwrap();
    at_the_end(&links).await;
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

/// `count` times `ping` on both hosts.
pub(crate) fn plan(strategy: &str, count: usize) -> Plan {
    let task = |number: usize| {
        serde_json::json!({
            "task_id": format!("t{number}"), "name": "try it", "module": "ping", "hosts": ["good", "bad"],
            "execution_order": number
        })
    };
    let plan = serde_json::json!({ "plays": [{
        "play_id": "p1", "name": "demo", "hosts": ["good", "bad"], "strategy": strategy, "batches": [{
            "batch_id": "b1", "hosts": ["good", "bad"], "tasks": (0..count).map(task).collect::<Vec<_>>()
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
        timeout: SOON * 9 / 10,
        live_output: true,
        run_as: None,
        become_password: None,
        become_settings: Default::default(),
        limits: Limits {
            forks: NonZeroUsize::new(8).unwrap(),
            fail_fast: false,
            continue_on_error: true,
            run_budget: None,
            straggler: None,
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
        flush_facts: false,
        unknown_handler_ends_run: false,
        tags: Default::default(),
        step: false,
        tells_arrivals: false,
        conditionals: Conditionals::Lenient,
        untrusted: Untrusted::Ignore,
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
