//! When the shell must look again: a heap with at most one live entry per key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Keys by time. Entries are not removed: whoever takes a due key asks the owner whether it still means anything.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Remembers that `key` must be looked at when `at` has come.
    pub fn insert(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest entry.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry that is due.
    pub fn take_due(&mut self, now: Instant) -> Option<K> {
        self.heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.heap.pop().map(|Reverse((_, key))| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    proptest! {
        #[test]
        fn deadlines_fire_in_order_and_never_early(
            entries in proptest::collection::btree_set((0u64..1000, 0u32..50), 0..100),
            until in 0u64..1000,
        ) {
            let start = Instant::now();
            let mut deadlines = Deadlines::default();
            for (at, key) in &entries {
                deadlines.insert(start + Duration::from_millis(*at), *key);
            }
            let mut due = Vec::new();
            while let Some(key) = deadlines.take_due(start + Duration::from_millis(until)) {
                due.push(key);
            }
            let oracle: Vec<u32> = entries.iter().filter(|(at, _)| *at <= until).map(|(_, key)| *key).collect();
            prop_assert_eq!(due, oracle);
            let rest: BTreeSet<u64> = entries.iter().map(|(at, _)| *at).filter(|at| *at > until).collect();
            let next = rest.first().map(|at| start + Duration::from_millis(*at));
            prop_assert_eq!(deadlines.next(), next);
        }
    }
}
