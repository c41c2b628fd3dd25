//! A connection without TLS: the kernel's own socket.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::{Ends, Knobs, Liveness, Output, Received, Silence, delivery, socket};

/// A plain TCP or Unix-domain connection.
#[derive(Debug)]
pub(super) struct Plain {
    socket: Socket,
    is_tcp: bool,
    /// Bytes that the kernel took.
    sent: u64,
    /// The last read had less than it had room for.
    is_exhausted: bool,
    /// What is held back to leave in one call.
    held: Output,
    is_holding: bool,
    /// What it called acknowledged before there was anything to acknowledge.
    acknowledged_before: Option<u64>,
    /// The first error of a read or a write: OpenSSL passes on that there was one, not which.
    broken_by: Option<i32>,
}

impl Plain {
    /// Takes over a connected socket and makes it non-blocking.
    ///
    /// # Errors
    /// The kernel's, when the descriptor is not a socket it can serve.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let is_tcp = socket.local_addr()?.as_socket().is_some();
        let acknowledged_before = delivery::delivery(&socket).map(|delivery| delivery.acknowledged);
        Ok(Self {
            socket,
            is_tcp,
            sent: 0,
            is_exhausted: false,
            held: Output::default(),
            is_holding: false,
            acknowledged_before,
            broken_by: None,
        })
    }

    /// The socket, for a reactor to watch.
    #[must_use]
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Gives the descriptor away.
    #[must_use]
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Whether it is TCP, not a Unix-domain socket.
    #[must_use]
    pub(super) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Asks the kernel, not a flag: is this idle connection still good? Costs one system call, no timer, no wait.
    #[must_use]
    pub(super) fn peek(&self) -> Liveness {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        match self.socket.peek(&mut byte) {
            Ok(0) => Liveness::Fin,
            Ok(_) => Liveness::Unsolicited,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Liveness::Quiet,
            Err(_) => Liveness::Reset,
        }
    }

    /// Reads what is there into `buffer`, at most once.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => Received::End,
                Ok(count) => {
                    self.is_exhausted = count < buffer.len();
                    Received::Bytes(count)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Received::Failed(error),
            };
        }
    }

    /// Whether another read would find nothing, unless something has come since the last.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }

    pub(super) fn hold(&mut self, about: usize) {
        self.held.reserve(about);
        self.is_holding = true;
    }

    /// Sends what was held back; whether the kernel took it all.
    ///
    /// # Errors
    /// The kernel's, when the connection is dead.
    pub(super) fn let_go(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_holding) {
            let mut held = std::mem::take(&mut self.held);
            let taken = self.send(held.unsent())?;
            held.advance(taken);
            self.is_holding = !held.is_empty();
            self.held = held;
        }
        Ok(!self.is_holding)
    }

    /// Gives `bytes` to the kernel; answers how many it took, possibly none.
    ///
    /// # Errors
    /// The kernel's, when the connection is dead.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_holding {
            self.held.push(bytes);
            return Ok(bytes.len());
        }
        loop {
            return match self.socket.send_with_flags(bytes, socket::SEND_FLAGS) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.broken_by = self.broken_by.or(error.raw_os_error());
                    Err(error)
                }
                Ok(count) => {
                    self.sent += count as u64;
                    Ok(count)
                }
            };
        }
    }

    pub(super) fn broken_by(&self) -> Option<i32> {
        self.broken_by
    }

    /// Bytes that the kernel took so far.
    #[must_use]
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of the bytes after the first `sent` the peer's kernel has acknowledged; `None` where nobody tells.
    /// Holds after a reset too. A FIN of ours counts as a byte: that errs on the side of what was delivered.
    #[must_use]
    pub(super) fn acknowledged_after(&self, sent: u64) -> Option<u64> {
        let acknowledged = delivery::delivery(&self.socket)?.acknowledged;
        Some(acknowledged.saturating_sub(self.acknowledged_before?).saturating_sub(sent))
    }

    pub(super) fn silence(&self) -> Silence {
        delivery::delivery(&self.socket).map(|delivery| delivery.silence).unwrap_or_default()
    }

    /// Bytes that are held back.
    #[must_use]
    pub(super) fn held_back(&self) -> usize {
        self.held.unsent().len()
    }

    pub(super) fn rest(&mut self) {
        if self.held.is_empty() {
            self.held.clear();
        }
    }

    /// Sends FIN after what was written.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn shut_down(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Makes the close that follows a reset, not a FIN.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// Nagle's algorithm off or on; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn set_no_delay(&self, on: bool) -> io::Result<()> {
        if self.is_tcp { self.socket.set_tcp_nodelay(on) } else { Ok(()) }
    }

    /// TCP keep-alive off, or on with probes after `idle`; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn set_keep_alive(&self, idle: Option<Duration>, knobs: &Knobs) -> io::Result<()> {
        if self.is_tcp { socket::set_keep_alive(&self.socket, idle, knobs) } else { Ok(()) }
    }

    /// Applies the agent's kernel knobs; nothing on a Unix-domain socket.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn set_knobs(&self, knobs: &Knobs) -> io::Result<()> {
        if self.is_tcp { socket::set_knobs(&self.socket, knobs) } else { Ok(()) }
    }

    pub(super) fn ends(&self) -> Ends {
        let end = |address: io::Result<SockAddr>| address.ok().and_then(|address| address.as_socket());
        (end(self.socket.local_addr()), end(self.socket.peer_addr()))
    }
}
