//! QUIC's settings and the UDP socket under it. Every window, limit and buffer is bounded here, by name.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt, congestion};
use socket2::{Domain, Protocol, Socket, Type};

use crate::identity::Role;

/// What can be set about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportOptions {
    /// How often a sign of life is sent on a quiet connection. Default 2 s; never longer than a third of the idle timeout,
    /// so that two may get lost.
    pub keep_alive: Duration,
    /// After how long a silence the peer counts as gone; the shorter one of both ends holds. It is also how long a
    /// connect waits for an answer. Default 8 s, three lost signs of life; from [`IDLE_TIMEOUT_MIN`] to
    /// [`IDLE_TIMEOUT_MAX`].
    pub idle_timeout: Duration,
    pub congestion: Congestion,
    /// Let the kernel cut packets (GSO), 2.6 times as fast in bulk. To be turned off for a broken network card only.
    pub segmentation_offload: bool,
}

/// How sending adapts to the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Fair beside TCP.
    #[default]
    Cubic,
    /// For long paths that lose packets without being full. Experimental in quinn.
    Bbr,
}

/// Anything shorter would take a busy host for a dead one.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_millis(500);
/// Anything longer would never notice.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What an agent lets one stream of a controller send before it has read: 1 Gbit/s at a round trip of 50 ms holds
/// 6.25 MB in flight.
pub const AGENT_STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The same for all streams of a connection together.
pub const AGENT_CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// What an agent keeps of its own output until the controller has it.
pub const AGENT_SEND_WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// What a controller lets one stream of an agent send before it has read. Small: it stands for each of thousands of hosts,
/// and results are small.
pub const CONTROLLER_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all streams of a connection together.
pub const CONTROLLER_CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What a controller keeps of a blob until the agent has it: one agent's window. How many hosts are sent blobs at once is
/// the sender's to bound.
pub const CONTROLLER_SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Control stream and calls that a controller may have open at an agent at once. Each costs memory even unused.
pub const AGENT_BIDI_STREAMS_MAX: u32 = 32;
/// Blobs on their way to an agent at once.
pub const AGENT_UNI_STREAMS_MAX: u32 = 4;
/// An agent opens no streams: it answers on those of the controller.
pub const CONTROLLER_STREAMS_MAX: u32 = 0;

/// Connections an agent holds before it has looked at them; more are refused. Controllers are few.
pub const INCOMING_MAX: usize = 256;
/// Early packets kept for one such connection, and for all of them, in bytes.
pub const INCOMING_BUFFER_BYTES: u64 = 16 * 1024;
pub const INCOMING_BUFFER_TOTAL_BYTES: u64 = 1024 * 1024;

/// The largest datagram that any path carries, in bytes of UDP payload (RFC 9000, section 14). A connection starts with it.
pub const DATAGRAM_BYTES_MIN: u16 = 1_200;
/// The largest that either end takes. quinn hands the kernel ten datagrams at once (GSO), which have to fit into the 65,507
/// bytes of one UDP message (a larger batch is refused as a whole) and, with the kernel's own bookkeeping, into 64 KiB of
/// its memory: 65,500 bytes took half as much again of its time as 65,000.
pub const DATAGRAM_BYTES_MAX: u16 = 6_500;
/// What Ethernet carries of IPv4, for a route that does not tell.
const DATAGRAM_BYTES_ETHERNET: u16 = 1_500 - 20 - 8;

/// Asked of the kernel for each direction of a socket. With the usual 208 KiB, 1,000 connects at once took 21 to 63 s
/// for lost packets, with this one half a second.
pub const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

impl Default for TransportOptions {
    fn default() -> TransportOptions {
        TransportOptions {
            keep_alive: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(8),
            congestion: Congestion::default(),
            segmentation_offload: true,
        }
    }
}

impl TransportOptions {
    /// QUIC's settings for the end of role `us`, whose datagrams grow to `datagram_bytes` if the path carries such. Left as
    /// quinn has them: GSO, migration of the peer to another address. Off: datagrams.
    pub fn config(&self, us: Role, datagram_bytes: u16) -> Arc<TransportConfig> {
        let idle_timeout = IdleTimeout::try_from(self.effective_idle_timeout()).expect("a day fits");
        let mut config = TransportConfig::default();
        config
            .mtu_discovery_config(single_probe(datagram_bytes))
            .keep_alive_interval(Some(self.effective_keep_alive()))
            .max_idle_timeout(Some(idle_timeout))
            .datagram_receive_buffer_size(None)
            .datagram_send_buffer_size(0)
            .enable_segmentation_offload(self.segmentation_offload);
        if self.congestion == Congestion::Bbr {
            config.congestion_controller_factory(Arc::new(congestion::BbrConfig::default()));
        }
        match us {
            Role::Agent => config
                .max_concurrent_bidi_streams(VarInt::from_u32(AGENT_BIDI_STREAMS_MAX))
                .max_concurrent_uni_streams(VarInt::from_u32(AGENT_UNI_STREAMS_MAX))
                .stream_receive_window(VarInt::from_u32(AGENT_STREAM_WINDOW_BYTES))
                .receive_window(VarInt::from_u32(AGENT_CONNECTION_WINDOW_BYTES))
                .send_window(AGENT_SEND_WINDOW_BYTES),
            Role::Controller => config
                .max_concurrent_bidi_streams(VarInt::from_u32(CONTROLLER_STREAMS_MAX))
                .max_concurrent_uni_streams(VarInt::from_u32(CONTROLLER_STREAMS_MAX))
                .stream_receive_window(VarInt::from_u32(CONTROLLER_STREAM_WINDOW_BYTES))
                .receive_window(VarInt::from_u32(CONTROLLER_CONNECTION_WINDOW_BYTES))
                .send_window(CONTROLLER_SEND_WINDOW_BYTES),
        };
        Arc::new(config)
    }

