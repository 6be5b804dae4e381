//! Ports waited for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect as start_connect, socket_with, sockopt};
use rustix::time::Timespec;

use super::{Deadline, Found, Look, Search};

/// States in which a connection is in use, as the kernel's names go.
pub(super) const ACTIVE_STATES: [&str; 6] =
    ["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_RECV", "SYN_SENT", "TIME_WAIT"];

/// All states, at the place of their number in `/proc/net/tcp`.
const STATES: [&str; 12] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

/// Kept of what a connection says while a text is waited for in it.
const SEARCH_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn look(
    host: &str,
    port: u16,
    patience: Duration,
    search: Option<&Search>,
    deadline: &Deadline<'_>,
) -> Look {
    let Some(connection) = connect(host, port, patience, deadline) else { return Look::NotYet };
    match search {
        None => Look::Done(Found::default()),
        Some(search) => listen(&connection, search, deadline).map_or(Look::NotYet, Look::Done),
    }
}

/// A connection to the first address of `host` that takes one; None if nobody does. A host whose name is not known
/// may become known.
pub(super) fn connect(host: &str, port: u16, patience: Duration, deadline: &Deadline<'_>) -> Option<OwnedFd> {
    let addresses = (host, port).to_socket_addrs().ok()?;
    addresses.into_iter().find_map(|address| connect_to(address, patience, deadline))
}

fn connect_to(address: SocketAddr, patience: Duration, deadline: &Deadline<'_>) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).ok()?;
    match start_connect(&socket, &address) {
        Ok(()) => return Some(socket),
        Err(Errno::INPROGRESS) => {}
        Err(_) => return None,
    }
    let is_ready = wait(&socket, PollFlags::OUT, Instant::now() + patience, deadline);
    (is_ready && matches!(sockopt::socket_error(&socket), Ok(Ok(())))).then_some(socket)
}

/// Reads until `search` matches, the peer closes or the time is over.
fn listen(connection: &OwnedFd, search: &Search, deadline: &Deadline<'_>) -> Option<Found> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while wait(connection, PollFlags::IN, deadline.at, deadline) {
        match rustix::io::read(connection, &mut buffer) {
            Ok(0) => return None,
            Ok(len) => text.extend_from_slice(&buffer[..len]),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => return None,
        }
        if let Some(found) = search.find(&text) {
            return Some(found);
        }
        if text.len() > SEARCH_BYTES_MAX {
            text.drain(..SEARCH_BYTES_MAX / 2);
        }
    }
    None
}

/// Whether `socket` became ready before `until`; a cancelled call waits no longer.
fn wait(socket: &OwnedFd, flags: PollFlags, until: Instant, deadline: &Deadline<'_>) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let cancel = deadline.cx.cancel.fd();
        let mut fds = [PollFd::new(socket, flags), PollFd::new(&cancel, PollFlags::IN)];
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => return !fds[0].revents().is_empty() && fds[1].revents().is_empty(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

pub(super) fn state_code(name: &str) -> Option<usize> {
    STATES.iter().position(|state| *state == name && !state.is_empty())
}

/// Connections of `port` in one of `states`, from any host not `excluded`, to `host` or to all addresses.
pub(super) fn active_connections(host: &str, port: u16, excluded: &[String], states: &[String]) -> usize {
    let resolve = |host: &str| -> Vec<IpAddr> {
        let found = (host, port).to_socket_addrs().map(|addresses| addresses.map(|address| address.ip()).collect());
        found.unwrap_or_default()
    };
    let local = resolve(host);
    let excluded: Vec<IpAddr> = excluded.iter().flat_map(|host| resolve(host)).collect();
    let codes: Vec<usize> = states.iter().filter_map(|state| state_code(state)).collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let is_ours = |ip: &IpAddr| ip.is_unspecified() || local.contains(ip) || local.iter().any(IpAddr::is_unspecified);
    tables
        .iter()
        .flat_map(|table| table.lines().filter_map(parse_connection))
        .filter(|connection| connection.local.1 == port && is_ours(&connection.local.0))
        .filter(|connection| codes.contains(&connection.state) && !excluded.contains(&connection.remote.0))
        .count()
}

struct Connection {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    state: usize,
}

/// A line of `/proc/net/tcp` or `tcp6`.
fn parse_connection(line: &str) -> Option<Connection> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (parse_address(fields.next()?)?, parse_address(fields.next()?)?);
    Some(Connection { local, remote, state: usize::from_str_radix(fields.next()?, 16).ok()? })
}

/// `0100007F:1F90`: words of 32 bits in the machine's byte order, in hexadecimal.
fn parse_address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical(),
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 0200000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1";
        let connection = parse_connection(line).unwrap();
        assert_eq!(connection.local, ("127.0.0.1".parse().unwrap(), 8080));
        assert_eq!((connection.remote.0, connection.state), ("10.0.0.2".parse().unwrap(), 1));
        let mapped = parse_address("0000000000000000FFFF00000100007F:0016").unwrap();
        assert_eq!(mapped, ("127.0.0.1".parse().unwrap(), 22));
        assert!(parse_connection("  sl  local_address rem_address   st").is_none());
    }
}
