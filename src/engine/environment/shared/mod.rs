//! HTTP/2: a connection that many exchanges share. It is the pool's as any other, a carrier while it is in use; each exchange on
//! it has a place of its own, a stream, which the pool does not count.

mod ends;
mod streams;

use std::time::{Duration, Instant};

use super::connection::{Connection, Exchange, Link, State};
use super::death::Death;
use super::{AgentId, Due, Environment};
use crate::engine::http::{Session, Settings};
use crate::engine::pool::{ConnectionId, OriginId, WaiterId};
use crate::engine::reactor::Reactor;

/// What a shared connection has beside what any has.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: Session,
    /// Its streams' places.
    streams: usize,
    /// It has left the pool, and closes with its last stream.
    is_retired: bool,
    death: Option<Death>,
    /// How long it had been idle before it was last leased.
    idle: Duration,
    heard_at: Instant,
    is_pinged: bool,
}

impl<R: Reactor> Environment<R> {
    /// Whether exchanges with an origin share a connection, as far as anybody knows: then they wait for it while it opens.
    pub fn set_shared(&mut self, agent: AgentId, origin: OriginId, is_shared: bool) {
        self.agent(agent).pool.set_shared(origin, is_shared);
        self.tell_room(agent, origin);
    }

    /// A connection that has just been opened speaks HTTP/2: its exchange moves to a stream, whose number this answers.
    pub fn share(&mut self, id: ConnectionId, settings: Settings, now: Instant) -> Option<ConnectionId> {
        self.now = now;
        let (agent, origin) = self.place(id)?;
        let connection = self.connection(id)?;
        if connection.state != State::Leased || connection.open().is_none() || connection.shared.is_some() {
            return None;
        }
        let session = Session::new(settings)?;
        connection.shared = Some(Box::new(Shared {
            session,
            streams: 0,
            is_retired: false,
            death: None,
            idle: Duration::ZERO,
            heard_at: now,
            is_pinged: false,
        }));
        let ticket = connection.ticket;
        if let Some(interval) = self.agent(agent).options.ping_interval {
            self.remind(now + interval, Due::Ping(id, ticket));
        }
        let stream = self.share_again(id);
        self.progress_shared(id, None);
        self.tell_room(agent, origin);
        stream
    }

    /// The exchange that a shared connection was leased for moves to a stream.
    pub(super) fn share_again(&mut self, id: ConnectionId) -> Option<ConnectionId> {
        let (agent, origin) = self.place(id)?;
        let connection = self.connection(id)?;
        let idle = connection.exchange.idle().unwrap_or_default();
        connection.shared.as_mut()?.idle = idle;
        let exchange = std::mem::take(&mut connection.exchange);
        self.agent(agent).record(origin).carrier = Some(id);
        self.insert_stream(id, exchange)
    }

    /// The connection in use that another exchange may share.
    pub(super) fn carrier_with_room(&mut self, agent: AgentId, origin: OriginId) -> Option<ConnectionId> {
        let carrier = self.agent(agent).record(origin).carrier?;
        // It may have said goodbye while nobody listened.
        self.hear_unread(carrier);
        let now = self.now;
        let limits = self.agent(agent).lifetime(origin, now);
        self.agent(agent).record(origin).carrier?;
        if let Err(reason) = self.connection(carrier)?.life.may_serve(&limits, now) {
            self.retire(carrier, reason);
            return None;
        }
        self.has_room(carrier).then_some(carrier)
    }

    fn has_room(&mut self, carrier: ConnectionId) -> bool {
        let shared = self.connection(carrier).and_then(|connection| connection.shared.as_mut());
        shared.is_some_and(|shared| !shared.session.is_closing() && shared.streams < shared.session.most_streams())
    }

    pub(super) fn grant_stream(&mut self, agent: AgentId) -> Option<(WaiterId, ConnectionId)> {
        let waiters: Vec<_> = self.agent(agent).pool.sharing_waiters().collect();
        waiters.into_iter().find_map(|(waiter, origin)| {
            let carrier = self.carrier_with_room(agent, origin)?;
            self.agent(agent).pool.cancel(origin, waiter);
            Some((waiter, self.open_stream(carrier, false)))
        })
    }

    /// Another exchange on a connection in use.
    pub(super) fn open_stream(&mut self, carrier: ConnectionId, idempotent: bool) -> ConnectionId {
        let now = self.now;
        if let Some((agent, origin)) = self.place(carrier) {
            self.agent(agent).budget(origin).deposit(now);
            let tally = self.agent(agent).tally(origin);
            tally.requests += 1;
            tally.reused += 1;
        }
        let exchange = Exchange { idempotent, reused: true, leased_at: Some(now), ..Exchange::default() };
        self.insert_stream(carrier, exchange).expect("a carrier that has room")
    }

    fn insert_stream(&mut self, carrier: ConnectionId, exchange: Exchange) -> Option<ConnectionId> {
        let now = self.now;
        let (agent, origin) = self.place(carrier)?;
        let limits = self.agent(agent).options.lifetime;
        let below = self.connection(carrier)?;
        let mut stream = Connection::new(agent, origin, &limits, now);
        stream.state = State::Leased;
        stream.link = Link::Stream(carrier);
        stream.is_away = true;
        stream.exchange = exchange;
        stream.ends = below.ends;
        stream.opened = below.opened;
        stream.begun = below.begun;
        stream.life = below.life;
        below.life.requests += 1;
        below.shared.as_mut()?.streams += 1;
        let number = u32::try_from(self.connections.insert(stream)).expect("fewer streams than numbers");
        Some(ConnectionId(number))
    }

    /// What a stream is a share of.
    pub(super) fn carrier_of(&self, id: ConnectionId) -> Option<ConnectionId> {
        match self.connections.get(id.0 as usize)?.link {
            Link::Stream(carrier) => Some(carrier),
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Open(_) | Link::Foreign => {
                None
            }
        }
    }

    pub(super) fn is_shared(&self, id: ConnectionId) -> bool {
        self.connections.get(id.0 as usize).is_some_and(|connection| connection.shared.is_some())
    }

    pub(super) fn with_session<T>(&mut self, carrier: ConnectionId, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.connection(carrier)?.shared.as_mut().map(|shared| work(&mut shared.session))
    }
}
