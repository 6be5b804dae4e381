//! Controllers with a valid certificate and bad manners. Whatever they do ends their own stream or connection, and the
//! agent serves the next one.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod gaps;
mod random;
mod resume;
mod support;

use std::time::Duration;

use quinn::ConnectionError;
use rustle_agent::module::BlobRef;
use rustle_agent::server::HELLO_WAIT;
use rustle_protocol::message::{
    BlobHeader, BlobId, CallEvent, CallOutcome, CallRequest, ControlNotice, ControlRequest, Hello, HelloReply, Refusal,
    RefusalCode, VersionRange, close,
};
use support::{Controller, Fleet, call, command, frame_of, hello, memory_peak_mib, outcome, ping};

/// Longer than anything here takes on a busy machine: what is not there by then does not come.
const SOON: Duration = Duration::from_secs(60);

/// Between looks at something that tells nobody when it changes.
const POLL: Duration = Duration::from_millis(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it hangs")
}

fn closed_with(error: &ConnectionError) -> u64 {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

/// Writes raw bytes as the first thing on a fresh connection and waits until the agent closes it.
async fn closed_after(fleet: &Fleet, bytes: &[u8]) -> u64 {
    let peer = fleet.connect().await;
    let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    closed_with(&soon(peer.connection.closed()).await)
}

#[tokio::test]
async fn what_is_no_hello_closes_the_connection() {
    let fleet = Fleet::start(4);
    let truncated = &frame_of(&hello())[..10];
    let first_words: [&[u8]; 7] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &u32::MAX.to_le_bytes(),
        truncated,
        &frame_of(&CallRequest::Call(Box::new(ping(1)))),
        &frame_of(&CallRequest::Cancel),
        &frame_of(&ControlRequest::ForgetBlobs),
    ];
    for bytes in first_words {
        assert_eq!(closed_after(&fleet, bytes).await, u64::from(close::PROTOCOL), "{bytes:?}");
    }
    fleet.serves_an_honest_controller().await;
}

async fn refused(fleet: &Fleet, hello: &Hello) -> Refusal {
    let (peer, _control, _notices, reply) = fleet.greet(hello).await;
    let HelloReply::Refused(refusal) = reply else { panic!("{reply:?}") };
    soon(peer.connection.closed()).await;
    refusal
}

#[tokio::test]
async fn a_refusal_says_what_does_not_fit() {
    let fleet = Fleet::start(4);
    for (versions, named) in
        [(VersionRange { min: 2, max: 3 }, "2 to 3"), (VersionRange { min: 0, max: 0 }, "version 0")]
    {
        let refusal = refused(&fleet, &Hello { versions, ..hello() }).await;
        assert_eq!(refusal.code, RefusalCode::Version);
        assert!(refusal.message.contains(named) && refusal.message.contains("speaks 1"), "{refusal}");
    }
    let refusal = refused(&fleet, &Hello { host: "web2".parse().unwrap(), ..hello() }).await;
    assert_eq!((refusal.code, &*refusal.message), (RefusalCode::Identity, "this agent is `web1`, not `web2`"));
    fleet.serves_an_honest_controller().await;
}

#[tokio::test]
async fn a_controller_that_never_says_hello_is_cut_off() {
    let fleet = Fleet::start(4);
    let silent = fleet.connect().await;
    let half = fleet.connect().await;
    let (mut send, _recv) = half.connection.open_bi().await.unwrap();
    send.write_all(&frame_of(&hello())[..7]).await.unwrap();
    fleet.serves_an_honest_controller().await;
    for peer in [silent, half] {
        let closed = tokio::time::timeout(HELLO_WAIT + SOON, peer.connection.closed()).await.unwrap();
        assert_eq!(closed_with(&closed), u64::from(close::PROTOCOL));
    }
}

