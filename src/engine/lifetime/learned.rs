//! What an origin's servers teach: by closing idle connections, after which idle time they do it, and after how many
//! exchanges; by keeping them, for how long it is safe. Pure: the clock is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A lesson is forgotten when nothing has confirmed it for so long: servers are reconfigured.
const MEMORY: Duration = Duration::from_secs(600);

/// Shorter idle times are not taught: keeping connections would be pointless, and what closes them so soon is no timeout.
const FLOOR: Duration = Duration::from_millis(40);

/// Longer ones neither: no pool keeps a connection for so long.
const CEILING: Duration = Duration::from_secs(3600);

/// Ages that differ by less are one age. Servers look at their clocks now and then.
const SIMILAR: Duration = Duration::from_millis(20);

/// Closes that follow each other faster than this have one cause.
const APART: Duration = Duration::from_millis(100);

/// So many observations are compared.
const MOST: usize = 8;

/// An idle connection that its peer closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerClose {
    /// When the FIN or reset came.
    pub at: Instant,
    /// How long it had been idle then.
    pub age: Duration,
    /// Exchanges it had served.
    pub requests: u32,
}

/// Closes with one cause.
#[derive(Clone, Copy, Debug)]
struct Observation {
    last: Instant,
    shortest: Duration,
    longest: Duration,
    /// `None` if they had served different numbers of exchanges.
    requests: Option<u32>,
}

impl Observation {
    /// Connections that were idle for different times and ended together: a deploy, a crash. It teaches nothing.
    fn is_mass_close(&self) -> bool {
        !are_similar(self.shortest, self.longest)
    }
}

/// The largest value of late, and when it was seen.
#[derive(Clone, Copy, Debug)]
struct Most<T>(Option<(T, Instant)>);

impl<T> Default for Most<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy + PartialOrd> Most<T> {
    /// Takes note of a value; whether it is the largest now.
    fn note(&mut self, value: T, now: Instant) -> bool {
        let is_most = self.get(now).is_none_or(|most| value >= most);
        if is_most {
            self.0 = Some((value, now));
        }
        is_most
    }

    fn get(&self, now: Instant) -> Option<T> {
        self.0.filter(|(_, at)| *at + MEMORY > now).map(|(value, _)| value)
    }
}

/// One origin's lessons.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    observations: VecDeque<Observation>,
    idle_timeout: Option<Duration>,
    max_requests: Option<u32>,
    /// The idle time after which a connection still served.
    survived: Most<Duration>,
    /// The idle time that a connection has outlived since the last close, whether it served then or not.
    outlived: Most<Duration>,
    /// The exchanges that a connection has served.
    served: Most<u32>,
}

fn are_similar(shorter: Duration, longer: Duration) -> bool {
    longer <= shorter + SIMILAR.max(shorter / 10)
}

impl Learned {
    /// Takes note of a close.
    pub fn closed(&mut self, close: PeerClose) {
        let PeerClose { at, age, requests } = close;
        self.observations.retain(|observation| observation.last + MEMORY > at);
        if self.outlived.get(at) > Some(age) {
            self.outlived = Most(Some((age, at)));
        }
        match self.observations.back_mut() {
            Some(last) if at.saturating_duration_since(last.last) < APART.min(age / 2) => {
                last.last = at;
                last.shortest = last.shortest.min(age);
                last.longest = last.longest.max(age);
                last.requests = last.requests.filter(|known| *known == requests);
            }
            _ => {
                if self.observations.len() == MOST {
                    self.observations.pop_front();
                }
                let requests = Some(requests);
                self.observations.push_back(Observation { last: at, shortest: age, longest: age, requests });
            }
        }
        self.conclude(at);
    }

    /// Takes note of a connection that its peer had not closed after so long.
    pub fn outlived(&mut self, idle: Duration, now: Instant) {
        self.outlived.note(idle, now);
    }

    /// Takes note of a connection that served its exchange number `requests` after it had been idle for `idle`.
    pub fn survived(&mut self, idle: Duration, requests: u32, now: Instant) {
        let outlives = self.survived.note(idle, now) && self.idle_timeout.is_some_and(|timeout| timeout < idle);
        let exceeds = self.served.note(requests, now) && self.max_requests.is_some_and(|max| max < requests);
        if outlives || exceeds {
            self.conclude(now);
        }
    }

