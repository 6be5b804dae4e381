//! Lookups that wait: for a program, a server, another process. A render is no place to wait in, since whoever renders has
//! other hosts to care for. There a lookup that waits leaves its work and breaks the render off; the work is done on a
//! thread of its own, and the template is rendered again with the answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustle_protocol::Value;
use tokio::sync::Semaphore;

use super::error::TemplateError;

/// Threads that wait for lookups at a time, over all hosts. More wait for one of these.
const WAITING_MAX: usize = 32;

static WAITING: Semaphore = Semaphore::const_new(WAITING_MAX);

/// What a lookup found, or why it found nothing.
pub(crate) type Answer = Result<Vec<Value>, String>;

type Work = Box<dyn FnOnce() -> Answer + Send>;

/// The answers so far, and the work that is left.
#[derive(Default)]
struct Desk {
    answers: HashMap<String, Answer>,
    work: Vec<(String, Work)>,
}

thread_local! {
    static DESK: RefCell<Option<Arc<Mutex<Desk>>>> = const { RefCell::new(None) };
}

/// The answer to `question`, which names the work and all it depends on. Does the work here, unless the render is one
/// of [`settle`]'s.
///
/// # Errors
/// [`TemplateError::Deferred`] where it must not wait.
pub(crate) fn ask(question: String, work: impl FnOnce() -> Answer + Send + 'static) -> Result<Answer, TemplateError> {
    let Some(desk) = DESK.with_borrow(Clone::clone) else { return Ok(work()) };
    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = desk.answers.get(&question) {
        return Ok(answer.clone());
    }
    desk.work.push((question, Box::new(work)));
    Err(TemplateError::Deferred)
}

/// Renders as often as lookups in it have something to wait for, and waits for them in between. Each is asked once.
///
/// # Cancel safety
/// Dropped while it waits, work that has begun goes on to its end and nobody hears of it.
pub(crate) async fn settle<T>(mut render: impl FnMut() -> T) -> T {
    let desk = Arc::new(Mutex::new(Desk::default()));
    loop {
        let outcome = {
            let _at_the_desk = AtDesk::new(&desk);
            render()
        };
        let work = std::mem::take(&mut desk.lock().unwrap_or_else(PoisonError::into_inner).work);
        if work.is_empty() {
            return outcome;
        }
        for (question, work) in work {
            let answer = done(work).await;
            desk.lock().unwrap_or_else(PoisonError::into_inner).answers.insert(question, answer);
        }
    }
}

async fn done(work: Work) -> Answer {
    let _permit = WAITING.acquire().await.map_err(|_| "lookups are not answered any more".to_owned())?;
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(format!("the lookup was cut off: {error}")))
}

/// While it lives, renders on this thread leave their work at the desk.
struct AtDesk(Option<Arc<Mutex<Desk>>>);

impl AtDesk {
    fn new(desk: &Arc<Mutex<Desk>>) -> AtDesk {
        AtDesk(DESK.replace(Some(Arc::clone(desk))))
    }
}

impl Drop for AtDesk {
    fn drop(&mut self) {
        DESK.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn work_is_done_on_another_thread_once_and_its_answer_is_there_in_the_next_render() {
        let here = std::thread::current().id();
        let done = Arc::new(AtomicUsize::new(0));
        let mut renders = 0;
        let answer = runtime().block_on(settle(|| {
            renders += 1;
            let done = Arc::clone(&done);
            ask("q".to_owned(), move || {
                done.fetch_add(1, Ordering::SeqCst);
                Ok(vec![Value::from(std::thread::current().id() != here)])
            })
        }));
        assert_eq!(answer, Ok(Ok(vec![Value::from(true)])));
        assert_eq!((renders, done.load(Ordering::SeqCst)), (2, 1));
    }

    #[test]
    fn outside_a_settled_render_the_work_is_done_at_once() {
        assert_eq!(ask("q".to_owned(), || Err("no".to_owned())), Ok(Err("no".to_owned())));
    }

    #[test]
    fn a_work_that_panics_is_an_error_of_the_lookup() {
        let answer = runtime().block_on(settle(|| ask("q".to_owned(), || panic!("boom"))));
        assert!(matches!(answer, Ok(Err(why)) if why.starts_with("the lookup was cut off")));
    }
}
