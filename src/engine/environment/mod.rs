//! The shell of one loop: it owns the connections of all agents on that loop, asks the pure parts what to do, and does it.
//!
//! Everything here runs on the loop's thread. What the embedder must hear is queued as [`Event`]s; nothing calls back.
//!
//! # Invariants
//! 3. A connection serves at most one exchange at a time, and none after it was expired or seen closed: only `checkout`
//!    and `release` lease, and both ask the kernel first.
//! 6. Nothing is told while the state is borrowed: events are taken out after the fact.

mod agent;
mod checkout;
mod connection;
mod death;
mod event;
mod io;
mod opening;
mod secured;
mod shared;
mod spoken;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::VecDeque;
use std::time::Instant;

use slab::Slab;

pub use agent::{Agent, AgentOptions, OriginStats};
pub use checkout::Lease;
use connection::Connection;
pub use connection::Facts;
pub use death::Failure;
pub use event::{Event, Slabs};
pub use io::Wrote;
pub use opening::{Detached, Trouble};

use super::connect::Answer;
use super::doorbell::{Bell, Doorbell};
use super::lifetime::{Clocks, Deadlines};
use super::pool::{ConnectionId, OriginId, WaiterId};
use super::reactor::{Reactor, Ready};
use super::transport::Sentinel;

/// An agent of this environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u32);

/// What may fall due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Idle(ConnectionId),
    Connect(ConnectionId, u64),
    Beside(ConnectionId, u64),
    Retry(ConnectionId, u64),
    Ping(ConnectionId, u64),
    Waiter(AgentId, OriginId, WaiterId),
}

/// Agents, connections, and what drives them.
#[derive(Debug)]
pub struct Environment<R: Reactor> {
    reactor: R,
    doorbell: Doorbell<Answer>,
    agents: Slab<Agent>,
    connections: Slab<Connection<R::Watch>>,
    deadlines: Deadlines<Due>,
    /// What the reactor is set to; never later than the earliest deadline.
    armed: Option<Instant>,
    ready: Vec<Ready>,
    backlog: VecDeque<Ready>,
    /// What TLS or hyper still hold, for the next turn.
    leftovers: Vec<Ready>,
    /// Where bytes for hyper are read into.
    scratch: Vec<u8>,
    events: VecDeque<Event>,
    /// Held connections on their way.
    opening: usize,
    next_ticket: u64,
    telling: bool,
    gathering: bool,
    hang_up_is_end: bool,
    sentinel: Sentinel,
    clocks: Clocks,
    /// As far as the embedder has told.
    now: Instant,
    /// Connections whose output waits for the end of the turn.
    gathered: Vec<ConnectionId>,
    /// Connections whose reader has paused in this turn.
    pausing: Vec<ConnectionId>,
}

impl<R: Reactor> Environment<R> {
    /// An environment without agents. `bell` must make the loop take a turn.
    pub fn new(reactor: R, bell: impl Bell) -> Self {
        Self {
            reactor,
            doorbell: Doorbell::new(bell),
            agents: Slab::new(),
            connections: Slab::new(),
            deadlines: Deadlines::default(),
            armed: None,
            ready: Vec::new(),
            backlog: VecDeque::new(),
            leftovers: Vec::new(),
            scratch: Vec::new(),
            events: VecDeque::new(),
            opening: 0,
            next_ticket: 0,
            telling: false,
            gathering: false,
            hang_up_is_end: false,
            sentinel: Sentinel::default(),
            clocks: Clocks::default(),
            now: Instant::now(),
            gathered: Vec::new(),
            pausing: Vec::new(),
        }
    }

    /// Whether a reset that comes together with bytes is told as the end of them, and not as a failure.
    pub fn set_hang_up_is_end(&mut self, is_end: bool) {
        self.hang_up_is_end = is_end;
    }

    /// The reactor, for the embedder's own business with it.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// The reactor's timer went off, perhaps early: a loop's clock may lag behind. The next turn sets it again.
    pub fn deadline_came(&mut self) {
        self.armed = None;
    }

    /// Does what has become due: answers from the background, deadlines, readiness. Reads go into `slabs`, as far as
    /// there is room; what is left waits for the next call.
    pub fn turn(&mut self, slabs: &mut impl Slabs, now: Instant) {
        self.now = now;
        self.look_at_clocks();
        for answer in self.doorbell.take() {
            self.answered(answer, now);
        }
        self.expire(now);
        self.reactor.take_ready(&mut self.ready);
        self.backlog.extend(self.ready.drain(..));
        for resumed in self.leftovers.drain(..) {
            // Once a turn is enough: whoever was polled as readable reads the same.
            if self.backlog.iter().all(|ready| ready.id != resumed.id || !ready.readable) {
                self.backlog.push_back(resumed);
            }
        }
        self.catch_up(slabs);
    }

    /// Goes on with a turn that had no room for all that was read.
    pub fn catch_up(&mut self, slabs: &mut impl Slabs) {
        while let Some(ready) = self.backlog.pop_front() {
            if !self.serve(ready, slabs) {
                self.backlog.push_front(ready);
                break;
            }
        }
    }

    /// Takes the next event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is an event to take.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether sockets are ready that the last turn had no room for.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The loop is done with a connection that was closed.
    pub fn gone(&mut self, id: ConnectionId) {
        self.events.push_back(Event::Gone { id });
    }

    /// Ends everything at once, without events: the environment goes. Afterwards the doorbell never rings again.
    pub fn abandon(&mut self) {
        self.scatter();
        self.doorbell.close();
        for mut connection in self.connections.drain() {
            connection.cut(&mut self.reactor, None);
        }
        self.agents.clear();
        self.events.clear();
    }

    fn expire(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.take_due(now) {
            match due {
                Due::Idle(id) => self.idle_due(id, now),
                Due::Connect(id, ticket) => self.connect_due(id, ticket),
                Due::Beside(id, ticket) => self.beside_due(id, ticket),
                Due::Retry(id, ticket) => self.retry_due(id, ticket),
                Due::Ping(id, ticket) => self.ping_due(id, ticket),
                Due::Waiter(agent, origin, waiter) => self.waiter_due(agent, origin, waiter),
            }
        }
        if self.armed.is_none_or(|at| at <= now) {
            self.armed = None;
            self.arm();
        }
    }

    fn remind(&mut self, at: Instant, due: Due) {
        self.deadlines.insert(at, due);
        self.arm();
    }

    fn arm(&mut self) {
        let next = self.deadlines.next();
        if next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed)) {
            self.armed = next;
            self.reactor.set_deadline(next);
        }
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Tells something that no readiness led to: the loop may be asleep.
    fn tell_soon(&mut self, event: Event) {
        self.events.push_back(event);
        self.reactor.wake();
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection<R::Watch>> {
        self.connections.get_mut(id.0 as usize)
    }

    fn agent(&mut self, id: AgentId) -> &mut Agent {
        self.agents.get_mut(id.0 as usize).expect("an agent lives as long as its connections")
    }
}