#[tokio::test]
async fn calls_before_the_hello_wait_for_it_and_have_no_effect_without() {
    let fleet = Fleet::start(4);
    let peer = fleet.connect().await;
    let (mut control, mut replies) = peer.connection.open_bi().await.unwrap();
    let (mut early, _events) = peer.connection.open_bi().await.unwrap();
    let marker = tempfile::tempdir().unwrap();
    let touch = command(1, &format!("touch {}/ran", marker.path().display()));
    early.write_all(&frame_of(&CallRequest::Call(Box::new(touch)))).await.unwrap();
    control.write_all(b"not a hello, and long enough to be a frame").await.unwrap();
    assert_eq!(closed_with(&soon(peer.connection.closed()).await), u64::from(close::PROTOCOL));
    assert!(replies.read_to_end(1024).await.is_err());
    fleet.serves_an_honest_controller().await;
    assert!(!marker.path().join("ran").exists());
}

#[tokio::test]
async fn a_message_on_the_wrong_stream_ends_that_stream_or_the_connection() {
    let fleet = Fleet::start(4);
    // A second hello, a call or garbage on the control stream.
    for bytes in [frame_of(&hello()), frame_of(&CallRequest::Call(Box::new(ping(1)))), vec![1, 0, 0, 0, 77]] {
        let mut controller = fleet.controller().await;
        controller.control.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(closed_with(&soon(controller.connection.closed()).await), u64::from(close::PROTOCOL));
    }
    // A hello, half a call or garbage on a call stream: the connection stands.
    let controller = fleet.controller().await;
    let half = &frame_of(&CallRequest::Call(Box::new(ping(1))))[..20];
    for bytes in [&frame_of(&hello())[..], half, &u32::MAX.to_le_bytes(), b"\x01\0\0\0\x09"] {
        let (mut writer, mut reader) = controller.stream().await;
        writer.get_mut().write_all(bytes).await.unwrap();
        let _ = writer.get_mut().finish();
        assert!(soon(reader.next::<CallEvent>()).await.is_err(), "{bytes:?}");
    }
    assert!(matches!(controller.run(ping(2)).await, CallOutcome::Finished(_)));
    fleet.serves_an_honest_controller().await;
}

#[tokio::test]
async fn cancel_before_a_call_means_that_it_is_not_run() {
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let (mut writer, mut reader) = controller.stream().await;
    writer.send(&CallRequest::Cancel).await.unwrap();
    writer.send(&CallRequest::Call(Box::new(ping(1)))).await.unwrap();
    assert_eq!(soon(outcome(&mut reader)).await, CallOutcome::NotRun);
}

#[tokio::test]
async fn resetting_a_stream_or_sending_garbage_stops_its_call() {
    let fleet = Fleet::start(1);
    let controller = fleet.controller().await;
    let (mut writer, mut reader) = controller.start_sleep(1).await;
    writer.get_mut().reset(close::CANCEL.into()).unwrap();
    assert!(matches!(soon(outcome(&mut reader)).await, CallOutcome::Cancelled(_)));
    let (mut writer, mut reader) = controller.start_sleep(2).await;
    writer.get_mut().write_all(b"\x01\0\0\0\x09").await.unwrap();
    // The stream is reset, and a reset may overtake the outcome.
    while let Ok(event) = soon(reader.next::<CallEvent>()).await {
        assert!(event.is_some(), "it ended as if all was well");
    }
    soon(until_served(&fleet)).await;
}

#[tokio::test]
async fn a_lost_connection_stops_its_calls_if_it_was_asked_to() {
    let fleet = Fleet::start(1);
    let controller = fleet.controller().await;
    let _streams = controller.start_sleep(1).await;
    controller.connection.close(0_u32.into(), b"");
    // The only slot is free again once the call was stopped.
    soon(until_served(&fleet)).await;
}

