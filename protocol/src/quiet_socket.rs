//! The UDP socket under QUIC. It asks the kernel to be told of datagrams that come, and of room to send only after there was
//! none: to a datagram socket room comes back with each datagram that leaves it, and being told of it is one more
//! turn of the event loop for each that is sent. And it does not ask a socket again that has just given all it had.
//!
//! Timers of connections are here too: they wake at their time and not before it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep_until};

/// tokio, but for the socket and for how timers are set.
#[derive(Debug)]
pub(crate) struct QuietRuntime;

impl Runtime for QuietRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(ExactTimer(Box::pin(sleep_until(at.into()))))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(QuietSocket::new(socket)?))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A timer that wakes once. One of tokio's that is put off wakes at its old time, to be moved to the new one, and QUIC puts off a
/// timer with nearly every packet.
#[derive(Debug)]
struct ExactTimer(Pin<Box<Sleep>>);

impl AsyncTimer for ExactTimer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        // The one before leaves tokio's wheel with this.
        self.0.set(sleep_until(at.into()));
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}

#[derive(Debug)]
struct QuietSocket {
    state: UdpSocketState,
    /// Told of what comes.
    socket: AsyncFd<UdpSocket>,
    /// The same socket, told of room: from a datagram that found none to the next one that found some.
    room: Mutex<Option<Room>>,
}

type Room = Arc<AsyncFd<UdpSocket>>;

impl QuietSocket {
    fn new(socket: UdpSocket) -> io::Result<QuietSocket> {
        // Makes it non-blocking, too.
        let state = UdpSocketState::new((&socket).into())?;
        Ok(QuietSocket { state, socket: register(socket, Interest::READABLE)?, room: Mutex::default() })
    }

    /// `send` is to end in `WouldBlock` if there is no room. Then, or if there was none before and the kernel has told of none
    /// since, this does, and a [`Waiter`] waits for it. Connections send at once: nothing is locked meanwhile.
    fn send_with(&self, send: impl FnOnce(&UdpSocket) -> io::Result<()>) -> io::Result<()> {
        let room = self.room().clone();
        let sent = match &room {
            // What the kernel told is forgotten if there is no room after all.
            Some(told) => told.try_io(Interest::WRITABLE, send),
            None => send(self.socket.get_ref()),
        };
        match &sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.await_room() {
                Ok(()) => sent,
                // For want of descriptors nobody would tell of room. The network may lose a datagram, too.
                Err(_) => Ok(()),
            },
            _ => {
                if room.is_some() {
                    *self.room() = None;
                }
                sent
            }
        }
    }

    /// Has the kernel tell of room, unless it is to already. What has come meanwhile is told at once.
    fn await_room(&self) -> io::Result<()> {
        let mut room = self.room();
        if room.is_none() {
            *room = Some(Arc::new(register(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?));
        }
        Ok(())
    }

    fn room(&self) -> MutexGuard<'_, Option<Room>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(unsafe_code, reason = "tokio tells of one direction alone only by its interface for any descriptor")]
fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: a `UdpSocket` owns its open descriptor and always tells the same one. It belongs to the `AsyncFd` from here on,
    // and nobody here takes it out or exchanges it: there are only shared references to it.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(registered?)
}

impl AsyncUdpSocket for QuietSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Waiter { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.send_with(|socket| self.state.send(socket.into(), transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut told = ready!(self.socket.poll_read_ready(cx))?;
            let received = told.try_io(|socket| self.state.recv(socket.get_ref().into(), buffers, meta));
            let Ok(received) = received else { continue };
            // On Linux a batch is shorter than it may be only if there was no more; elsewhere it may be a single datagram.
            if cfg!(target_os = "linux") && received.as_ref().is_ok_and(|count| *count < BATCH_SIZE) {
                // Of what comes from here on the kernel tells anew.
                told.clear_ready();
            }
            return Poll::Ready(received);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// One connection's way to wait for room.
struct Waiter {
    socket: Arc<QuietSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Waiter {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Waiter { socket, waiting } = self.get_mut();
        if waiting.is_none() {
            // As long as nothing was refused there is room.
            let Some(room) = socket.room().clone() else { return Poll::Ready(Ok(())) };
            *waiting = Some(Box::pin(async move {
                room.writable().await?.retain_ready();
                Ok(())
            }));
        }
        let Some(future) = waiting else { return Poll::Ready(Ok(())) };
        let told = ready!(future.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(told)
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    fn socket() -> QuietSocket {
        QuietSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
    }

    /// How many datagrams of one byte come at once.
    async fn received(socket: &QuietSocket) -> usize {
        let (mut bytes, mut metas) = ([[0; 64]; BATCH_SIZE], [RecvMeta::default(); BATCH_SIZE]);
        let batch = poll_fn(|cx| {
            let mut buffers: Vec<_> = bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
            socket.poll_recv(cx, &mut buffers, &mut metas)
        });
        let count = batch.await.unwrap();
        metas[..count].iter().map(|meta| meta.len / meta.stride).sum()
    }

    #[tokio::test]
    async fn all_that_comes_is_received_be_it_one_datagram_or_many_at_once() {
        let (ours, theirs) = (socket(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for together in [1, 1, BATCH_SIZE, 2 * BATCH_SIZE + 1, 1] {
            for _ in 0..together {
                theirs.send_to(b"x", ours.local_addr().unwrap()).unwrap();
            }
            let mut left = together;
            while left > 0 {
                left -= received(&ours).await;
            }
        }
    }

    #[tokio::test]
    async fn a_timer_goes_off_at_the_time_it_was_set_to_last() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let mut timer = QuietRuntime.new_timer(later);
        let mut at_once = Context::from_waker(Waker::noop());
        assert!(timer.as_mut().poll(&mut at_once).is_pending());
        timer.as_mut().reset(now);
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
        timer.as_mut().reset(later);
        assert!(timer.as_mut().poll(&mut at_once).is_pending());
    }

    #[tokio::test]
    async fn room_is_waited_for_after_there_was_none_and_then_it_is_no_news_any_more() {
        let socket = Arc::new(socket());
        let mut waiter = Arc::clone(&socket).create_io_poller();
        let mut at_once = Context::from_waker(Waker::noop());
        assert!(waiter.as_mut().poll_writable(&mut at_once).is_ready());
        assert_eq!(
            socket.send_with(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(waiter.as_mut().poll_writable(&mut at_once).is_pending());
        assert!(socket.send_with(|_| panic!("the kernel has told of no room")).is_err());
        poll_fn(|cx| waiter.as_mut().poll_writable(cx)).await.unwrap();
        assert!(socket.room().is_some());
        socket.send_with(|_| Ok(())).unwrap();
        assert!(socket.room().is_none());
        assert!(waiter.as_mut().poll_writable(&mut at_once).is_ready());
    }
}
