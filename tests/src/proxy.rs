//! A bad network between a controller and an agent: a UDP proxy that drops, doubles, damages and delays datagrams, and cuts the
//! link on a schedule or when it is told to. What it does to each datagram is drawn from a seed.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Datagrams on their way at once. A queue of a router that is full drops, too.
const QUEUE_MAX: usize = 4096;

/// How long the proxy sleeps at most, so that it hears when it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What happens to datagrams, in either direction. Shares are from 0 to 1.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub loss: f64,
    pub doubled: f64,
    /// A byte of it is another one.
    pub damaged: f64,
    pub delay: Duration,
    /// Added to the delay, evenly from nothing to this: what overtakes what is chance.
    pub jitter: Duration,
    /// Nothing passes.
    pub cut: bool,
    /// Nothing passes from the first time after the proxy's start, for the second.
    pub cuts: Vec<(Duration, Duration)>,
}

/// How many datagrams came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub lost: u64,
    pub doubled: u64,
    pub damaged: u64,
}

/// The link to one agent. It ends when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    is_over: AtomicBool,
}

struct State {
    weather: Weather,
    target: SocketAddr,
    /// Rises with each new address that the controller has for the agent.
    generation: u64,
    counts: Counts,
}

impl Proxy {
    /// A link to `target`.
    pub fn new(target: SocketAddr, seed: u64, weather: Weather) -> Proxy {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
        front.set_nonblocking(true).expect("a socket can be");
        let address = front.local_addr().expect("a socket has one");
        let state = State { weather, target, generation: 0, counts: Counts::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), is_over: AtomicBool::new(false) });
        let mut relay = Relay {
            shared: Arc::clone(&shared),
            front,
            backs: HashMap::new(),
            generation: 0,
            queue: BTreeMap::new(),
            queued: 0,
            chance: seed,
            started: Instant::now(),
        };
        let thread = std::thread::spawn(move || relay.run());
        Proxy { address, shared, thread: Some(thread) }
    }

    /// Where the agent seems to be.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.shared.lock().weather = weather;
    }

    /// Nothing passes any more, or everything again.
    pub fn cut(&self, is_cut: bool) {
        self.shared.lock().weather.cut = is_cut;
    }

    /// The controller seems to have another address from now on, as behind a router that was restarted.
    pub fn rebind(&self) {
        self.shared.lock().generation += 1;
    }

    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Relay {
    shared: Arc<Shared>,
    front: UdpSocket,
    /// The sockets that speak to the agent, by the controller's socket.
    backs: HashMap<SocketAddr, UdpSocket>,
    generation: u64,
    queue: BTreeMap<(Instant, usize), Datagram>,
    queued: usize,
    chance: u64,
    started: Instant,
}

struct Datagram {
    client: SocketAddr,
    to_agent: bool,
    bytes: Vec<u8>,
}

impl Relay {
    fn run(&mut self) {
        while !self.shared.is_over.load(Ordering::Acquire) {
            self.wait();
            let mut buffer = [0; 65_536];
            while let Ok((len, client)) = self.front.recv_from(&mut buffer) {
                self.take(Datagram { client, to_agent: true, bytes: buffer[..len].to_vec() });
            }
            let clients: Vec<SocketAddr> = self.backs.keys().copied().collect();
            for client in clients {
                while let Ok(len) = self.backs[&client].recv(&mut buffer) {
                    self.take(Datagram { client, to_agent: false, bytes: buffer[..len].to_vec() });
                }
            }
            self.send_due();
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let due = self.queue.first_key_value().map_or(LOOK_EVERY, |((at, _), _)| at.saturating_duration_since(now));
        let timeout = due.min(LOOK_EVERY);
        let sockets = std::iter::once(&self.front).chain(self.backs.values());
        let mut fds: Vec<PollFd<'_>> =
            sockets.map(|socket| PollFd::from_borrowed_fd(socket.as_fd() as BorrowedFd<'_>, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        // Woken too early it looks once more.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Decides what becomes of a datagram.
    fn take(&mut self, datagram: Datagram) {
        let weather = self.shared.lock().weather.clone();
        let elapsed = self.started.elapsed();
        let is_cut = weather.cut || weather.cuts.iter().any(|(at, long)| (*at..*at + *long).contains(&elapsed));
        if is_cut || self.happens(weather.loss) || self.queue.len() >= QUEUE_MAX {
            self.shared.lock().counts.lost += 1;
            return;
        }
        let mut datagram = datagram;
        if self.happens(weather.damaged) && !datagram.bytes.is_empty() {
            let at = (self.next() % datagram.bytes.len() as u64) as usize;
            datagram.bytes[at] ^= 1 << (self.next() % 8);
            self.shared.lock().counts.damaged += 1;
        }
        if self.happens(weather.doubled) {
            self.shared.lock().counts.doubled += 1;
            let Datagram { client, to_agent, ref bytes } = datagram;
            self.put(Datagram { client, to_agent, bytes: bytes.clone() }, &weather);
        }
        self.put(datagram, &weather);
    }

    fn put(&mut self, datagram: Datagram, weather: &Weather) {
        let jitter = weather.jitter.mul_f64(self.share());
        self.queued += 1;
        self.queue.insert((Instant::now() + weather.delay + jitter, self.queued), datagram);
    }

    fn send_due(&mut self) {
        let (target, generation) = {
            let state = self.shared.lock();
            (state.target, state.generation)
        };
        if self.generation != generation {
            self.generation = generation;
            self.backs.clear();
        }
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= Instant::now()) {
            let Datagram { client, to_agent, bytes } = first.remove();
            let sent =
                if to_agent { self.back(client, target).send(&bytes) } else { self.front.send_to(&bytes, client) };
            // One that cannot be sent (nobody listens there) is lost.
            let mut state = self.shared.lock();
            match sent {
                Ok(_) => state.counts.passed += 1,
                Err(_) => state.counts.lost += 1,
            }
        }
    }

    fn back(&mut self, client: SocketAddr, target: SocketAddr) -> &UdpSocket {
        self.backs.entry(client).or_insert_with(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
            socket.connect(target).expect("an address on loopback");
            socket.set_nonblocking(true).expect("a socket can be");
            socket
        })
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.share() < share
    }

    /// From 0 to below 1, evenly.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
