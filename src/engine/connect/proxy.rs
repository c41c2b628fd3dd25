//! Connections that a proxy opens on our behalf.

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::net::TcpStream as StdStream;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::net::TcpStream;
use tower_service::Service;

use super::lookup;
use super::secure::{Insecure, receive, secure, send};
use super::{News, Target};
use crate::engine::tls::{self, Handshake};
use crate::engine::transport::Transport;

/// A proxy's answer must have come to its end by then.
const MOST_HEAD: usize = 16 * 1024;

/// Headers that a proxy's answer may have.
const MOST_HEADERS: usize = 64;

/// How a proxy is asked.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "credentials are never printed")]
pub enum Protocol {
    /// Requests name their server themselves; the proxy itself is spoken to by TLS.
    Forward(Handshake),
    /// By `CONNECT`; the proxy itself perhaps by TLS.
    Tunnel {
        /// Its TLS.
        tls: Option<Handshake>,
        /// The value of `Proxy-Authorization`.
        authorization: Option<String>,
    },
    /// By SOCKS 5 (RFC 1928).
    Socks {
        /// User and password (RFC 1929).
        credentials: Option<(String, String)>,
        /// Whether the proxy looks the name up.
        resolves: bool,
    },
}

/// A proxy, whose own address is the target's place.
#[derive(Clone)]
pub struct Proxy {
    /// How it is asked.
    pub protocol: Protocol,
    /// The server's host: a name or an address.
    pub host: String,
    /// The server's port.
    pub port: u16,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Why a proxy opened nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of its answer, if it gave one.
    pub status: Option<u16>,
    /// In words; never with credentials.
    pub reason: String,
}

impl Refused {
    fn because(reason: impl Into<String>) -> News {
        News::Refused(Self { status: None, reason: reason.into() })
    }
}

impl From<Insecure> for News {
    fn from(insecure: Insecure) -> Self {
        Self::Insecure(insecure)
    }
}

/// Has the proxy at the other end of `socket` open the connection.
pub(super) async fn through(proxy: &Proxy, socket: Socket, target: &Target) -> Result<Transport, News> {
    let plain = |socket| Transport::new(socket).map_err(|error| News::unusable(&error));
    match &proxy.protocol {
        Protocol::Forward(tls) => Ok(secure(plain(socket)?, tls).await?),
        Protocol::Tunnel { tls, authorization } => {
            let mut transport = plain(socket)?;
            if let Some(tls) = tls {
                transport = secure(transport, tls).await?;
            }
            tunnel(proxy, authorization.as_deref(), &mut transport).await?;
            Ok(transport)
        }
        Protocol::Socks { credentials, resolves } => {
            let host = if *resolves { proxy.host.clone() } else { address_of(&proxy.host, target).await? };
            plain(socks(proxy, &host, credentials.clone(), socket).await?)
        }
    }
}

/// `host:port`, as in a request's first line.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn address_of(host: &str, target: &Target) -> Result<String, News> {
    let found = lookup::find(host.to_owned(), target).await.map_err(News::NotFound)?;
    found.first().map(ToString::to_string).ok_or_else(|| Refused::because("the name has no address"))
}

async fn tunnel(proxy: &Proxy, authorization: Option<&str>, transport: &mut Transport) -> Result<(), News> {
    let server = authority(&proxy.host, proxy.port);
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nhost: {server}\r\nproxy-connection: keep-alive\r\n");
    if let Some(authorization) = authorization {
        request.extend(["proxy-authorization: ", authorization, "\r\n"]);
    }
    request.push_str("\r\n");
    send(transport, request.as_bytes()).await.map_err(|error| ended(&error))?;
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let count = receive(transport, &mut buffer).await.map_err(|error| ended(&error))?;
        if count == 0 {
            return Err(Refused::because("the proxy closed the connection before it had answered"));
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(opened) = answer(&head) {
            return opened.map_err(News::Refused);
        }
        if head.len() > MOST_HEAD {
            return Err(Refused::because("the proxy's answer does not end"));
        }
    }
}

fn ended(error: &io::Error) -> News {
    News::Insecure(tls::Failure::System(error.raw_os_error().unwrap_or(libc::ECONNRESET)).into())
}

/// What the proxy has answered, once it has.
fn answer(head: &[u8]) -> Option<Result<(), Refused>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let refused = |status, reason: String| Some(Err(Refused { status, reason }));
    match response.parse(head) {
        Ok(httparse::Status::Partial) => None,
        // As Node, and as clients in general: of all 2xx this alone.
        Ok(httparse::Status::Complete(length)) if response.code == Some(200) => {
            // The server cannot have spoken yet: it has been told nothing.
            if length < head.len() {
                refused(None, "bytes came behind the proxy's answer".to_owned())
            } else {
                Some(Ok(()))
            }
        }
        Ok(httparse::Status::Complete(_)) => {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            refused(response.code, String::from_utf8_lossy(line).into_owned())
        }
        Err(error) => refused(None, format!("the proxy's answer is not HTTP: {error}")),
    }
}

async fn socks(
    proxy: &Proxy,
    host: &str,
    credentials: Option<(String, String)>,
    socket: Socket,
) -> Result<Socket, News> {
    let stream = TcpStream::from_std(StdStream::from(socket)).map_err(|error| News::unusable(&error))?;
    let refused = |error: &dyn fmt::Display| Refused::because(format!("SOCKS: {error}"));
    let server = authority(host, proxy.port).parse().map_err(|error: http::uri::InvalidUri| refused(&error))?;
    let mut socks = SocksV5::new(http::Uri::from_static("socks5:"), Opened(Some(stream)));
    if let Some((user, password)) = credentials {
        socks = socks.with_auth(user, password);
    }
    let stream = socks.call(server).await.map_err(|error| refused(&error))?.into_inner();
    stream.into_std().map(Socket::from).map_err(|error| News::unusable(&error))
}

/// A connector whose connection is open already.
struct Opened(Option<TcpStream>);

impl<Request> Service<Request> for Opened {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_judged_once_its_head_is_whole() {
        assert_eq!(answer(b"HTTP/1.1 200 Connection est"), None);
        assert_eq!(answer(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n"), Some(Ok(())));
        let refused = answer(b"HTTP/1.1 407 Who are you\r\n\r\n").unwrap().unwrap_err();
        assert_eq!((refused.status, refused.reason.as_str()), (Some(407), "HTTP/1.1 407 Who are you"));
        assert!(answer(b"SSH-2.0-x\r\n\r\n").unwrap().is_err());
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n\x15\x03").unwrap().is_err());
    }

    #[test]
    fn authority_brackets_addresses_with_colons() {
        assert_eq!((authority("::1", 1).as_str(), authority("a.b", 2).as_str()), ("[::1]:1", "a.b:2"));
    }
}
