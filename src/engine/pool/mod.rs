//! Who gets which connection. Pure: it knows ids and numbers, never a socket or a clock.
//!
//! | from | by | to |
//! | --- | --- | --- |
//! | (none) | [`Pool::checkout`], [`Pool::grant`], [`Pool::connect_beside`], [`Pool::connect_anyway`] | connecting |
//! | connecting | [`Pool::opened`] | leased |
//! | idle | [`Pool::take`] | leased |
//! | leased | [`Pool::release`] | leased (a waiter's), idle, closing |
//! | leased | [`Pool::replace`] | connecting |
//! | connecting, idle, leased | `closing_while_…` | closing |
//! | closing | [`Pool::closed`] | (none) |
//!
//! # Invariants
//! 1. `connecting + idle + leased + closing == opened - closed`, per origin and in total.
//! 2. `connecting + leased <= max_sockets` per origin, `connecting + leased + idle <= max_total` in total,
//!    `idle <= max_free` per origin, at the moment of each grant; closing connections count against the first two.
//! 4. A waiter leaves exactly once: by a grant, a release to it, or its cancellation. First come, first served per origin.

mod origin;
mod reason;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use slab::Slab;

pub use origin::Counts;
use origin::Origin;
pub use reason::CloseReason;

/// A place in the pool, and in the embedder's table of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// An origin within one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(pub u32);

/// A parked checkout. Ids rise, so the smallest one has waited longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// How many of each; `usize::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in use or being opened, per origin.
    pub max_sockets: usize,
    /// Connections in any state, over all origins.
    pub max_total: usize,
    /// Idle connections per origin.
    pub max_free: usize,
    /// Waiters per origin.
    pub queue_limit: usize,
    /// Reuse the connection idle for the shortest time first; otherwise the one idle for the longest.
    pub lifo: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_sockets: usize::MAX, max_total: usize::MAX, max_free: 256, queue_limit: usize::MAX, lifo: true }
    }
}

/// What a checkout may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkout {
    /// Try this idle connection; call [`Pool::take`] if it lives, [`Pool::closing_while_idle`] and ask again if not.
    Candidate(ConnectionId),
    /// Open a connection; it is counted as connecting.
    Connect,
    /// Wait. Closing `evict`, an idle connection of another origin, makes room.
    Wait {
        /// The ticket.
        waiter: WaiterId,
        /// An idle connection of another origin that stands in the way.
        evict: Option<ConnectionId>,
    },
    /// As many wait as may.
    QueueFull,
}

/// Where a released connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It stays leased, by this waiter now.
    Handed(WaiterId),
    /// It is idle.
    Kept,
    /// It must be closed; it is counted as closing.
    Close(CloseReason),
}

/// The connections and waiters of one agent, by origin.
#[derive(Debug, Default)]
pub struct Pool {
    limits: Limits,
    origins: Slab<Origin>,
    total: Counts,
    /// The first waiter of each origin that has one.
    heads: BTreeMap<WaiterId, OriginId>,
    next_waiter: u64,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// New limits count from the next decision on; nothing is closed for them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Makes an origin known.
    pub fn add_origin(&mut self) -> OriginId {
        let key = self.origins.insert(Origin::default());
        OriginId(u32::try_from(key).unwrap_or(u32::MAX))
    }

    /// Forgets an origin that has neither connections nor waiters; `false` if it has.
    pub fn remove_origin(&mut self, origin: OriginId) -> bool {
        let forgettable = self.origins.get(origin.0 as usize).is_some_and(Origin::is_empty);
        forgettable && self.origins.try_remove(origin.0 as usize).is_some()
    }

    /// Whether one connection of `origin` serves many exchanges: no second one is opened beside it then.
    pub fn set_shared(&mut self, origin: OriginId, is_shared: bool) {
        self.origin(origin).is_shared = is_shared;
    }

    /// The longest waiters of origins whose connections are shared.
    pub fn sharing_waiters(&self) -> impl Iterator<Item = (WaiterId, OriginId)> {
        let is_shared = |origin: &OriginId| self.origins.get(origin.0 as usize).is_some_and(|origin| origin.is_shared);
        self.heads.iter().map(|(waiter, origin)| (*waiter, *origin)).filter(move |(_, origin)| is_shared(origin))
    }

