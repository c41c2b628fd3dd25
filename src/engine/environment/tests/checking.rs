//! What must hold after each of them.

use super::*;

impl World {
    /// A new place; nobody else has its number.
    pub(super) fn reserved(&mut self, origin: OriginId, id: ConnectionId) -> Result<(), TestCaseError> {
        let (opened, released) = (self.now, self.now);
        let [is_spoiled, is_answered] = [false; 2];
        let phase = Phase::Reserved;
        let seat = Seat { origin, phase, peer: None, is_spoiled, is_answered, replays: 0, opened, released };
        prop_assert!(self.seats.insert(id, seat).is_none(), "{id:?} was given twice");
        Ok(())
    }

    /// Invariant 2: there was room for a connection that is counted by now.
    pub(super) fn had_room(&self, origin: OriginId) -> Result<(), TestCaseError> {
        let pool = &self.environment.agents[self.agent.0 as usize].pool;
        let counts = pool.counts(origin);
        prop_assert!(counts.connecting + counts.leased + counts.closing <= self.limits.max_sockets);
        prop_assert!(pool.total().all() <= self.limits.max_total);
        Ok(())
    }

    /// Invariants 3 and 4: the first waiter of its origin, once.
    pub(super) fn answered(&mut self, origin: OriginId, waiter: WaiterId) -> Result<(), TestCaseError> {
        let first = self.waiting.iter().position(|(other, _)| *other == origin);
        prop_assert!(first.is_some(), "nobody waits there");
        prop_assert_eq!(self.waiting.remove(first.unwrap_or_default()).1, waiter);
        Ok(())
    }

    pub(super) fn hear(&mut self) -> Result<(), TestCaseError> {
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
    pub(super) fn adds_up(&self) -> Result<(), TestCaseError> {
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
    pub(super) fn end(&mut self) -> Result<(), TestCaseError> {
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
