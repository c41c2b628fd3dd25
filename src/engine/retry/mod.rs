//! Whether a request whose connection died is sent again. Pure: facts in, verdict and reason out.

mod replay;

pub use replay::Replay;

/// What an agent allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Replay at all.
    pub enabled: bool,
    /// Most bytes of a request that are kept for a replay.
    pub max_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { enabled: true, max_bytes: 65_536 }
    }
}

/// An attempt whose connection died, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts, each of which a rule asks")]
pub struct Attempt {
    /// Its connection had served before.
    pub reused: bool,
    /// Bytes of a response have arrived.
    pub answered: bool,
    /// Bytes of the request that the kernel took.
    pub bytes_written: u64,
    /// Sending the request twice is harmless.
    pub idempotent: bool,
    /// The replay buffer holds the whole request so far.
    pub replayable: bool,
    /// Replays of this request before.
    pub replays: u32,
}

/// Why a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The kernel took no byte of it: no server can have seen it.
    NotWritten,
    /// A server may have seen it, and seeing it twice changes nothing.
    Idempotent,
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `retry: false`.
    Off,
    /// A response had begun.
    Answered,
    /// The connection was fresh: its death says nothing about idle connections.
    FreshConnection,
    /// It was sent again before.
    AlreadyReplayed,
    /// It was written and is not idempotent.
    NotIdempotent,
    /// It outgrew the replay buffer.
    Capped,
}

impl Refusal {
    /// Every refusal, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Answered, Self::FreshConnection, Self::AlreadyReplayed, Self::NotIdempotent, Self::Capped];

    /// The word for it in stats.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Answered => "answered",
            Self::FreshConnection => "freshConnection",
            Self::AlreadyReplayed => "alreadyReplayed",
            Self::NotIdempotent => "notIdempotent",
            Self::Capped => "capped",
        }
    }
}

/// The rules of one replay.
///
/// # Errors
/// The reason why the request's error must surface.
pub const fn decide(policy: &Policy, attempt: &Attempt) -> Result<Evidence, Refusal> {
    match attempt {
        _ if !policy.enabled => Err(Refusal::Off),
        Attempt { answered: true, .. } => Err(Refusal::Answered),
        Attempt { reused: false, replays: 0, .. } => Err(Refusal::FreshConnection),
        Attempt { replays: 1.., .. } => Err(Refusal::AlreadyReplayed),
        // Without a byte in the kernel nothing can have outgrown the buffer unseen: what was not sent is still held.
        Attempt { bytes_written: 0, .. } => Ok(Evidence::NotWritten),
        // RFC 9110 §9.2.2: only a request that may be repeated, unless it is certain that it was never applied.
        Attempt { idempotent: false, .. } => Err(Refusal::NotIdempotent),
        Attempt { replayable: false, .. } => Err(Refusal::Capped),
        _ => Ok(Evidence::Idempotent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALE: Attempt =
        Attempt { reused: true, answered: false, bytes_written: 10, idempotent: true, replayable: true, replays: 0 };

    #[test]
    fn decision_names_the_first_rule_that_speaks() {
        let policy = Policy::default();
        for (attempt, expected) in [
            (STALE, Ok(Evidence::Idempotent)),
            (Attempt { idempotent: false, bytes_written: 0, ..STALE }, Ok(Evidence::NotWritten)),
            (Attempt { idempotent: false, ..STALE }, Err(Refusal::NotIdempotent)),
            (Attempt { answered: true, ..STALE }, Err(Refusal::Answered)),
            (Attempt { reused: false, ..STALE }, Err(Refusal::FreshConnection)),
            (Attempt { reused: false, replays: 1, ..STALE }, Err(Refusal::AlreadyReplayed)),
            (Attempt { replayable: false, ..STALE }, Err(Refusal::Capped)),
        ] {
            assert_eq!(decide(&policy, &attempt), expected, "{attempt:?}");
        }
        assert_eq!(decide(&Policy { enabled: false, ..policy }, &STALE), Err(Refusal::Off));
    }

    proptest! {
        #[test]
        fn invariant_5_a_replay_never_follows_a_response_byte_nor_another_replay(
            reused: bool, answered: bool, bytes_written in 0u64..2, idempotent: bool, replayable: bool, replays in 0u32..3,
        ) {
            let attempt = Attempt { reused, answered, bytes_written, idempotent, replayable, replays };
            if decide(&Policy::default(), &attempt).is_ok() {
                prop_assert!(!answered && replays == 0 && reused);
                prop_assert!(bytes_written == 0 || idempotent && replayable);
            }
        }
    }
}
