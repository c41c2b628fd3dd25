//! The handshake of TLS, and what else has to be said on a connection before it can be handed to the loop.

use std::io::{self, ErrorKind, Read, Write};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::engine::tls::{Failure, Handshake, Step, Tls};
use crate::engine::transport::Transport;

/// A handshake that failed, and the lines of a key log that it left.
#[derive(Debug)]
pub struct Insecure {
    /// Why.
    pub failure: Failure,
    /// For whoever reads a capture of it.
    pub key_log: Vec<String>,
}

impl From<Failure> for Insecure {
    fn from(failure: Failure) -> Self {
        Self { failure, key_log: Vec::new() }
    }
}

/// Speaks TLS over `below`.
pub(super) async fn secure(below: Transport, handshake: &Handshake) -> Result<Transport, Insecure> {
    let mut tls = Tls::new(handshake, below)?;
    let readiness = Readiness::of(tls.below().socket()).map_err(|error| Failure::from(&error))?;
    let mut step = tls.shake();
    loop {
        let interest = match step {
            Ok(Step::Done) => return Ok(Transport::secured(tls)),
            Ok(Step::WantsRead) => Interest::READABLE,
            Ok(Step::WantsWrite) => Interest::WRITABLE,
            // The peer was gone before it could be greeted, which a read would have told as a reset.
            Err(Failure::System(libc::EPIPE)) => return Err(Failure::System(libc::ECONNRESET).into()),
            Err(failure) => return Err(Insecure { failure, key_log: tls.take_key_log() }),
        };
        let shaken = readiness.attempt(interest, || match (tls.shake(), interest) {
            // What was waited for is used up; only then may the next one be waited for.
            (Ok(Step::WantsRead), Interest::READABLE) | (Ok(Step::WantsWrite), Interest::WRITABLE) => {
                Err(ErrorKind::WouldBlock.into())
            }
            (step, _) => Ok(step),
        });
        step = shaken.await.unwrap_or_else(|error| Err(Failure::from(&error)));
    }
}

/// Sends all of `bytes`.
pub(super) async fn send(transport: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    let readiness = Readiness::of(transport.socket())?;
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += match transport.write(rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                readiness.attempt(Interest::WRITABLE, || transport.write(rest)).await?
            }
            written => written?,
        };
    }
    Ok(())
}

/// Receives what is there, or waits for it; 0 is the end.
pub(super) async fn receive(transport: &mut Transport, buffer: &mut [u8]) -> io::Result<usize> {
    match transport.read(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let readiness = Readiness::of(transport.socket())?;
            readiness.attempt(Interest::READABLE, || transport.read(buffer)).await
        }
        received => received,
    }
}

/// Waits for a socket that somebody else reads and writes, by a descriptor of its own. To wait for it, a Unix-domain
/// socket is as good a `TcpStream` as any.
struct Readiness(TcpStream);

impl Readiness {
    fn of(socket: &Socket) -> io::Result<Self> {
        Ok(Self(TcpStream::from_std(socket.try_clone()?.into())?))
    }

    /// Runs `work` whenever the socket is ready, until it would not block.
    async fn attempt<T>(&self, interest: Interest, work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.0.async_io(interest, work).await
    }
}
