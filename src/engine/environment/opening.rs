//! Connections on their way, and the replacement of a dead one within its lease.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::connection::{Connection, Link, Open, State};
use super::{Due, Environment, Event};
use crate::engine::connect::{self, Answer, Failure, Insecure, LookupFailure, News, Place, Refused, Target};
use crate::engine::lifetime::Life;
use crate::engine::pool::{CloseReason, ConnectionId};
use crate::engine::reactor::{Interest, Reactor};
use crate::engine::transport::{Ends, Transport};

/// Why a connection could not be opened.
#[derive(Debug)]
pub enum Trouble {
    /// The name has no address.
    NotFound(LookupFailure),
    /// Every attempt failed; empty if there was no address to try.
    Failed(Vec<Failure>),
    /// It took longer than the connect timeout.
    TimedOut(Duration),
    /// The loop cannot watch the socket: a system error number.
    Unwatchable(i32),
    /// The proxy did not open it.
    Refused(Refused),
    /// It could not be made secure.
    Insecure(Insecure),
}

/// A connection that was given away.
#[derive(Debug)]
pub struct Detached {
    /// Its socket; `None` if it was the embedder's own.
    pub socket: Option<Socket>,
    /// What it had not sent.
    pub unsent: Vec<u8>,
    /// What it had read and not told: slab, offset, length.
    pub received: Vec<(u32, u32, u32)>,
}

impl Trouble {
    /// As a caller would hear of it: a system error number, or libuv's for a name lookup. None of a proxy's answer, which is
    /// that to every attempt, or a password's last chance.
    pub(super) fn errno(&self) -> i32 {
        match self {
            Self::NotFound(failure) => failure.errno,
            Self::Failed(failures) => failures.first().map_or(libc::EADDRNOTAVAIL, |failure| failure.errno),
            Self::TimedOut(_) => libc::ETIMEDOUT,
            Self::Unwatchable(errno) => *errno,
            Self::Refused(_) => 0,
            Self::Insecure(insecure) => insecure.failure.errno(),
        }
    }

    /// Whether the peer had accepted: a reset is told as a refusal before that, and afterwards by these numbers, of a
    /// connection that nobody has looked at yet (`tcp_reset` in Linux).
    pub(super) fn was_connected(&self) -> bool {
        let is_reset = |failure: &Failure| matches!(failure.errno, libc::ECONNRESET | libc::EPIPE);
        matches!(self, Self::Failed(failures) if failures.iter().any(is_reset))
    }
}

impl<R: Reactor> Environment<R> {
    /// Opens a reserved connection. News: `Found`, then `Connected` or `ConnectFailed`.
    pub fn connect(&mut self, id: ConnectionId, target: Target, now: Instant) {
        let is_new = |connection: &&mut Connection<R::Watch>| matches!(connection.link, Link::None);
        let Some(connection) = self.connection(id).filter(is_new) else { return };
        connection.target = Some(Arc::new(target));
        connection.begun = now;
        self.now = now;
        self.begin_opening(id);
    }

    /// A reserved connection is open: the embedder did it, and drives it.
    pub fn adopt(&mut self, id: ConnectionId, now: Instant) {
        let Some((agent, origin)) = self.place(id) else { return };
        let limits = self.agent(agent).options.lifetime;
        self.agent(agent).pool.opened(origin);
        let Some(connection) = self.connection(id) else { return };
        connection.state = State::Leased;
        connection.link = Link::Foreign;
        connection.opened = Some(now);
        connection.life = Life::begin(&limits, now, fastrand::f64());
    }

