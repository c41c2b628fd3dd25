//! Which idle connections are believed in, and what their ends teach.

use std::time::{Duration, Instant};

use super::connection::{Connection, Link, State};
use super::{AgentId, Due, Environment, Event};
use crate::engine::lifetime::PeerClose;
use crate::engine::pool::{CloseReason, ConnectionId, OriginId};
use crate::engine::reactor::Reactor;

/// No server that keeps connections closes one so soon.
const SHORT: Duration = Duration::from_millis(250);

/// Servers look at their clocks seldom: Apache's event MPM closes up to a tenth of a second early
/// (`TIMEOUT_FUDGE_FACTOR`), and it answers meanwhile.
const COARSE: Duration = Duration::from_millis(200);

/// An idle connection that was passed over serves after all if the fresh one takes longer to open.
const PATIENCE: Duration = Duration::from_secs(1);

impl<R: Reactor> Environment<R> {
    /// A connection was found dead in use: its siblings that have been idle since before then are not tried.
    pub(super) fn distrust(&mut self, agent: AgentId, origin: OriginId, since: Instant) {
        let siblings: Vec<_> = self.agent(agent).pool.idle(origin).collect();
        self.end_all(siblings, since);
    }

    /// The machine slept: what was idle before may be long gone without a sign.
    pub(super) fn look_at_clocks(&mut self) {
        if !self.clocks.slept(self.now, self.reactor.wall_clock()) {
            return;
        }
        let idle = self.all_that(|connection| matches!(connection.state, State::Idle { .. }));
        self.end_all(idle, self.now);
    }

    fn all_that(&self, is_meant: impl Fn(&Connection<R::Watch>) -> bool) -> Vec<ConnectionId> {
        let meant = self.connections.iter().filter(|(_, connection)| is_meant(connection));
        meant.filter_map(|(number, _)| u32::try_from(number).ok().map(ConnectionId)).collect()
    }

    fn end_all(&mut self, idle: Vec<ConnectionId>, since: Instant) {
        for id in idle {
            let is_older = |state| matches!(state, State::Idle { since: then, .. } if then <= since);
            if self.connection(id).is_some_and(|connection| is_older(connection.state)) {
                self.end_idle(id, CloseReason::Distrusted);
            }
        }
    }

    /// The idle connection for a request that would be lost with it: the pool's candidate, or the one that was used last,
    /// if the candidate may be about to end; and whether that may too.
    pub(super) fn surest(&mut self, agent: AgentId, origin: OriginId, candidate: ConnectionId) -> (ConnectionId, bool) {
        if !self.is_doubtful(candidate) {
            return (candidate, false);
        }
        let newest = self.agent(agent).pool.idle(origin).next_back().unwrap_or(candidate);
        (newest, newest == candidate || self.is_doubtful(newest))
    }

    /// A connection that was just reserved stands beside an idle one, which serves should this one not open.
    pub(super) fn set_beside(&mut self, id: ConnectionId) {
        let Some((agent, _)) = self.place(id) else { return };
        let keeps_replay = self.agent(agent).options.retry.keeps(true);
        let at = self.now + PATIENCE;
        let Some(connection) = self.connection(id) else { return };
        connection.is_beside = true;
        if keeps_replay {
            connection.exchange.replay.restart();
        }
        let ticket = connection.ticket;
        self.remind(at, Due::Beside(id, ticket));
    }

    pub(super) fn beside_due(&mut self, id: ConnectionId, ticket: u64) {
        let is_this = self.connection(id).is_some_and(|connection| connection.is_beside && connection.ticket == ticket);
        if is_this && !self.falls_back(id) {
            self.remind(self.now + PATIENCE / 10, Due::Beside(id, ticket));
        }
    }