    /// Whether the servers are known not to close a connection that has been silent for `silence` while a request is on
    /// its way: it is within what they taught, or others stood for a quarter longer, or for as long as any may (`most`).
    #[must_use]
    pub fn is_safe(&self, silence: Duration, most: Option<Duration>, now: Instant) -> bool {
        let margin = silence + silence / 4;
        match self.idle_timeout(now) {
            Some(timeout) => silence <= timeout,
            None => self.outlived.get(now) >= Some(most.map_or(margin, |most| most.min(margin))),
        }
    }

    /// How long a connection may idle, with a margin for a request on its way.
    #[must_use]
    pub fn idle_timeout(&self, now: Instant) -> Option<Duration> {
        self.idle_timeout.filter(|_| self.is_fresh(now))
    }

    /// How many exchanges a connection serves.
    #[must_use]
    pub fn max_requests(&self, now: Instant) -> Option<u32> {
        self.max_requests.filter(|_| self.is_fresh(now))
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.observations.back().is_some_and(|last| last.last + MEMORY > now)
    }

    fn conclude(&mut self, now: Instant) {
        let (survived, served) = (self.survived.get(now), self.served.get(now));
        let telling: Vec<_> = self.observations.iter().filter(|observation| !observation.is_mass_close()).collect();
        let pairs =
            telling.iter().enumerate().flat_map(|(n, one)| telling.iter().skip(n + 1).map(move |other| (one, other)));
        let mut idle_timeout: Option<Duration> = None;
        let mut max_requests: Option<u32> = None;
        for (one, other) in pairs {
            let shortest = one.shortest.min(other.shortest);
            let longest = one.longest.max(other.longest);
            let is_age = are_similar(shortest, longest) && (FLOOR..=CEILING).contains(&shortest);
            if is_age && survived.is_none_or(|survived| survived <= longest) {
                let timeout = shortest.saturating_sub((shortest / 10).max(Duration::from_millis(10)));
                idle_timeout = Some(idle_timeout.map_or(timeout, |known| known.min(timeout)));
            }
            // Closed as soon as they were idle: it is the number of exchanges that they have in common. Of one exchange
            // it would say to keep nothing, which is too much to conclude from two closes.
            if longest < FLOOR
                && one.requests == other.requests
                && let Some(requests @ 2..) = one.requests
                && served.is_none_or(|served| served <= requests)
            {
                max_requests = Some(requests);
            }
        }
        self.idle_timeout = idle_timeout;
        self.max_requests = max_requests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Closes as `(moment, idle age, exchanges served)`, in milliseconds.
    fn taught(closes: &[(u64, u64, u32)]) -> (Learned, Instant) {
        let start = Instant::now();
        let mut learned = Learned::default();
        for (at, age, requests) in closes {
            learned.closed(PeerClose { at: start + ms(*at), age: ms(*age), requests: *requests });
        }
        (learned, start)
    }

    fn timeout(closes: &[(u64, u64, u32)]) -> Option<Duration> {
        let (learned, start) = taught(closes);
        learned.idle_timeout(start + ms(closes.last().map_or(0, |close| close.0)))
    }

    #[test]
    fn two_independent_closes_at_a_similar_age_teach_an_idle_timeout() {
        assert_eq!(timeout(&[(200, 150, 1)]), None);
        assert_eq!(timeout(&[(200, 152, 1), (400, 150, 3)]), Some(ms(135)));
        assert_eq!(timeout(&[(10_000, 5000, 1), (70_000, 5200, 3)]), Some(ms(4500)));
        assert_eq!(timeout(&[(10_000, 5000, 1), (70_000, 9000, 3)]), None);
    }

    #[test]
    fn many_closes_at_once_are_one_at_most() {
        assert_eq!(timeout(&[(1000, 500, 1), (1001, 501, 2), (1002, 505, 3)]), None, "one burst, one cause");
        let burst_and_another = [(1000, 500, 1), (1001, 501, 2), (1800, 505, 3)];
        assert_eq!(timeout(&burst_and_another), Some(ms(450)));
        let deploys = [(1000, 500, 1), (1001, 10, 2), (1002, 3000, 3), (9000, 500, 1), (9001, 20, 1)];
        assert_eq!(timeout(&deploys), None);
    }

    #[test]
    fn closes_right_after_the_same_number_of_exchanges_teach_that_number() {
        let (learned, start) = taught(&[(10, 0, 3), (30, 1, 3)]);
        assert_eq!(learned.max_requests(start + ms(30)), Some(3));
        assert_eq!(learned.idle_timeout(start + ms(30)), None);
        let (learned, start) = taught(&[(10, 0, 3), (30, 1, 4)]);
        assert_eq!(learned.max_requests(start + ms(30)), None);
    }

    #[test]
    fn connection_that_outlives_a_lesson_unteaches_it() {
        let (mut learned, start) = taught(&[(200, 150, 1), (400, 150, 2)]);
        learned.survived(ms(140), 5, start + ms(600));
        assert!(learned.idle_timeout(start + ms(600)).is_some());
        learned.survived(ms(400), 5, start + ms(700));
        assert_eq!(learned.idle_timeout(start + ms(700)), None);

        let (mut learned, start) = taught(&[(10, 0, 3), (30, 1, 3)]);
        learned.survived(ms(0), 4, start + ms(40));
        assert_eq!(learned.max_requests(start + ms(40)), None);
    }

    #[test]
    fn lesson_is_forgotten_when_nothing_confirms_it() {
        let (learned, start) = taught(&[(200, 150, 1), (400, 150, 2)]);
        assert!(learned.idle_timeout(start + MEMORY).is_some());
        assert_eq!(learned.idle_timeout(start + ms(400) + MEMORY), None);
    }

    #[test]
    fn silence_is_safe_within_what_others_outlived_by_a_quarter_or_to_the_last() {
        let (mut learned, start) = taught(&[]);
        let is_safe = |learned: &Learned, silence| learned.is_safe(ms(silence), None, start);
        assert!(!is_safe(&learned, 400), "nothing is known");
        learned.outlived(ms(500), start);
        assert!(is_safe(&learned, 400) && !is_safe(&learned, 401));
        assert!(learned.is_safe(ms(499), Some(ms(500)), start), "none idles for longer");
        assert!(!learned.is_safe(ms(400), None, start + MEMORY), "that was long ago");
        learned.closed(PeerClose { at: start, age: ms(300), requests: 1 });
        assert!(is_safe(&learned, 240) && !is_safe(&learned, 241), "a close says otherwise");
    }

    #[test]
    fn silence_is_safe_within_a_lesson_whatever_stood_for_longer() {
        let (mut learned, start) = taught(&[(200, 150, 1), (400, 150, 3)]);
        let now = start + ms(400);
        learned.outlived(ms(1000), now);
        assert_eq!(learned.idle_timeout(now), Some(ms(135)), "only what serves unteaches");
        assert!(learned.is_safe(ms(135), None, now) && !learned.is_safe(ms(136), None, now));
    }

    proptest! {
        #[test]
        fn timeout_is_below_a_close_that_was_seen_and_within_its_bounds(
            closes in proptest::collection::vec((0u64..10_000, 0u64..5_000_000, 0u32..5), 0..40),
            survivals in proptest::collection::vec((0u64..10_000, 0u32..9), 0..5),
        ) {
            let start = Instant::now();
            let mut learned = Learned::default();
            let mut now = start;
            for (pause, age, requests) in &closes {
                now += ms(*pause);
                learned.closed(PeerClose { at: now, age: ms(*age), requests: *requests });
            }
            for (idle, requests) in survivals {
                learned.survived(ms(idle), requests, now);
            }
            if let Some(timeout) = learned.idle_timeout(now) {
                prop_assert!(timeout >= FLOOR / 2 && timeout <= CEILING);
                prop_assert!(closes.iter().any(|(_, age, _)| ms(*age) > timeout));
            }
            if let Some(max) = learned.max_requests(now) {
                prop_assert!(closes.iter().any(|(_, _, requests)| *requests == max));
            }
        }
    }
}
