//! Checkout, release, and every way a connection leaves the pool.

use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Link, State};
use super::{AgentId, Due, Environment, Event, Facts};
use crate::engine::lifetime::{Hint, Verdict};
use crate::engine::pool::{Checkout, CloseReason, ConnectionId, OriginId, Release, WaiterId};
use crate::engine::reactor::Reactor;
use crate::engine::retry::Policy;
use crate::engine::transport::Liveness;

/// The answer to one checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// A live connection.
    Reused(ConnectionId),
    /// A place for a new one: say where to with [`Environment::connect`].
    New(ConnectionId),
    /// A share of a live connection.
    Stream(ConnectionId),
    /// None yet.
    Waiting(WaiterId),
    /// None, and no room to wait.
    QueueFull,
}

impl<R: Reactor> Environment<R> {
    /// Asks for a connection to `origin`. `mended`: should it die, the request is sent again, whatever is known of it.
    pub fn checkout(
        &mut self,
        agent: AgentId,
        origin: OriginId,
        idempotent: bool,
        mended: bool,
        now: Instant,
    ) -> Lease {
        self.now = now;
        // Within a turn's deliveries the turn has looked.
        if !self.gathering {
            self.look_at_clocks();
        }
        if self.agent(agent).pool.waiting(origin) == 0
            && let Some(carrier) = self.carrier_with_room(agent, origin)
        {
            return Lease::Stream(self.open_stream(carrier, idempotent));
        }
        loop {
            match self.agent(agent).pool.checkout(origin) {
                Checkout::Candidate(id) => {
                    let (id, is_doubtful) = if mended { (id, false) } else { self.surest(agent, origin, id) };
                    if self.ended_unheard(id) {
                        continue;
                    }
                    match self.usable(id, now) {
                        Ok(_) if is_doubtful && self.agent(agent).pool.connect_beside(origin) => {
                            self.agent(agent).tally(origin).unproven += 1;
                            let id = self.reserve(agent, origin, idempotent, now);
                            self.set_beside(id);
                            return Lease::New(id);
                        }
                        Ok(idle_since) => {
                            self.agent(agent).pool.take(origin, id);
                            let age = now.saturating_duration_since(idle_since);
                            self.agent(agent).tally(origin).idle_age.record_micros(age);
                            self.lease(id, idempotent, Some(idle_since));
                            return self.share_again(id).map_or(Lease::Reused(id), Lease::Stream);
                        }
                        Err(reason) => self.end_idle(id, reason),
                    }
                }
                Checkout::Connect => return Lease::New(self.reserve(agent, origin, idempotent, now)),
                Checkout::Wait { waiter, evict } => {
                    if let Some(id) = evict {
                        self.end_idle(id, CloseReason::Evicted);
                    }
                    if let Some(timeout) = self.agent(agent).options.queue_timeout {
                        self.remind(now + timeout, Due::Waiter(agent, origin, waiter));
                    }
                    return Lease::Waiting(waiter);
                }
                Checkout::QueueFull => {
                    self.agent(agent).tally(origin).queue_full += 1;
                    return Lease::QueueFull;
                }
            }
        }
    }

    /// A place for a connection that the embedder opens whatever the limits say.
    pub fn reserve_anyway(&mut self, agent: AgentId, origin: OriginId, now: Instant) -> ConnectionId {
        self.agent(agent).pool.connect_anyway(origin);
        self.reserve(agent, origin, false, now)
    }

    /// The longest waiter that there is room for now, and its new connection or its share of one.
    pub fn grant(&mut self, agent: AgentId, now: Instant) -> Option<(WaiterId, Lease)> {
        self.now = now;
        if let Some((waiter, stream)) = self.grant_stream(agent) {
            return Some((waiter, Lease::Stream(stream)));
        }
        let (waiter, origin) = self.agent(agent).pool.grant()?;
        Some((waiter, Lease::New(self.reserve(agent, origin, false, now))))
    }

    /// Says of a lease that was granted or handed over whether its request may be sent twice, and how long it waited.
    pub fn begin(&mut self, id: ConnectionId, idempotent: bool, waited: std::time::Duration) {
        let Some(connection) = self.connection(id) else { return };
        connection.exchange.idempotent = idempotent;
        let (agent, origin) = (connection.agent, connection.origin);
        self.agent(agent).tally(origin).queue_wait.record_micros(waited);
    }

