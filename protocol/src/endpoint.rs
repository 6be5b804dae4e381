//! The two ends of the transport: a [`Listener`] takes controllers in at an agent, a [`Dialer`] calls agents from a
//! controller. Both give a [`Peer`] whose identity has been verified, or a [`ConnectionFault`] that can be shown.
//!
//! The identity in use can be replaced at any time, by a renewed certificate or a longer revocation list. New connections
//! are judged by the new one at once; open ones when [`Peer::recheck`] is called.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, VarInt};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::fault::ConnectionFault;
use crate::identity::{Identity, Role, identity_of};
use crate::ids::HostName;
use crate::loaded_identity::LoadedIdentity;
use crate::quiet_socket::QuietRuntime;
use crate::tls::{Verdict, client_config, server_config};
use crate::transport::{
    DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, INCOMING_BUFFER_BYTES, INCOMING_BUFFER_TOTAL_BYTES, INCOMING_MAX,
    SocketBuffers, TransportOptions, bind, datagram_bytes_towards,
};
use crate::trust::{Expected, PeerRefused};

/// Not sent and not looked at; quinn wants some name. See [`crate::tls`].
const SERVER_NAME: &str = "agent.invalid";

/// A connection whose peer has proved who it is.
#[derive(Clone, Debug)]
pub struct Peer {
    pub connection: Connection,
    pub identity: Identity,
    us: Arc<CurrentIdentity>,
}

/// Why an endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the identity `{0}` is that of the other side: here {wanted} is wanted", wanted = match .0.role { Role::Agent => "a controller's", Role::Controller => "an agent's" })]
    Role(Identity),
    #[error("failed to open UDP address {address}")]
    Socket { address: SocketAddr, source: io::Error },
}

