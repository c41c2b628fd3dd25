//! Whether a request whose connection died is sent again. Pure: facts in, verdict out.

mod backoff;
mod budget;
mod replay;

pub use backoff::Backoff;
pub use budget::{Budget, Share};
pub use replay::Replay;

/// What is done with requests that are not idempotent, of which a byte may have reached the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonIdempotent {
    /// Sent again only with evidence that no server can have executed it.
    #[default]
    Evidence,
    /// Never sent again once a byte of it has left.
    Never,
    /// Sent again like any other: the caller answers for what happens twice.
    Always,
}

/// What an agent, or one request, allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Send anything again at all.
    pub enabled: bool,
    /// Most bytes of a request that are kept for a replay.
    pub max_bytes: usize,
    /// Of the others.
    pub non_idempotent: NonIdempotent,
    /// Further attempts after failures that say nothing of idle connections.
    pub attempts: u32,
    /// The wait before each of those.
    pub backoff: Backoff,
    /// How much may be sent again, for an origin.
    pub share: Share,
    /// The failures that `attempts` are for: system error numbers, and libuv's negative ones for name lookups.
    pub errnos: Vec<i32>,
}

impl Policy {
    /// Whether a request's bytes are kept for another attempt.
    #[must_use]
    pub fn keeps(&self, reused: bool) -> bool {
        self.enabled && (reused || self.attempts > 0)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            enabled: true,
            max_bytes: 65_536,
            non_idempotent: NonIdempotent::default(),
            attempts: 0,
            backoff: Backoff::default(),
            share: Share::default(),
            errnos: vec![libc::ECONNRESET, libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EPIPE],
        }
    }
}

/// What is known of where the bytes of a failed attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Evidence {
    /// The kernel took no byte of it: no server can have seen it.
    NotWritten,
    /// The peer had closed, and its kernel has acknowledged none of it: no server can have read it.
    PeerClosedFirst,
    /// The peer's kernel has bytes of it: a server may have executed it.
    Acknowledged,
    /// Nobody can tell: a reset with unacknowledged bytes, or a system that does not say.
    Unknown,
    /// The peer says so: an HTTP/2 stream that it refused, or left out when it said goodbye (RFC 9113, 8.7).
    Refused,
}

impl Evidence {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::NotWritten, Self::PeerClosedFirst, Self::Acknowledged, Self::Unknown, Self::Refused];

    /// The word for it in stats, errors and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotWritten => "notWritten",
            Self::PeerClosedFirst => "peerClosedFirst",
            Self::Acknowledged => "acknowledged",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    /// From the bytes that the kernel took, those of them that the peer's kernel acknowledged as far as that is known,
    /// and whether the peer's FIN has come.
    #[must_use]
    pub const fn of(written: u64, acknowledged: Option<u64>, has_fin: bool) -> Self {
        match acknowledged {
            _ if written == 0 => Self::NotWritten,
            Some(0) if has_fin => Self::PeerClosedFirst,
            Some(1..) => Self::Acknowledged,
            // A peer may read and reset before its acknowledgement leaves.
            Some(0) | None => Self::Unknown,
        }
    }

    /// Whether it is certain that no server has executed the request.
    #[must_use]
    pub const fn proves_innocence(self) -> bool {
        matches!(self, Self::NotWritten | Self::PeerClosedFirst | Self::Refused)
    }
}

