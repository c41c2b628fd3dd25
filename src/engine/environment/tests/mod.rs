//! Any order of what an embedder, its peers and the clock may do.

mod checking;
mod doubles;
mod driving;

use super::*;
use crate::engine::connect::{Failure, Family, News, Order, Place, Target};
use crate::engine::doorbell::Doorbell;
use crate::engine::lifetime;
use crate::engine::pool::{CloseReason, Limits, Release};
use crate::engine::retry::{Evidence, Policy};
use crate::engine::transport::Knobs;
use crate::engine::transport::Transport;
use doubles::{Mock, Room, Silent};
use driving::failed;
use proptest::prelude::*;
use proptest::sample::Index;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(25);
const ATTEMPTS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(15);

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
    Fail(Index, Option<i32>),
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
        1 => (at(), prop_oneof![Just(None), Just(Some(libc::ECONNREFUSED)), Just(Some(libc::ECONNRESET))])
            .prop_map(|(at, errno)| Step::Fail(at, errno)),
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

#[test]
fn connection_reset_as_it_opened_is_opened_again_at_once_and_one_that_timed_out_after_a_wait()
-> Result<(), TestCaseError> {
    let mut world = World::new(Limits { queue_limit: 3, ..Limits::default() });
    let origin = world.origins[0];
    for (errno, counted) in [(libc::ECONNRESET, (1, 0)), (libc::ETIMEDOUT, (1, 1))] {
        let id = world.environment.reserve_anyway(world.agent, origin, world.now);
        world.reserved(origin, id)?;
        world.settle(id, failed(Some(errno)));
        let tally = world.environment.agents[world.agent.0 as usize].tally(origin);
        assert_eq!((tally.replays[Evidence::NotWritten as usize], tally.retries), counted);
    }
    world.hear()
}