impl BindError {
    /// Somebody else has the address.
    pub fn is_taken(&self) -> bool {
        matches!(self, BindError::Socket { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

/// An agent's end.
#[derive(Debug)]
pub struct Listener {
    socket: OpenSocket,
    settings: quinn::ServerConfig,
}

/// A controller's end. One for all hosts.
#[derive(Debug)]
pub struct Dialer {
    socket: OpenSocket,
    options: TransportOptions,
}

/// What both ends have.
#[derive(Debug)]
struct OpenSocket {
    endpoint: Endpoint,
    buffers: SocketBuffers,
    us: Arc<CurrentIdentity>,
}

#[derive(Debug)]
struct CurrentIdentity(RwLock<Arc<LoadedIdentity>>);

/// A connection on its way in, of which nothing is known but where it says it comes from.
#[derive(Debug)]
pub struct Arrival {
    incoming: quinn::Incoming,
    settings: quinn::ServerConfig,
    us: Arc<CurrentIdentity>,
}

impl Listener {
    /// Opens `address` for controllers of the fleet of `identity`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A controller's identity, or an address that cannot be had.
    pub fn bind(
        address: SocketAddr,
        identity: LoadedIdentity,
        options: &TransportOptions,
    ) -> Result<Listener, BindError> {
        let identity = wanted(identity, Role::Agent)?;
        let mut settings = quinn::ServerConfig::with_crypto(server_crypto(&identity, Verdict::default()));
        settings
            // An agent sends little but results: it does not look for more.
            .transport_config(options.config(Role::Agent, DATAGRAM_BYTES_MIN))
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL_BYTES);
        let socket = OpenSocket::new(address, identity, Some(settings.clone()))?;
        Ok(Listener { socket, settings })
    }

    /// The next connection, or `None` once the listener is closed. The handshake is yet to come, see
    /// [`Arrival::handshake`], and should run in a task of its own: a slow peer must not hold up others.
    ///
    /// # Cancel safety
    /// Cancel-safe: no connection is lost.
    pub async fn accept(&self) -> Option<Arrival> {
        let incoming = self.socket.endpoint.accept().await?;
        Some(Arrival { incoming, settings: self.settings.clone(), us: self.socket.us.clone() })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.endpoint.local_addr()
    }

    pub fn buffers(&self) -> SocketBuffers {
        self.socket.buffers
    }

    pub fn identity(&self) -> Arc<LoadedIdentity> {
        self.socket.us.get()
    }

    /// Uses `identity` from now on.
    ///
    /// # Errors
    /// A controller's identity; the one in use stays.
    pub fn replace_identity(&self, identity: LoadedIdentity) -> Result<(), BindError> {
        self.socket.us.replace(wanted(identity, Role::Agent)?);
        Ok(())
    }

    /// Ends all connections with `code` and waits until their peers know, at most `drain`.
    pub async fn close(&self, code: u32, reason: &str, drain: Duration) {
        self.socket.close(code, reason, drain).await;
    }
}

impl Arrival {
    /// Where the peer says it is; not yet known to be true.
    pub fn address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Whether the peer has shown that it hears what is sent there.
    pub fn is_address_proved(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Has the peer call again and show that its address is its own. One that has is turned away.
    pub fn ask_for_proof(self) {
        if let Err(proved) = self.incoming.retry() {
            proved.into_incoming().refuse();
        }
    }

    /// Turns the connection away without any work: the peer sees [`ConnectionFault::Busy`].
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Does the handshake: at most the idle timeout.
    ///
    /// # Errors
    /// The peer is no controller of our fleet, or did not come to an end.
    ///
    /// # Cancel safety
    /// Dropped, the connection is ended.
    pub async fn handshake(self) -> Result<Peer, ConnectionFault> {
        let (us, verdict) = (self.us.get(), Verdict::default());
        let mut settings = self.settings;
        settings.crypto = server_crypto(&us, verdict.clone());
        let fault = |error: ConnectionError| ConnectionFault::new(&error, &verdict, &us);
        let connecting = self.incoming.accept_with(Arc::new(settings)).map_err(fault)?;
        Ok(Peer::new(connecting.await.map_err(fault)?, self.us))
    }
}

impl Dialer {
    /// Opens a socket for calling agents of the fleet of `identity`, on all addresses of this machine. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// An agent's identity, or no socket to be had.
    pub fn bind(identity: LoadedIdentity, options: &TransportOptions) -> Result<Dialer, BindError> {
        let identity = wanted(identity, Role::Controller)?;
        let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        // A kernel without IPv6 refuses the first.
        let socket =
            OpenSocket::new(any_v6, identity.clone(), None).or_else(|_| OpenSocket::new(any_v4, identity, None))?;
        Ok(Dialer { socket, options: *options })
    }

    /// Calls the agent of `host` at `address`. Waits at most the idle timeout.
    ///
    /// The agent judges our certificate only after our side of the handshake is done. So if it refuses us, this succeeds,
    /// and the first use of a stream fails: [`Peer::fault`] tells why.
    ///
    /// # Errors
    /// No answer, or an answer by anybody but the agent of `host`.
    ///
    /// # Cancel safety
    /// Dropped, the connection is ended.
    pub async fn connect(&self, host: &HostName, address: SocketAddr) -> Result<Peer, ConnectionFault> {
        let (us, verdict) = (self.socket.us.get(), Verdict::default());
        let tls = client_config(&us, host.clone(), verdict.clone());
        let crypto = QuicClientConfig::try_from(tls).expect("the provider has the suite of initial packets");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        // An address is called once in a run: there is nothing to remember of it.
        let transport = self.options.config(Role::Controller, datagram_bytes_towards(address));
        config.transport_config(transport).token_store(Arc::new(quinn::NoneTokenStore));
        let connecting = self.socket.endpoint.connect_with(config, self.reachable(address), SERVER_NAME)?;
        let connection = connecting.await.map_err(|error| ConnectionFault::new(&error, &verdict, &us))?;
        Ok(Peer::new(connection, self.socket.us.clone()))
    }

    /// An IPv6 socket reaches IPv4 addresses by their mapped form.
    fn reachable(&self, address: SocketAddr) -> SocketAddr {
        let socket_is_v6 = self.socket.endpoint.local_addr().is_ok_and(|local| local.is_ipv6());
        match address {
            SocketAddr::V4(v4) if socket_is_v6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            address => address,
        }
    }

    pub fn buffers(&self) -> SocketBuffers {
        self.socket.buffers
    }

    pub fn identity(&self) -> Arc<LoadedIdentity> {
        self.socket.us.get()
    }

    /// Uses `identity` from now on.
    ///
    /// # Errors
    /// An agent's identity; the one in use stays.
    pub fn replace_identity(&self, identity: LoadedIdentity) -> Result<(), BindError> {
        self.socket.us.replace(wanted(identity, Role::Controller)?);
        Ok(())
    }

    /// Ends all connections with `code` and waits until their peers know, at most `drain`.
    pub async fn close(&self, code: u32, reason: &str, drain: Duration) {
        self.socket.close(code, reason, drain).await;
    }
}

impl Peer {
    fn new(connection: Connection, us: Arc<CurrentIdentity>) -> Peer {
        let identity = certificates(&connection)
            .first()
            .and_then(|leaf| identity_of(leaf).ok())
            .expect("the verifier has found an identity in it");
        Peer { connection, identity, us }
    }

    /// What `error` of this connection means.
    pub fn fault(&self, error: &ConnectionError) -> ConnectionFault {
        ConnectionFault::new(error, &Verdict::default(), &self.us.get())
    }

    /// Judges the peer again by today's clock and the revocations known today. To be called every half minute and after
    /// each new revocation list, so that whoever was revoked or has expired is cut off within a minute.
    ///
    /// # Errors
    /// The peer would not be let in now; the caller closes the connection.
    pub fn recheck(&self) -> Result<(), PeerRefused> {
        let expected = match self.identity.role {
            Role::Controller => Expected::Controller,
            Role::Agent => Expected::Agent(self.identity.name.clone()),
        };
        self.us.get().trust().verify(&certificates(&self.connection), &expected, UnixTime::now()).map(|_identity| ())
    }
}

fn certificates(connection: &Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|chain| *chain)
        .unwrap_or_default()
}

impl OpenSocket {
    fn new(
        address: SocketAddr,
        us: Arc<LoadedIdentity>,
        server: Option<quinn::ServerConfig>,
    ) -> Result<OpenSocket, BindError> {
        let failed = |source| BindError::Socket { address, source };
        let (socket, buffers) = bind(address).map_err(failed)?;
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("it is above QUIC's least");
        let endpoint = Endpoint::new(config, server, socket, Arc::new(QuietRuntime)).map_err(failed)?;
        Ok(OpenSocket { endpoint, buffers, us: Arc::new(CurrentIdentity(RwLock::new(us))) })
    }

    async fn close(&self, code: u32, reason: &str, drain: Duration) {
        self.endpoint.close(VarInt::from_u32(code), reason.as_bytes());
        // A peer that is gone never knows: then the time was all there was to give.
        let _ = tokio::time::timeout(drain, self.endpoint.wait_idle()).await;
    }
}

impl CurrentIdentity {
    fn get(&self) -> Arc<LoadedIdentity> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, identity: Arc<LoadedIdentity>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

fn server_crypto(us: &Arc<LoadedIdentity>, verdict: Verdict) -> Arc<QuicServerConfig> {
    let config = QuicServerConfig::try_from(server_config(us, verdict));
    Arc::new(config.expect("the provider has the suite of initial packets"))
}

fn wanted(identity: LoadedIdentity, role: Role) -> Result<Arc<LoadedIdentity>, BindError> {
    match identity.identity().role == role {
        true => Ok(Arc::new(identity)),
        false => Err(BindError::Role(identity.identity().clone())),
    }
}