/// An attempt that failed, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts, each of which a rule asks")]
pub struct Attempt {
    /// Its connection was open.
    pub connected: bool,
    /// Its connection had served before.
    pub reused: bool,
    /// Bytes of a response have arrived.
    pub answered: bool,
    /// Where its bytes went.
    pub evidence: Evidence,
    /// Sending the request twice is harmless.
    pub idempotent: bool,
    /// The replay buffer holds the whole request so far.
    pub replayable: bool,
    /// It was sent again at once before.
    pub replayed: bool,
    /// Attempts with a wait before them so far.
    pub retries: u32,
    /// `attempts` are for failures of this kind.
    pub listed: bool,
    /// The origin's budget has something left.
    pub affordable: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent again at once, on a fresh connection.
    Replay,
    /// Sent again after a wait, on a fresh connection.
    Retry,
    /// Its error surfaces.
    Surface(Refusal),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// `retry: false`.
    Off,
    /// A response had begun.
    Answered,
    /// The connection was fresh: its death says nothing about idle connections.
    FreshConnection,
    /// It was sent again before, as often as the policy says.
    Spent,
    /// It was written, is not idempotent, and the policy asks for no evidence.
    NotIdempotent,
    /// It is not idempotent, and the peer's kernel has bytes of it.
    Acknowledged,
    /// It is not idempotent, and nobody can tell whether the peer has bytes of it.
    Unknown,
    /// It outgrew the replay buffer.
    Capped,
    /// The origin's budget is empty.
    Budget,
}

impl Refusal {
    /// Every refusal, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Off,
        Self::Answered,
        Self::FreshConnection,
        Self::Spent,
        Self::NotIdempotent,
        Self::Acknowledged,
        Self::Unknown,
        Self::Capped,
        Self::Budget,
    ];

    /// The word for it in stats and errors.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Answered => "answered",
            Self::FreshConnection => "freshConnection",
            Self::Spent => "spent",
            Self::NotIdempotent => "notIdempotent",
            Self::Acknowledged => "acknowledged",
            Self::Unknown => "unknown",
            Self::Capped => "capped",
            Self::Budget => "budget",
        }
    }
}

/// The rules. The first that speaks decides.
#[must_use]
pub const fn decide(policy: &Policy, attempt: &Attempt) -> Verdict {
    let Attempt { reused, answered, evidence, idempotent, replayable, .. } = *attempt;
    let is_unwritten = matches!(evidence, Evidence::NotWritten);
    // What the peer says of a request holds on a fresh connection too.
    let is_unseen = is_unwritten || matches!(evidence, Evidence::Refused);
    if !policy.enabled {
        return Verdict::Surface(Refusal::Off);
    }
    if answered {
        return Verdict::Surface(Refusal::Answered);
    }
    let replays = !attempt.replayed && attempt.retries == 0 && (reused || is_unseen && attempt.connected);
    let retries = attempt.retries < policy.attempts && attempt.listed && (is_unseen || idempotent);
    if !replays && !retries {
        let is_first = !attempt.replayed && attempt.retries == 0;
        return Verdict::Surface(if is_first { Refusal::FreshConnection } else { Refusal::Spent });
    }
    // Without a byte in the kernel nothing can have outgrown the buffer unseen: what was not sent is still held.
    if !is_unwritten {
        // RFC 9110 §9.2.2: only a request that may be repeated, unless it is certain that it was never applied.
        if !idempotent && let Err(refusal) = allows(policy.non_idempotent, evidence) {
            return Verdict::Surface(refusal);
        }
        if !replayable {
            return Verdict::Surface(Refusal::Capped);
        }
    }
    match (attempt.affordable, replays) {
        (false, _) => Verdict::Surface(Refusal::Budget),
        (true, true) => Verdict::Replay,
        (true, false) => Verdict::Retry,
    }
}

const fn allows(policy: NonIdempotent, evidence: Evidence) -> Result<(), Refusal> {
    match (policy, evidence) {
        (NonIdempotent::Always, _)
        | (NonIdempotent::Evidence, Evidence::PeerClosedFirst | Evidence::Refused)
        | (_, Evidence::NotWritten) => Ok(()),
        (NonIdempotent::Never, _) => Err(Refusal::NotIdempotent),
        (NonIdempotent::Evidence, Evidence::Acknowledged) => Err(Refusal::Acknowledged),
        (NonIdempotent::Evidence, Evidence::Unknown) => Err(Refusal::Unknown),
    }
}

#[cfg(test)]
mod tests;
