//! How shared connections and their streams end.

use std::time::Duration;

use super::super::connection::{Connection, Link, State};
use super::super::death::Death;
use super::super::{AgentId, Due, Environment, Event};
use crate::engine::http::Session;
use crate::engine::lifetime::Verdict;
use crate::engine::pool::{CloseReason, ConnectionId, OriginId, Release};
use crate::engine::reactor::Reactor;
use crate::engine::retry::{Evidence, Refusal};

/// A peer that has not answered a ping for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

impl<R: Reactor> Environment<R> {
    /// The peer's answer to a stream is that it has not looked at it.
    pub(super) fn refused(&mut self, id: ConnectionId) {
        let Some(policy) = self.policy(id) else { return };
        if !self.settle(id, &policy, CloseReason::PeerReset, Evidence::Refused, libc::ECONNRESET, true) {
            self.tell_soon(Event::Reset { id, code: h2::Reason::REFUSED_STREAM.into() });
        }
    }

    /// The connection below a stream is gone.
    pub(super) fn stream_failed(&mut self, id: ConnectionId, death: Death, evidence: Evidence) {
        let Some(policy) = self.policy(id) else { return };
        let Some(stream) = self.connection(id) else { return };
        if stream.exchange.answered {
            stream.exchange.failure = Some(stream.failure(Evidence::Acknowledged, Refusal::Answered));
        } else if self.settle(id, &policy, death.reason(), evidence, death.errno(), true) {
            return;
        }
        self.tell_soon(match death {
            Death::Error(errno) => Event::ReadFailed { id, errno },
            Death::Fin | Death::Unsolicited | Death::IdleTimeout => Event::End { id },
        });
    }

    /// A stream's request leaves it, to begin again elsewhere; `false` of what is no stream.
    pub(in super::super) fn abandon_stream(&mut self, id: ConnectionId) -> bool {
        let Some(carrier) = self.carrier_of(id) else { return false };
        if let Some(stream) = self.connection(id) {
            stream.link = Link::None;
            stream.state = State::Connecting;
        }
        self.leave(carrier, id);
        self.stream_left(carrier);
        true
    }

    /// Whether it was a stream, and is waiting to be one again.
    pub(in super::super) fn is_homeless(&self, id: ConnectionId) -> bool {
        let is_stray = |connection: &Connection<R::Watch>| connection.is_away && connection.target.is_none();
        self.connections.get(id.0 as usize).is_some_and(is_stray)
    }

    /// Before a place is closed: a stream leaves its connection, a connection its streams.
    pub(in super::super) fn unshare(&mut self, id: ConnectionId) {
        if let Some(carrier) = self.carrier_of(id) {
            if let Some(stream) = self.connection(id) {
                stream.link = Link::None;
            }
            self.leave(carrier, id);
            self.progress_shared(carrier, None);
            self.stream_left(carrier);
        }
        if !self.is_shared(id) {
            return;
        }
        // Its number may be another's next.
        for (_, other) in &mut self.connections {
            if matches!(other.link, Link::Stream(carrier) if carrier == id) {
                other.link = Link::None;
            }
        }
        self.uncarry(id);
        if let Some(connection) = self.connection(id) {
            connection.shared = None;
        }
    }

    pub(super) fn leave(&mut self, carrier: ConnectionId, id: ConnectionId) {
        let Some(shared) = self.connection(carrier).and_then(|connection| connection.shared.as_mut()) else { return };
        shared.streams -= 1;
        shared.session.forget(id.0);
    }

    fn uncarry(&mut self, carrier: ConnectionId) {
        let Some((agent, origin)) = self.place(carrier) else { return };
        let record = self.agent(agent).record(origin);
        if record.carrier == Some(carrier) {
            record.carrier = None;
        }
    }

    /// One stream less: without any, the connection is idle, or its time has come.
    pub(super) fn stream_left(&mut self, carrier: ConnectionId) {
        let Some((agent, origin)) = self.place(carrier) else { return };
        let Some(shared) = self.connection(carrier).and_then(|connection| connection.shared.as_mut()) else { return };
        if shared.streams > 0 {
            return self.tell_room(agent, origin);
        }
        if shared.is_retired {
            self.end_carrier(carrier, CloseReason::Finished);
        } else if shared.session.is_closing() {
            self.retire(carrier, CloseReason::Hint);
        } else {
            self.rest_carrier(carrier);
        }
    }

    /// Nobody may be waiting any more for a connection that was kept for whoever waited.
    pub(in super::super) fn look_at_carrier(&mut self, agent: AgentId, origin: OriginId) {
        let carrier = self.agent(agent).record(origin).carrier;
        if let Some(carrier) = carrier
            && self.agent(agent).pool.waiting(origin) == 0
        {
            self.stream_left(carrier);
        }
    }

