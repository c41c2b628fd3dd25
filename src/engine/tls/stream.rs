//! TLS over an open connection. Never blocks.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslRef, SslStream, StatusType};

use super::notes::{self, Note};
use super::{Context, Facts, Failure, facts, ffi};
use crate::engine::transport::{Liveness, Received, Transport};

/// Of plain bytes (RFC 8446, 5.1).
const LARGEST_RECORD: usize = 16_384;

/// Plain bytes whose records leave together: as many as a turn's writes are joined to.
const BATCH: usize = 16 * LARGEST_RECORD;

/// Everything that securing one connection needs.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What it shares with others.
    pub context: Arc<Context>,
    /// The name asked for (SNI); `None` asks for none.
    pub server_name: Option<String>,
    /// Protocols offered (ALPN), as on the wire.
    pub protocols: Option<Vec<u8>>,
    /// A session to resume, in DER form.
    pub session: Option<Arc<[u8]>>,
    /// Whether the server is asked for an OCSP response.
    pub asks_status: bool,
    /// Whose certificate it must be; `None` leaves every verdict to the embedder.
    pub identity: Option<String>,
}

/// What a TLS connection waits for, beside what its owner wants of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// A read must write first.
    pub read_wants_write: bool,
    /// A write must read first.
    pub write_wants_read: bool,
}

/// How far a handshake came.
#[derive(Debug)]
pub enum Step {
    /// It is over.
    Done,
    /// The peer's turn.
    WantsRead,
    /// The kernel has no room.
    WantsWrite,
}

/// One secured connection.
#[derive(Debug)]
pub struct Tls {
    stream: SslStream<Transport>,
    notes: Receiver<Note>,
    sessions: Vec<Vec<u8>>,
    key_log: Vec<String>,
    must_be_trusted: bool,
    /// Plain bytes whose records the kernel has not taken all.
    owed: usize,
    /// Nothing that has come is left in OpenSSL.
    is_drained: bool,
    stall: Stall,
    /// How reading ended, while bytes that came before are still to be told.
    last: Option<Received>,
    failure: Option<Failure>,
    /// How writing failed behind a record that had left, for the next write to tell.
    broken: Option<io::Error>,
}

impl Tls {
    /// A client's end over `below`, before its handshake.
    ///
    /// # Errors
    /// OpenSSL's, about options.
    pub fn new(handshake: &Handshake, below: Transport) -> Result<Self, Failure> {
        let mut ssl = Ssl::new(handshake.context.made()?)?;
        let notes = notes::of(&mut ssl)?;
        handshake.configure(&mut ssl)?;
        ssl.set_connect_state();
        Ok(Self {
            stream: SslStream::new(ssl, below)?,
            notes,
            sessions: Vec::new(),
            key_log: Vec::new(),
            must_be_trusted: handshake.identity.is_some(),
            owed: 0,
            // The server may have sent more than its part of the handshake.
            is_drained: false,
            stall: Stall::default(),
            last: None,
            failure: None,
            broken: None,
        })
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// Whatever ended it.
    pub fn shake(&mut self) -> Result<Step, Failure> {
        match self.stream.do_handshake() {
            // The handshake goes on whatever the certificate says.
            Ok(()) => match facts::verdict(self.ssl()).as_raw() {
                verdict if self.must_be_trusted && verdict != 0 => Err(Failure::Untrusted(verdict)),
                _ => Ok(Step::Done),
            },
            Err(error) => match error.code() {
                ErrorCode::WANT_READ => Ok(Step::WantsRead),
                ErrorCode::WANT_WRITE => Ok(Step::WantsWrite),
                _ => Err(self.failure_of(&error)),
            },
        }
    }

    /// The transport below.
    #[must_use]
    pub fn below(&self) -> &Transport {
        self.stream.get_ref()
    }

    /// OpenSSL's side of it.
    pub(super) fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    /// What it waits for.
    #[must_use]
    pub fn stall(&self) -> Stall {
        self.stall
    }

    /// Whether nothing that has come is left in here.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Why the last operation failed, if TLS was the reason.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What was negotiated.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(self.ssl())
    }