    /// Gives an open connection away; its place is free at once. `None` of a secured one, which can only [`part`](Self::part).
    pub fn detach(&mut self, id: ConnectionId) -> Option<Detached> {
        if self.tls(id).is_some() || !self.leave_pool(id, CloseReason::Detached) {
            return None;
        }
        let connection = self.connections.try_remove(id.0 as usize)?;
        let unsent = connection.output.unsent().to_vec();
        let socket = match connection.link {
            Link::Open(Open { transport, watch, .. }) => {
                self.reactor.unwatch(watch, None);
                self.sentinel.remove(transport.socket());
                transport.into_socket()
            }
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Foreign | Link::Stream(_) => {
                None
            }
        };
        let mut received = Vec::new();
        for event in &self.events {
            if let &Event::Data { id: whose, slab, offset, length } = event
                && whose == id
            {
                received.push((slab, offset, length));
            }
        }
        self.forget(id);
        Some(Detached { socket, unsent, received })
    }

    /// Counts a connection in use or idle no more; `false` of any other.
    pub(super) fn leave_pool(&mut self, id: ConnectionId, reason: CloseReason) -> bool {
        let Some((agent, origin)) = self.place(id) else { return false };
        let Some(state) = self.connection(id).map(|connection| connection.state) else { return false };
        let pool = &mut self.agent(agent).pool;
        match state {
            State::Leased => pool.closing_while_leased(origin),
            State::Idle { .. } => pool.closing_while_idle(origin, id),
            State::Connecting | State::Closing(_) => return false,
        }
        pool.closed(origin);
        self.tally_close(id, reason);
        true
    }

    /// The transport of an open connection.
    #[must_use]
    pub fn transport(&self, id: ConnectionId) -> Option<&Transport> {
        self.connections.get(id.0 as usize)?.open().map(|open| &open.transport)
    }

    /// Both ends of a connection, from the moment it is connected.
    #[must_use]
    pub fn ends(&self, id: ConnectionId) -> Ends {
        self.connections.get(id.0 as usize).map_or((None, None), |connection| connection.ends)
    }

    /// The addresses that a lookup found, or that are being tried.
    pub fn take_addresses(&mut self, id: ConnectionId) -> Vec<IpAddr> {
        let target = self.connection(id).and_then(|connection| connection.target.clone());
        match target.as_deref() {
            Some(Target { place: Place::Addresses { addresses, .. }, .. }) => addresses.clone(),
            _ => Vec::new(),
        }
    }

    /// Why opening failed.
    pub fn take_trouble(&mut self, id: ConnectionId) -> Option<Trouble> {
        self.connection(id).and_then(|connection| connection.trouble.take()).map(|trouble| *trouble)
    }

    /// Nagle's algorithm off or on, now and on a replacement.
    pub fn set_no_delay(&mut self, id: ConnectionId, on: bool) {
        let Some(connection) = self.connection(id) else { return };
        connection.no_delay = on;
        if let Some(open) = connection.open() {
            // As in Node, a kernel that refuses is not an error of the caller.
            drop(open.transport.set_no_delay(on));
        }
    }

    /// TCP keep-alive off, or on with probes after `idle`, now and on a replacement.
    pub fn set_keep_alive(&mut self, id: ConnectionId, idle: Option<Duration>) {
        let Some((agent, _)) = self.place(id) else { return };
        let knobs = self.agent(agent).options.knobs;
        let Some(connection) = self.connection(id) else { return };
        connection.keep_alive = idle;
        if let Some(open) = connection.open() {
            drop(open.transport.set_keep_alive(idle, &knobs));
        }
    }

    /// Replaces a leased connection that was dead before its exchange began.
    pub(super) fn swap(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some((agent, origin)) = self.place(id) {
            self.agent(agent).tally(origin).reused -= 1;
        }
        let idle_since = self.connection(id).and_then(|connection| connection.exchange.idle_since);
        self.learn(id, reason, idle_since);
        self.reopen(id, reason);
        self.tell_soon(Event::Swapped { id });
    }

    /// A fresh connection to the same place, which gets all of the exchange's request.
    pub(super) fn reopen(&mut self, id: ConnectionId, reason: CloseReason) {
        self.give_up_link(id, reason);
        self.issue_ticket(id, self.now);
        self.begin_opening(id);
    }

