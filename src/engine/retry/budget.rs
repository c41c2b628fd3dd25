//! How much may be sent again, so that retries never multiply the load of a server in trouble.

use std::time::{Duration, Instant};

/// What of an origin's recent requests may be sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of the requests of the last ten seconds.
    pub ratio: f64,
    /// On top of that, whatever the traffic.
    pub min_per_second: f64,
}

impl Default for Share {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 10.0 }
    }
}

const SECONDS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u32,
    spent: u32,
}

/// One origin's requests and what was sent again of them, second by second: a token bucket that ten seconds fill, and
/// that forgets what is older.
#[derive(Clone, Debug)]
pub struct Budget {
    began: Instant,
    seconds: [Second; SECONDS],
}

impl Budget {
    /// A full one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { began: now, seconds: [Second::default(); SECONDS] }
    }

    /// Counts a request.
    pub fn deposit(&mut self, now: Instant) {
        self.second(now).requests += 1;
    }

    /// Counts something sent again.
    pub fn spend(&mut self, now: Instant) {
        self.second(now).spent += 1;
    }

    /// Whether one more may be sent again.
    #[must_use]
    pub fn affords(&self, share: &Share, now: Instant) -> bool {
        let number = self.number(now);
        let recent = self.seconds.iter().filter(|second| second.number + SECONDS as u64 > number);
        let (requests, spent) = recent.fold((0.0, 0.0), |(requests, spent), second| {
            (requests + f64::from(second.requests), spent + f64::from(second.spent))
        });
        let floor = share.min_per_second * Duration::from_secs(SECONDS as u64).as_secs_f64();
        // An infinite ratio of nothing is nothing.
        let of_requests = if requests > 0.0 { requests * share.ratio } else { 0.0 };
        spent + 1.0 <= of_requests + floor
    }

    fn number(&self, now: Instant) -> u64 {
        // From 1 on, so that an empty slot is in the past.
        now.saturating_duration_since(self.began).as_secs() + 1 + SECONDS as u64
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let number = self.number(now);
        let at = usize::try_from(number % SECONDS as u64).unwrap_or_default();
        let second = self.seconds.get_mut(at).expect("a remainder of the length");
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARE: Share = Share { ratio: 0.5, min_per_second: 0.2 };

    #[test]
    fn floor_and_share_are_spent_and_come_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(start);
        for _ in 0..2 {
            assert!(budget.affords(&SHARE, start));
            budget.spend(start);
        }
        assert!(!budget.affords(&SHARE, start), "the floor is two in ten seconds");
        budget.deposit(at(1));
        assert!(!budget.affords(&SHARE, at(1)));
        budget.deposit(at(1));
        assert!(budget.affords(&SHARE, at(1)), "half of two requests is one");
        budget.spend(at(1));
        assert!(!budget.affords(&SHARE, at(9)));
        assert!(budget.affords(&SHARE, at(10)), "the first two are forgotten");
    }

    proptest! {
        #[test]
        fn never_more_than_share_and_floor_in_any_ten_seconds(steps in proptest::collection::vec((any::<bool>(), 0u64..3), 0..200)) {
            let start = Instant::now();
            let mut budget = Budget::new(start);
            let (mut now, mut log) = (0u64, Vec::new());
            for (is_request, pause) in steps {
                now += pause;
                let at = start + Duration::from_secs(now);
                if is_request {
                    budget.deposit(at);
                } else if budget.affords(&SHARE, at) {
                    budget.spend(at);
                } else {
                    continue;
                }
                log.push((now, is_request));
                let spent = log.iter().filter(|(second, is_request)| !is_request && second + 10 > now).count();
                // Requests that were forgotten may have paid for what is not yet.
                let paid = log.iter().filter(|(second, is_request)| *is_request && second + 20 > now).count();
                prop_assert!(spent <= paid / 2 + 2, "half of them, and two in ten seconds");
            }
        }
    }
}
