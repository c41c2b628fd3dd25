//! How long to wait before another attempt.

use std::time::Duration;

/// Exponential, with full jitter: anything from nothing to the whole step, so that clients do not return in step.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first step.
    pub base: Duration,
    /// No step is longer.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait before attempt number `retry`, counted from 0. `random` is in `0.0..1.0`.
    #[must_use]
    pub fn wait(&self, retry: u32, random: f64) -> Duration {
        let factor = 1u32.checked_shl(retry).unwrap_or(u32::MAX);
        let step = self.base.checked_mul(factor).unwrap_or(self.max);
        step.min(self.max).mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_double_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_millis(500) };
        let steps: Vec<u128> = (0..4).map(|retry| backoff.wait(retry, 1.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 500]);
    }

    #[test]
    fn base_of_nothing_never_waits() {
        let backoff = Backoff { base: Duration::ZERO, max: Duration::from_secs(1) };
        assert_eq!(backoff.wait(40, 1.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn wait_never_exceeds_its_step_nor_the_cap(retry: u32, random in 0.0f64..1.0, base in 0u64..1000, max in 0u64..5000) {
            let backoff = Backoff { base: Duration::from_millis(base), max: Duration::from_millis(max) };
            let step = u128::from(base) << retry.min(40);
            prop_assert!(backoff.wait(retry, random).as_millis() <= step.min(u128::from(max)));
        }
    }
}
