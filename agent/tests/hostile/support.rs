//! An agent in this process, and controllers that speak to it byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use quinn::{Connection, RecvStream, SendStream};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustle_agent::blobs::BlobStore;
use rustle_agent::ledger::{Durability, Ledger, LedgerOptions};
use rustle_agent::policy::Policy;
use rustle_agent::runner::Runner;
use rustle_agent::server::{Shared, serve};
use rustle_protocol::endpoint::{Dialer, Listener, Peer};
use rustle_protocol::frame::{self, FrameReader, FrameWriter};
use rustle_protocol::message::{
    Call, CallEvent, CallOutcome, CallRequest, Hello, HelloReply, OnDisconnect, VERSIONS, Welcome,
};
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::value::WireMap;
use rustle_protocol::{CallKey, HostName, LoadedIdentity, Map, RunId, Value};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::oneshot;

pub(crate) const HOST: &str = "web1";

/// A fleet of one agent, which serves until dropped.
pub(crate) struct Fleet {
    address: std::net::SocketAddr,
    dialer: Dialer,
    shutdown: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    pub(crate) state: tempfile::TempDir,
}

/// A welcomed controller.
pub(crate) struct Controller {
    pub(crate) connection: Connection,
    pub(crate) control: FrameWriter<SendStream>,
    pub(crate) notices: FrameReader<RecvStream>,
    pub(crate) welcome: Welcome,
}

impl Fleet {
    pub(crate) fn start(calls_max: u32) -> Fleet {
        Fleet::with_state(calls_max, tempfile::tempdir().unwrap())
    }

    /// An agent that finds there what an earlier one has left.
    pub(crate) fn with_state(calls_max: u32, state: tempfile::TempDir) -> Fleet {
        let authority = Ca::new();
        let options = TransportOptions::default();
        let agent = authority.issue("rustle://demo/agent/web1", ExtendedKeyUsagePurpose::ServerAuth);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), agent, &options).unwrap();
        let blobs = BlobStore::open(state.path().join("blobs"), 1 << 20).unwrap();
        let revocations = state.path().join("crl.pem");
        let address = listener.local_address().unwrap();
        let ledger = open_ledger(&state);
        let runner = Runner::new(Policy::default(), calls_max);
        let shared = Arc::new(Shared::new(listener, runner, blobs, ledger, revocations));
        let (shutdown, is_shutdown) = oneshot::channel::<()>();
        let ended = async { drop(is_shutdown.await) };
        let served = tokio::spawn(serve(shared, ended, Duration::from_secs(20)));
        let controller = authority.issue("rustle://demo/controller/ops", ExtendedKeyUsagePurpose::ClientAuth);
        let dialer = Dialer::bind(controller, &TransportOptions::default()).unwrap();
        Fleet { address, dialer, shutdown: Some(shutdown), served, state }
    }

    /// Tells the agent to drain, as SIGTERM would.
    pub(crate) fn drain(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) {
        self.served.await.unwrap();
    }

    /// The first packets of that many handshakes that never went on.
    pub(crate) async fn first_packets(&self, count: usize) -> Vec<Vec<u8>> {
        let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = nobody.local_addr().unwrap();
        let (host, mut packets) = (HOST.parse().unwrap(), Vec::new());
        let mut buffer = [0; 2048];
        for _ in 0..count {
            let calling = self.dialer.connect(&host, address);
            let len = tokio::select! {
                received = nobody.recv(&mut buffer) => received.unwrap(),
                _ = calling => panic!("nobody answers"),
            };
            packets.push(buffer[..len].to_vec());
            // What else this attempt has sent is not the first packet of the next one.
            while nobody.try_recv(&mut buffer).is_ok() {}
        }
        packets
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub(crate) async fn connect(&self) -> Peer {
        self.dialer.connect(&HOST.parse().unwrap(), self.address).await.unwrap()
    }

    pub(crate) async fn greet(
        &self,
        hello: &Hello,
    ) -> (Peer, FrameWriter<SendStream>, FrameReader<RecvStream>, HelloReply) {
        let peer = self.connect().await;
        let (writer, reader, reply) = self.greet_on(&peer.connection, hello).await;
        (peer, writer, reader, reply)
    }

    pub(crate) async fn greet_on(
        &self,
        connection: &Connection,
        hello: &Hello,
    ) -> (FrameWriter<SendStream>, FrameReader<RecvStream>, HelloReply) {
        let (send, recv) = connection.open_bi().await.unwrap();
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
        writer.send(hello).await.unwrap();
        let reply = reader.next().await.unwrap().unwrap();
        (writer, reader, reply)
    }

    /// TLS as the controller of this fleet has it.
    pub(crate) fn tls(&self) -> rustls::ClientConfig {
        rustle_protocol::tls::client_config(&self.dialer.identity(), HOST.parse().unwrap(), Default::default())
    }

    pub(crate) async fn controller(&self) -> Controller {
        match self.greet(&hello()).await {
            (peer, control, notices, HelloReply::Welcome(welcome)) => {
                Controller { connection: peer.connection, control, notices, welcome }
            }
            (.., HelloReply::Refused(refusal)) => panic!("{refusal}"),
        }
    }

    /// The proof that whatever was done to the agent, it works on for everybody else.
    pub(crate) async fn serves_an_honest_controller(&self) {
        let outcome = self.controller().await.run(ping(1)).await;
        assert!(matches!(&outcome, CallOutcome::Finished(result) if !result.failed), "{outcome:?}");
    }
}