    fn rest_carrier(&mut self, carrier: ConnectionId) {
        let now = self.now;
        let Some((agent, origin)) = self.place(carrier) else { return };
        // It is about to be theirs.
        if self.agent(agent).pool.waiting(origin) > 0 {
            return self.tell_room(agent, origin);
        }
        let limits = self.agent(agent).lifetime(origin, now);
        let Some(connection) = self.connection(carrier) else { return };
        if connection.state != State::Leased {
            return;
        }
        let (life, idle) = (connection.life, connection.shared.as_ref().map(|shared| shared.idle).unwrap_or_default());
        if limits.learns {
            self.agent(agent).learned(origin).survived(idle, life.requests, now);
        }
        let verdict = life.may_serve(&limits, now).map_or_else(Verdict::Close, |()| life.keep_idle(&limits, now));
        let until = match verdict {
            Verdict::Keep(until) => until,
            Verdict::Close(reason) => return self.retire(carrier, reason),
        };
        self.uncarry(carrier);
        match self.agent(agent).pool.release(origin, carrier, Ok(())) {
            Release::Kept => self.rest(carrier, until, now),
            Release::Handed(_) => {} // nobody waits
            Release::Close(reason) => {
                self.tally_close(carrier, reason);
                self.end_carrier(carrier, reason);
            }
        }
    }

    /// A shared connection takes no more exchanges, and closes with the last that it has.
    pub(super) fn retire(&mut self, carrier: ConnectionId, reason: CloseReason) {
        let Some((agent, origin)) = self.place(carrier) else { return };
        let Some(connection) = self.connection(carrier) else { return };
        let state = connection.state;
        let Some(shared) = connection.shared.as_mut() else { return };
        match state {
            State::Idle { .. } => self.end_idle(carrier, reason),
            State::Leased if !std::mem::replace(&mut shared.is_retired, true) => {
                let is_empty = shared.streams == 0;
                connection.is_away = true;
                self.uncarry(carrier);
                self.leave_pool(carrier, reason);
                if is_empty {
                    self.end_carrier(carrier, CloseReason::Finished);
                }
                self.tell_room(agent, origin);
            }
            State::Leased | State::Connecting | State::Closing(_) => {}
        }
    }

    fn end_carrier(&mut self, carrier: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(carrier.0 as usize) else { return };
        if matches!(connection.state, State::Closing(_)) {
            return;
        }
        connection.state = State::Closing(reason);
        connection.cut(&mut self.reactor, None);
        self.tell_soon(Event::Ended { id: carrier, reason });
    }

    /// Writing failed: what the peer said before is still to be read, and the end behind it.
    pub(in super::super) fn mute_shared(&mut self, carrier: ConnectionId) {
        let Some(connection) = self.connection(carrier) else { return };
        connection.is_mute = true;
        connection.is_awaited = false;
        connection.output.clear();
        self.serve_again(carrier);
    }

    pub(super) fn carrier_died(&mut self, carrier: ConnectionId, death: Death) {
        let Some(connection) = self.connection(carrier) else { return };
        if let State::Idle { .. } = connection.state {
            return self.end_idle(carrier, death.reason());
        }
        let broken_by = connection.open().and_then(|open| open.transport.broken_by());
        let death = broken_by.map_or(death, Death::Error);
        connection.is_ended = true;
        let Some(streams) = self.with_session(carrier, |session| session.streams()) else { return };
        // The kernel is asked before the descriptor closes.
        let unanswered: Vec<_> = streams
            .into_iter()
            .filter_map(|stream| {
                let exchange = &self.connections.get(stream as usize)?.exchange;
                let below = self.connections.get(carrier.0 as usize)?;
                (!exchange.answered).then(|| (ConnectionId(stream), below.evidence_of(exchange, death)))
            })
            .collect();
        self.retire(carrier, death.reason());
        if let Some(connection) = self.connections.get_mut(carrier.0 as usize) {
            connection.cut(&mut self.reactor, None);
            if let Some(shared) = &mut connection.shared {
                shared.death = Some(death);
            }
        }
        for (stream, evidence) in unanswered {
            self.with_session(carrier, |session| session.forget(stream.0));
            self.stream_failed(stream, death, evidence);
        }
        // What h2 has of answers is still to be told; of those that are not whole it says so.
        self.with_session(carrier, Session::end);
        self.serve_again(carrier);
    }

    pub(in super::super) fn ping_due(&mut self, id: ConnectionId, ticket: u64) {
        let now = self.now;
        let Some((agent, _)) = self.place(id) else { return };
        let Some(interval) = self.agent(agent).options.ping_interval else { return };
        // Deadlines come before readiness, and the loop may have been blocked: the answer may be there.
        self.hear_unread(id);
        let Some(connection) = self.connection(id) else { return };
        if connection.ticket != ticket || connection.open().is_none() {
            return;
        }
        let Some(shared) = connection.shared.as_mut() else { return };
        let due = shared.heard_at + interval;
        if due > now {
            self.remind(due, Due::Ping(id, ticket));
        } else if std::mem::replace(&mut shared.is_pinged, true) {
            self.carrier_died(id, Death::Error(libc::ETIMEDOUT));
        } else {
            shared.session.ping();
            self.progress_shared(id, None);
            self.remind(now + interval.min(PATIENCE), Due::Ping(id, ticket));
        }
    }
}
