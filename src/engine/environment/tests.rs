//! Any order of what an embedder, its peers and the clock may do.

use super::*;
use crate::engine::connect::{Family, News, Order, Place, Target};
use crate::engine::doorbell::Doorbell;
use crate::engine::lifetime;
use crate::engine::pool::{CloseReason, Limits, Release};
use crate::engine::reactor::Interest;
use crate::engine::retry::Policy;
use crate::engine::transport::Knobs;
use crate::engine::transport::Transport;
use proptest::prelude::*;
use proptest::sample::Index;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(25);
const ATTEMPTS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(15);

/// A loop that finds every watched socket ready, whether it is or not.
#[derive(Debug, Default)]
struct Mock {
    watched: BTreeMap<ConnectionId, Interest>,
    gone: Vec<ConnectionId>,
    deadline: Option<Instant>,
    holds_doorbell: bool,
}

impl Reactor for Mock {
    type Watch = ConnectionId;

    fn watch(&mut self, _: &Socket, id: ConnectionId) -> io::Result<ConnectionId> {
        assert_eq!(self.watched.insert(id, Interest::default()), None);
        Ok(id)
    }

    fn watch_for(&mut self, watch: &mut ConnectionId, interest: Interest) {
        assert!(self.watched.insert(*watch, interest).is_some());
    }

    fn hold(&mut self, watch: &mut ConnectionId, _: bool) {
        assert!(self.watched.contains_key(watch));
    }

    fn unwatch(&mut self, watch: ConnectionId, gone: Option<ConnectionId>) {
        assert!(self.watched.remove(&watch).is_some());
        self.gone.extend(gone);
    }

    fn gone_later(&mut self, id: ConnectionId) {
        self.gone.push(id);
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    fn wake(&mut self) {}

    fn hold_doorbell(&mut self, alive: bool) {
        self.holds_doorbell = alive;
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        let ready = |(id, interest): (&ConnectionId, &Interest)| {
            let Interest { readable, writable } = *interest;
            (readable || writable).then_some(Ready { id: *id, readable, writable, stopped: false })
        };
        into.extend(self.watched.iter().filter_map(ready));
    }
}

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

struct Room([u8; 64]);

impl Slabs for Room {
    fn room(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }

