//! Opening connections, on background threads: what may block never runs on the loop.
//!
//! Addresses are raced here rather than by hyper-util's connector: that one reports the last error alone, and callers
//! need every attempt's address and errno (Node's `AggregateError`, its `bind` errors, its local port).

mod lookup;
mod proxy;
mod race;
mod secure;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use super::doorbell::Button;
use super::pool::ConnectionId;
use super::tls::Handshake;
use super::transport::{Ends, Transport};

pub use lookup::LookupFailure;
pub use proxy::{Protocol, Proxy, Refused};
pub use secure::Insecure;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name still to be looked up.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// Addresses that are known.
    Addresses {
        /// In the order of preference.
        addresses: Vec<IpAddr>,
        /// The port.
        port: u16,
    },
    /// A Unix-domain socket; on Linux a leading NUL byte names an abstract one.
    Path(PathBuf),
}

/// Which address families a lookup may answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// How a lookup's answers are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the resolver gave them.
    #[default]
    Verbatim,
    /// IPv4 first.
    V4First,
    /// IPv6 first.
    V6First,
}

/// Everything that opening one connection needs.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to; with a proxy, where that is.
    pub place: Place,
    /// Who opens the connection for us.
    pub proxy: Option<Proxy>,
    /// What makes it secure.
    pub tls: Option<Handshake>,
    /// For the lookup of a name.
    pub family: Family,
    /// `getaddrinfo`'s flags.
    pub hints: i32,
    /// For the lookup of a name.
    pub order: Order,
    /// Race all addresses (RFC 8305); otherwise only the first is tried.
    pub race: bool,
    /// Head start of each address over the next.
    pub attempt_delay: Duration,
    /// Local address to bind.
    pub local_address: Option<IpAddr>,
    /// Local port to bind; 0 is any.
    pub local_port: u16,
}

/// One failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `connect` or `bind`.
    pub syscall: &'static str,
    /// The system's error number.
    pub errno: i32,
    /// Where to; `None` for a Unix-domain socket.
    pub address: Option<SocketAddr>,
    /// From where, if that was asked for.
    pub local: Option<SocketAddr>,
}

/// What the background tells the loop.
#[derive(Debug)]
pub enum News {
    /// The name has these addresses; connecting goes on.
    Found(Vec<IpAddr>),
    /// The name has none.
    NotFound(LookupFailure),
    /// Connected, and now to be made secure.
    Connected(Ends),
    /// Ready for use, but for the verdict on its certificate.
    Opened(Transport),
    /// Every attempt failed, in the order of the addresses.
    Failed(Vec<Failure>),
    /// The proxy did not open it.
    Refused(Refused),
    /// It could not be made secure.
    Insecure(Insecure),
}

impl News {
    /// The kernel does not let us use what it has connected.
    fn unusable(error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Self::Failed(vec![Failure { syscall: "connect", errno, address: None, local: None }])
    }
}

/// News of one connection. The ticket tells attempts on the same place in the pool apart.
#[derive(Debug)]
pub struct Answer {
    /// Whose.
    pub id: ConnectionId,
    /// Which attempt's.
    pub ticket: u64,
    /// What happened.
    pub news: News,
}

/// An attempt under way; dropping it cancels it.
#[derive(Debug)]
pub struct Attempt(AbortHandle);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to open a connection; its news come through the doorbell.
#[must_use]
pub fn open(id: ConnectionId, ticket: u64, target: Target, button: Button<Answer>) -> Attempt {
    let task = runtime().spawn(async move {
        let tell = |news| button.press(Answer { id, ticket, news });
        let news = match reach(&target, tell).await {
            Ok(transport) => News::Opened(transport),
            Err(news) => news,
        };
        tell(news);
    });
    Attempt(task.abort_handle())
}

async fn reach(target: &Target, tell: impl Fn(News)) -> Result<Transport, News> {
    let socket = match &target.place {
        Place::Path(path) => race::connect_path(path).await?,
        Place::Addresses { addresses, port } => race::connect(addresses, *port, target).await?,
        Place::Name { host, port } => {
            let addresses = lookup::find(host.clone(), target).await.map_err(News::NotFound)?;
            tell(News::Found(addresses.clone()));
            race::connect(&addresses, *port, target).await?
        }
    };
    let transport = match &target.proxy {
        Some(proxy) => proxy::through(proxy, socket, target).await?,
        None => Transport::new(socket).map_err(|error| News::unusable(&error))?,
    };
    let Some(handshake) = &target.tls else { return Ok(transport) };
    tell(News::Connected(transport.ends()));
    Ok(secure::secure(transport, handshake).await?)
}

/// One runtime for the process, started on first use and never stopped: environments come and go.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("holdfast")
            .enable_all()
            .build()
            .expect("the system has a thread to spare")
    })
}
