//! An environment with its loop, and the embedder's part in its conversations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::engine::connect::{Family, Order, Place, Target};
use holdfast::engine::environment::{AgentId, AgentOptions, Environment, Event, Lease, Trouble, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId, Limits, OriginId, Release, WaiterId};
use holdfast::engine::reactor::{Interest, Reactor};
use holdfast::engine::transport::Knobs;
use holdfast::engine::{lifetime, retry, stats::Tally};

use super::reactor::PollReactor;
use super::server::FaultServer;
use super::slabs::HeapSlabs;

/// Longest time for one test; a test that needs more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// No limits but those that Node has.
pub(crate) fn options() -> AgentOptions {
    AgentOptions {
        limits: Limits::default(),
        lifetime: lifetime::Limits {
            idle_timeout: None,
            ttl: None,
            ttl_jitter: 0.0,
            hint_buffer: Duration::from_secs(1),
            max_requests: None,
            learns: false,
        },
        retry: Arc::new(retry::Policy::default()),
        knobs: Knobs::default(),
        connect_timeout: None,
        queue_timeout: None,
        ping_interval: None,
    }
}

pub(crate) fn target(place: Place) -> Target {
    Target {
        place,
        proxy: None,
        tls: None,
        family: Family::Any,
        hints: 0,
        order: Order::Verbatim,
        race: true,
        attempt_delay: Duration::from_millis(250),
        local_address: None,
        local_port: 0,
    }
}

pub(crate) fn place_of(address: SocketAddr) -> Place {
    Place::Addresses { addresses: vec![address.ip()], port: address.port() }
}

/// One agent with one origin, and everything around it.
pub(crate) struct Driver {
    pub(crate) environment: Environment<PollReactor>,
    pub(crate) agent: AgentId,
    pub(crate) origin: OriginId,
    /// All that was told so far, but for bytes.
    pub(crate) events: Vec<Event>,
    received: BTreeMap<ConnectionId, Vec<u8>>,
    slabs: HeapSlabs,
    /// How far this test's clock is ahead of the system's.
    ahead: Duration,
    fails_at: Instant,
}

impl Driver {
    pub(crate) fn new(options: AgentOptions) -> Self {
        let reactor = PollReactor::new();
        let bell = reactor.bell();
        let mut environment = Environment::new(reactor, bell);
        let agent = environment.add_agent(options);
        let origin = environment.add_origin(agent, "origin");
        Self {
            environment,
            agent,
            origin,
            events: Vec::new(),
            received: BTreeMap::new(),
            slabs: HeapSlabs::new(8),
            ahead: Duration::ZERO,
            fails_at: Instant::now() + PATIENCE,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    /// Moves the clock on; the loop does not turn.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.ahead += time;
        self.fails_at += time;
    }

    /// Waits for something to do, does it, and hears of it.
    pub(crate) fn turn(&mut self) {
        let (now, has_backlog) = (self.now(), self.environment.has_backlog());
        let limit = if has_backlog { now } else { self.fails_at };
        self.environment.reactor().wait(now, limit);
        let now = self.now();
        self.environment.reactor().fire(now);
        self.environment.turn(&mut self.slabs, now);
        self.hear();
        for id in self.environment.reactor().take_gone() {
            self.environment.gone(id);
        }
        self.hear();
    }

    /// A turn, and before anything of it is told, the connection is given away; answers the bytes that go with it.
    pub(crate) fn turn_and_detach(&mut self, id: ConnectionId) -> Vec<u8> {
        let now = self.now();
        self.environment.reactor().wait(now, self.fails_at);
        self.environment.turn(&mut self.slabs, now);
        let detached = self.environment.detach(id).expect("an open connection");
        let bytes = detached.received.iter().flat_map(|place| self.slabs.slice(place.0, place.1, place.2)).copied();
        let bytes = bytes.collect();
        self.hear();
        bytes
    }

    /// Turns the loop until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&mut Self) -> bool) {
        while !condition(self) {
            assert!(self.now() < self.fails_at, "not in time: {what}; told: {:?}", self.events);
            self.turn();
        }
    }

    /// Waits, without a turn, until `condition` holds, which others make true.
    pub(crate) fn until_others(&self, what: &str, condition: impl Fn() -> bool) {
        while !condition() {
            assert!(self.now() < self.fails_at, "not in time: {what}; told: {:?}", self.events);
            std::thread::yield_now();
        }
    }

    /// Turns the loop until `event` has been told.
    pub(crate) fn until_told(&mut self, event: Event) {
        self.until(&format!("{event:?}"), |driver| driver.events.contains(&event));
    }

    /// Turns the loop until all of `bytes` have come, which are then forgotten.
    pub(crate) fn until_received(&mut self, id: ConnectionId, bytes: &str) {
        self.until(&format!("{bytes:?}"), |driver| driver.received(id).len() >= bytes.len());
        assert_eq!(String::from_utf8_lossy(self.received(id)), bytes);
        self.received.remove(&id);
    }

    pub(crate) fn received(&self, id: ConnectionId) -> &[u8] {
        self.received.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What was told and has come is not this connection's: its number is free.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        self.events.retain(|event| event.connection() != Some(id));
        self.received.remove(&id);
    }

