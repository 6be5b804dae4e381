//! Addresses of interfaces, asked from the kernel by a routing netlink socket: `/proc` does not tell IPv4 addresses
//! with their prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with};

/// One datagram of the answer: the kernel sends at most 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 32 * 1024;

// From linux/netlink.h and linux/rtnetlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST_AND_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface_index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) scope: u8,
    pub(super) broadcast: Option<Ipv4Addr>,
    /// The name it was given under: the interface's, or `eth0:1`.
    pub(super) label: Option<String>,
}

/// Every address of this host, in the kernel's order.
///
/// # Errors
/// The kernel refuses the question, as some containers make it do.
pub(super) fn addresses() -> std::io::Result<Vec<Address>> {
    // Protocol 0 of this family is NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (len, _, _) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read_datagram(&buffer[..len], &mut found) {
            return Ok(found);
        }
    }
}

fn request() -> Vec<u8> {
    // nlmsghdr: length, type, flags, sequence, port; then rtgenmsg with "any family", padded to 4.
    let mut bytes = Vec::with_capacity(20);
    bytes.extend(20u32.to_ne_bytes());
    bytes.extend(RTM_GETADDR.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_AND_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    bytes
}

/// Adds what the datagram tells; true if it was the last one.
fn read_datagram(mut bytes: &[u8], found: &mut Vec<Address>) -> bool {
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let len = len as usize;
        if matches!(kind, NLMSG_DONE | NLMSG_ERROR) || len < 16 || len > bytes.len() {
            return true;
        }
        if kind == RTM_NEWADDR {
            found.extend(read_address(&bytes[16..len]));
        }
        bytes = bytes.get(aligned(len)..).unwrap_or_default();
    }
    // A datagram with nothing in it would be asked for again without end.
    bytes.is_empty() && found.is_empty()
}

/// An `ifaddrmsg` and its attributes.
fn read_address(message: &[u8]) -> Option<Address> {
    let [_family, prefix, _flags, scope] = *message.first_chunk::<4>()?;
    let interface_index = u32_at(message, 4)?;
    let (mut address, mut local, mut broadcast, mut label) = (None, None, None, None);
    let mut attributes = message.get(8..)?;
    while let (Some(len), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let len = usize::from(len);
        let Some(value) = attributes.get(4..len) else { break };
        match kind {
            IFA_ADDRESS => address = ip(value),
            IFA_LOCAL => local = ip(value),
            IFA_BROADCAST => broadcast = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
            IFA_LABEL => label = Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()),
            _ => {}
        }
        attributes = attributes.get(aligned(len)..).unwrap_or_default();
    }
    // On a point-to-point link the plain address is the other end's.
    Some(Address { interface_index, ip: local.or(address)?, prefix, scope, broadcast, label })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_knows_a_loopback_address() {
        match addresses() {
            Ok(found) => assert!(found.iter().any(|address| address.ip.is_loopback()), "{found:?}"),
            Err(error) => eprintln!("skipped: the kernel refuses the question here: {error}"),
        }
    }

    proptest! {
        #[test]
        fn garbage_ends(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            read_datagram(&bytes, &mut Vec::new());
        }
    }
}
