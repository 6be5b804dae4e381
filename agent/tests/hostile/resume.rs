//! Controllers that come back: after a broken connection, after the agent's death, and one after the other.

use std::fs;
use std::path::Path;

use quinn::{Connection, RecvStream};
use rustle_protocol::frame::FrameReader;
use rustle_protocol::message::{
    Call, CallEvent, CallOutcome, CallRequest, ControlRequest, DISCONNECT_GRACE_MS, Hello, HelloReply, OnDisconnect,
    Received, RefusalCode, Resumed, close,
};
use rustle_protocol::{ModuleResult, RunId, Value};

use crate::support::{Controller, Fleet, command, hello, open_ledger, outcome, ping};
use crate::{refused, soon};

/// A shell that appends a line to `file`: the witness of how often it ran.
fn append(task: u32, file: &Path) -> Call {
    command(task, &format!("echo ran >> {}; echo said", file.display()))
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

fn finished(outcome: &CallOutcome) -> &ModuleResult {
    match outcome {
        CallOutcome::Finished(result) => result,
        other => panic!("{other:?}"),
    }
}

/// Sends a call that was sent before.
async fn resume(controller: &Controller, call: &Call, begun: bool, received: Received) -> FrameReader<RecvStream> {
    let (mut writer, reader) = controller.stream().await;
    let resumed = Resumed { call: call.clone(), begun, received };
    writer.send(&CallRequest::Resume(Box::new(resumed))).await.unwrap();
    // The stream stays open until the test is over.
    std::mem::forget(writer);
    reader
}

async fn controller_with(fleet: &Fleet, hello: &Hello) -> Controller {
    let (peer, control, notices, reply) = fleet.greet(hello).await;
    let HelloReply::Welcome(welcome) = reply else { panic!("{reply:?}") };
    Controller { connection: peer.connection, control, notices, welcome }
}

/// Ends a connection as a controller does that dies: there is no word of how the run is to go on.
fn drop_dead(connection: &Connection) {
    connection.close(close::DROPPED.into(), b"");
}

#[tokio::test]
async fn the_same_call_again_is_answered_and_not_run() {
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let dir = tempfile::tempdir().unwrap();
    let witness = dir.path().join("witness");
    let call = append(1, &witness);
    let first = controller.run(call.clone()).await;
    let second = controller.run(call.clone()).await;
    assert_eq!(finished(&second).get("stdout").and_then(Value::as_str), Some("said"));
    assert_eq!((first, lines(&witness)), (second.clone(), 1));
    // On another connection, and by an agent that was started again.
    assert_eq!(fleet.controller().await.run(call.clone()).await, second);
    let state = stop(fleet).await;
    let fleet = Fleet::with_state(4, state);
    assert_eq!(fleet.controller().await.run(call).await, second);
    assert_eq!(lines(&witness), 1);
}

async fn stop(mut fleet: Fleet) -> tempfile::TempDir {
    fleet.drain();
    let state = std::mem::replace(&mut fleet.state, tempfile::tempdir().unwrap());
    fleet.ended().await;
    state
}

#[tokio::test]
async fn what_is_acknowledged_is_let_go() {
    let fleet = Fleet::start(4);
    let mut controller = fleet.controller().await;
    let dir = tempfile::tempdir().unwrap();
    let calls = [append(1, &dir.path().join("kept")), append(2, &dir.path().join("settled"))];
    for call in &calls {
        controller.run(call.clone()).await;
    }
    controller.control.send(&ControlRequest::Acknowledge(vec![calls[1].key])).await.unwrap();
    // A later word on the same stream is heard later: once this one was, so was that.
    controller.control.get_mut().finish().unwrap();
    soon(controller.connection.closed()).await;
    // It is written down with the next record.
    fleet.serves_an_honest_controller().await;
    let ledger = open_ledger(&stop(fleet).await);
    assert!(ledger.find(&calls[0].key).is_some() && ledger.find(&calls[1].key).is_none());
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_interrupted_and_not_run_again() {
    let state = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let call = append(1, &dir.path().join("witness"));
    open_ledger(&state).begin(call.key, &call.module).await;
    let fleet = Fleet::with_state(4, state);
    let controller = fleet.controller().await;
    assert_eq!(controller.run(call.clone()).await, CallOutcome::Interrupted);
    // Nor one that is said to have begun and of which nothing is known: its record may be lost.
    let unknown = append(2, &dir.path().join("witness"));
    let mut events = resume(&controller, &unknown, true, Received::default()).await;
    assert_eq!(soon(outcome(&mut events)).await, CallOutcome::Interrupted);
    assert_eq!(lines(&dir.path().join("witness")), 0);
    // One that never came through is run.
    let mut events = resume(&controller, &unknown, false, Received::default()).await;
    assert!(!finished(&soon(outcome(&mut events)).await).failed);
    assert_eq!(lines(&dir.path().join("witness")), 1);
}

#[tokio::test]
async fn a_call_of_another_run_is_refused() {
    let fleet = Fleet::start(4);
    let dir = tempfile::tempdir().unwrap();
    let controller = fleet.controller().await;
    let mut call = append(1, &dir.path().join("witness"));
    call.key.run = RunId::from_u128(99);
    let CallOutcome::Refused(refusal) = controller.run(call).await else { panic!("it ran") };
    assert_eq!(refusal.code, RefusalCode::Protocol);
    assert_eq!(lines(&dir.path().join("witness")), 0);
}

/// Reads output until it says `until`; how many bytes have come.
async fn read_until(events: &mut FrameReader<RecvStream>, said: &mut String, until: &str) {
    while !said.contains(until) {
        match soon(events.next::<CallEvent>()).await.unwrap().expect("the call goes on") {
            CallEvent::Output { bytes, .. } => said.push_str(std::str::from_utf8(&bytes).unwrap()),
            CallEvent::Ended { outcome, .. } => panic!("{outcome:?}"),
            CallEvent::Started | CallEvent::Cut { .. } | CallEvent::BlobWanted { .. } => {}
        }
    }
}

#[tokio::test]
async fn a_running_call_is_listened_to_from_where_its_output_was_heard() {
    let fleet = Fleet::start(4);
    let dir = tempfile::tempdir().unwrap();
    let step = |name: &str| format!("until test -e {}/{name}; do sleep 0.02; done", dir.path().display());
    let witness = dir.path().join("witness");
    let script = format!("echo ran >> {}; echo one; {}; echo two; {}", witness.display(), step("a"), step("b"));
    let call = command(1, &script);
    let finish = Hello { on_disconnect: OnDisconnect::Finish, ..hello() };
    let first = controller_with(&fleet, &finish).await;
    let (mut writer, mut events) = first.stream().await;
    writer.send(&CallRequest::Call(Box::new(call.clone()))).await.unwrap();
    let mut said = String::new();
    read_until(&mut events, &mut said, "one\n").await;
    drop_dead(&first.connection);
    // What is said while nobody listens is kept.
    fs::write(dir.path().join("a"), "").unwrap();
    let second = controller_with(&fleet, &finish).await;
    let received = Received { stdout: said.len() as u64, stderr: 0 };
    let mut events = resume(&second, &call, true, received).await;
    read_until(&mut events, &mut said, "two\n").await;
    // The third comes while the second is still there, as one does whose old connection is only half dead.
    let third = controller_with(&fleet, &finish).await;
    let mut events = resume(&third, &call, true, Received { stdout: 2, stderr: 0 }).await;
    let mut rest = String::new();
    read_until(&mut events, &mut rest, "two\n").await;
    fs::write(dir.path().join("b"), "").unwrap();
    let outcome = soon(outcome(&mut events)).await;
    assert_eq!((&*said, &*rest), ("one\ntwo\n", "e\ntwo\n"));
    assert_eq!(finished(&outcome).get("stdout").and_then(Value::as_str), Some("one\ntwo"));
    assert_eq!(lines(&witness), 1);
}

#[tokio::test]
async fn of_a_segment_whose_connection_broke_only_the_running_call_goes_on() {
    let fleet = Fleet::start(4);
    let dir = tempfile::tempdir().unwrap();
    let (go, witness) = (dir.path().join("go"), dir.path().join("witness"));
    let first = command(1, &format!("echo ran; until test -e {}; do sleep 0.02; done", go.display()));
    let second = append(2, &witness);
    let finish = Hello { on_disconnect: OnDisconnect::Finish, ..hello() };
    let controller = controller_with(&fleet, &finish).await;
    let (mut writer, mut events) = controller.stream().await;
    for call in [&first, &second] {
        writer.send(&CallRequest::Call(Box::new(call.clone()))).await.unwrap();
    }
    read_until(&mut events, &mut String::new(), "ran\n").await;
    drop_dead(&controller.connection);
    let controller = controller_with(&fleet, &finish).await;
    let mut events = resume(&controller, &first, true, Received::default()).await;
    fs::write(&go, "").unwrap();
    assert!(!finished(&soon(outcome(&mut events)).await).failed);
    assert!(!finished(&controller.run(ping(3)).await).failed);
    assert_eq!(lines(&witness), 0, "a call was begun that nobody could hear of");
    assert!(!finished(&controller.run(second).await).failed);
    assert_eq!(lines(&witness), 1);
}

#[tokio::test]
async fn a_lost_connection_stops_its_calls_only_after_its_grace() {
    let fleet = Fleet::start(4);
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let call = command(1, &format!("echo ran; until test -e {}; do sleep 0.02; done", go.display()));
    let mut patient = hello();
    patient.extra.0.insert(DISCONNECT_GRACE_MS.into(), Value::Int(3_600_000));
    let first = controller_with(&fleet, &patient).await;
    let (mut writer, mut events) = first.stream().await;
    writer.send(&CallRequest::Call(Box::new(call.clone()))).await.unwrap();
    read_until(&mut events, &mut String::new(), "ran\n").await;
    drop_dead(&first.connection);
    let second = controller_with(&fleet, &patient).await;
    let mut events = resume(&second, &call, true, Received::default()).await;
    fs::write(&go, "").unwrap();
    assert!(!finished(&soon(outcome(&mut events)).await).failed);
}

#[tokio::test]
async fn a_run_that_was_taken_over_is_refused_and_its_open_connections_are_ended() {
    let fleet = Fleet::start(4);
    let first = fleet.controller().await;
    let second = controller_with(&fleet, &Hello { epoch: 2, ..hello() }).await;
    let error = soon(first.connection.closed()).await;
    assert_eq!(crate::closed_with(&error), u64::from(close::STALE));
    let refusal = refused(&fleet, &hello()).await;
    assert_eq!(refusal.code, RefusalCode::Stale);
    assert!(refusal.message.contains("taken over by controller `ops` (epoch 2)"), "{refusal}");
    assert!(!finished(&second.run(ping(1)).await).failed);
    let fleet = Fleet::with_state(4, stop(fleet).await);
    assert_eq!(refused(&fleet, &hello()).await.code, RefusalCode::Stale, "also by the agent's next life");
}
