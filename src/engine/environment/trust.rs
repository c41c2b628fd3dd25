//! Which idle connections are believed in, and what their ends teach.

use std::time::Instant;

use super::connection::State;
use super::{AgentId, Environment};
use crate::engine::lifetime::PeerClose;
use crate::engine::pool::{CloseReason, ConnectionId, OriginId};
use crate::engine::reactor::Reactor;

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
        let idle = self.connections.iter().filter(|(_, connection)| matches!(connection.state, State::Idle { .. }));
        let idle: Vec<_> = idle.filter_map(|(number, _)| u32::try_from(number).ok().map(ConnectionId)).collect();
        self.end_all(idle, self.now);
    }

    fn end_all(&mut self, idle: Vec<ConnectionId>, since: Instant) {
        for id in idle {
            let is_older = |state| matches!(state, State::Idle { since: then, .. } if then <= since);
            if self.connection(id).is_some_and(|connection| is_older(connection.state)) {
                self.end_idle(id, CloseReason::Distrusted);
            }
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
        let silent_for = connection.open().map(|open| open.transport.silent_for()).unwrap_or_default();
        let requests = connection.life.requests;
        let at = now.checked_sub(silent_for).unwrap_or(now).max(since);
        self.agent(agent).learned(origin).closed(PeerClose { at, age: at.saturating_duration_since(since), requests });
    }
}
