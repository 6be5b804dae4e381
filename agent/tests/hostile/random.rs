//! Random bytes on every kind of stream, many cases over one agent. A failing case is printed with its seed by proptest.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustle_protocol::message::{BlobHeader, BlobId, CallRequest};

use crate::support::{Fleet, call, frame_of, hello, ping};

const CASES: u32 = 200;

#[derive(Clone, Copy, Debug)]
enum Where {
    FirstStream,
    Control,
    Call,
    Blob,
}

/// Bytes that are noise, noise with a believable length before it, or a real message with some bytes changed.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let real = prop_oneof![
        Just(frame_of(&hello())),
        // A module that is not there: what the noise leaves whole must change nothing on this machine.
        Just(frame_of(&CallRequest::Call(Box::new(call(1, "none.such", &[("a", 1.into())]))))),
        Just(frame_of(&CallRequest::Call(Box::new(ping(1))))),
        Just(frame_of(&BlobHeader { blob: BlobId { hash: [7; 32], size: 9 }, offset: 0 })),
    ];
    let framed = |bytes: Vec<u8>| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), &bytes[..]].concat();
    prop_oneof![
        vec(any::<u8>(), 0..512),
        vec(any::<u8>(), 0..512).prop_map(framed),
        (real, vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), any::<prop::sample::Index>()).prop_map(
            |(mut bytes, changes, cut)| {
                for (at, byte) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes.truncate(1 + cut.index(bytes.len()));
                bytes
            }
        ),
    ]
}

#[test]
fn random_bytes_on_any_stream_leave_the_agent_serving() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fleet = runtime.block_on(async { Fleet::start(4) });
    let place = prop_oneof![Just(Where::FirstStream), Just(Where::Control), Just(Where::Call), Just(Where::Blob)];
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&(place, noise(), any::<bool>()), |(place, bytes, reset)| {
            runtime.block_on(send(&fleet, place, &bytes, reset));
            Ok(())
        })
        .unwrap();
    runtime.block_on(fleet.serves_an_honest_controller());
}

async fn send(fleet: &Fleet, place: Where, bytes: &[u8], reset: bool) {
    let controller;
    let mut stream = match place {
        Where::FirstStream => {
            let peer = fleet.connect().await;
            let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
            // Closed by the agent, or, if the noise was a hello, answered.
            peer.connection.close(0_u32.into(), b"");
            return;
        }
        Where::Control => fleet.controller().await.control.into_inner(),
        Where::Call => {
            controller = fleet.controller().await;
            controller.stream().await.0.into_inner()
        }
        Where::Blob => {
            controller = fleet.controller().await;
            controller.connection.open_uni().await.unwrap()
        }
    };
    let _ = stream.write_all(bytes).await;
    let _ = if reset { stream.reset(4_u32.into()) } else { stream.finish() };
    // The agent has read it or closed the connection.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(50), stream.stopped()).await;
}