    /// Cuts the link within its lease, and has the whole request wait for the next one.
    pub(super) fn give_up_link(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some((agent, origin)) = self.place(id) else { return };
        let Some(policy) = self.policy(id) else { return };
        if self.connection(id).is_some_and(|connection| connection.state == State::Leased) {
            self.tally_close(id, reason);
            self.agent(agent).pool.replace(origin);
        }
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        // Of which nothing was written, all of it still waits in the output.
        let unsent = connection.output.unsent().to_vec();
        connection.cut(&mut self.reactor, None);
        let exchange = &mut connection.exchange;
        let request = if policy.attempts > 0 { exchange.replay.copy() } else { exchange.replay.take() };
        connection.output.replace(if exchange.bytes_written == 0 { unsent } else { request });
        exchange.bytes_written = 0;
        exchange.sent_before = 0;
        exchange.reused = false;
        connection.state = State::Connecting;
        connection.is_ended = false;
        connection.is_gathered = false;
        connection.is_unverified = false;
        connection.is_mute = false;
        connection.life.requests = 0;
        connection.death = None;
        connection.begun = now;
    }

    pub(super) fn answered(&mut self, answer: Answer, now: Instant) {
        let Answer { id, ticket, news } = answer;
        let Some(connection) = self.connection(id) else { return };
        if !matches!(connection.link, Link::Opening { .. }) || connection.ticket != ticket {
            return; // Given up meanwhile; a socket that came is closed by its drop.
        }
        match news {
            News::Found(addresses) => {
                connection.remember_addresses(addresses);
                self.tell(Event::Found { id });
            }
            News::Connected(ends) => {
                connection.ends = ends;
                if connection.opened.is_none() {
                    self.tell(Event::Connected { id });
                }
            }
            News::Opened(transport) => {
                self.opening_ended(id);
                self.reached(id, transport, now);
            }
            News::NotFound(failure) => self.failed(id, Trouble::NotFound(failure)),
            News::Failed(failures) => self.failed(id, Trouble::Failed(failures)),
            News::Refused(refused) => self.failed(id, Trouble::Refused(refused)),
            News::Insecure(insecure) => self.failed(id, Trouble::Insecure(insecure)),
        }
    }

    pub(super) fn connect_due(&mut self, id: ConnectionId, ticket: u64) {
        let Some(connection) = self.connection(id) else { return };
        // One that is proving came in time.
        // Nor does it hold for a stream, which is away, while it waits to begin again.
        let is_over = connection.is_away || connection.trouble.is_some() || matches!(connection.link, Link::Proving(_));
        if connection.state != State::Connecting || connection.ticket != ticket || is_over {
            return;
        }
        let agent = connection.agent;
        let after = self.agent(agent).options.connect_timeout.unwrap_or_default();
        self.failed(id, Trouble::TimedOut(after));
    }

    /// A connection that is not held keeps the loop alive no more while it is opened than afterwards.
    pub(super) fn opening_ended(&mut self, id: ConnectionId) {
        if self.connection(id).is_some_and(|connection| connection.is_held) {
            self.opening -= 1;
            self.reactor.hold_doorbell(self.opening > 0);
        }
    }

    pub(super) fn opening_began(&mut self, id: ConnectionId) {
        if self.connection(id).is_some_and(|connection| connection.is_held) {
            self.opening += 1;
            self.reactor.hold_doorbell(true);
        }
    }

    pub(super) fn begin_opening(&mut self, id: ConnectionId) {
        let button = self.doorbell.button();
        let Some(connection) = self.connection(id) else { return };
        let Some(target) = connection.target.as_deref().cloned() else { return };
        connection.link = Link::Opening { _attempt: connect::open(id, connection.ticket, target, button) };
        self.opening_began(id);
    }