    /// A policy of its own for the exchange that has just been leased; nothing of it is written yet.
    pub fn set_policy(&mut self, id: ConnectionId, policy: Arc<Policy>) {
        let Some(connection) = self.connection(id) else { return };
        let exchange = &mut connection.exchange;
        if policy.keeps(exchange.reused || connection.is_beside) {
            exchange.replay.restart();
        } else {
            drop(exchange.replay.take());
        }
        exchange.policy = Some(policy);
    }

    /// Takes a waiter out of the queue; `false` if it is not in it.
    pub fn cancel(&mut self, agent: AgentId, origin: OriginId, waiter: WaiterId) -> bool {
        let is_taken = self.agent(agent).pool.cancel(origin, waiter);
        self.look_at_carrier(agent, origin);
        is_taken
    }

    /// Notes the server's `Keep-Alive` header for a connection.
    pub fn hint(&mut self, id: ConnectionId, hint: Hint) {
        if let Some(connection) = self.connection(id) {
            // Apache counts `max` down, Node repeats the same one: what is left by our own count is never raised.
            let left = connection.life.hint.max;
            let max = hint.max.map_or(left, |max| Some(left.map_or(max, |left| left.min(max))));
            connection.life.hint = Hint { timeout: hint.timeout, max };
        }
    }

    /// Sets an idle timeout for one connection alone; `None` is no limit.
    pub fn set_idle_timeout(&mut self, id: ConnectionId, timeout: Option<std::time::Duration>) {
        if let Some(connection) = self.connection(id) {
            connection.life.idle_override = Some(timeout.unwrap_or_default());
        }
    }

    /// An exchange is over. `reusable` is the embedder's verdict: both messages whole, nobody asked to close.
    pub fn release(&mut self, id: ConnectionId, reusable: bool, now: Instant) -> Option<Release> {
        let (agent, origin) = self.place(id)?;
        self.now = now;
        let limits = self.agent(agent).lifetime(origin, now);
        let connection = self.connection(id)?;
        if connection.state != State::Leased || connection.is_away {
            return None;
        }
        connection.hurry(); // its answer came early
        connection.life.requests += 1;
        let (idle, requests) = (connection.exchange.idle(), connection.life.requests);
        if limits.learns && connection.exchange.answered {
            self.agent(agent).learned(origin).survived(idle.unwrap_or_default(), requests, now);
        }
        let connection = self.connection(id)?;
        let mut keep = connection.life.may_serve(&limits, now).and_then(|()| connection.is_clean(reusable));
        let mut until = None;
        let waited_for = self.agent(agent).pool.waiting(origin) > 0;
        let connection = self.connection(id)?;
        if keep.is_ok() && waited_for {
            keep = connection.liveness();
        } else if keep.is_ok() {
            match connection.life.keep_idle(&limits, now) {
                Verdict::Keep(end) => until = end,
                Verdict::Close(reason) => keep = Err(reason),
            }
        }
        let release = self.agent(agent).pool.release(origin, id, keep);
        match release {
            Release::Handed(_) => self.lease(id, false, None),
            Release::Kept => self.rest(id, until, now),
            Release::Close(reason) => {
                if let Some(connection) = self.connection(id) {
                    connection.state = State::Closing(reason);
                }
                self.tally_close(id, reason);
            }
        }
        Some(release)
    }

    /// Closes a connection at once: what was not called taken is lost. [`Event::Gone`] follows.
    pub fn close(&mut self, id: ConnectionId, reason: CloseReason, reset: bool) {
        self.unshare(id);
        self.begin_closing(id, reason);
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        connection.hurry();
        if reset && let Some(open) = connection.open() {
            // A kernel that will not reset closes in order, which is the next best.
            drop(open.transport.reset_on_close());
        }
        let gone = (!std::mem::replace(&mut connection.is_parting, true)).then_some(id);
        if gone.is_some() {
            connection.cut(&mut self.reactor, gone);
        }
    }