impl Controller {
    pub(crate) async fn stream(&self) -> (FrameWriter<SendStream>, FrameReader<RecvStream>) {
        let (send, recv) = self.connection.open_bi().await.unwrap();
        (FrameWriter::new(send), FrameReader::new(recv))
    }

    pub(crate) async fn run(&self, call: Call) -> CallOutcome {
        let (mut writer, mut reader) = self.stream().await;
        writer.send(&CallRequest::Call(Box::new(call))).await.unwrap();
        outcome(&mut reader).await
    }

    /// A call that runs until it is stopped.
    pub(crate) async fn start_sleep(&self, task: u32) -> (FrameWriter<SendStream>, FrameReader<RecvStream>) {
        let (mut writer, mut reader) = self.stream().await;
        writer.send(&CallRequest::Call(Box::new(command(task, "sleep 600")))).await.unwrap();
        assert_eq!(reader.next::<CallEvent>().await.unwrap(), Some(CallEvent::Started));
        (writer, reader)
    }
}

/// Reads to the end of the call.
pub(crate) async fn outcome(reader: &mut FrameReader<RecvStream>) -> CallOutcome {
    loop {
        match reader.next::<CallEvent>().await.unwrap().expect("the stream ended before the call") {
            CallEvent::Ended { outcome, .. } => return outcome,
            CallEvent::Started | CallEvent::Output { .. } | CallEvent::Cut { .. } | CallEvent::BlobWanted { .. } => {}
        }
    }
}

pub(crate) fn open_ledger(state: &tempfile::TempDir) -> Ledger {
    let options =
        LedgerOptions { durability: Durability::Process, bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };
    Ledger::open(&state.path().join("ledger"), options).unwrap()
}

/// Each test has a thread of its own, and one run.
fn run_id() -> RunId {
    thread_local!(static RUN: RunId = RunId::generate());
    RUN.with(|run| *run)
}

/// No two calls of a test are the same.
fn next_item() -> u32 {
    static ITEM: AtomicU32 = AtomicU32::new(0);
    ITEM.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn hello() -> Hello {
    Hello {
        versions: VERSIONS,
        software: "test/1".into(),
        host: HOST.parse::<HostName>().unwrap(),
        run: run_id(),
        epoch: 1,
        on_disconnect: OnDisconnect::Cancel,
        extra: WireMap::default(),
    }
}

pub(crate) fn call(task: u32, module: &str, args: &[(&str, Value)]) -> Call {
    let args: Map = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Call {
        key: CallKey { run: run_id(), task, round: 0, item: next_item(), attempt: 1 },
        module: module.into(),
        args: WireMap(args),
        check: false,
        diff: false,
        timeout_ms: 60_000,
        live_output: true,
        no_log: false,
        ignore_failure: false,
        environment: Vec::new(),
        become_user: None,
        verbosity: 0,
    }
}

pub(crate) fn ping(task: u32) -> Call {
    call(task, "ansible.builtin.ping", &[])
}

pub(crate) fn command(task: u32, line: &str) -> Call {
    call(task, "ansible.builtin.shell", &[("_raw_params", line.into())])
}

pub(crate) fn frame_of<T: bincode::Encode>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, message).unwrap();
    bytes
}

/// The peak of this process' resident memory, in MiB.
pub(crate) fn memory_peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

struct Ca {
    certificate: rustls::pki_types::CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Ca {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, uri: &str, usage: ExtendedKeyUsagePurpose) -> LoadedIdentity {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let day = Duration::from_secs(24 * 3600);
        (params.not_before, params.not_after) = ((SystemTime::now() - day).into(), (SystemTime::now() + day).into());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        LoadedIdentity::new(vec![certificate], key.into(), std::slice::from_ref(&self.certificate), vec![]).unwrap()
    }
}