    /// The connect timeout counts from `begin` on for this attempt. Answers the attempt's ticket.
    pub(super) fn issue_ticket(&mut self, id: ConnectionId, begin: Instant) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let Some((agent, _)) = self.place(id) else { return ticket };
        let connect_timeout = self.agent(agent).options.connect_timeout;
        if let Some(connection) = self.connection(id) {
            connection.ticket = ticket;
        }
        if let Some(timeout) = connect_timeout {
            self.remind(begin + timeout, Due::Connect(id, ticket));
        }
        ticket
    }

    /// It is open, and as secure as the engine can make it.
    pub(super) fn reached(&mut self, id: ConnectionId, transport: Transport, now: Instant) {
        let Some(connection) = self.connection(id) else { return };
        if connection.is_secure() {
            connection.link = Link::Proving(Box::new(transport));
            self.tell(Event::Secured { id });
        } else {
            self.put_to_use(id, transport, now);
        }
    }

    pub(super) fn put_to_use(&mut self, id: ConnectionId, transport: Transport, now: Instant) {
        let Some((agent, origin)) = self.place(id) else { return };
        let options = &self.agent(agent).options;
        let (lifetime, knobs) = (options.lifetime, options.knobs);
        let watched = self.reactor.watch(transport.socket(), id);
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        let mut watch = match watched {
            Ok(watch) => watch,
            Err(error) => {
                connection.link = Link::None;
                return self.told_trouble(id, Trouble::Unwatchable(error.raw_os_error().unwrap_or(libc::EIO)));
            }
        };
        if connection.no_delay {
            drop(transport.set_no_delay(true));
        }
        if connection.keep_alive.is_some() {
            drop(transport.set_keep_alive(connection.keep_alive, &knobs));
        }
        drop(transport.set_knobs(&knobs));
        if !connection.is_held {
            self.reactor.hold(&mut watch, false);
        }
        // A connection that could not be added is asked by itself: it is never in the answer, nor missed there, for it
        // is not trusted to it.
        connection.is_watched_over = self.sentinel.add(transport.socket(), id).is_ok();
        connection.ends = transport.ends();
        connection.exchange.sent_before = transport.sent();
        let is_secure = connection.is_secure();
        connection.link = Link::Open(Open { transport, watch, interest: Interest::default() });
        connection.state = State::Leased;
        let is_first = connection.opened.is_none();
        connection.is_beside = false;
        // One that was idle before has its age.
        let took = (!connection.exchange.reused).then(|| {
            connection.life = Life::begin(&lifetime, now, fastrand::f64());
            connection.opened = Some(now);
            now.saturating_duration_since(connection.begun)
        });
        let agent = self.agent(agent);
        agent.pool.opened(origin);
        if let Some(took) = took {
            agent.tally(origin).connect.record_micros(took);
        }
        if is_first && !is_secure {
            self.tell(Event::Connected { id });
        } else {
            self.flush(id);
        }
        self.update_interest(id);
        self.read_on(id);
    }

    fn failed(&mut self, id: ConnectionId, trouble: Trouble) {
        if self.falls_back(id) {
            return self.tally_connect_error(id);
        }
        if let Some(connection) = self.connection(id)
            && let Link::Opening { .. } = std::mem::replace(&mut connection.link, Link::None)
        {
            self.opening_ended(id);
        }
        self.told_trouble(id, trouble);
    }

    fn tally_connect_error(&mut self, id: ConnectionId) {
        let Some((agent, origin)) = self.place(id) else { return };
        self.agent(agent).tally(origin).connect_errors += 1;
    }

    fn told_trouble(&mut self, id: ConnectionId, trouble: Trouble) {
        self.tally_connect_error(id);
        if self.opens_again(id, &trouble) {
            return;
        }
        if let Some(connection) = self.connection(id) {
            connection.trouble = Some(Box::new(trouble));
        }
        self.tell(Event::ConnectFailed { id });
    }
}

impl<W> Connection<W> {
    /// A replacement goes to the addresses that were found, without another lookup.
    fn remember_addresses(&mut self, found: Vec<IpAddr>) {
        let Some(target) = self.target.as_deref() else { return };
        if let Place::Name { port, .. } = target.place {
            let place = Place::Addresses { addresses: found, port };
            self.target = Some(Arc::new(Target { place, ..target.clone() }));
        }
    }
}
