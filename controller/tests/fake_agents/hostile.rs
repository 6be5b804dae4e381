//! Agents with a valid certificate and bad manners. Whatever one does is that host's failure, told in a sentence; the
//! other hosts of the run go on, and nothing panics, hangs or grows without end.

use std::sync::Arc;

use futures::FutureExt;
use rustle_exec::engine::memory_peak;
use rustle_exec::event::HostState;
use rustle_protocol::message::{BlobId, CallEvent, HelloReply, OutputStream, Refusal, RefusalCode, Welcome, close};
use rustle_protocol::{ModuleResult, Value};

use crate::support::{Answer, Outcome, SOON, events, finished, frame_of, honest, run, says, welcome, welcomed};

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

/// Whether `test` has this process for itself. If not, it has run in one of its own when this returns: other tests beside it
/// would take memory that it counts.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "RUSTLE_TEST_IS_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut own = std::process::Command::new(std::env::current_exe().unwrap());
    let output = own.args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[tokio::test]
async fn a_flood_of_output_is_passed_on_and_not_kept() {
    if !is_alone("hostile::a_flood_of_output_is_passed_on_and_not_kept") {
        return;
    }
    const CHUNKS: usize = 256;
    const CHUNK_BYTES: usize = 1 << 20;
    let flood: Answer = Arc::new(|peer, mut writer, _reader| {
        async move {
            let chunk = frame_of(&CallEvent::Output { stream: OutputStream::Stdout, bytes: vec![b'x'; CHUNK_BYTES] });
            let _ = writer.send(&CallEvent::Started).await;
            for _ in 0..CHUNKS {
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
    assert_eq!(outcome.output_bytes, (CHUNKS * CHUNK_BYTES) as u64);
    assert!(memory_peak() < before + (64 << 20), "{} MiB", memory_peak() >> 20);
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