    /// Blocks until the kernel has bytes, FIN or a reset for a connection. The loop does not turn, and nothing is looked
    /// at: a peek takes the error of a reset away.
    pub(crate) fn until_kernel_knows(&self, id: ConnectionId) {
        let transport = self.environment.transport(id).expect("an open connection");
        let mut other = PollReactor::new();
        let mut watch = other.watch(transport.socket(), id).expect("a socket");
        other.watch_for(&mut watch, Interest { readable: true, writable: false });
        other.wait(self.now(), self.fails_at);
        let mut ready = Vec::new();
        other.take_ready(&mut ready);
        assert!(!ready.is_empty(), "nothing came in time");
    }

    /// Asks for a connection.
    pub(crate) fn checkout(&mut self, idempotent: bool) -> Lease {
        let now = self.now();
        self.environment.checkout(self.agent, self.origin, idempotent, idempotent, now)
    }

    /// Asks for a connection, which is a new one.
    pub(crate) fn reserve(&mut self) -> ConnectionId {
        let lease = self.checkout(true);
        let Lease::New(id) = lease else { unreachable!("a new connection, not {lease:?}") };
        id
    }

    /// Asks for a connection, which is one that has served before.
    pub(crate) fn reuse(&mut self, idempotent: bool) -> ConnectionId {
        let lease = self.checkout(idempotent);
        let Lease::Reused(id) = lease else { unreachable!("a connection that served before, not {lease:?}") };
        id
    }

    /// Asks for a connection, and has to wait.
    pub(crate) fn wait(&mut self) -> WaiterId {
        let lease = self.checkout(true);
        let Lease::Waiting(waiter) = lease else { unreachable!("a waiter, not {lease:?}") };
        waiter
    }

    /// Begins to open a reserved connection.
    pub(crate) fn connect(&mut self, id: ConnectionId, place: Place) {
        let now = self.now();
        self.environment.connect(id, target(place), now);
    }

    /// A new connection to `server`, leased.
    pub(crate) fn open(&mut self, server: &FaultServer) -> ConnectionId {
        let id = self.reserve();
        self.connect_to(id, server);
        id
    }

    /// Another connection, though one is idle.
    pub(crate) fn open_another(&mut self, server: &FaultServer) -> ConnectionId {
        let now = self.now();
        let id = self.environment.reserve_anyway(self.agent, self.origin, now);
        self.connect_to(id, server);
        id
    }

    /// Opens a reserved connection to `server`.
    pub(crate) fn connect_to(&mut self, id: ConnectionId, server: &FaultServer) {
        self.connect_at(id, server.address());
    }

    /// Opens a reserved connection to whoever listens at `address`.
    pub(crate) fn connect_at(&mut self, id: ConnectionId, address: SocketAddr) {
        let told = self.events.len();
        self.connect(id, place_of(address));
        self.until("connected", |driver| {
            driver.events.iter().skip(told).any(|event| *event == Event::Connected { id })
        });
    }

    pub(crate) fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> Wrote {
        self.environment.write(id, bytes, false)
    }

    /// One whole exchange on a leased connection, up to the end of the answer.
    pub(crate) fn exchange(&mut self, id: ConnectionId, answer: &str) {
        assert_eq!(self.write(id, super::GET), Wrote::Taken);
        self.until_received(id, answer);
    }

    /// A connection that has served once and is leased again.
    pub(crate) fn open_and_reuse(&mut self, server: &FaultServer, idempotent: bool) -> ConnectionId {
        let id = self.open(server);
        self.exchange(id, super::OK);
        self.release(id);
        assert_eq!(self.reuse(idempotent), id);
        id
    }

    pub(crate) fn release(&mut self, id: ConnectionId) -> Option<Release> {
        let now = self.now();
        self.environment.release(id, true, now)
    }

    /// Closes a connection and lets go of it.
    pub(crate) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        self.environment.close(id, reason, false);
        self.until_told(Event::Gone { id });
    }

    /// What its origin has seen.
    pub(crate) fn tally(&self) -> Tally {
        self.environment.stats(self.agent).next().expect("the origin is known").tally.clone()
    }

    /// Connecting, idle, leased, closing.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let counts = self.environment.stats(self.agent).next().expect("the origin is known").counts;
        [counts.connecting, counts.idle, counts.leased, counts.closing]
    }

    /// How many connections were closed for `reason`.
    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.tally().closed.get(reason as usize).copied().unwrap_or_default()
    }

    /// Why a connection could not be opened.
    pub(crate) fn trouble(&mut self, id: ConnectionId) -> Trouble {
        self.until_told(Event::ConnectFailed { id });
        self.environment.take_trouble(id).expect("a failure has a reason")
    }

    fn hear(&mut self) {
        while let Some(event) = self.environment.next_event() {
            match event {
                Event::Data { id, slab, offset, length } => {
                    self.received.entry(id).or_default().extend(self.slabs.slice(slab, offset, length));
                    continue;
                }
                Event::Ended { id, reason } => self.environment.close(id, reason, false),
                Event::Gone { id } => self.environment.dispose(id),
                Event::End { .. }
                | Event::ReadFailed { .. }
                | Event::Written { .. }
                | Event::WriteFailed { .. }
                | Event::Found { .. }
                | Event::Connected { .. }
                | Event::ConnectFailed { .. }
                | Event::ShutDown { .. }
                | Event::Secured { .. }
                | Event::Session { .. }
                | Event::Head { .. }
                | Event::Complete { .. }
                | Event::Broken { .. }
                | Event::Reset { .. }
                | Event::Room { .. }
                | Event::Replaying { .. }
                | Event::Swapped { .. }
                | Event::FellBack { .. }
                | Event::GaveUp { .. } => {}
            }
            self.events.push(event);
        }
        self.slabs.lend_again();
    }
}
