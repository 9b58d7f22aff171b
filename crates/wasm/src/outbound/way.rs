//! From the address in a request to a connection.

use super::secure;
use base::FunctionSpec;
use http::Uri;
use runtimes::Platform;
use sandbox::{NotConnected, PLATFORM, Place, Sandboxes};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, pki_types::ServerName},
};
use wasmtime_wasi_http::{Error, Result};

/// Names that are asked for at once on this node: each question has a thread of the daemon's.
const LOOKUPS_MAX: usize = 32;
/// Of those, by one function's environment.
const LOOKUPS_EACH: usize = 4;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Bytes in flight in each direction between a function and Neap itself.
const PIPE: usize = 64 * 1024;

/// TLS for functions, made when it is first needed.
type MakeTls = fn() -> Result<TlsConnector, String>;

/// What all functions share on their way out.
pub(crate) struct Ways {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) platform: Arc<dyn Platform>,
    make_tls: MakeTls,
    tls: OnceLock<Result<TlsConnector, String>>,
    lookups: Arc<Semaphore>,
}

/// What one environment reaches.
pub(crate) struct Reach {
    ways: Arc<Ways>,
    spec: Arc<FunctionSpec>,
    lookups: Arc<Semaphore>,
}

/// Whom a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: Host,
    port: u16,
    secure: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// A connection, and what it takes.
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Dropped with it.
    pub(super) held: Held,
}

/// What goes on, or is held, as long as a connection.
pub(super) enum Held {
    /// One of the node's places.
    Place { _place: Place },
    /// Neap's end of the pipe.
    Platform { _serving: tokio::task::JoinSet<()> },
}

/// Bytes to and fro.
pub(super) struct Stream(Pin<Box<dyn Io>>);

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

impl Ways {
    pub(crate) fn new(sandboxes: Sandboxes, platform: Arc<dyn Platform>, make_tls: MakeTls) -> Ways {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Ways { sandboxes, platform, make_tls, tls: OnceLock::new(), lookups }
    }

    /// Blocks for some milliseconds the first time.
    fn tls(&self) -> Result<&TlsConnector> {
        let made = self.tls.get_or_init(self.make_tls);
        made.as_ref().map_err(|reason| Error::InternalError(Some(reason.clone())))
    }
}

impl Target {
    /// Of a request. Errors: it names nobody.
    pub(super) fn of(uri: &Uri) -> Result<Target> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host();
        // Whoever is named before an `@` is no part of an address any more.
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let secure = secure(uri);
        let port = match authority.as_str().strip_prefix(host) {
            Some("" | ":") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(_) | None => authority.port_u16().ok_or(Error::HttpRequestUriInvalid)?,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
        };
        Ok(Target { host, port, secure })
    }

    /// Whether it is where processes find Neap: its port on the loopback interface, by whatever name. Source of the names: RFC 6761.
    fn is_platform(&self) -> bool {
        let local = match &self.host {
            Host::Address(address) => *address == IpAddr::V4(*PLATFORM.ip()),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        };
        local && self.port == PLATFORM.port() && !self.secure
    }
}

