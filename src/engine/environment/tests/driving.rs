//! The steps, as an embedder and its peers take them.

use super::*;

/// What the background says of one attempt that failed, or of none.
pub(super) fn failed(errno: Option<i32>) -> News {
    let failure = |errno| Failure { syscall: "connect", errno, address: None, local: None };
    News::Failed(errno.map(failure).into_iter().collect())
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
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

    pub(super) fn pick(&self, at: Index, phases: &[Phase]) -> Option<ConnectionId> {
        let those: Vec<_> = self.seats.iter().filter(|(_, seat)| phases.contains(&seat.phase)).collect();
        (!those.is_empty()).then(|| *at.get(&those).0)
    }

    pub(super) fn seat(&mut self, id: ConnectionId) -> &mut Seat {
        self.seats.get_mut(&id).expect("the engine names only what is there")
    }

    pub(super) fn grant(&mut self) -> Result<(), TestCaseError> {
        while let Some((waiter, Lease::New(id))) = self.environment.grant(self.agent, self.now) {
            let origin = self.environment.connections[id.0 as usize].origin;
            self.answered(origin, waiter)?;
            self.had_room(origin)?;
            self.reserved(origin, id)?;
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason, reset: bool) {
        self.seat(id).phase = Phase::Closing;
        self.seat(id).peer = None;
        self.environment.close(id, reason, reset);
    }

    /// The background's answer, instead of the background.
    pub(super) fn settle(&mut self, id: ConnectionId, news: News) {
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

    pub(super) fn open(&mut self, id: ConnectionId) {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).expect("two descriptors");
        self.settle(id, News::Opened(Transport::new(ours).expect("a socket")));
        let now = self.now;
        let seat = self.seat(id);
        (seat.phase, seat.peer, seat.opened, seat.is_spoiled) = (Phase::Leased, Some(theirs), now, false);
    }

    pub(super) fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
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
            Step::Fail(at, errno) => {
                self.pick(at, unopened).into_iter().for_each(|id| self.settle(id, failed(errno)));
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

    pub(super) fn checkout(&mut self, origin: OriginId, idempotent: bool) -> Result<(), TestCaseError> {
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

    pub(super) fn release(&mut self, id: ConnectionId, reusable: bool) -> Result<(), TestCaseError> {
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
}
