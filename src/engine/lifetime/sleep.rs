//! Whether the machine slept: a closed lid, a frozen virtual machine. Pure: both clocks are arguments.

use std::time::{Duration, Instant, SystemTime};

/// The wall clock may be set by as much without meaning anything.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Compares a clock that stands still while the machine sleeps with one that does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    seen: Option<(Instant, SystemTime)>,
}

impl Clocks {
    /// Whether the wall clock has gained on the other since the last question. A step of the wall clock looks the same,
    /// and costs no more than a few fresh connections.
    pub fn slept(&mut self, now: Instant, wall: SystemTime) -> bool {
        let Some((then, wall_then)) = self.seen.replace((now, wall)) else { return false };
        let passed = now.saturating_duration_since(then);
        wall.duration_since(wall_then).is_ok_and(|wall_passed| wall_passed > passed + TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_that_runs_ahead_means_sleep() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let second = Duration::from_secs(1);
        let mut clocks = Clocks::default();
        assert!(!clocks.slept(now, wall));
        assert!(!clocks.slept(now + 5 * second, wall + 5 * second));
        assert!(!clocks.slept(now + 6 * second, wall + 7 * second), "an adjustment");
        assert!(clocks.slept(now + 7 * second, wall + 30 * second));
        assert!(!clocks.slept(now + 8 * second, wall + 31 * second), "once");
        assert!(!clocks.slept(now + 9 * second, wall), "a clock that was set back");
    }
}
