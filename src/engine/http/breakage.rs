//! What can be wrong with an answer.

/// Why an answer could not be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Breakage {
    /// It does not begin as HTTP/1 does.
    Version = 1,
    /// No status code.
    Status,
    /// A header is none.
    Header,
    /// Its length is said twice, or is no number.
    Length,
    /// Its head is larger than allowed.
    HeadTooLarge,
    /// The length of a chunk is no number, or too large a one.
    Chunk,
    /// Bytes behind it that answer nothing.
    Unsolicited,
}

impl Breakage {
    /// hyper's verdict; `None` where it only missed what the connection's end cut off.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return None;
        }
        // hyper has no other way to tell kinds of parse errors apart.
        let words = error.to_string();
        let is = |what: &str| words.contains(what);
        Some(if error.is_parse_status() {
            Self::Status
        } else if is("version") {
            Self::Version
        } else if is("content-length") || is("transfer-encoding") {
            Self::Length
        } else if is("too large") {
            Self::HeadTooLarge
        } else if is("unexpected message") {
            Self::Unsolicited
        } else if error.is_parse() {
            Self::Header
        } else {
            // What is left are errors in the frames of a body.
            let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
            if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::UnexpectedEof) {
                return None;
            }
            Self::Chunk
        })
    }
}