    /// Sessions that came since the last call, in DER form.
    pub fn take_sessions(&mut self) -> Vec<Vec<u8>> {
        self.read_notes();
        std::mem::take(&mut self.sessions)
    }

    /// Whether sessions have come that nobody has taken.
    pub fn has_sessions(&mut self) -> bool {
        self.read_notes();
        !self.sessions.is_empty()
    }

    /// Lines of a key log since the last call.
    pub fn take_key_log(&mut self) -> Vec<String> {
        self.read_notes();
        std::mem::take(&mut self.key_log)
    }

    fn read_notes(&mut self) {
        for note in self.notes.try_iter() {
            match note {
                Note::Session(der) => self.sessions.push(der),
                Note::KeyLog(line) => self.key_log.push(line),
            }
        }
    }

    /// Whether anything was read but control messages, or can be read no more.
    pub(crate) fn peek(&mut self) -> Liveness {
        match self.last {
            Some(Received::End) => return Liveness::Fin,
            Some(Received::Failed(_)) => return Liveness::Reset,
            Some(Received::Bytes(_) | Received::Nothing) | None => {}
        }
        match self.below_mut().peek() {
            Liveness::Quiet if self.is_drained => return Liveness::Quiet,
            Liveness::Reset => return Liveness::Reset,
            Liveness::Quiet | Liveness::Unsolicited | Liveness::Fin => {}
        }
        match self.stream.ssl_peek(&mut [0]) {
            Ok(0) => Liveness::Fin,
            Ok(_) => {
                self.is_drained = false;
                Liveness::Unsolicited
            }
            Err(error) => match error.code() {
                // Session tickets, key updates: they are processed, and nothing else has come.
                ErrorCode::WANT_READ => {
                    self.is_drained = true;
                    Liveness::Quiet
                }
                ErrorCode::ZERO_RETURN => Liveness::Fin,
                // FIN alone, as one that a `close_notify` announced.
                _ if self.failed(&error).is_none() => Liveness::Fin,
                _ => Liveness::Reset,
            },
        }
    }

