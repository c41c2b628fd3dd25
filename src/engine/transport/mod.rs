//! One open connection: read, write, peek, close. Never blocks.

mod delivery;
mod output;
mod plain;
mod sentinel;
mod socket;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

pub use delivery::Silence;
pub(crate) use output::Output;
use plain::Plain;
pub use sentinel::Sentinel;
pub use socket::Knobs;
use socket2::Socket;

use super::tls::{Stall, Tls};

/// What an idle connection's receive queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Nothing to read: as alive as anyone can know.
    Quiet,
    /// Bytes that nobody asked for.
    Unsolicited,
    /// The peer closed in order.
    Fin,
    /// The peer reset it, or the kernel gave it up.
    Reset,
}

/// What one read brought.
#[derive(Debug)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// The peer's FIN.
    End,
    /// Nothing now.
    Nothing,
    /// It is dead.
    Failed(io::Error),
}

/// This end's address and the other's; none of a Unix-domain socket.
pub type Ends = (Option<SocketAddr>, Option<SocketAddr>);

/// An open connection, with as many layers of TLS as it has.
#[derive(Debug)]
pub struct Transport(Layer);

#[derive(Debug)]
enum Layer {
    /// TCP or a Unix-domain socket.
    Plain(Plain),
    Tls(Box<Tls>),
}

impl Transport {
    /// Takes over a connected socket and makes it non-blocking.
    ///
    /// # Errors
    /// The kernel's, when the descriptor is not a socket it can serve.
    pub fn new(socket: Socket) -> io::Result<Self> {
        Ok(Self(Layer::Plain(Plain::new(socket)?)))
    }

    /// A secured connection.
    #[must_use]
    pub fn secured(tls: Tls) -> Self {
        Self(Layer::Tls(Box::new(tls)))
    }

    fn plain(&self) -> &Plain {
        match &self.0 {
            Layer::Plain(plain) => plain,
            Layer::Tls(tls) => tls.below().plain(),
        }
    }

    /// Its TLS, if it has any.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match &self.0 {
            Layer::Plain(_) => None,
            Layer::Tls(tls) => Some(tls),
        }
    }

    /// Its TLS, if it has any.
    pub fn tls_mut(&mut self) -> Option<&mut Tls> {
        match &mut self.0 {
            Layer::Plain(_) => None,
            Layer::Tls(tls) => Some(tls),
        }
    }

    /// The socket, for a reactor to watch.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.plain().socket()
    }

    /// Gives the descriptor away; `None` of a secured connection, which is more than that.
    #[must_use]
    pub fn into_socket(self) -> Option<Socket> {
        match self.0 {
            Layer::Plain(plain) => Some(plain.into_socket()),
            Layer::Tls(_) => None,
        }
    }

    /// Whether it is TCP, not a Unix-domain socket.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.plain().is_tcp()
    }

    /// Asks the kernel, not a flag: is this idle connection still good? Costs one system call, no timer, no wait; and
    /// decrypts what has come, which may be none of the peer's words.
    pub fn peek(&mut self) -> Liveness {
        match &mut self.0 {
            Layer::Plain(plain) => plain.peek(),
            Layer::Tls(tls) => tls.peek(),
        }
    }

    /// Reads what is there into `buffer`, at most once.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match &mut self.0 {
            Layer::Plain(plain) => plain.receive(buffer),
            Layer::Tls(tls) => tls.receive(buffer),
        }
    }

    /// Gives `bytes` to the kernel; answers how many it took, possibly none. What was offered to TLS once must be
    /// offered again until it is taken.
    ///
    /// # Errors
    /// The kernel's, when the connection is dead; `EPROTO` where TLS failed.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Layer::Plain(plain) => plain.send(bytes),
            Layer::Tls(tls) => tls.send(bytes),
        }
    }

    /// Holds back what is sent from here on, `about` so many bytes, until it is let go.
    pub(crate) fn hold(&mut self, about: usize) {
        if let Layer::Plain(plain) = &mut self.0 {
            plain.hold(about);
        }
    }

    /// Sends what was held back; whether the kernel took it all. What it did not take is held back on, and what is sent
    /// later goes behind it.
    pub(crate) fn let_go(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Layer::Plain(plain) => plain.let_go(),
            Layer::Tls(_) => Ok(true),
        }
    }

    /// Whether all that has come and was not read is the kernel's to tell.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.tls().is_none_or(Tls::is_drained)
    }

    /// Whether another read would find nothing, unless something has come since the last.
    pub(crate) fn is_exhausted(&self) -> bool {
        match &self.0 {
            Layer::Plain(plain) => plain.is_exhausted(),
            Layer::Tls(tls) => tls.is_drained(),
        }
    }

    /// What TLS waits for, whatever its owner wants.
    #[must_use]
    pub fn stall(&self) -> Stall {
        self.tls().map(Tls::stall).unwrap_or_default()
    }

    /// The error that broke writing, if one did.
    pub(crate) fn broken_by(&self) -> Option<i32> {
        self.plain().broken_by()
    }

    /// Bytes that the kernel took so far, those of handshakes included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.plain().sent()
    }

    /// How many of the bytes after the first `sent` the peer's kernel has acknowledged; `None` where nobody tells.
    /// Holds after a reset too. A FIN of ours counts as a byte: that errs on the side of what was delivered.
    #[must_use]
    pub fn acknowledged_after(&self, sent: u64) -> Option<u64> {
        self.plain().acknowledged_after(sent)
    }

    /// Since when the peer has been silent.
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.plain().silence()
    }

    /// Nothing will be sent for a while.
    pub(crate) fn rest(&mut self) {
        match &mut self.0 {
            Layer::Plain(plain) => plain.rest(),
            Layer::Tls(tls) => tls.rest(),
        }
    }

    /// Bytes that TLS has sent and the kernel has not taken.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.plain().held_back()
    }

    /// Sends FIN after what was written.
    ///
    /// # Errors
    /// The kernel's.
    pub fn shut_down(&mut self) -> io::Result<()> {
        if let Layer::Tls(tls) = &mut self.0 {
            tls.close_notify();
        }
        self.plain().shut_down()
    }

    /// Makes the close that follows a reset, not a FIN.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.plain().reset_on_close()
    }

    /// Nagle's algorithm off or on; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_no_delay(&self, on: bool) -> io::Result<()> {
        self.plain().set_no_delay(on)
    }

    /// TCP keep-alive off, or on with probes after `idle`; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_keep_alive(&self, idle: Option<Duration>, knobs: &Knobs) -> io::Result<()> {
        self.plain().set_keep_alive(idle, knobs)
    }

    /// Applies the agent's kernel knobs; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_knobs(&self, knobs: &Knobs) -> io::Result<()> {
        self.plain().set_knobs(knobs)
    }

    /// Both of its ends, as far as the kernel still knows them.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.plain().ends()
    }
}

/// As a layer of TLS above reads and writes.
impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.receive(buffer) {
            Received::Bytes(count) => Ok(count),
            Received::End => Ok(0),
            Received::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            Received::Failed(error) => Err(error),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send(bytes)? {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
