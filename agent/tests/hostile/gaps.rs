//! A controller whose streams have gaps that nothing fills. It is honest down to the encryption: there, a packet with marked
//! bytes is replaced by one that says nothing, which the agent confirms, so that nobody sends those bytes again.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, KeyPair, Keys, PacketKey, Session, rustls::QuicClientConfig,
};
use quinn::{ConnectError, Connection, ConnectionId, Endpoint, SendStream, Side, TransportConfig};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustle_protocol::transport::AGENT_CONNECTION_WINDOW_BYTES;

use crate::support::{Fleet, frame_of, hello, memory_peak_mib};
use crate::{POLL, soon};

/// What never arrives, nor does whatever shares its packet.
const MARK: [u8; 8] = *b"\xf5gapgap\xf5";
/// A gap stands at the beginning of each stream and then every so many bytes: some packets long.
const PERIOD_BYTES: usize = 64 * 1024;
/// Of repeated marks, so that a packet that ends among them has one all the same.
const GAP_BYTES: usize = 64;
/// More than the windows of all of them fit into the connection's.
const STREAMS: usize = 8;

struct WithGaps(Arc<QuicClientConfig>);

struct SessionWithGaps(Box<dyn Session>);

struct KeyWithGaps(Box<dyn PacketKey>);

impl ClientConfig for WithGaps {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let honest = Arc::clone(&self.0).start_session(version, server_name, params)?;
        Ok(Box::new(SessionWithGaps(honest)))
    }
}

fn with_gaps(keys: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair { local: Box::new(KeyWithGaps(keys.local)), remote: keys.remote }
}

impl Session for SessionWithGaps {
    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.0.write_handshake(buf)?;
        Some(Keys { packet: with_gaps(keys.packet), ..keys })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys().map(with_gaps)
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn quinn::crypto::HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

impl PacketKey for KeyWithGaps {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let end = buf.len() - self.0.tag_len();
        let frames = &mut buf[header_len..end];
        if frames.windows(MARK.len()).any(|bytes| bytes == MARK) {
            // RFC 9000, section 19: PADDING, and a PING, which has to be confirmed.
            frames.fill(0);
            frames[0] = 1;
        }
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut bytes::BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

async fn connect(fleet: &Fleet) -> Connection {
    let honest = QuicClientConfig::try_from(fleet.tls()).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(WithGaps(Arc::new(honest))));
    let mut transport = TransportConfig::default();
    // Nothing of its own holds it back.
    transport.send_window(1 << 30);
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, fleet.address(), "agent.invalid").unwrap().await.unwrap()
}

/// Sends for as long as it may, and counts what was taken.
async fn fill(mut send: SendStream, taken: Arc<AtomicU64>) {
    let period: Vec<u8> =
        MARK.iter().copied().cycle().take(GAP_BYTES).chain(std::iter::repeat(0)).take(PERIOD_BYTES).collect();
    let mut at = 0;
    while let Ok(count) = send.write(&period[at..]).await {
        taken.fetch_add(count as u64, Ordering::Relaxed);
        at = (at + count) % PERIOD_BYTES;
    }
}

#[tokio::test]
async fn streams_with_gaps_that_nothing_fills_hold_no_more_than_the_windows_and_nobody_else_up() {
    let fleet = Fleet::start(4);
    let connection = connect(&fleet).await;
    let welcomed = fleet.greet_on(&connection, &hello()).await;
    let window = u64::from(AGENT_CONNECTION_WINDOW_BYTES);
    let greeting = frame_of(&hello()).len() as u64;
    let before = memory_peak_mib();
    let taken = Arc::new(AtomicU64::new(0));
    let mut kept = Vec::new();
    for _ in 0..STREAMS {
        let (send, recv) = connection.open_bi().await.unwrap();
        kept.push(recv);
        tokio::spawn(fill(send, Arc::clone(&taken)));
    }
    let taken = || taken.load(Ordering::Relaxed);
    soon(async {
        while taken() < window - greeting {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    for _ in 0..10 {
        fleet.serves_an_honest_controller().await;
    }
    assert!(taken() <= window + greeting, "{} bytes were taken, and nothing of them can be read", taken());
    assert!(memory_peak_mib() < before + 64, "{before} MiB became {} MiB", memory_peak_mib());
    assert!(connection.close_reason().is_none(), "it is held by the windows, and need not be cut off");
    drop((welcomed, kept));
    connection.close(0_u32.into(), b"");
    fleet.serves_an_honest_controller().await;
}
