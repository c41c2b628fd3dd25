//! How long a connection may be kept. Pure: the clock is an argument.

mod deadlines;
mod hint;
mod learned;
mod sleep;

use std::time::{Duration, Instant};

pub use deadlines::Deadlines;
pub use hint::Hint;
pub use learned::{Learned, PeerClose};
pub use sleep::Clocks;

use super::pool::CloseReason;

/// The limits of one agent on the life of its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Longest idle time; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// Longest time since the connect, before jitter; `None` is no limit.
    pub ttl: Option<Duration>,
    /// Share of the TTL by which it is shortened at random, 0 to 1.
    pub ttl_jitter: f64,
    /// Taken off the server's hint, so that the connection is retired before the server closes it.
    pub hint_buffer: Duration,
    /// Most exchanges on one connection; `None` is no limit.
    pub max_requests: Option<u32>,
    /// Whether what an origin teaches shortens these.
    pub learns: bool,
}

impl Limits {
    /// The same, no longer than what an origin has taught.
    #[must_use]
    pub fn taught(self, idle_timeout: Option<Duration>, max_requests: Option<u32>) -> Self {
        let least = |own: Option<Duration>, learned: Option<Duration>| own.into_iter().chain(learned).min();
        Self {
            idle_timeout: least(self.idle_timeout, idle_timeout),
            max_requests: self.max_requests.into_iter().chain(max_requests).min(),
            ..self
        }
    }
}

/// What is known of one connection's life.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// When the TTL ends, jitter included.
    pub ttl_at: Option<Instant>,
    /// Exchanges finished.
    pub requests: u32,
    /// The newest keep-alive hint of the server.
    pub hint: Hint,
    /// An idle timeout set for this connection alone; zero is no limit.
    pub idle_override: Option<Duration>,
}

/// What to do with a connection whose exchange ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it until then, and close it for that reason.
    Keep(Option<(Instant, CloseReason)>),
    /// Close it now.
    Close(CloseReason),
}

impl Life {
    /// A connection that opened now. `random` is in `0.0..1.0` and spreads the TTL, never beyond what was asked for.
    #[must_use]
    pub fn begin(limits: &Limits, now: Instant, random: f64) -> Self {
        let ttl_at = limits.ttl.map(|ttl| now + ttl.mul_f64(1.0 - limits.ttl_jitter * random));
        Self { ttl_at, requests: 0, hint: Hint::default(), idle_override: None }
    }

    /// May this connection serve one more exchange right now? The idle timeout has no say: it is not idle.
    ///
    /// # Errors
    /// The reason to close it.
    pub fn may_serve(&self, limits: &Limits, now: Instant) -> Result<(), CloseReason> {
        if self.ttl_at.is_some_and(|at| at <= now) {
            return Err(CloseReason::Ttl);
        }
        if limits.max_requests.is_some_and(|max| self.requests >= max) {
            return Err(CloseReason::MaxRequests);
        }
        if self.hint.max == Some(0) {
            return Err(CloseReason::Hint);
        }
        Ok(())
    }

    /// The verdict on a connection that would be idle from `now` on.
    #[must_use]
    pub fn keep_idle(&self, limits: &Limits, now: Instant) -> Verdict {
        if let Err(reason) = self.may_serve(limits, now) {
            return Verdict::Close(reason);
        }
        let idle = match self.idle_override {
            Some(Duration::ZERO) => None,
            Some(own) => Some(own),
            None => limits.idle_timeout,
        };
        let hint = self.hint.timeout.map(|timeout| timeout.saturating_sub(limits.hint_buffer));
        if hint == Some(Duration::ZERO) {
            return Verdict::Close(CloseReason::Hint);
        }
        let ends = [
            idle.map(|idle| (now + idle, CloseReason::Expired)),
            hint.map(|hint| (now + hint, CloseReason::Hint)),
            self.ttl_at.map(|at| (at, CloseReason::Ttl)),
        ];
        Verdict::Keep(ends.into_iter().flatten().min_by_key(|(at, _)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NO_LIMITS: Limits = Limits {
        idle_timeout: None,
        ttl: None,
        ttl_jitter: 0.0,
        hint_buffer: Duration::from_secs(1),
        max_requests: None,
        learns: false,
    };

    fn life(limits: &Limits, now: Instant) -> Life {
        Life::begin(limits, now, 0.5)
    }

    #[test]
    fn hint_within_the_buffer_closes_at_once() {
        let now = Instant::now();
        let connection = Life { hint: Hint::parse("timeout=1"), ..life(&NO_LIMITS, now) };
        assert_eq!(connection.keep_idle(&NO_LIMITS, now), Verdict::Close(CloseReason::Hint));
    }

    #[test]
    fn hint_longer_than_the_idle_timeout_does_not_lengthen_it() {
        let now = Instant::now();
        let limits = Limits { idle_timeout: Some(Duration::from_secs(4)), ..NO_LIMITS };
        let connection = Life { hint: Hint::parse("timeout=60"), ..life(&limits, now) };
        let expected = Some((now + Duration::from_secs(4), CloseReason::Expired));
        assert_eq!(connection.keep_idle(&limits, now), Verdict::Keep(expected));
    }

    #[test]
    fn ttl_passed_while_leased_closes_at_release() {
        let now = Instant::now();
        let limits = Limits { ttl: Some(Duration::from_secs(10)), ..NO_LIMITS };
        let connection = life(&limits, now);
        let later = now + Duration::from_secs(10);
        assert_eq!(connection.keep_idle(&limits, later), Verdict::Close(CloseReason::Ttl));
    }

    #[test]
    fn max_of_the_hint_is_the_number_of_exchanges_left() {
        let now = Instant::now();
        let connection = Life { hint: Hint::parse("timeout=5, max=0"), ..life(&NO_LIMITS, now) };
        assert_eq!(connection.may_serve(&NO_LIMITS, now), Err(CloseReason::Hint));
        let connection = Life { hint: Hint::parse("timeout=5, max=1"), ..connection };
        assert_eq!(connection.may_serve(&NO_LIMITS, now), Ok(()));
    }

    proptest! {
        #[test]
        fn deadline_is_never_later_than_any_limit(
            idle in proptest::option::of(1u64..100_000),
            ttl in proptest::option::of(1u64..100_000),
            hint in proptest::option::of(0u64..100),
            jitter in 0.0f64..=1.0,
            random in 0.0f64..1.0,
        ) {
            let now = Instant::now();
            let limits = Limits {
                idle_timeout: idle.map(Duration::from_millis),
                ttl: ttl.map(Duration::from_millis),
                ttl_jitter: jitter,
                ..NO_LIMITS
            };
            let connection = Life {
                hint: Hint { timeout: hint.map(Duration::from_secs), max: None },
                ..Life::begin(&limits, now, random)
            };
            if let Verdict::Keep(until) = connection.keep_idle(&limits, now) {
                let limit = [
                    limits.idle_timeout,
                    limits.ttl,
                    hint.map(|hint| Duration::from_secs(hint).saturating_sub(limits.hint_buffer)),
                ].into_iter().flatten().min();
                prop_assert_eq!(until.is_some(), limit.is_some());
                if let (Some((at, _)), Some(limit)) = (until, limit) {
                    prop_assert!(at <= now + limit);
                }
            }
        }
    }
}