    fn effective_idle_timeout(&self) -> Duration {
        self.idle_timeout.clamp(IDLE_TIMEOUT_MIN, IDLE_TIMEOUT_MAX)
    }

    fn effective_keep_alive(&self) -> Duration {
        self.keep_alive.min(self.effective_idle_timeout() / 3)
    }
}

/// Looks once whether the path carries `datagram_bytes`: in a run of a few small calls, probes are a good part of all
/// packets. Where something on the way carries less, datagrams stay at [`DATAGRAM_BYTES_MIN`].
fn single_probe(datagram_bytes: u16) -> Option<MtuDiscoveryConfig> {
    let growth = datagram_bytes.checked_sub(DATAGRAM_BYTES_MIN).filter(|growth| *growth > 0)?;
    let mut discovery = MtuDiscoveryConfig::default();
    // A search that ends at steps of this size begins with its upper end.
    discovery.upper_bound(datagram_bytes).minimum_change(growth);
    Some(discovery)
}

/// The largest datagram, in bytes of UDP payload, that the route to `address` lets out of this machine, from
/// [`DATAGRAM_BYTES_MIN`] to [`DATAGRAM_BYTES_MAX`].
pub fn datagram_bytes_towards(address: SocketAddr) -> u16 {
    let headers = if address.is_ipv4() { 20 + 8 } else { 40 + 8 };
    let payload = route_mtu(address).ok().and_then(|mtu| u16::try_from(mtu.saturating_sub(headers)).ok());
    payload.unwrap_or(DATAGRAM_BYTES_ETHERNET).clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX)
}

/// What the kernel knows of the route's packets, in bytes. Nothing is sent.
#[cfg(target_os = "linux")]
fn route_mtu(address: SocketAddr) -> io::Result<u32> {
    use rustix::net::sockopt;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&address.into())?;
    let mtu = match address.ip() {
        IpAddr::V4(_) => sockopt::ip_mtu(&socket)?,
        IpAddr::V6(_) => sockopt::ipv6_mtu(&socket)?,
    };
    Ok(mtu)
}

#[cfg(not(target_os = "linux"))]
fn route_mtu(_: SocketAddr) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What the kernel granted a socket, in bytes of payload and bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    pub receive_bytes: usize,
    pub send_bytes: usize,
}

impl SocketBuffers {
    /// Less than asked: few hosts should be connected to at once, and `net.core.rmem_max` raised.
    pub fn are_small(&self) -> bool {
        self.receive_bytes < SOCKET_BUFFER_BYTES || self.send_bytes < SOCKET_BUFFER_BYTES
    }
}

/// A UDP socket for QUIC at `address`, with the largest buffers up to [`SOCKET_BUFFER_BYTES`] that the kernel gives. One
/// on `[::]` hears IPv4 as well.
///
/// # Errors
/// The address is taken, not of this machine, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<(UdpSocket, SocketBuffers)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    enlarge(&socket);
    let buffers = granted(&socket)?;
    socket.bind(&address.into())?;
    Ok((socket.into(), buffers))
}

/// Root may go beyond `rmem_max`. To fail here is no error: what was granted is read back.
fn enlarge(socket: &Socket) {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        let receive = sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER_BYTES);
        let send = sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER_BYTES);
        if receive.is_ok() && send.is_ok() {
            return;
        }
    }
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
}

fn granted(socket: &Socket) -> io::Result<SocketBuffers> {
    // Linux doubles what it is asked for, for its own bookkeeping, and tells the double: socket(7).
    let told_per_granted = if cfg!(target_os = "linux") { 2 } else { 1 };
    Ok(SocketBuffers {
        receive_bytes: socket.recv_buffer_size()? / told_per_granted,
        send_bytes: socket.send_buffer_size()? / told_per_granted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_idle_timeout_shortens_the_signs_of_life() {
        let with_idle = |idle_timeout| TransportOptions { idle_timeout, ..TransportOptions::default() };
        assert_eq!(with_idle(Duration::from_secs(8)).effective_keep_alive(), Duration::from_secs(2));
        assert_eq!(with_idle(Duration::from_millis(1500)).effective_keep_alive(), Duration::from_millis(500));
        assert_eq!(with_idle(Duration::ZERO).effective_idle_timeout(), IDLE_TIMEOUT_MIN);
        assert_eq!(with_idle(Duration::MAX).effective_idle_timeout(), IDLE_TIMEOUT_MAX);
    }

    #[test]
    fn a_socket_tells_what_the_kernel_granted() {
        let (socket, buffers) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(socket.local_addr().unwrap().port(), 0);
        assert!((1..=SOCKET_BUFFER_BYTES).contains(&buffers.receive_bytes), "{buffers:?}");
        assert!((1..=SOCKET_BUFFER_BYTES).contains(&buffers.send_bytes), "{buffers:?}");
        if rustix::process::geteuid().is_root() && !buffers.are_small() {
            assert_eq!(buffers.receive_bytes, SOCKET_BUFFER_BYTES);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_datagram_is_as_large_as_the_route_and_we_allow() {
        // Linux gives loopback 65,536 bytes.
        assert_eq!(datagram_bytes_towards("127.0.0.1:1".parse().unwrap()), DATAGRAM_BYTES_MAX);
        // To the broadcast address nothing is sent without asking for it: such a route tells nothing.
        assert_eq!(datagram_bytes_towards("255.255.255.255:1".parse().unwrap()), DATAGRAM_BYTES_ETHERNET);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error() {
        let (socket, _) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
