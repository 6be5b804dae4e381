//! HTTP for the modules that speak it, with the host's own certificate authorities and proxies.

mod auth;
mod netrc;
mod proxy;
mod reason;
mod secrets;
mod socket;
mod tls;
mod url;
mod watch;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use rustle_protocol::{Map, ModuleResult, Value};
use ureq::http;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

use crate::module::{Doing, ModuleContext, ModuleError, shown};
use crate::{arguments, choices};

use auth::Credentials;
use reason::Reason;
use url::{credentials_of, origin, path_and_query};
pub(crate) use url::{file_name, resolved};
use watch::Watch;

/// Redirects in a row. More are a loop.
const REDIRECTS_MAX: usize = 10;

/// Read of a body at once.
const CHUNK_BYTES: usize = 64 * 1024;

arguments! {
    /// How to talk to a server.
    pub(crate) struct HttpArgs {
        /// The user to authenticate as.
        url_username | "user" | "username": Option<String>,
        /// The password.
        url_password | "password": Option<String>,
        /// Authenticate at once, without waiting for being asked.
        force_basic_auth: bool = false,
        /// Whether the server's certificate has to be valid.
        validate_certs: bool = true,
        /// The authorities to trust, in the place of the host's.
        ca_path: Option<PathBuf>,
        /// Our certificate, PEM; may have the key in it.
        client_cert: Option<PathBuf>,
        /// Its key, PEM.
        client_key: Option<PathBuf>,
        /// What we are called.
        http_agent: String = "ansible-httpget".into(),
        /// Use the proxy that the environment names, through a tunnel (`CONNECT`).
        use_proxy: bool = true,
        /// More headers.
        headers: Map = Map::new(),
        /// Headers that are not sent to where a redirect leads.
        unredirected_headers: Vec<String> = Vec::new(),
        /// Unpack a packed answer.
        decompress: bool = true,
        /// Tell caches on the way to ask the server.
        force: bool = false,
        /// Accepted; there are no ciphers to choose from.
        ciphers: Option<Vec<String>>,
        /// Kerberos is not to be had.
        use_gssapi: bool = false,
        /// Look for a user and a password in `~/.netrc`, if the task names none.
        use_netrc: bool = true,
    }
}

choices! {
    /// Which redirects are followed.
    pub(crate) enum Follow { All = "all", No = "no", None = "none", Safe = "safe", Urllib2 = "urllib2", Yes = "yes" }
}

/// A header or a field of a form as Python writes it.
pub(crate) fn worded(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => shown(other),
    }
}

impl Follow {
    /// How to ask where a redirect of this status leads to, if it may be followed. `urllib2` does as Python's library,
    /// which forgets a `HEAD`.
    fn method_after(self, status: u16, method: &str) -> Option<String> {
        let keeps_method = match status {
            301..=303 => false,
            307 | 308 => true,
            _ => return None,
        };
        let is_reading = matches!(method, "GET" | "HEAD");
        let next = match self {
            Follow::None | Follow::No => return None,
            Follow::Safe => is_reading.then_some(method)?,
            Follow::All | Follow::Yes if keeps_method || method == "HEAD" => method,
            Follow::All | Follow::Yes => "GET",
            Follow::Urllib2 => (is_reading || method == "POST" && !keeps_method).then_some("GET")?,
        };
        Some(next.to_owned())
    }
}

/// What is asked.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// Besides those of [`HttpArgs`], and weaker than those.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) follow: Follow,
    /// The socket of the host to send it to, instead of to where the URL leads.
    pub(crate) socket: Option<&'a Path>,
    /// For each wait: the connection, the answer, each piece of it.
    pub(crate) timeout: Duration,
}

impl HttpArgs {
    /// Takes the password out of what a module is about to say.
    pub(crate) fn hide_password(&self, result: &mut ModuleResult) {
        secrets::hide(result, self.url_password.as_deref().unwrap_or_default());
    }
}

/// A URL as it may be shown: without a user's name and password.
pub(crate) fn presentable(url: &str) -> String {
    credentials_of(url).0
}

/// The header that asks for a file only if it is newer than the one at `path`, if there is one.
pub(crate) fn since(path: &Path) -> Option<(String, String)> {
    let modified = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.modified().ok()?;
    let time = chrono::DateTime::<chrono::Utc>::from(modified).format("%a, %d %b %Y %H:%M:%S GMT");
    Some(("if-modified-since".to_owned(), time.to_string()))
}

