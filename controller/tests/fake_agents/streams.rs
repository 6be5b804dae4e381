//! What travels together: counted in streams and calls, not in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use rustle_exec::engine::links::AgentLinks;
use rustle_exec::event::HostState;
use rustle_protocol::ModuleResult;
use rustle_protocol::message::{CallEvent, CallRequest, ControlRequest};

use crate::support::{Answer, Outcome, Reader, SOON, events, finished, plan, run_plan, run_plan_and, welcomed};

const TASKS: usize = 20;

/// Takes the next call of a stream; false if there is none.
async fn has_call(reader: &mut Reader) -> bool {
    matches!(reader.next::<CallRequest>().await, Ok(Some(CallRequest::Call(_))))
}

fn succeeded() -> Vec<u8> {
    events(&[CallEvent::Started, finished(ModuleResult::ok())])
}

/// Runs a plan of [`TASKS`] tasks; gives how many streams both agents have seen together.
async fn streams(strategy: &str, answer: impl Fn(Arc<AtomicUsize>) -> Answer) -> (Outcome, usize) {
    let opened = Arc::new(AtomicUsize::new(0));
    let answer = answer(Arc::clone(&opened));
    let outcome = run_plan(plan(strategy, TASKS), [(welcomed(), answer.clone()), (welcomed(), answer)]).await;
    (outcome, opened.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_batch_play_is_one_round_trip_to_each_host() {
    // No answer before the last call is there: a controller that waited for one would wait for ever.
    let all_at_once = |opened: Arc<AtomicUsize>| -> Answer {
        Arc::new(move |peer, mut writer, mut reader| {
            opened.fetch_add(1, Ordering::SeqCst);
            async move {
                for _ in 1..TASKS {
                    assert!(has_call(&mut reader).await);
                }
                let _ = writer.get_mut().write_all(&succeeded().repeat(TASKS)).await;
                peer.connection.closed().await;
            }
            .boxed()
        })
    };
    let (outcome, opened) = streams("BinaryHybrid", all_at_once).await;
    assert!(outcome.hosts.values().all(|(state, _)| *state == HostState::Ok), "{:?}", outcome.hosts);
    assert_eq!((outcome.results.len(), opened), (2 * TASKS, 2));
}

#[tokio::test]
async fn the_last_word_comes_after_the_end_of_the_stream_that_was_kept() {
    // As an agent does: it closes once nothing is left to come.
    let closes_at_the_end: Answer = Arc::new(|peer, mut writer, mut reader| {
        async move {
            let _ = writer.get_mut().write_all(&succeeded()).await;
            assert!(!has_call(&mut reader).await);
            peer.connection.close(0_u32.into(), b"");
        }
        .boxed()
    });
    let agents = [(welcomed(), closes_at_the_end.clone()), (welcomed(), closes_at_the_end)];
    let last_words = async |links: &AgentLinks| {
        for session in links.sessions().await {
            // Nothing but the agent's close ends this before `SOON` is over, and the run with it.
            session.tell_last(ControlRequest::ForgetBlobs, SOON).await;
            assert!(session.connection().close_reason().is_some(), "the agent was not let go");
        }
    };
    run_plan_and(plan("Linear", 1), agents, last_words).await;
}

#[tokio::test]
async fn the_tasks_of_a_linear_play_use_one_stream_after_each_other() {
    let one_by_one = |opened: Arc<AtomicUsize>| -> Answer {
        Arc::new(move |_peer, mut writer, mut reader| {
            opened.fetch_add(1, Ordering::SeqCst);
            async move {
                let _ = writer.get_mut().write_all(&succeeded()).await;
                while has_call(&mut reader).await {
                    let _ = writer.get_mut().write_all(&succeeded()).await;
                }
            }
            .boxed()
        })
    };
    let (outcome, opened) = streams("Linear", one_by_one).await;
    assert!(outcome.hosts.values().all(|(state, _)| *state == HostState::Ok), "{:?}", outcome.hosts);
    assert_eq!((outcome.results.len(), opened), (2 * TASKS, 2));
}
