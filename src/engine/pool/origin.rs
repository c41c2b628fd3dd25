//! One origin's share of the pool.

use std::collections::VecDeque;

use super::{ConnectionId, WaiterId};

/// Connections by state, and the two sums that the states must add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Being opened.
    pub connecting: usize,
    /// Open, and nobody's.
    pub idle: usize,
    /// Serving an exchange.
    pub leased: usize,
    /// Given up, not gone yet.
    pub closing: usize,
    /// Ever begun.
    pub opened: u64,
    /// Ever gone.
    pub closed: u64,
}

impl Counts {
    /// Connections in any state.
    #[must_use]
    pub fn all(&self) -> usize {
        self.connecting + self.idle + self.leased + self.closing
    }

    /// Invariant 1.
    #[must_use]
    pub fn add_up(&self) -> bool {
        self.all() as u64 == self.opened - self.closed
    }

    pub(super) fn begin_connecting(&mut self) {
        self.connecting += 1;
        self.opened += 1;
        debug_assert!(self.add_up());
    }

    pub(super) fn end_closing(&mut self) {
        self.closing -= 1;
        self.closed += 1;
        debug_assert!(self.add_up());
    }

    pub(super) fn shift(&mut self, from: impl Fn(&mut Self) -> &mut usize, to: impl Fn(&mut Self) -> &mut usize) {
        *from(self) -= 1;
        *to(self) += 1;
        debug_assert!(self.add_up());
    }
}

#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) counts: Counts,
    /// Longest idle first.
    pub(super) idle: VecDeque<ConnectionId>,
    pub(super) waiters: VecDeque<WaiterId>,
    /// One connection serves many exchanges, so that one is enough.
    pub(super) is_shared: bool,
}

impl Origin {
    pub(super) fn is_empty(&self) -> bool {
        self.counts.all() == 0 && self.waiters.is_empty()
    }
}