impl Reach {
    pub(crate) fn new(ways: Arc<Ways>, spec: Arc<FunctionSpec>) -> Arc<Reach> {
        Arc::new(Reach { ways, spec, lookups: Arc::new(Semaphore::new(LOOKUPS_EACH)) })
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<Connection> {
        if target.is_platform() {
            return self.platform();
        }
        if !self.ways.sandboxes.reach_internet() {
            return Err(Error::HttpRequestDenied);
        }
        let (stream, place) = self.first(&self.addresses(target).await?, target.port).await?;
        let held = Held::Place { _place: place };
        if !target.secure {
            return Ok(Connection { stream: Stream(Box::pin(stream)), held });
        }
        let name = match &target.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        let stream = self.ways.tls()?.connect(name, stream).await.map_err(tls_error)?;
        Ok(Connection { stream: Stream(Box::pin(stream)), held })
    }

    fn platform(&self) -> Result<Connection> {
        if !self.ways.sandboxes.reach_platform() {
            return Err(Error::HttpRequestDenied);
        }
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(self.ways.platform.serve_pipe(theirs, self.spec.clone()));
        Ok(Connection { stream: Stream(Box::pin(ours)), held: Held::Platform { _serving: serving } })
    }

    /// The IPv4 addresses of a host, as this host knows them.
    async fn addresses(&self, target: &Target) -> Result<Vec<Ipv4Addr>> {
        let name = match &target.host {
            Host::Address(IpAddr::V4(address)) => return Ok(vec![*address]),
            // As sandboxes have no IPv6.
            Host::Address(IpAddr::V6(_)) => return Err(Error::HttpRequestDenied),
            Host::Name(name) => name.clone(),
        };
        let mut found = self.look_up(name).await?;
        found.truncate(ADDRESSES_MAX);
        match found.is_empty() {
            true => Err(Error::DestinationNotFound),
            false => Ok(found),
        }
    }

    /// Waits for its turn: a question may take as long as the resolver's patience, and cannot be called off.
    async fn look_up(&self, name: String) -> Result<Vec<Ipv4Addr>> {
        let gone = |_| Error::InternalError(None);
        let own = self.lookups.clone().acquire_owned().await.map_err(gone)?;
        let all = self.ways.lookups.clone().acquire_owned().await.map_err(gone)?;
        let asked = tokio::spawn(ask(name, (own, all)));
        let unknown = |_: io::Error| Error::DnsError {
            rcode: Some("the name cannot be resolved".to_owned()),
            info_code: None,
        };
        asked.await.map_err(|_| Error::InternalError(None))?.map_err(unknown)
    }

    /// The first that answers; if none of them may be reached, that is said.
    async fn first(&self, addresses: &[Ipv4Addr], port: u16) -> Result<(tokio::net::TcpStream, Place)> {
        let mut failure = Error::HttpRequestDenied;
        for address in addresses {
            match self.ways.sandboxes.connect(SocketAddrV4::new(*address, port)).await {
                Ok(connected) => return Ok(connected),
                Err(NotConnected::Denied) => {}
                Err(NotConnected::Full) => return Err(Error::ConnectionLimitReached),
                Err(NotConnected::Failed(error)) => failure = connect_error(error),
            }
        }
        Err(failure)
    }
}

/// Asks this host's resolver; the turns are held until it has answered, even if nobody waits any more.
async fn ask(name: String, turns: (OwnedSemaphorePermit, OwnedSemaphorePermit)) -> io::Result<Vec<Ipv4Addr>> {
    let found = tokio::net::lookup_host((name, 0)).await;
    drop(turns);
    let of_version_4 = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    Ok(found?.filter_map(of_version_4).collect())
}

fn connect_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationUnavailable,
        _ => Error::Connect(error),
    }
}

/// Whether it was the certificate is what a component can do something about.
fn tls_error(error: io::Error) -> Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, ()> {
        Target::of(&text.parse().unwrap()).map_err(|_| ())
    }

    #[test]
    fn targets_are_read_from_requests() {
        let name = |name: &str, port, secure| Ok(Target { host: Host::Name(name.into()), port, secure });
        assert_eq!(target("http://Example.org/a?b"), name("example.org", 80, false));
        assert_eq!(target("https://example.org./"), name("example.org", 443, true));
        assert_eq!(target("https://example.org:8443"), name("example.org", 8443, true));
        let address = Host::Address("2001:db8::1".parse().unwrap());
        assert_eq!(target("http://[2001:db8::1]:81/"), Ok(Target { host: address, port: 81, secure: false }));
        assert_eq!(target("http://user@example.org/"), Err(()));
        assert_eq!(target("http://example.org:99999/"), Err(()));
        assert_eq!(target("/path"), Err(()));
    }

    #[test]
    fn neap_is_where_processes_find_it() {
        for (text, is) in [
            ("http://127.0.0.1:4566/", true),
            ("http://localhost:4566/", true),
            ("http://id.lambda-url.us-east-1.LOCALHOST:4566/", true),
            ("https://localhost:4566/", false),
            ("http://localhost/", false),
            ("http://127.0.0.2:4566/", false),
            ("http://notlocalhost:4566/", false),
        ] {
            assert_eq!(target(text).unwrap().is_platform(), is, "{text}");
        }
    }
}