    /// Decrypts into `buffer` as much as has come.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let mut filled = 0;
        // Each record by itself would be a small read.
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let received = self.last.take().unwrap_or_else(|| self.receive_record(room));
            if let Received::Bytes(count) = received {
                filled += count;
                // To be told that nothing is left would be a system call for each answer.
                if self.below().is_exhausted() && !ffi::has_pending(self.ssl()) {
                    self.is_drained = true;
                    break;
                }
            } else if filled == 0 {
                return received;
            } else {
                self.last = (!matches!(received, Received::Nothing)).then_some(received);
                break;
            }
        }
        Received::Bytes(filled)
    }

    fn receive_record(&mut self, buffer: &mut [u8]) -> Received {
        self.stall.read_wants_write = false;
        self.is_drained = false;
        match self.stream.ssl_read(buffer) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes(count),
            Err(error) => match error.code() {
                ErrorCode::WANT_READ => {
                    self.is_drained = true;
                    Received::Nothing
                }
                ErrorCode::WANT_WRITE => {
                    self.stall.read_wants_write = true;
                    Received::Nothing
                }
                ErrorCode::ZERO_RETURN => Received::End,
                _ => match self.failed(&error) {
                    None => Received::End,
                    Some(error) => Received::Failed(error),
                },
            },
        }
    }

    /// Encrypts and sends `bytes`; answers how many the kernel took, all or none of each record, or of the records that
    /// leave together: a large write in one call makes the kernels at both ends work less than one for each record.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stall.write_wants_read = false;
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let mut sent = 0;
        loop {
            match self.send_some(bytes.get(sent..).unwrap_or_default()) {
                Ok(0) => return Ok(sent),
                Ok(count) => sent += count,
                Err(error) if sent == 0 => return Err(error),
                Err(error) => {
                    self.broken = Some(error);
                    return Ok(sent);
                }
            }
        }
    }

    /// A record, or those that leave together.
    fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() || !self.let_go()? {
            return Ok(0);
        }
        if self.owed > 0 {
            return Ok(std::mem::take(&mut self.owed));
        }
        if bytes.len() <= LARGEST_RECORD {
            return self.send_record(bytes);
        }
        let batch = bytes.get(..BATCH).unwrap_or(bytes);
        self.below_mut().hold(batch.len() + batch.len() / 64); // a record adds up to 85 bytes to 16 KiB (TLS 1.2, CBC)
        let mut encrypted = 0;
        while let Some(rest) = batch.get(encrypted..).filter(|rest| !rest.is_empty()) {
            match self.send_record(rest)? {
                0 => break,
                count => encrypted += count,
            }
        }
        self.owed = encrypted;
        Ok(if self.let_go()? { std::mem::take(&mut self.owed) } else { 0 })
    }

    /// Sends what was held back; whether it has all left.
    fn let_go(&mut self) -> io::Result<bool> {
        match self.below_mut().let_go() {
            Ok(true) => Ok(true),
            Ok(false) => {
                // Whatever TLS wants to read, it is the kernel that must take bytes first.
                self.stall.write_wants_read = false;
                Ok(false)
            }
            Err(error) => {
                self.owed = 0;
                self.failure = error.raw_os_error().map(Failure::System);
                Err(error)
            }
        }
    }

    fn send_record(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.ssl_write(bytes).or_else(|error| match error.code() {
            ErrorCode::WANT_WRITE => Ok(0),
            ErrorCode::WANT_READ => {
                self.stall.write_wants_read = true;
                Ok(0)
            }
            // Nothing is known of a FIN, so it is not called a broken pipe.
            _ => Err(self.failed(&error).unwrap_or_else(|| io::Error::from_raw_os_error(libc::ECONNRESET))),
        })
    }

    /// Nothing will be sent for a while.
    pub(crate) fn rest(&mut self) {
        self.below_mut().rest();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn close_notify(&mut self) {
        // It may find no room, or nobody to read it; FIN follows anyway.
        drop(self.stream.shutdown());
    }

    fn below_mut(&mut self) -> &mut Transport {
        self.stream.get_mut()
    }

    fn failure_of(&self, error: &openssl::ssl::Error) -> Failure {
        match (Failure::from(error), self.below().broken_by()) {
            (Failure::Ended, Some(errno)) => Failure::System(errno),
            (failure, _) => failure,
        }
    }

    /// The error as a system call's, or `None` for an end.
    fn failed(&mut self, error: &openssl::ssl::Error) -> Option<io::Error> {
        let failure = self.failure_of(error);
        if failure == Failure::Ended {
            return None;
        }
        Some(io::Error::from_raw_os_error(self.failure.insert(failure).errno()))
    }
}

impl Handshake {
    fn configure(&self, ssl: &mut Ssl) -> Result<(), ErrorStack> {
        if let Some(name) = &self.server_name {
            ssl.set_hostname(name)?;
        }
        if let Some(protocols) = &self.protocols {
            ssl.set_alpn_protos(protocols)?;
        }
        if self.asks_status {
            ssl.set_status_type(StatusType::OCSP)?;
        }
        if let Some(session) = &self.session {
            // A session that cannot be read is none: the handshake is a whole one.
            drop(ffi::set_session(ssl, session));
        }
        if let Some(identity) = &self.identity {
            match identity.parse::<IpAddr>() {
                Ok(address) => ssl.param_mut().set_ip(address)?,
                Err(_) => ssl.param_mut().set_host(identity)?,
            }
        }
        Ok(())
    }
}
