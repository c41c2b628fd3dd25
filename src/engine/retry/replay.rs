//! The replay buffer: what a later attempt may send again.

/// The request so far, in order; never more than the policy's limit.
#[derive(Debug, Default)]
pub enum Replay {
    /// Nothing is kept: the connection is fresh, or the request was answered.
    #[default]
    Off,
    /// Every byte sent so far.
    Kept(Vec<u8>),
    /// The request outgrew the limit: this attempt goes on, a replay is off.
    Capped,
}

impl Replay {
    /// Keeps `bytes` too, unless that exceeds `max_bytes`.
    pub fn record(&mut self, bytes: &[u8], max_bytes: usize) {
        if let Self::Kept(kept) = self {
            if kept.len() + bytes.len() <= max_bytes {
                kept.extend_from_slice(bytes);
            } else {
                *self = Self::Capped;
            }
        }
    }

    /// Keeps `bytes` too, whatever the limit: they were never sent.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.record(bytes, usize::MAX);
    }

    /// Whether the whole request so far is at hand.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// Takes what was kept; nothing is kept from now on.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        match std::mem::take(self) {
            Self::Kept(kept) => kept,
            Self::Off | Self::Capped => Vec::new(),
        }
    }

    /// What was kept, to be kept on.
    #[must_use]
    pub fn copy(&self) -> Vec<u8> {
        match self {
            Self::Kept(kept) => kept.clone(),
            Self::Off | Self::Capped => Vec::new(),
        }
    }

    /// An idle connection holds on to a request head's worth of memory, no more.
    pub fn rest(&mut self) {
        self.restart();
        if let Self::Kept(kept) = self {
            kept.shrink_to(4096);
        }
    }

    /// Starts over for the next exchange, in the same memory where there is some.
    pub fn restart(&mut self) {
        let mut kept = self.take();
        kept.clear();
        *self = Self::Kept(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_keeps_up_to_the_limit_and_then_nothing() {
        let mut replay = Replay::default();
        replay.restart();
        replay.record(b"abc", 5);
        replay.record(b"de", 5);
        assert!(replay.is_whole());
        replay.record(b"f", 5);
        assert!(!replay.is_whole());
        assert_eq!(replay.take(), b"");
    }

    #[test]
    fn replay_that_is_off_records_nothing() {
        let mut replay = Replay::Off;
        replay.record(b"abc", 5);
        assert!(!replay.is_whole());
        replay.restart();
        replay.record(b"abc", 5);
        assert_eq!(replay.take(), b"abc");
    }
}