    /// The counts of one origin.
    #[must_use]
    pub fn counts(&self, origin: OriginId) -> Counts {
        self.origins.get(origin.0 as usize).map_or_else(Counts::default, |origin| origin.counts)
    }

    /// The counts over all origins.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.total
    }

    /// How many wait for a connection to `origin`.
    #[must_use]
    pub fn waiting(&self, origin: OriginId) -> usize {
        self.origins.get(origin.0 as usize).map_or(0, |origin| origin.waiters.len())
    }

    /// The idle connections of `origin`, longest idle first.
    pub fn idle(&self, origin: OriginId) -> impl DoubleEndedIterator<Item = ConnectionId> {
        self.origins.get(origin.0 as usize).into_iter().flat_map(|origin| origin.idle.iter().copied())
    }

    /// All waiters of the pool, in no order.
    pub fn waiters(&self) -> impl Iterator<Item = (OriginId, WaiterId)> {
        self.origins.iter().flat_map(|(key, origin)| {
            let id = OriginId(u32::try_from(key).unwrap_or(u32::MAX));
            origin.waiters.iter().map(move |waiter| (id, *waiter))
        })
    }

    /// Answers one checkout for `origin`.
    pub fn checkout(&mut self, origin: OriginId) -> Checkout {
        let Limits { queue_limit, lifo, .. } = self.limits;
        let state = self.origin(origin);
        if let Some(idle) = if lifo { state.idle.back() } else { state.idle.front() } {
            return Checkout::Candidate(*idle);
        }
        let waiting = state.waiters.len();
        if waiting == 0 && self.has_room(origin) {
            self.change(origin, Counts::begin_connecting);
            return Checkout::Connect;
        }
        if waiting >= queue_limit {
            return Checkout::QueueFull;
        }
        let waiter = self.enqueue(origin);
        Checkout::Wait { waiter, evict: self.in_the_way(origin) }
    }

    /// A connection without asking the limits: the embedder opened it itself.
    pub fn connect_anyway(&mut self, origin: OriginId) {
        self.change(origin, Counts::begin_connecting);
    }

    /// A connection beside idle ones that are not to be used; `false` if they would be too many together, in use or idle.
    pub fn connect_beside(&mut self, origin: OriginId) -> bool {
        let (counts, limits) = (self.counts(origin), self.limits);
        let has_room =
            counts.all() < limits.max_sockets && counts.idle < limits.max_free && self.total.all() < limits.max_total;
        if has_room {
            self.change(origin, Counts::begin_connecting);
        }
        has_room
    }

    /// The waiter that may connect now, if any; its connection is counted as connecting.
    pub fn grant(&mut self) -> Option<(WaiterId, OriginId)> {
        let (waiter, origin) =
            self.heads.iter().map(|(waiter, origin)| (*waiter, *origin)).find(|(_, o)| self.has_room(*o))?;
        self.cancel(origin, waiter);
        self.change(origin, Counts::begin_connecting);
        Some((waiter, origin))
    }

    /// Takes a waiter out; `false` if it is not waiting any more.
    pub fn cancel(&mut self, origin: OriginId, waiter: WaiterId) -> bool {
        let waiters = &mut self.origin(origin).waiters;
        let Some(at) = waiters.iter().position(|other| *other == waiter) else { return false };
        waiters.remove(at);
        let head = waiters.front().copied();
        if self.heads.remove(&waiter).is_some() {
            self.heads.extend(head.map(|head| (head, origin)));
        }
        true
    }

    /// A candidate lives: it is leased.
    pub fn take(&mut self, origin: OriginId, connection: ConnectionId) {
        self.remove_idle(origin, connection);
        self.change(origin, |counts| counts.shift(|c| &mut c.idle, |c| &mut c.leased));
    }

    /// A connecting connection is open and leased.
    pub fn opened(&mut self, origin: OriginId) {
        self.change(origin, |counts| counts.shift(|c| &mut c.connecting, |c| &mut c.leased));
    }

    /// A leased connection is replaced by a fresh one within its lease.
    pub fn replace(&mut self, origin: OriginId) {
        self.change(origin, |counts| {
            counts.shift(|c| &mut c.leased, |c| &mut c.closing);
            counts.end_closing();
            counts.begin_connecting();
        });
    }

    /// A leased connection's exchange is over; `keep` holds the reason if it must not live on.
    pub fn release(&mut self, origin: OriginId, connection: ConnectionId, keep: Result<(), CloseReason>) -> Release {
        let verdict = keep.and_then(|()| match self.origin(origin).waiters.front().copied() {
            Some(waiter) => Ok(Some(waiter)),
            None if self.has_place_for_idle(origin) => Ok(None),
            None => Err(CloseReason::Evicted),
        });
        match verdict {
            Ok(Some(waiter)) => {
                self.cancel(origin, waiter);
                Release::Handed(waiter)
            }
            Ok(None) => {
                self.origin(origin).idle.push_back(connection);
                self.change(origin, |counts| counts.shift(|c| &mut c.leased, |c| &mut c.idle));
                Release::Kept
            }
            Err(reason) => {
                self.change(origin, |counts| counts.shift(|c| &mut c.leased, |c| &mut c.closing));
                Release::Close(reason)
            }
        }
    }

    /// A connection that was connecting is being closed.
    pub fn closing_while_connecting(&mut self, origin: OriginId) {
        self.change(origin, |counts| counts.shift(|c| &mut c.connecting, |c| &mut c.closing));
    }

    /// A connection that was leased is being closed.
    pub fn closing_while_leased(&mut self, origin: OriginId) {
        self.change(origin, |counts| counts.shift(|c| &mut c.leased, |c| &mut c.closing));
    }

    /// A connection that was idle is being closed.
    pub fn closing_while_idle(&mut self, origin: OriginId, connection: ConnectionId) {
        self.remove_idle(origin, connection);
        self.change(origin, |counts| counts.shift(|c| &mut c.idle, |c| &mut c.closing));
    }

    /// A closing connection is gone: the next [`grant`](Self::grant) may use its room.
    pub fn closed(&mut self, origin: OriginId) {
        self.change(origin, Counts::end_closing);
    }

    // An embedder that hands out only ids it got from `add_origin` never sees the default.
    fn origin(&mut self, origin: OriginId) -> &mut Origin {
        self.origins.get_mut(origin.0 as usize).expect("an origin lives as long as its connections and waiters")
    }

    fn change(&mut self, origin: OriginId, how: impl Fn(&mut Counts)) {
        how(&mut self.origin(origin).counts);
        how(&mut self.total);
    }

    fn remove_idle(&mut self, origin: OriginId, connection: ConnectionId) {
        let idle = &mut self.origin(origin).idle;
        // Almost always the newest or the oldest.
        let at = if idle.back() == Some(&connection) {
            Some(idle.len() - 1)
        } else {
            idle.iter().position(|other| *other == connection)
        };
        at.and_then(|at| idle.remove(at)).expect("an idle connection is in its origin's list");
    }

    /// A closing connection still holds a descriptor at both ends, so it counts until it is gone, as in Node.
    fn has_room(&self, origin: OriginId) -> bool {
        self.is_below_most(origin) && self.total.all() < self.limits.max_total
    }

    fn is_below_most(&self, origin: OriginId) -> bool {
        let Some(Origin { counts, is_shared, .. }) = self.origins.get(origin.0 as usize) else { return false };
        let open = counts.connecting + counts.leased;
        // One is enough, as soon as there is none that works.
        if *is_shared { open == 0 } else { open + counts.closing < self.limits.max_sockets }
    }

    fn has_place_for_idle(&self, origin: OriginId) -> bool {
        let counts = self.counts(origin);
        counts.idle < self.limits.max_free
            && counts.idle + counts.leased + counts.connecting <= self.limits.max_sockets
            && self.total.all() <= self.limits.max_total
            && !self.heads.values().any(|waiting| self.is_kept_out_by_total(*waiting))
    }

    fn is_kept_out_by_total(&self, origin: OriginId) -> bool {
        self.total.all() >= self.limits.max_total && self.is_below_most(origin)
    }

    /// The connection idle for the longest in another origin, if only the total keeps `origin` out.
    fn in_the_way(&self, origin: OriginId) -> Option<ConnectionId> {
        if !self.is_kept_out_by_total(origin) {
            return None;
        }
        self.origins.iter().find_map(|(_, other)| other.idle.front().copied())
    }

    fn enqueue(&mut self, origin: OriginId) -> WaiterId {
        self.next_waiter += 1;
        let waiter = WaiterId(self.next_waiter);
        let waiters = &mut self.origin(origin).waiters;
        waiters.push_back(waiter);
        if waiters.len() == 1 {
            self.heads.insert(waiter, origin);
        }
        waiter
    }
}