async fn until_served(fleet: &Fleet) {
    let controller = fleet.controller().await;
    while let CallOutcome::Refused(refusal) = controller.run(ping(1)).await {
        assert_eq!(refusal.code, RefusalCode::Busy);
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_told_busy_and_unknown_modules_by_name() {
    let fleet = Fleet::start(2);
    let controller = fleet.controller().await;
    assert_eq!(controller.welcome.calls_max, 2);
    let running = [controller.start_sleep(1).await, controller.start_sleep(2).await];
    let CallOutcome::Refused(refusal) = controller.run(ping(3)).await else { panic!("a third call ran") };
    assert_eq!(refusal.code, RefusalCode::Busy);
    let CallOutcome::Refused(refusal) = controller.run(call(4, "evil.module", &[])).await else { panic!("it ran") };
    assert_eq!(refusal.code, RefusalCode::UnknownModule);
    assert!(refusal.message.contains("`evil.module`"), "{refusal}");
    for (mut writer, mut reader) in running {
        writer.send(&CallRequest::Cancel).await.unwrap();
        assert!(matches!(soon(outcome(&mut reader)).await, CallOutcome::Cancelled(_)));
    }
}

#[tokio::test]
async fn a_panic_in_a_module_is_that_tasks_failure() {
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let crash = call(1, "ansible.builtin.ping", &[("data", "crash".into())]);
    let CallOutcome::Finished(result) = controller.run(crash).await else { panic!("no result") };
    assert!(result.failed && result.msg().contains("boom; this is a bug in the module"), "{}", result.msg());
    assert!(matches!(controller.run(ping(2)).await, CallOutcome::Finished(result) if !result.failed));
}

/// Asks for a copy of `content` that is called something else, and gives back what the agent asked for.
async fn copy_wants(controller: &Controller, task: u32, id: BlobId) -> (CallStreams, BlobId, u64, tempfile::TempDir) {
    let dest = tempfile::tempdir().unwrap();
    let blob = BlobRef { id, sha1: "0".repeat(40) }.to_value();
    let path = dest.path().join("file").to_string_lossy().into_owned();
    let (mut writer, mut reader) = controller.stream().await;
    let copy = call(task, "ansible.builtin.copy", &[("_blob", blob), ("dest", path.into())]);
    writer.send(&CallRequest::Call(Box::new(copy))).await.unwrap();
    loop {
        match reader.next::<CallEvent>().await.unwrap().unwrap() {
            CallEvent::BlobWanted { blob, offset } => return ((writer, reader), blob, offset, dest),
            CallEvent::Ended { outcome, .. } => panic!("{outcome:?}"),
            CallEvent::Started | CallEvent::Output { .. } | CallEvent::Cut { .. } => {}
        }
    }
}

type CallStreams =
    (rustle_protocol::frame::FrameWriter<quinn::SendStream>, rustle_protocol::frame::FrameReader<quinn::RecvStream>);

#[tokio::test]
async fn a_blob_that_is_not_what_was_announced_is_never_used() {
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let id = BlobId { hash: *blake3::hash(b"hello").as_bytes(), size: 5 };
    let uninvited = BlobHeader { blob: BlobId { hash: *blake3::hash(b"gift").as_bytes(), size: 4 }, offset: 0 };
    let mut send = controller.connection.open_uni().await.unwrap();
    send.write_all(&[&frame_of(&uninvited)[..], b"gift"].concat()).await.unwrap();
    let _ = send.finish();
    for (task, content, why) in
        [(1, &b"hullo"[..], "hash"), (2, b"hello and more", "longer"), (3, b"hel", "3 of 5 bytes")]
    {
        let ((_writer, mut reader), blob, offset, dest) = copy_wants(&controller, task, id).await;
        assert_eq!(blob, id);
        let mut send = controller.connection.open_uni().await.unwrap();
        let header = frame_of(&BlobHeader { blob, offset });
        let _ = send.write_all(&[&header, content].concat()).await;
        let _ = send.finish();
        let CallOutcome::Finished(result) = soon(outcome(&mut reader)).await else { panic!("no result") };
        assert!(result.failed && result.msg().contains(why), "{}", result.msg());
        assert!(!dest.path().join("file").exists());
    }
    // A header that is none, and a stream that ends within one.
    for bytes in [&u32::MAX.to_le_bytes()[..], &[40, 0, 0, 0, 1], b""] {
        let mut send = controller.connection.open_uni().await.unwrap();
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
    }
    fleet.serves_an_honest_controller().await;
}

#[tokio::test]
async fn ten_thousand_calls_on_one_stream_take_bounded_memory_and_all_end() {
    const CALLS: u32 = 10_000;
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let (mut writer, mut reader) = controller.stream().await;
    let before = memory_peak_mib();
    let mut padded = ping(1);
    padded.environment = vec![("PADDING".into(), "x".repeat(8 * 1024))];
    // The first fails, so that the rest need not run.
    let mut first = ping(0);
    first.module = "evil.module".into();
    let send = async {
        writer.send(&CallRequest::Call(Box::new(first))).await.unwrap();
        for _ in 1..CALLS {
            writer.send(&CallRequest::Call(Box::new(padded.clone()))).await.unwrap();
        }
    };
    let receive = async {
        assert!(matches!(outcome(&mut reader).await, CallOutcome::Refused(_)));
        for _ in 1..CALLS {
            assert_eq!(outcome(&mut reader).await, CallOutcome::NotRun);
        }
    };
    soon(async { tokio::join!(send, receive) }).await;
    // 80 MiB went through.
    assert!(memory_peak_mib() < before + 64, "{before} MiB became {} MiB", memory_peak_mib());
}

#[tokio::test]
async fn a_controller_that_never_reads_neither_stops_the_clock_nor_holds_a_slot() {
    let fleet = Fleet::start(1);
    let deaf = fleet.controller().await;
    let (mut writer, _never_read) = deaf.stream().await;
    let mut flood = command(1, "yes");
    flood.timeout_ms = 500;
    let before = memory_peak_mib();
    writer.send(&CallRequest::Call(Box::new(flood))).await.unwrap();
    soon(until_served(&fleet)).await;
    assert!(memory_peak_mib() < before + 64, "{before} MiB became {} MiB", memory_peak_mib());
}

#[tokio::test]
async fn streams_that_say_nothing_cost_others_nothing() {
    let fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let mut silent = Vec::new();
    for _ in 0..30 {
        let mut stream = controller.stream().await;
        stream.0.get_mut().write_all(&[1]).await.unwrap();
        silent.push(stream);
    }
    assert!(matches!(controller.run(ping(1)).await, CallOutcome::Finished(_)));
    fleet.serves_an_honest_controller().await;
}

#[tokio::test]
async fn a_draining_agent_tells_it_refuses_new_calls_and_lets_running_ones_end() {
    let mut fleet = Fleet::start(4);
    let mut controller = fleet.controller().await;
    let (mut writer, mut reader) = controller.start_sleep(1).await;
    fleet.drain();
    assert_eq!(soon(controller.notices.next()).await.unwrap(), Some(ControlNotice::Draining));
    let CallOutcome::Refused(refusal) = soon(controller.run(ping(2))).await else { panic!("a call was taken") };
    assert_eq!(refusal.code, RefusalCode::Draining);
    writer.send(&CallRequest::Cancel).await.unwrap();
    assert!(matches!(soon(outcome(&mut reader)).await, CallOutcome::Cancelled(_)));
    drop((writer, reader));
    soon(fleet.ended()).await;
}

#[tokio::test]
async fn a_draining_agent_ends_the_stream_on_which_it_has_nothing_to_do() {
    let mut fleet = Fleet::start(4);
    let controller = fleet.controller().await;
    let (mut writer, mut reader) = controller.stream().await;
    for task in 1..=2 {
        writer.send(&CallRequest::Call(Box::new(ping(task)))).await.unwrap();
        assert!(matches!(soon(outcome(&mut reader)).await, CallOutcome::Finished(_)), "one stream, call after call");
    }
    fleet.drain();
    assert_eq!(soon(reader.next::<CallEvent>()).await.unwrap(), None);
    soon(fleet.ended()).await;
}

#[tokio::test]
async fn handshakes_that_never_end_keep_no_controller_out() {
    let fleet = Fleet::start(4);
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for packet in fleet.first_packets(300).await {
        stranger.send_to(&packet, fleet.address()).await.unwrap();
    }
    // The agent is busy with as many of them as it takes; one of the fleet comes in all the same.
    let controller = fleet.controller().await;
    assert_eq!(controller.welcome.calls_max, 4);
}