    /// Closes and forgets a connection that the embedder has no socket for, or one whose socket is its own.
    pub fn discard(&mut self, id: ConnectionId, reason: CloseReason) {
        self.unshare(id);
        self.begin_closing(id, reason);
        if let Some(connection) = self.connections.get_mut(id.0 as usize) {
            connection.cut(&mut self.reactor, None);
        }
        self.dispose(id);
    }

    /// The embedder has let go of a closing connection: its place is free. Any other keeps its place.
    pub fn dispose(&mut self, id: ConnectionId) {
        if !self.connection(id).is_some_and(|connection| matches!(connection.state, State::Closing(_))) {
            return;
        }
        let Some(connection) = self.connections.try_remove(id.0 as usize) else { return };
        if !connection.is_away {
            self.agent(connection.agent).pool.closed(connection.origin);
        }
        self.forget(id);
    }

    /// The number may be another connection's next: nothing that is still to be told or served may reach that one.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.events.retain(|event| event.connection() != Some(id));
        self.backlog.retain(|ready| ready.id != id);
        self.leftovers.retain(|ready| ready.id != id);
    }

    /// What is known of a connection.
    #[must_use]
    pub fn facts(&self, id: ConnectionId, now: Instant) -> Option<Facts> {
        self.connections.get(id.0 as usize).map(|connection| connection.facts(now))
    }

    pub(super) fn place(&self, id: ConnectionId) -> Option<(AgentId, OriginId)> {
        self.connections.get(id.0 as usize).map(|connection| (connection.agent, connection.origin))
    }

    pub(super) fn idle_due(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connection(id) else { return };
        connection.reminder = None;
        let State::Idle { until: Some((at, reason)), .. } = connection.state else { return };
        if at <= now {
            self.end_idle(id, reason);
        } else {
            self.remind_idle(id, at);
        }
    }

    pub(super) fn waiter_due(&mut self, agent: AgentId, origin: OriginId, waiter: WaiterId) {
        // The agent may be gone, and its number may be another's; then the waiter is not found.
        if !self.agents.contains(agent.0 as usize) || self.agent(agent).pool.waiting(origin) == 0 {
            return;
        }
        if self.cancel(agent, origin, waiter) {
            self.agent(agent).tally(origin).queue_timeouts += 1;
            self.tell(Event::GaveUp { agent, waiter });
        }
    }

    fn begin_closing(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some((agent, origin)) = self.place(id) else { return };
        let Some(connection) = self.connection(id) else { return };
        let state = connection.state;
        let was_opening = connection.is_opening();
        let reason = connection.death.unwrap_or(reason);
        if matches!(state, State::Closing(_)) {
            return;
        }
        connection.state = State::Closing(reason);
        let is_away = connection.is_away;
        if was_opening {
            self.opening_ended(id);
        }
        if is_away {
            return;
        }
        let pool = &mut self.agent(agent).pool;
        match state {
            State::Connecting => pool.closing_while_connecting(origin),
            State::Leased => pool.closing_while_leased(origin),
            State::Idle { .. } => pool.closing_while_idle(origin, id),
            State::Closing(_) => {}
        }
        self.tally_close(id, reason);
    }

    pub(super) fn tally_close(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connection(id) else { return };
        let (agent, origin, requests) = (connection.agent, connection.origin, connection.life.requests);
        self.agent(agent).tally(origin).close(reason, requests);
    }

    /// Closes an idle connection, and tells.
    pub(super) fn end_idle(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some((agent, origin)) = self.place(id) else { return };
        if let Some(&Connection { state: State::Idle { since, .. }, .. }) = self.connections.get(id.0 as usize) {
            self.learn(id, reason, Some(since));
            if matches!(reason, CloseReason::Expired | CloseReason::Hint | CloseReason::Ttl) {
                self.note_silence(id);
            }
        }
        self.agent(agent).pool.closing_while_idle(origin, id);
        self.tally_close(id, reason);
        if let Some(connection) = self.connections.get_mut(id.0 as usize) {
            connection.state = State::Closing(reason);
            if matches!(connection.link, Link::Open(_)) {
                connection.cut(&mut self.reactor, None);
            }
        }
        self.tell_soon(Event::Ended { id, reason });
    }

    fn reserve(&mut self, agent: AgentId, origin: OriginId, idempotent: bool, now: Instant) -> ConnectionId {
        self.now = now;
        let options = &self.agent(agent).options;
        let (limits, keep_replay) = (options.lifetime, options.retry.keeps(false));
        let mut connection = Connection::new(agent, origin, &limits, now);
        connection.begin_exchange(idempotent, keep_replay);
        self.agent(agent).tally(origin).requests += 1;
        self.agent(agent).budget(origin).deposit(now);
        let number = u32::try_from(self.connections.insert(connection)).expect("fewer connections than descriptors");
        let id = ConnectionId(number);
        // The clock runs from here, so that it covers whatever the embedder does before it connects.
        self.issue_ticket(id, now);
        id
    }

    /// When it became idle, if it may serve now. The clock is asked here too: a busy loop delays every timer.
    /// Within a turn's deliveries the kernel is asked only when requests leave, of all their connections at once.
    pub(super) fn usable(&mut self, id: ConnectionId, now: Instant) -> Result<Instant, CloseReason> {
        let gathering = self.gathering;
        let connection = self.connection(id).ok_or(CloseReason::Error)?;
        let State::Idle { since, until } = connection.state else { return Err(CloseReason::Error) };
        match until {
            Some((at, reason)) if at <= now => Err(reason),
            Some(_) | None if connection.shared.is_some() || gathering && connection.target.is_some() => Ok(since),
            Some(_) | None => connection.liveness().map(|()| since),
        }
    }

    fn lease(&mut self, id: ConnectionId, idempotent: bool, idle_since: Option<Instant>) {
        let Some((agent, origin)) = self.place(id) else { return };
        let now = self.now;
        let keep_replay = self.agent(agent).options.retry.keeps(true);
        self.agent(agent).budget(origin).deposit(now);
        let tally = self.agent(agent).tally(origin);
        tally.requests += 1;
        tally.reused += 1;
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        connection.state = State::Leased;
        connection.is_held = true;
        // What comes between the lease and the request's first byte is no answer to it.
        connection.is_unverified = connection.target.is_some() && connection.shared.is_none();
        connection.begin_exchange(idempotent, keep_replay);
        connection.exchange.idle_since = idle_since;
        connection.exchange.leased_at = Some(now);
        if let Link::Open(open) = &mut connection.link {
            self.reactor.hold(&mut open.watch, true);
        }
        self.update_interest(id);
    }

    pub(super) fn rest(&mut self, id: ConnectionId, until: Option<(Instant, CloseReason)>, now: Instant) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        connection.state = State::Idle { since: now, until };
        connection.is_held = false;
        if connection.shared.is_none() {
            connection.output.clear();
        }
        connection.is_unverified = false;
        connection.exchange.replay.rest();
        if let Link::Open(open) = &mut connection.link {
            open.transport.rest();
            self.reactor.hold(&mut open.watch, false);
        }
        self.update_interest(id);
        if let Some((at, _)) = until {
            self.remind_idle(id, at);
        }
    }

    fn remind_idle(&mut self, id: ConnectionId, at: Instant) {
        let Some(connection) = self.connection(id) else { return };
        if connection.reminder.is_none_or(|earlier| at < earlier) {
            connection.reminder = Some(at);
            self.remind(at, Due::Idle(id));
        }
    }
}

impl<W> Connection<W> {
    fn is_clean(&self, reusable: bool) -> Result<(), CloseReason> {
        let is_usable = match self.link {
            Link::Foreign => true,
            Link::Open(_) => self.output.is_empty() && !self.is_ended && !self.is_mute && !self.ends_after_output,
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Stream(_) => false,
        };
        if reusable && is_usable { Ok(()) } else { Err(CloseReason::Finished) }
    }

    /// Asks the kernel; of a foreign socket the embedder alone knows.
    pub(super) fn liveness(&mut self) -> Result<(), CloseReason> {
        match self.open_mut().map_or(Liveness::Quiet, |open| open.transport.peek()) {
            Liveness::Quiet => Ok(()),
            Liveness::Unsolicited => Err(CloseReason::Unsolicited),
            Liveness::Fin => Err(CloseReason::PeerFin),
            Liveness::Reset => Err(CloseReason::PeerReset),
        }
    }
}