/// What was answered. The body has not been read.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Where it came from in the end.
    pub(crate) url: String,
    pub(crate) redirected: bool,
    /// What the server calls the status.
    reason: String,
    headers: http::HeaderMap,
    body: ureq::Body,
    /// A packed body is unpacked as it is read.
    unpacks: bool,
    watch: Watch,
}

/// Sends the request and follows redirects. A cancelled task hangs up at once, but for the wait until a connection is
/// there.
///
/// # Errors
/// No server answered: the sentence says why. Any answer, 500 included, is none.
pub(crate) fn send(args: &HttpArgs, request: &Request<'_>, cx: &ModuleContext<'_>) -> Result<Reply, ModuleError> {
    // Accepted for the sake of tasks that have it.
    let _ = &args.ciphers;
    if args.use_gssapi {
        return Err(ModuleError::new("use_gssapi: Kerberos is not to be had here; use another way to authenticate"));
    }
    let reason = Reason::default();
    let agent = agent(args, request, reason.clone());
    let client = Client { args, request, cx, watch: Watch::new(agent.clone(), cx.cancel)?, agent, reason };
    client.send()
}

/// What is told of redirects that do not end, before the last one's own words.
const ENDLESS: &str = "The HTTP server returned a redirect error that would lead to an infinite loop.\n\
                       The last 30x error message was:";

/// What Python's library would not ask for.
fn understood(url: &str) -> Result<(), ModuleError> {
    let fail = |why: String| Err(ModuleError::new(why));
    let is_scheme = |text: &str| {
        text.starts_with(|sign: char| sign.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return fail(format!("unknown url type: '{url}'"));
    };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return fail(format!("Request failed: <urlopen error unknown url type: {scheme}>"));
    }
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() {
        return fail("Request failed: <urlopen error no host given>".to_owned());
    }
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if let Some(port) = port.filter(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return fail(format!("An unknown error occurred: nonnumeric port: '{port}'"));
    }
    let path = path.split('#').next().unwrap_or_default();
    match path.chars().find(|sign| *sign <= ' ' || *sign == '\x7f') {
        Some(sign) => fail(format!(
            "An unknown error occurred: URL can't contain control characters. '{path}' (found at least '{sign}')"
        )),
        None => Ok(()),
    }
}

/// One request on its way, with all that it is redirected to.
struct Client<'a> {
    args: &'a HttpArgs,
    request: &'a Request<'a>,
    cx: &'a ModuleContext<'a>,
    agent: ureq::Agent,
    watch: Watch,
    reason: Reason,
}

/// What is asked of one server.
struct Hop {
    method: String,
    url: String,
    redirected: bool,
}