    /// The embedder opens a reserved connection itself, to [`adopt`](Self::adopt) it: no other can stand in for that.
    pub fn open_elsewhere(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            connection.is_beside = false;
        }
    }

    /// The embedder finds no way to open a reserved connection. Whether its exchange goes on nevertheless.
    pub fn fall_back(&mut self, id: ConnectionId, now: Instant) -> bool {
        self.now = now;
        self.falls_back(id) || self.connection(id).is_some_and(|connection| !matches!(connection.link, Link::None))
    }

    /// As [`fall_back`](Self::fall_back) for all connections of an agent whose idle ones are to end.
    pub fn fall_back_all(&mut self, agent: AgentId, now: Instant) {
        self.now = now;
        for id in self.all_that(|connection| connection.agent == agent && connection.is_beside) {
            self.falls_back(id);
        }
    }

    /// A connection that was to be surer than an idle one does not open, or not soon: its exchange gets that one, as it
    /// would have without the doubt. `false` if none is left.
    pub(super) fn falls_back(&mut self, id: ConnectionId) -> bool {
        let Some((agent, origin)) = self.place(id) else { return false };
        let is_opening = |connection: &mut Connection<R::Watch>| {
            connection.state == State::Connecting && !matches!(connection.link, Link::Proving(_))
        };
        if !self.connection(id).is_some_and(|connection| connection.is_beside && is_opening(connection)) {
            return false;
        }
        let idle: Vec<_> = self.agent(agent).pool.idle(origin).rev().collect();
        for idle in idle {
            let Some(connection) = self.connection(idle) else { continue };
            // What the engine does not open, or shares, is no other's.
            if connection.shared.is_some() || connection.open().is_none() {
                continue;
            }
            let alive = connection.liveness();
            match alive.and(self.usable(idle, self.now)) {
                Ok(since) => {
                    self.take_over(id, idle, since);
                    return true;
                }
                Err(reason) => self.end_idle(idle, reason),
            }
        }
        false
    }

    /// Gives an idle connection to the exchange of one that is being opened. Its own place is closed, in the books as the
    /// connection that did not open.
    fn take_over(&mut self, id: ConnectionId, idle: ConnectionId, since: Instant) {
        let now = self.now;
        let Some(connection) = self.connection(idle) else { return };
        let (mut life, opened, target) = (connection.life, connection.opened, connection.target.clone());
        connection.life.requests = 0;
        let Link::Open(open) = std::mem::replace(&mut connection.link, Link::None) else { return };
        self.reactor.unwatch(open.watch, None);
        self.sentinel.remove(open.transport.socket());
        self.end_idle(idle, CloseReason::Error);
        life.hint.max = life.hint.max.map(|max| max.saturating_sub(1));
        if let Some((agent, origin)) = self.place(id) {
            let tally = self.agent(agent).tally(origin);
            tally.reused += 1;
            tally.idle_age.record_micros(now.saturating_duration_since(since));
        }
        if self.connection(id).is_some_and(|connection| connection.is_opening()) {
            self.opening_ended(id);
        }
        let Some(connection) = self.connection(id) else { return };
        (connection.life, connection.opened, connection.target) = (life, opened, target);
        (connection.ends, connection.is_beside) = (open.transport.ends(), false);
        connection.exchange.reused = true;
        (connection.exchange.idle_since, connection.exchange.leased_at) = (Some(since), Some(now));
        self.tell_soon(Event::FellBack { id });
        self.reached(id, open.transport, now);
    }

    /// Whether the server might be about to close this idle connection, for all that is known of it.
    fn is_doubtful(&mut self, id: ConnectionId) -> bool {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return false };
        let (agent, origin, hint) = (connection.agent, connection.origin, connection.life.hint.timeout);
        // What the engine does not open it does not look into; a shared connection's peer says which requests it left out.
        if connection.target.is_none() || connection.shared.is_some() {
            return false;
        }
        // The last answer came after its request, so it needs no call to know that this silence is short.
        let engaged = connection.exchange.leased_at.or(connection.opened);
        if engaged.is_some_and(|at| now.saturating_duration_since(at) <= SHORT) {
            return false;
        }
        let limits = self.agent(agent).options.lifetime;
        if !limits.learns {
            return false;
        }
        let silence = self.silence(id).unwrap_or_default();
        // What a server says of itself has the margin of what it teaches.
        let margin = |hint: Duration| limits.hint_buffer.max(hint / 10).max(COARSE);
        if silence <= SHORT || hint.is_some_and(|hint| silence <= hint.saturating_sub(margin(hint))) {
            return false;
        }
        // The one that has been idle for the longest still stands, or has something to teach.
        let oldest = self.agent(agent).pool.idle(origin).next();
        if let Some(oldest) = oldest {
            self.note_silence(oldest);
        }
        !self.agent(agent).learned(origin).is_safe(silence, limits.idle_timeout, now)
    }

    /// How long ago an idle connection's last answer ended. The kernel knows better than a loop that was blocked.
    fn silence(&mut self, id: ConnectionId) -> Option<Duration> {
        let now = self.now;
        let connection = self.connection(id)?;
        let State::Idle { since, .. } = connection.state else { return None };
        let silence = connection.open().map(|open| open.transport.silence()).unwrap_or_default();
        Some(silence.of_words.max(now.saturating_duration_since(since)))
    }

    /// An idle connection that its peer has not closed yet teaches too.
    pub(super) fn note_silence(&mut self, id: ConnectionId) {
        let (now, Some((agent, origin)), Some(silence)) = (self.now, self.place(id), self.silence(id)) else { return };
        if self.agent(agent).options.lifetime.learns
            && self.connection(id).is_some_and(|connection| connection.liveness().is_ok())
        {
            self.agent(agent).learned(origin).outlived(silence, now);
        }
    }

    /// The peer ended a connection that was idle, or had just been leased: that says when it does so.
    pub(super) fn learn(&mut self, id: ConnectionId, reason: CloseReason, idle_since: Option<Instant>) {
        let (now, Some((agent, origin)), Some(since)) = (self.now, self.place(id), idle_since) else { return };
        if !self.agent(agent).options.lifetime.learns
            || !matches!(reason, CloseReason::PeerFin | CloseReason::PeerReset)
        {
            return;
        }
        let Some(connection) = self.connection(id) else { return };
        // A late look teaches no wrong age: the kernel knows when the FIN came.
        let silent_for = connection.open().map(|open| open.transport.silence().of_kernel).unwrap_or_default();
        let requests = connection.life.requests;
        let at = now.checked_sub(silent_for).unwrap_or(now).max(since);
        self.agent(agent).learned(origin).closed(PeerClose { at, age: at.saturating_duration_since(since), requests });
    }
}
