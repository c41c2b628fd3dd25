//! Connections with TLS: accepted once the embedder has seen whom they reached, and kept here when they leave the pool.

use std::time::Instant;

use super::Environment;
use super::connection::{Connection, Link, State};
use crate::engine::pool::{CloseReason, ConnectionId};
use crate::engine::reactor::Reactor;
use crate::engine::tls::Tls;

impl<R: Reactor> Environment<R> {
    /// Lets a secured connection out of the pool: from now on it is somebody else's, and still driven here.
    pub fn part(&mut self, id: ConnectionId) -> bool {
        let is_open = self.connection(id).is_some_and(|connection| connection.open().is_some());
        if !is_open || !self.leave_pool(id, CloseReason::Detached) {
            return false;
        }
        let Some(connection) = self.connection(id) else { return false };
        connection.state = State::Leased;
        connection.is_away = true;
        connection.is_unverified = false;
        connection.exchange.answered = true;
        drop(connection.exchange.replay.take());
        self.update_interest(id);
        true
    }

    /// The embedder has seen whom a secured connection reached, and is content.
    pub fn accept(&mut self, id: ConnectionId, now: Instant) {
        self.now = now;
        let is_proving = |connection: &&mut Connection<R::Watch>| matches!(connection.link, Link::Proving(_));
        let Some(connection) = self.connection(id).filter(is_proving) else { return };
        if let Link::Proving(mut transport) = std::mem::replace(&mut connection.link, Link::None) {
            // Whoever wanted to read it has read it.
            drop(transport.tls_mut().map(Tls::take_key_log));
            self.put_to_use(id, *transport, now);
        }
    }

    /// The TLS of a connection, if it has any.
    pub fn tls(&mut self, id: ConnectionId) -> Option<&mut Tls> {
        match &mut self.connection(id)?.link {
            Link::Proving(transport) => transport.tls_mut(),
            Link::Open(open) => open.transport.tls_mut(),
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Foreign | Link::Stream(_) => None,
        }
    }
}