impl Hop {
    /// What was sent to the first server is not for the one that it sends us to, unless it says so.
    fn leaves_out_the_body(&self) -> bool {
        self.redirected && matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

impl Client<'_> {
    fn send(self) -> Result<Reply, ModuleError> {
        understood(self.request.url)?;
        let method = self.request.method.to_ascii_uppercase();
        let mut hop = Hop { method, url: self.request.url.to_owned(), redirected: false };
        let mut hops = 0;
        loop {
            let (parts, body) = self.ask(&hop)?.into_parts();
            let status = parts.status.as_u16();
            let next = self.redirect(&hop, status, &parts.headers);
            let is_endless = next.is_some() && hops == REDIRECTS_MAX;
            hops += 1;
            match next.filter(|_| !is_endless) {
                Some(next) => hop = next,
                None => {
                    let own = parts.status.canonical_reason().unwrap_or_default();
                    let reason = self.reason.take().unwrap_or_else(|| own.to_owned());
                    let reason = if is_endless { format!("{ENDLESS}\n{reason}") } else { reason };
                    let (url, redirected) = (credentials_of(&hop.url).0, hop.redirected);
                    let (headers, unpacks, watch) = (parts.headers, self.args.decompress, self.watch);
                    return Ok(Reply { status, url, redirected, reason, headers, body, unpacks, watch });
                }
            }
        }
    }

    /// Where an answer leads, if it leads anywhere and may be followed.
    fn redirect(&self, hop: &Hop, status: u16, headers: &http::HeaderMap) -> Option<Hop> {
        let method = self.request.follow.method_after(status, &hop.method)?;
        let target = headers.get(http::header::LOCATION)?;
        let url = resolved(&hop.url, &String::from_utf8_lossy(target.as_bytes()));
        Some(Hop { method, url, redirected: true })
    }

    /// Asks a server, and once more if it wants to know who asks.
    fn ask(&self, hop: &Hop) -> Result<http::Response<ureq::Body>, ModuleError> {
        let who = self.who(hop);
        let at_once = who.as_ref().filter(|(_, at_once)| *at_once).map(|(credentials, _)| credentials.basic());
        let is_told = at_once.is_some();
        let reply = self.ask_as(hop, at_once)?;
        let Some((credentials, _)) = who.filter(|_| reply.status() == 401) else { return Ok(reply) };
        let challenges = reply.headers().get_all(http::header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> =
            challenges.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        match credentials.answer(&challenges, &hop.method, &path_and_query(&hop.url)) {
            Some(answer) if !(is_told && answer == credentials.basic()) => self.ask_as(hop, Some(answer)),
            _ => Ok(reply),
        }
    }

    /// Who we are to this server, and whether we say so before it asks.
    ///
    /// The task's user and password are for the server that the task named, and for none that this one redirects to.
    fn who(&self, hop: &Hop) -> Option<(Credentials, bool)> {
        let named = self.args.url_username.clone().filter(|user| !user.is_empty());
        let named = named.filter(|_| origin(&hop.url) == origin(self.request.url)).map(|user| {
            let password = self.args.url_password.clone().unwrap_or_default();
            Credentials { user, password }
        });
        if let Some(credentials) = named.or_else(|| credentials_of(&hop.url).1) {
            return Some((credentials, self.args.force_basic_auth));
        }
        let (_, host) = origin(&hop.url).filter(|_| self.args.use_netrc)?;
        netrc::credentials(&host, self.cx).map(|credentials| (credentials, true))
    }

    fn ask_as(&self, hop: &Hop, authorization: Option<String>) -> Result<http::Response<ureq::Body>, ModuleError> {
        let (url, _) = credentials_of(&hop.url);
        let failed = |why: String| ModuleError::new(format!("Request failed: {why}")).with("url", url.as_str());
        let mut builder = http::Request::builder().method(hop.method.as_str()).uri(&url);
        for (name, value) in self.headers(hop, authorization) {
            builder = builder.header(name, value);
        }
        let tls = if url.starts_with("https:") { Some(tls::config(self.args)?) } else { None };
        let is_proxied = self.args.use_proxy && self.request.socket.is_none();
        let proxy = if is_proxied { proxy::of(&url, self.cx)? } else { None };
        let body = if hop.leaves_out_the_body() { &[] } else { self.request.body.as_slice() };
        let reply = if body.is_empty() && !matches!(hop.method.as_str(), "POST" | "PUT" | "PATCH") {
            self.run(builder.body(()).map_err(|error| failed(error.to_string()))?, tls, proxy)
        } else {
            self.run(builder.body(body).map_err(|error| failed(error.to_string()))?, tls, proxy)
        };
        reply.map_err(|error| match self.cx.cancel.is_cancelled() {
            true => failed("the task was cancelled".to_owned()),
            false => ModuleError::new(explained(&error, &url)).with("url", url.as_str()),
        })
    }

    fn run(
        &self,
        request: http::Request<impl ureq::AsSendBody>,
        tls: Option<ureq::tls::TlsConfig>,
        proxy: Option<ureq::Proxy>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let config = self.agent.configure_request(request).proxy(proxy);
        let config = match tls {
            Some(tls) => config.tls_config(tls),
            None => config,
        };
        self.agent.run(config.build())
    }

    /// The author's headers, those of the request that the author did not set, and who we are.
    fn headers(&self, hop: &Hop, authorization: Option<String>) -> Vec<(String, String)> {
        let mut headers: Vec<_> = self.args.headers.iter().map(|(name, value)| (name.clone(), worded(value))).collect();
        let is_set = |name: &str| self.args.headers.keys().any(|other| other.eq_ignore_ascii_case(name));
        headers.extend(self.request.headers.iter().filter(|(name, _)| !is_set(name)).cloned());
        if self.args.force {
            headers.push(("cache-control".to_owned(), "no-cache".to_owned()));
        }
        if let Some(value) = authorization {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            headers.push(("authorization".to_owned(), value));
        }
        let held_back =
            |name: &str| self.args.unredirected_headers.iter().any(|other| other.eq_ignore_ascii_case(name));
        headers.retain(|(name, _)| !hop.redirected || !held_back(name));
        headers.retain(|(name, _)| !(hop.leaves_out_the_body() && name.eq_ignore_ascii_case("content-type")));
        headers
    }
}

fn agent(args: &HttpArgs, request: &Request<'_>, reason: Reason) -> ureq::Agent {
    let timeout = request.timeout;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .user_agent(args.http_agent.as_str())
        // Unless the author says what is welcome, nothing is said, as by Ansible.
        .accept("")
        .accept_encoding("identity")
        .timeout_connect(Some(timeout))
        .timeout_resolve(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        // A connection serves one request, which the listener for reasons counts on.
        .max_idle_connections(0)
        .build();
    match request.socket {
        Some(path) => socket::agent(config, path.to_owned(), reason),
        None => {
            let connector = DefaultConnector::default().chain(reason);
            ureq::Agent::with_parts(config, connector, DefaultResolver::default())
        }
    }
}

/// As Python's `urllib` says it, where people look for its words.
fn explained(error: &ureq::Error, url: &str) -> String {
    match error {
        // There is a connection: what comes over it is told as such.
        ureq::Error::Timeout(ureq::Timeout::RecvResponse | ureq::Timeout::RecvBody | ureq::Timeout::PerRead) => {
            "Connection failure: timed out".to_owned()
        }
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            "Connection failure: Remote end closed connection without response".to_owned()
        }
        other => format!("Request failed: {}", not_connected(other, url)),
    }
}

fn not_connected(error: &ureq::Error, url: &str) -> String {
    match error {
        ureq::Error::HostNotFound => "<urlopen error [Errno -2] Name or service not known>".to_owned(),
        ureq::Error::Timeout(_) => "<urlopen error timed out>".to_owned(),
        ureq::Error::Rustls(error) => untrusted(error, url),
        ureq::Error::Io(io) => match (io.get_ref().and_then(|cause| cause.downcast_ref()), io.raw_os_error()) {
            (Some(error), _) => untrusted(error, url),
            (None, Some(number)) => {
                let text = io.to_string();
                let text = text.split(" (os error").next().unwrap_or_default().to_owned();
                format!("<urlopen error [Errno {number}] {text}>")
            }
            (None, None) if is_unknown_name(io) => "<urlopen error [Errno -2] Name or service not known>".to_owned(),
            (None, None) => format!("<urlopen error {io}>"),
        },
        other => format!("<urlopen error {other}>"),
    }
}

/// The resolver's answer has no number and comes as a text.
fn is_unknown_name(error: &std::io::Error) -> bool {
    error.to_string().ends_with("Name or service not known")
}

fn untrusted(error: &rustls::Error, url: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => format!(
            "Failed to validate the SSL certificate of {}: certificate verify failed: {why}; ca_path names an authority \
             to trust",
            origin(url).map_or_else(|| url.to_owned(), |(_, host)| host)
        ),
        other => format!("<urlopen error [SSL] {other}>"),
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Names in small letters; of a header that comes several times, all values with commas.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let value = |name: &http::HeaderName| {
            let all = self.headers.get_all(name).iter();
            all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>().join(", ")
        };
        self.headers.keys().map(|name| (name.as_str().to_owned(), value(name))).collect()
    }

    /// Names and values of the cookies that the server sets, in its order.
    pub(crate) fn cookies(&self) -> Vec<(String, String)> {
        let cookie = |value: &http::HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let (name, value) = text.split(';').next()?.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        self.headers.get_all(http::header::SET_COOKIE).iter().filter_map(cookie).collect()
    }

    /// What the server calls the file that it sends, else what `url` does. A path in the server's name is no more than
    /// a name.
    pub(crate) fn file_name(&self, url: &str) -> String {
        let disposition = self.header("content-disposition").unwrap_or_default();
        let named = disposition.split(';').filter_map(|part| part.trim().strip_prefix("filename="));
        let named = named.map(|name| name.trim_matches('"'));
        let named = named.filter_map(|name| Path::new(name).file_name()?.to_str()).next();
        named.map_or_else(|| file_name(url), str::to_owned)
    }

    /// `OK (5 bytes)`, or what went wrong, as Ansible says it.
    pub(crate) fn msg(&self) -> String {
        match self.status {
            200..=299 => {
                format!("OK ({} bytes)", self.header("content-length").unwrap_or_else(|| "unknown".to_owned()))
            }
            status => format!("HTTP Error {status}: {}", self.reason),
        }
    }

    /// Copies the body into `to`, which gets `bytes_max` at most.
    ///
    /// # Errors
    /// The server fell silent, the disk is full, the body is longer, the task was cancelled.
    pub(crate) fn copy_to(
        self,
        to: &mut impl Write,
        bytes_max: u64,
        cx: &ModuleContext<'_>,
    ) -> Result<u64, ModuleError> {
        let is_packed =
            self.unpacks && self.header("content-encoding").is_some_and(|value| value.eq_ignore_ascii_case("gzip"));
        let (url, _watch) = (self.url, self.watch);
        let body = self.body.into_with_config().limit(u64::MAX).reader();
        let mut body: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(body)) } else { Box::new(body) };
        let (mut buffer, mut total) = (vec![0; CHUNK_BYTES], 0);
        loop {
            let len = body.read(&mut buffer).doing(|| format!("receive {url}: HTTP Error while fetching it"));
            if cx.cancel.is_cancelled() {
                return Err(ModuleError::new(format!("receiving {url} was cancelled")));
            }
            let len = len?;
            if len == 0 {
                return Ok(total);
            }
            total += len as u64;
            if total > bytes_max {
                return Err(ModuleError::new(format!("{url} has more than {bytes_max} bytes")));
            }
            to.write_all(&buffer[..len]).doing(|| format!("store what {url} sends"))?;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    use rustle_protocol::Value;
    use serde_json::json;

    use super::*;
    use crate::module::CancelReason;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;

    /// A server for some requests, each answered by `answer` from its head and body. Gives its address.
    pub(crate) fn serve(answer: impl Fn(&str, &[u8]) -> String + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap_or(0) > 2 {}
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).unwrap();
                // A client that has heard enough may be gone.
                let _ = stream.write_all(answer(&head, &body).as_bytes());
            }
        });
        format!("http://{address}")
    }

    /// The answer with this status, these header lines and this body.
    pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
    }

    fn request(url: &str) -> Request<'_> {
        let (headers, body, timeout) = (Vec::new(), Vec::new(), Duration::from_secs(60));
        Request { method: "GET", url, headers, body, follow: Follow::All, socket: None, timeout }
    }

    fn with(args: serde_json::Value) -> HttpArgs {
        parse("http", Value::from(args).as_map().unwrap().clone()).unwrap()
    }

    fn got(args: &HttpArgs, request: &Request<'_>) -> (u16, String, String) {
        let around = Surroundings::new();
        let reply = send(args, request, &around.context()).unwrap();
        let (status, msg, mut body) = (reply.status, reply.msg(), Vec::new());
        reply.copy_to(&mut body, 1024, &around.context()).unwrap();
        (status, msg, String::from_utf8(body).unwrap())
    }

    /// Lets in who answers its challenge, and says what it was told first.
    fn guarded(challenge: &'static str, scheme: &'static str) -> String {
        serve(move |head, _| match head.to_lowercase().contains(&format!("authorization: {scheme} ")) {
            true => answer("200 OK", "", "in"),
            false => answer("401 STAY OUT", &format!("WWW-Authenticate: {challenge}\r\n"), ""),
        })
    }

    #[test]
    fn who_is_asked_who_he_is_says_so() {
        let bob = with(json!({"url_username": "bob", "url_password": "x"}));
        let (basic, digest) = ("Basic realm=a", "Digest realm=\"a\", qop=\"auth\", nonce=\"b\"");
        for (challenge, scheme) in [(basic, "basic"), (digest, "digest")] {
            let url = guarded(challenge, scheme);
            assert_eq!(got(&bob, &request(&url)).2, "in");
            let told = got(&with(json!({})), &request(&url));
            assert_eq!((told.0, told.1.as_str()), (401, "HTTP Error 401: STAY OUT"));
        }
        assert_eq!(got(&with(json!({})), &request(&guarded(basic, "basic").replace("//", "//eve:y@"))).2, "in");
    }

    #[test]
    fn a_password_does_not_go_where_its_server_redirects_to() {
        let other = serve(|head, _| answer("200 OK", "", head));
        let first = serve(move |_, _| answer("302 Found", &format!("Location: {other}/\r\n"), ""));
        let bob = with(json!({"url_username": "bob", "url_password": "x", "force_basic_auth": true}));
        let head = got(&bob, &request(&first)).2;
        assert!(head.starts_with("GET / ") && !head.to_lowercase().contains("authorization"), "{head}");
    }

    #[test]
    fn the_tasks_proxy_is_asked_unless_the_host_is_an_exception() {
        let proxy = serve_tunnel();
        let own = serve(|_, _| answer("200 OK", "", "own"));
        let around = Surroundings::new().with_env("http_proxy", &proxy);
        let said = |around: &Surroundings, args: &HttpArgs| {
            let mut body = Vec::new();
            send(args, &request(&own), &around.context()).unwrap().copy_to(&mut body, 99, &around.context()).unwrap();
            String::from_utf8(body).unwrap()
        };
        let all = with(json!({}));
        assert_eq!(said(&around, &all), format!("CONNECT {} HTTP/1.1", own.trim_start_matches("http://")));
        assert_eq!(said(&around, &with(json!({"use_proxy": false}))), "own");
        let around = around.with_env("no_proxy", "example.com, 127.0.0.1");
        assert_eq!(said(&around, &all), "own");
    }

    /// A proxy that answers in the place of everybody with what it was told to connect to. Gives its address.
    fn serve_tunnel() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = || {
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap() > 2 {}
                head.lines().next().unwrap().to_owned()
            };
            let wanted = head();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            head();
            stream.write_all(answer("200 OK", "", &wanted).as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn a_socket_of_the_host_is_a_server_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap() > 2 {}
            stream.write_all(answer("200 OK", "", "from the socket").as_bytes()).unwrap();
        });
        let request = Request { socket: Some(&path), ..request("http://no.such.host.example/") };
        assert_eq!(got(&with(json!({})), &request).2, "from the socket");
    }

    #[test]
    fn a_cancelled_request_hangs_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let around = Surroundings::new();
        let cancel = around.cancel.clone();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).unwrap();
            cancel.cancel(CancelReason::Requested);
            // Ends once the client hangs up.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)
        });
        let error = send(&with(json!({})), &request(&url), &around.context()).map(|reply| reply.status).unwrap_err();
        assert_eq!(error.to_string(), "Request failed: the task was cancelled");
        server.join().unwrap().unwrap();
    }

    #[test]
    fn a_server_has_to_have_a_certificate_of_an_authority_that_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let ca_path = dir.path().join("ca.pem");
        std::fs::write(&ca_path, certificate.pem()).unwrap();
        let url = serve_tls(certificate.der().clone(), key.serialize_der());
        let trusting = with(json!({"ca_path": ca_path, "use_proxy": false}));
        assert_eq!(got(&trusting, &request(&url)).2, "safe");
        assert_eq!(got(&with(json!({"validate_certs": false, "use_proxy": false})), &request(&url)).2, "safe");
        let around = Surroundings::new();
        let refused = |args: &HttpArgs, url: &str| {
            send(args, &request(url), &around.context()).map(|reply| reply.status).unwrap_err().to_string()
        };
        let untrusted = refused(&with(json!({"use_proxy": false})), &url);
        assert!(untrusted.contains("Failed to validate the SSL certificate of localhost:"), "{untrusted}");
        let renamed = refused(&trusting, &url.replace("localhost", "127.0.0.1"));
        assert!(renamed.contains("certificate verify failed"), "{renamed}");
    }

    /// A server at `localhost` that says `safe` to everybody who trusts it. Gives its address.
    fn serve_tls(certificate: rustls::pki_types::CertificateDer<'static>, key: Vec<u8>) -> String {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.into());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                // A client that does not trust us is gone after the handshake.
                let _ = stream.read(&mut [0; 1024]).and_then(|_| {
                    stream.write_all(answer("200 OK", "", "safe").as_bytes())?;
                    stream.conn.send_close_notify();
                    stream.flush()
                });
            }
        });
        format!("https://localhost:{port}/")
    }
}
