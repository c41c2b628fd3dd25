//! Counters and histograms, per origin.

use std::time::Duration;

use super::pool::CloseReason;
use super::retry::{Evidence, Refusal};

/// Numbers by powers of two: bucket `n` counts values below `2^n` and not below `2^(n-1)`; the last takes the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Values seen.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// Largest value seen.
    pub max: u64,
    buckets: [u32; Self::BUCKETS],
}

impl Histogram {
    const BUCKETS: usize = 24;

    /// Counts `value`.
    pub fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(count) = self.buckets.get_mut(bucket.min(Self::BUCKETS - 1)) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a duration in whole microseconds.
    pub fn record_micros(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The smallest power of two that at least `share` of the values lie below; an upper bound, exact within a factor of 2.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let mut left = self.count;
        let total = self.count;
        for (power, count) in self.buckets.iter().enumerate() {
            left -= u64::from(*count).min(left);
            #[expect(clippy::cast_precision_loss, reason = "a share of a count needs no more than 53 bits")]
            let covered = (total - left) as f64 >= share * total as f64;
            if total > 0 && covered {
                return (1u64 << power).min(self.max);
            }
        }
        self.max
    }
}

/// What one origin has seen since it became known.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Leases given.
    pub requests: u64,
    /// Leases given on a connection that had served before.
    pub reused: u64,
    /// Leases given on a fresh connection although others were idle: nobody knew whether the peer was about to close those.
    pub unproven: u64,
    /// Connections that could not be opened.
    pub connect_errors: u64,
    /// Connections closed, by the number of the reason.
    pub closed: [u64; CloseReason::ALL.len()],
    /// Requests sent again at once, by the number of the evidence.
    pub replays: [u64; Evidence::ALL.len()],
    /// Attempts after a wait.
    pub retries: u64,
    /// Requests that failed and were not sent again, by the number of the refusal.
    pub refused: [u64; Refusal::ALL.len()],
    /// Checkouts that gave up waiting.
    pub queue_timeouts: u64,
    /// Checkouts that found the queue full.
    pub queue_full: u64,
    /// How long waiters waited, in microseconds.
    pub queue_wait: Histogram,
    /// How long opening took, in microseconds.
    pub connect: Histogram,
    /// How long connections had been idle when they were reused, in microseconds.
    pub idle_age: Histogram,
    /// Exchanges per connection, counted when it closes.
    pub requests_per_connection: Histogram,
}

impl Tally {
    /// Counts a closed connection that had served `requests` exchanges.
    pub fn close(&mut self, reason: CloseReason, requests: u32) {
        if let Some(count) = self.closed.get_mut(reason as usize) {
            *count += 1;
        }
        self.requests_per_connection.record(u64::from(requests));
    }

    /// Counts a request sent again at once.
    pub fn replayed(&mut self, evidence: Evidence) {
        if let Some(count) = self.replays.get_mut(evidence as usize) {
            *count += 1;
        }
    }

    /// Counts a request that failed for good.
    pub fn refused(&mut self, refusal: Refusal) {
        if let Some(count) = self.refused.get_mut(refusal as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_an_upper_bound_within_a_factor_of_two() {
        let mut histogram = Histogram::default();
        for value in 1..=1000 {
            histogram.record(value);
        }
        assert_eq!((histogram.count, histogram.sum, histogram.max), (1000, 500_500, 1000));
        assert_eq!(histogram.quantile(0.5), 512);
        assert_eq!(histogram.quantile(1.0), 1000);
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }

    #[test]
    fn value_beyond_every_bucket_counts_in_the_last() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        histogram.record(0);
        assert_eq!((histogram.count, histogram.max), (2, u64::MAX));
    }
}
