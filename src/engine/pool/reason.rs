//! Why a connection ended.

/// One reason per closed connection; the stats count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// Idle for longer than the idle timeout.
    Expired,
    /// Older than its TTL.
    Ttl,
    /// The server's keep-alive hint said so.
    Hint,
    /// It has served as many exchanges as it may.
    MaxRequests,
    /// The peer closed in order.
    PeerFin,
    /// The peer reset it.
    PeerReset,
    /// Bytes came that nobody had asked for.
    Unsolicited,
    /// A limit left no place for it.
    Evicted,
    /// A sibling was found dead in use, or the machine slept: it was not tried.
    Distrusted,
    /// Opening it, or an exchange on it, failed.
    Error,
    /// The exchange asked for it: `Connection: close`, an agent without keep-alive.
    Finished,
    /// The caller destroyed it.
    Destroyed,
    /// The caller took it over: upgrade, CONNECT.
    Detached,
}

impl CloseReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Expired,
        Self::Ttl,
        Self::Hint,
        Self::MaxRequests,
        Self::PeerFin,
        Self::PeerReset,
        Self::Unsolicited,
        Self::Evicted,
        Self::Distrusted,
        Self::Error,
        Self::Finished,
        Self::Destroyed,
        Self::Detached,
    ];

    /// The word for it in stats, events and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Ttl => "ttl",
            Self::Hint => "hint",
            Self::MaxRequests => "maxRequests",
            Self::PeerFin => "peerFin",
            Self::PeerReset => "peerReset",
            Self::Unsolicited => "unsolicited",
            Self::Evicted => "evicted",
            Self::Distrusted => "distrusted",
            Self::Error => "error",
            Self::Finished => "finished",
            Self::Destroyed => "destroyed",
            Self::Detached => "detached",
        }
    }
}
