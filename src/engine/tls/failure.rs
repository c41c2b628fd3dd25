//! Why TLS failed, in the words that callers match on.

use std::io;

use openssl::error::ErrorStack;
use openssl::ssl::{Error, ErrorCode};

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// OpenSSL refused, or the peer did and said so by an alert.
    Protocol(ProtocolFailure),
    /// The peer's certificate is not to be trusted: OpenSSL's number.
    Untrusted(i32),
    /// The connection ended within the handshake.
    Ended,
    /// A system call failed: its error number.
    System(i32),
}

/// One entry of OpenSSL's error queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolFailure {
    /// `ERR_SSL_WRONG_VERSION_NUMBER`.
    pub code: String,
    /// `SSL routines`.
    pub library: String,
    /// `wrong version number`.
    pub reason: String,
    /// The whole line as OpenSSL prints it.
    pub text: String,
}

impl ProtocolFailure {
    fn of(errors: &ErrorStack) -> Self {
        let Some(error) = errors.errors().first() else {
            let reason = "unknown error".to_owned();
            return Self { code: "ERR_OSSL_UNKNOWN".to_owned(), text: reason.clone(), reason, ..Self::default() };
        };
        let library = error.library().unwrap_or_default();
        let reason = error.reason().unwrap_or_default();
        // As Node names them: `SSL routines` and a reason make `ERR_SSL_REASON`, all others `ERR_OSSL_LIBRARY_REASON`.
        let words = reason.replace(' ', "_").to_uppercase();
        let code = match library {
            "SSL routines" => format!("ERR_SSL_{words}"),
            _ => format!("ERR_OSSL_{}_{words}", library.trim_end_matches(" routines").replace(' ', "_").to_uppercase()),
        };
        let (function, file, line) = (error.function(), error.file(), error.line());
        let text = format!(
            "error:{:08X}:{library}:{}:{reason}:{}:{line}:{}",
            error.code(),
            function.as_ref().map_or("", AsRef::as_ref),
            AsRef::<str>::as_ref(&file),
            error.data().unwrap_or_default(),
        );
        Self { code, library: library.to_owned(), reason: reason.to_owned(), text }
    }
}

impl From<ErrorStack> for Failure {
    fn from(errors: ErrorStack) -> Self {
        Self::Protocol(ProtocolFailure::of(&errors))
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Ended, Self::System)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match (error.code(), error.ssl_error(), error.io_error()) {
            (ErrorCode::SSL, Some(errors), _) => Self::Protocol(ProtocolFailure::of(errors)),
            (_, _, Some(error)) => Self::from(error),
            (_, _, None) => Self::Ended,
        }
    }
}

impl Failure {
    /// As a system call would have failed with.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Protocol(_) | Self::Untrusted(_) => libc::EPROTO,
            Self::Ended => libc::ECONNRESET,
            Self::System(errno) => *errno,
        }
    }
}