    fn commit(&mut self, _: usize) -> (u32, u32) {
        (0, 0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Reserved,
    Opening,
    Leased,
    Idle,
    Closing,
}

/// What an embedder and its peer know of a connection.
#[derive(Debug)]
struct Seat {
    origin: OriginId,
    phase: Phase,
    peer: Option<Socket>,
    /// The kernel has what nobody has read: bytes, or FIN.
    is_spoiled: bool,
    is_answered: bool,
    replays: u32,
    opened: Instant,
    released: Instant,
}

#[derive(Clone, Debug)]
enum Step {
    Checkout(usize, bool),
    ReserveAnyway(usize),
    Open(Index),
    Fail(Index),
    Adopt(Index),
    Write(Index),
    PeerSpeaks(Index),
    PeerCloses(Index),
    Release(Index, bool),
    Close(Index, bool),
    Discard(Index),
    Detach(Index),
    Cancel(Index),
    Gone,
    /// The clock goes on while the loop is blocked.
    Pass(u64),
    Turn(u64),
    Deliver(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        24 => (prop_oneof![4 => Just(0), 1 => 1usize..3], any::<bool>())
            .prop_map(|(origin, idempotent)| Step::Checkout(origin, idempotent)),
        1 => (0usize..3).prop_map(Step::ReserveAnyway),
        24 => at().prop_map(Step::Open),
        1 => at().prop_map(Step::Fail),
        1 => at().prop_map(Step::Adopt),
        18 => at().prop_map(Step::Write),
        10 => at().prop_map(Step::PeerSpeaks),
        4 => at().prop_map(Step::PeerCloses),
        24 => (at(), any::<bool>(), any::<bool>()).prop_map(|(at, one, other)| Step::Release(at, one || other)),
        1 => (at(), any::<bool>()).prop_map(|(at, reset)| Step::Close(at, reset)),
        1 => at().prop_map(Step::Discard),
        1 => at().prop_map(Step::Detach),
        1 => at().prop_map(Step::Cancel),
        10 => Just(Step::Gone),
        2 => (0u64..30).prop_map(Step::Pass),
        18 => (0u64..2).prop_map(Step::Turn),
        6 => any::<bool>().prop_map(Step::Deliver),
    ]
}

struct World {
    environment: Environment<Mock>,
    agent: AgentId,
    origins: Vec<OriginId>,
    limits: Limits,
    now: Instant,
    seats: BTreeMap<ConnectionId, Seat>,
    waiting: Vec<(OriginId, WaiterId)>,
    /// The peer of an idle connection that serves another's exchange, and since when it is open.
    stand_in: Option<(Option<Socket>, Instant)>,
    is_delivering: bool,
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut environment = Environment::new(Mock::default(), Silent);
        let lifetime = lifetime::Limits {
            idle_timeout: Some(IDLE),
            ttl: Some(TTL),
            ttl_jitter: 0.0,
            hint_buffer: Duration::ZERO,
            max_requests: Some(6),
            learns: true,
        };
        let errnos = vec![libc::ETIMEDOUT, libc::EADDRNOTAVAIL, libc::ECONNRESET];
        let agent = environment.add_agent(AgentOptions {
            limits,
            lifetime,
            retry: Arc::new(Policy { attempts: ATTEMPTS, errnos, ..Policy::default() }),
            knobs: Knobs::default(),
            connect_timeout: Some(PATIENCE),
            queue_timeout: Some(PATIENCE),
            ping_interval: None,
        });
        let origins = ["a", "b", "c"].map(|name| environment.add_origin(agent, name)).into();
        let now = Instant::now();
        Self {
            environment,
            agent,
            origins,
            limits,
            now,
            seats: BTreeMap::new(),
            waiting: Vec::new(),
            stand_in: None,
            is_delivering: false,
        }
    }

    fn pick(&self, at: Index, phases: &[Phase]) -> Option<ConnectionId> {
        let those: Vec<_> = self.seats.iter().filter(|(_, seat)| phases.contains(&seat.phase)).collect();
        (!those.is_empty()).then(|| *at.get(&those).0)
    }

    fn seat(&mut self, id: ConnectionId) -> &mut Seat {
        self.seats.get_mut(&id).expect("the engine names only what is there")
    }

    /// A new place; nobody else has its number.
    fn reserved(&mut self, origin: OriginId, id: ConnectionId) -> Result<(), TestCaseError> {
        let (opened, released) = (self.now, self.now);
        let [is_spoiled, is_answered] = [false; 2];
        let phase = Phase::Reserved;
        let seat = Seat { origin, phase, peer: None, is_spoiled, is_answered, replays: 0, opened, released };
        prop_assert!(self.seats.insert(id, seat).is_none(), "{id:?} was given twice");
        Ok(())
    }

    /// Invariant 2: there was room for a connection that is counted by now.
    fn had_room(&self, origin: OriginId) -> Result<(), TestCaseError> {
        let pool = &self.environment.agents[self.agent.0 as usize].pool;
        let counts = pool.counts(origin);
        prop_assert!(counts.connecting + counts.leased + counts.closing <= self.limits.max_sockets);
        prop_assert!(pool.total().all() <= self.limits.max_total);
        Ok(())
    }

    /// Invariants 3 and 4: the first waiter of its origin, once.
    fn answered(&mut self, origin: OriginId, waiter: WaiterId) -> Result<(), TestCaseError> {
        let first = self.waiting.iter().position(|(other, _)| *other == origin);
        prop_assert!(first.is_some(), "nobody waits there");
        prop_assert_eq!(self.waiting.remove(first.unwrap_or_default()).1, waiter);
        Ok(())
    }

    fn grant(&mut self) -> Result<(), TestCaseError> {
        while let Some((waiter, Lease::New(id))) = self.environment.grant(self.agent, self.now) {
            let origin = self.environment.connections[id.0 as usize].origin;
            self.answered(origin, waiter)?;
            self.had_room(origin)?;
            self.reserved(origin, id)?;
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason, reset: bool) {
        self.seat(id).phase = Phase::Closing;
        self.seat(id).peer = None;
        self.environment.close(id, reason, reset);
    }

    /// The background's answer, instead of the background.
    fn settle(&mut self, id: ConnectionId, news: News) {
        if self.seat(id).phase == Phase::Reserved {
            let place = Place::Addresses { addresses: Vec::new(), port: 0 };
            let (family, order, attempt_delay) = (Family::Any, Order::Verbatim, Duration::ZERO);
            let (race, local_address) = (true, None);
            let (proxy, tls) = (None, None);
            let target = Target {
                place,
                proxy,
                tls,
                family,
                hints: 0,
                order,
                race,
                attempt_delay,
                local_address,
                local_port: 0,
            };
            self.environment.connect(id, target, self.now);
            self.seat(id).phase = Phase::Opening;
        }
        let ticket = self.environment.connections[id.0 as usize].ticket;
        // A wait before another attempt is over by then.
        self.environment.retry_due(id, ticket);
        self.environment.answered(Answer { id, ticket, news }, self.now);
    }

    fn open(&mut self, id: ConnectionId) {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("two descriptors");
        self.settle(id, News::Opened(Transport::new(ours).expect("a socket")));
        let now = self.now;
        let seat = self.seat(id);
        (seat.phase, seat.peer, seat.opened, seat.is_spoiled) = (Phase::Leased, Some(theirs), now, false);
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        use Phase::{Idle, Leased, Opening, Reserved};
        let unopened = &[Reserved, Opening];
        let alive = &[Reserved, Opening, Leased, Idle];
        match *step {
            Step::Checkout(origin, idempotent) => self.checkout(self.origins[origin], idempotent)?,
            Step::ReserveAnyway(origin) => {
                let origin = self.origins[origin];
                let id = self.environment.reserve_anyway(self.agent, origin, self.now);
                self.reserved(origin, id)?;
            }
            Step::Open(at) => self.pick(at, unopened).into_iter().for_each(|id| self.open(id)),
            Step::Fail(at) => {
                self.pick(at, unopened).into_iter().for_each(|id| self.settle(id, News::Failed(Vec::new())));
            }
            Step::Adopt(at) => {
                if let Some(id) = self.pick(at, &[Reserved]) {
                    self.environment.adopt(id, self.now);
                    (self.seat(id).phase, self.seat(id).opened) = (Leased, self.now);
                }
            }
            Step::Write(at) => {
                if let Some(id) = self.pick(at, &[Leased, Opening]) {
                    // A death that a write meets is told by it alone.
                    if let Wrote::Failed(_) = self.environment.write(id, b"request", false) {
                        self.close(id, CloseReason::Error, false);
                    }
                }
            }
            Step::PeerSpeaks(at) => {
                if let Some(id) = self.pick(at, &[Leased, Idle])
                    && let Some(peer) = &self.seat(id).peer
                {
                    self.seat(id).is_spoiled |= peer.send(b"bytes").is_ok();
                }
            }
            Step::PeerCloses(at) => {
                if let Some(id) = self.pick(at, &[Leased, Idle]) {
                    self.seat(id).is_spoiled |= self.seat(id).peer.take().is_some();
                }
            }
            Step::Release(at, reusable) => {
                if let Some(id) = self.pick(at, &[Leased]) {
                    self.release(id, reusable)?;
                }
            }
            Step::Close(at, reset) => {
                if let Some(id) = self.pick(at, alive) {
                    self.close(id, CloseReason::Destroyed, reset);
                }
            }
            Step::Discard(at) => {
                if let Some(id) = self.pick(at, alive) {
                    self.environment.discard(id, CloseReason::Destroyed);
                    self.seats.remove(&id);
                }
            }
            Step::Detach(at) => {
                if let Some(id) = self.pick(at, alive) {
                    let is_given = self.environment.detach(id).is_some();
                    let phase = self.seat(id).phase;
                    prop_assert_eq!(is_given, phase == Leased || phase == Idle);
                    self.seats.retain(|other, _| *other != id || !is_given);
                }
            }
            Step::Cancel(at) => {
                if !self.waiting.is_empty() {
                    let (origin, waiter) = self.waiting.remove(at.index(self.waiting.len()));
                    prop_assert!(self.environment.cancel(self.agent, origin, waiter));
                    prop_assert!(!self.environment.cancel(self.agent, origin, waiter));
                }
            }
            Step::Gone => {
                for id in std::mem::take(&mut self.environment.reactor().gone) {
                    self.environment.gone(id);
                }
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Step::Turn(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.environment.turn(&mut Room([0; 64]), self.now);
            }
            Step::Deliver(begins) => {
                if begins {
                    self.environment.begin_telling(true);
                } else {
                    self.environment.scatter();
                }
                self.is_delivering = begins;
            }
        }
        self.hear()?;
        // What the background had to say of openings was said in its place.
        self.environment.doorbell = Doorbell::new(Silent);
        self.grant()?;
        self.adds_up()
    }

    fn checkout(&mut self, origin: OriginId, idempotent: bool) -> Result<(), TestCaseError> {
        match self.environment.checkout(self.agent, origin, idempotent, idempotent, self.now) {
            Lease::Reused(id) => {
                let (now, is_delivering) = (self.now, self.is_delivering);
                let seat = self.seat(id);
                // Invariant 3; within deliveries the kernel is asked when the request leaves.
                prop_assert_eq!((seat.origin, seat.phase), (origin, Phase::Idle));
                prop_assert!(!seat.is_spoiled || is_delivering, "{:?} was seen closed", seat);
                prop_assert!(now < seat.released + IDLE && now < seat.opened + TTL, "{:?} has expired", seat);
                seat.phase = Phase::Leased;
                (seat.is_answered, seat.replays) = (false, 0);
            }
            Lease::New(id) => {
                self.reserved(origin, id)?;
                self.had_room(origin)?;
            }
            Lease::Stream(_) => prop_assert!(false, "nothing is shared here"),
            Lease::Waiting(waiter) => self.waiting.push((origin, waiter)),
            Lease::QueueFull => {
                let waiting = self.waiting.iter().filter(|(other, _)| *other == origin).count();
                prop_assert_eq!(waiting, self.limits.queue_limit);
            }
        }
        Ok(())
    }

    fn release(&mut self, id: ConnectionId, reusable: bool) -> Result<(), TestCaseError> {
        let (origin, is_spoiled) = (self.seat(id).origin, self.seat(id).is_spoiled);
        let waited_for = self.waiting.iter().any(|(other, _)| *other == origin);
        let Some(release) = self.environment.release(id, reusable, self.now) else {
            return Err(TestCaseError::fail("a leased connection can be released"));
        };
        prop_assert!(reusable || matches!(release, Release::Close(_)));
        match release {
            Release::Handed(waiter) => {
                self.answered(origin, waiter)?;
                let now = self.now;
                prop_assert!(!is_spoiled && now < self.seat(id).opened + TTL);
                (self.seat(id).is_answered, self.seat(id).replays) = (false, 0);
            }
            Release::Kept => {
                prop_assert!(!waited_for, "somebody waits for it");
                (self.seat(id).phase, self.seat(id).released) = (Phase::Idle, self.now);
                let idle = self.environment.agents[self.agent.0 as usize].pool.counts(origin).idle;
                prop_assert!(idle <= self.limits.max_free);
            }
            Release::Close(reason) => self.close(id, reason, false),
        }
        if !matches!(release, Release::Handed(_)) {
            prop_assert_eq!(self.environment.release(id, true, self.now), None, "it was released already");
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), TestCaseError> {
        while let Some(event) = self.environment.next_event() {
            match event {
                Event::Data { id, .. } => {
                    let seat = self.seat(id);
                    prop_assert_eq!(seat.phase, Phase::Leased);
                    (seat.is_answered, seat.is_spoiled) = (true, seat.peer.is_none());
                }
                Event::End { id } | Event::ReadFailed { id, .. } | Event::WriteFailed { id, .. } => {
                    prop_assert!(self.seat(id).phase >= Phase::Leased);
                    self.close(id, CloseReason::Error, false);
                }
                Event::ConnectFailed { id } => {
                    prop_assert!(self.seat(id).phase <= Phase::Opening);
                    prop_assert!(self.environment.take_trouble(id).is_some());
                    self.close(id, CloseReason::Error, false);
                }
                Event::Ended { id, reason } => {
                    let (now, seat) = (self.now, self.seat(id));
                    let is_late = now >= seat.released + IDLE || now >= seat.opened + TTL;
                    prop_assert_eq!(self.seat(id).phase, Phase::Idle);
                    let is_early =
                        matches!(reason, CloseReason::Evicted | CloseReason::Distrusted | CloseReason::Expired);
                    if reason == CloseReason::Error {
                        let seat = self.seat(id);
                        prop_assert!(!seat.is_spoiled && !is_late, "{:?} stands in for another", seat);
                        self.stand_in = Some((seat.peer.take(), seat.opened));
                    } else {
                        prop_assert!(self.seat(id).is_spoiled || is_late || is_early, "{:?}", reason);
                    }
                    self.close(id, reason, false);
                }
                Event::FellBack { id } => {
                    let Some((peer, opened)) = self.stand_in.take() else {
                        return Err(TestCaseError::fail("nobody stands in"));
                    };
                    let seat = self.seat(id);
                    prop_assert!(seat.phase <= Phase::Opening);
                    (seat.phase, seat.peer, seat.opened, seat.is_spoiled) = (Phase::Leased, peer, opened, false);
                }
                Event::Replaying { id, .. } | Event::Swapped { id } => {
                    let seat = self.seat(id);
                    // Once at once, and as often as the policy says after a wait.
                    prop_assert!(seat.phase <= Phase::Leased && !seat.is_answered && seat.replays <= ATTEMPTS);
                    (seat.phase, seat.peer, seat.is_spoiled) = (Phase::Opening, None, false);
                    seat.replays += 1;
                }
                Event::Gone { id } => {
                    prop_assert_eq!(self.seat(id).phase, Phase::Closing);
                    self.environment.dispose(id);
                    self.seats.remove(&id);
                    self.grant()?;
                }
                Event::GaveUp { waiter, .. } => {
                    let before = self.waiting.len();
                    self.waiting.retain(|(_, other)| *other != waiter);
                    prop_assert_eq!(self.waiting.len() + 1, before);
                }
                Event::Connected { id } => prop_assert_eq!(self.seat(id).phase, Phase::Leased),
                Event::Written { .. }
                | Event::Found { .. }
                | Event::ShutDown { .. }
                | Event::Secured { .. }
                | Event::Session { .. }
                | Event::Head { .. }
                | Event::Complete { .. }
                | Event::Broken { .. }
                | Event::Reset { .. }
                | Event::Room { .. } => {}
            }
        }
        Ok(())
    }

    /// Invariant 1, and that the pool counts what is there.
    fn adds_up(&self) -> Result<(), TestCaseError> {
        let pool = &self.environment.agents[self.agent.0 as usize].pool;
        prop_assert!(pool.total().add_up());
        prop_assert_eq!(pool.total().all(), self.seats.len());
        for origin in &self.origins {
            let count = |phases: &[Phase]| {
                self.seats.values().filter(|seat| seat.origin == *origin && phases.contains(&seat.phase)).count()
            };
            let counts = pool.counts(*origin);
            prop_assert!(counts.add_up());
            let expected =
                [&[Phase::Reserved, Phase::Opening][..], &[Phase::Idle], &[Phase::Leased], &[Phase::Closing]];
            let expected = expected.map(count);
            prop_assert_eq!([counts.connecting, counts.idle, counts.leased, counts.closing], expected);
            let waiting = self.waiting.iter().filter(|(other, _)| other == origin).count();
            prop_assert_eq!(pool.waiting(*origin), waiting);
        }
        Ok(())
    }

    /// Everything ends, and nothing is left.
    fn end(&mut self) -> Result<(), TestCaseError> {
        self.run(&Step::Deliver(false))?;
        while !self.seats.is_empty() || !self.waiting.is_empty() {
            let open: Vec<_> = self.seats.iter().filter(|(_, seat)| seat.phase != Phase::Closing).collect();
            let open: Vec<_> = open.into_iter().map(|(id, _)| *id).collect();
            for id in open {
                self.close(id, CloseReason::Destroyed, false);
            }
            self.run(&Step::Gone)?;
        }
        prop_assert!(self.environment.connections.is_empty());
        prop_assert_eq!(self.environment.opening, 0);
        prop_assert!(self.environment.reactor.watched.is_empty() && !self.environment.reactor.holds_doorbell);
        for origin in self.origins.clone() {
            prop_assert!(self.environment.remove_origin(self.agent, origin));
        }
        prop_assert!(self.environment.remove_agent(self.agent));
        Ok(())
    }
}

proptest! {
    #[test]
    fn invariants_1_to_4_hold_whatever_embedder_peers_and_clock_do(
        max_sockets in 1usize..4,
        max_total in 1usize..6,
        max_free in 0usize..4,
        lifo: bool,
        steps in proptest::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new(Limits { max_sockets, max_total, max_free, queue_limit: 3, lifo });
        for step in &steps {
            world.run(step)?;
        }
        world.end()?;
    }
}

#[test]
fn poll_of_a_paused_reader_stops_at_once_or_when_the_turn_has_been_told() -> Result<(), TestCaseError> {
    let mut world = World::new(Limits { queue_limit: 3, ..Limits::default() });
    let id = world.environment.reserve_anyway(world.agent, world.origins[0], world.now);
    world.reserved(world.origins[0], id)?;
    world.open(id);
    let reads = |world: &World| world.environment.reactor.watched[&id].readable;
    world.environment.begin_telling(false);
    world.environment.set_flowing(id, false);
    assert!(reads(&world), "it may go on");
    world.environment.scatter();
    assert!(!reads(&world), "it has not");
    world.environment.set_flowing(id, true);
    assert!(reads(&world));
    world.environment.set_flowing(id, false);
    assert!(!reads(&world), "nothing is being told");
    world.end()
}
