//! How large the datagrams of a connection become, which is up to the path.

use std::net::SocketAddr;

use rustle_protocol::transport::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN};
use tokio::net::UdpSocket;

use crate::support::{Ca, Wish};
use crate::{dialer, host, listener};

/// Enough that a wrong size would show in lost batches, in bytes.
const BULK: usize = 4 * 1024 * 1024;

/// Passes datagrams of at most `largest` bytes between one controller and the agent at `target`.
async fn narrow(relay: UdpSocket, target: SocketAddr, largest: usize) {
    let mut controller = None;
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = relay.recv_from(&mut buffer).await.unwrap();
        let to = match controller {
            _ if from != target => {
                controller = Some(from);
                target
            }
            Some(controller) => controller,
            None => continue,
        };
        if length <= largest {
            // A full queue of the receiver is a loss like any other.
            let _ = relay.send_to(&buffer[..length], to).await;
        }
    }
}

/// Sends [`BULK`] to an agent over a path that carries datagrams of up to `largest` bytes. Tells how large they were.
async fn datagram_bytes_after_bulk(largest: usize) -> u16 {
    let ca = Ca::new();
    let (listener, dialer) = (listener(ca.issue(&Wish::agent("web1"))), dialer(ca.issue(&Wish::controller("ops"))));
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap();
    let path = tokio::spawn(narrow(relay, listener.local_address().unwrap(), largest));
    let agent = async {
        let peer = listener.accept().await.unwrap().handshake().await.unwrap();
        let (mut send, mut receive) = peer.connection.accept_bi().await.unwrap();
        let received = receive.read_to_end(BULK).await.unwrap();
        send.write_all(&received.len().to_be_bytes()).await.unwrap();
        send.finish().unwrap();
        peer.connection.closed().await;
    };
    let controller = async {
        let peer = dialer.connect(&host("web1"), address).await.unwrap();
        let (mut send, mut receive) = peer.connection.open_bi().await.unwrap();
        send.write_all(&vec![7; BULK]).await.unwrap();
        send.finish().unwrap();
        assert_eq!(receive.read_to_end(8).await.unwrap(), BULK.to_be_bytes());
        let datagram_bytes = peer.connection.stats().path.current_mtu;
        peer.connection.close(0u32.into(), b"");
        datagram_bytes
    };
    let ((), datagram_bytes) = tokio::join!(agent, controller);
    path.abort();
    datagram_bytes
}

#[tokio::test]
async fn datagrams_are_as_large_as_the_route_allows() {
    assert_eq!(datagram_bytes_after_bulk(usize::MAX).await, DATAGRAM_BYTES_MAX);
}

#[tokio::test]
async fn a_path_that_is_narrower_than_its_first_link_carries_all_in_small_datagrams() {
    assert_eq!(datagram_bytes_after_bulk(1_400).await, DATAGRAM_BYTES_MIN);
}
