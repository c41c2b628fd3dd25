//! Who gets which connection, over real sockets: reuse, order, waiting, and what checkout finds without a turn.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::time::Duration;

use holdfast::engine::environment::{AgentOptions, Event, Lease};
use holdfast::engine::pool::{CloseReason, ConnectionId, Limits, Release};
use support::OK;
use support::driver::{Driver, options};
use support::server::{FaultServer, Seen};

fn limited(limits: Limits) -> Driver {
    Driver::new(AgentOptions { limits, ..options() })
}

/// Two idle connections; the first was released first.
fn two_idle(driver: &mut Driver, server: &FaultServer) -> [ConnectionId; 2] {
    let [first, second] = [driver.open(server), driver.open(server)];
    for id in [first, second] {
        driver.exchange(id, OK);
        assert_eq!(driver.release(id), Some(Release::Kept));
    }
    [first, second]
}

#[test]
fn connection_released_clean_serves_the_next_exchange() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    assert_eq!(driver.counts(), [0, 1, 0, 0]);
    assert_eq!(driver.reuse(true), id);
    driver.exchange(id, OK);
    assert_eq!(server.heads(), [2]);
    let tally = driver.tally();
    assert_eq!((tally.requests, tally.reused, tally.idle_age.count, tally.connect.count), (2, 1, 1, 1));
}

#[test]
fn connection_that_is_leased_is_not_given_to_another_checkout() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    assert!(matches!(driver.checkout(true), Lease::New(other) if other != id));
    assert_eq!(driver.counts(), [1, 0, 1, 0]);
}

#[test]
fn checkout_under_lifo_takes_the_newest_and_under_fifo_the_oldest() {
    for lifo in [true, false] {
        let server = FaultServer::start("three_connections");
        let mut driver = limited(Limits { lifo, ..Limits::default() });
        let [oldest, newest] = two_idle(&mut driver, &server);
        let order = if lifo { [newest, oldest] } else { [oldest, newest] };
        assert_eq!([driver.reuse(true), driver.reuse(true)], order, "lifo: {lifo}");
    }
}

#[test]
fn release_without_reuse_closes_and_frees_the_place_when_gone() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(Limits { max_sockets: 1, ..Limits::default() });
    let id = driver.open(&server);
    let waiter = driver.wait();
    let now = driver.now();
    assert_eq!(driver.environment.release(id, false, now), Some(Release::Close(CloseReason::Finished)));
    let agent = driver.agent;
    assert_eq!(driver.environment.grant(agent, now), None, "a closing connection still has its place");
    driver.close(id, CloseReason::Finished);
    let granted = driver.environment.grant(agent, now);
    assert!(matches!(granted, Some((first, _)) if first == waiter), "{granted:?}");
    server.wait_for(&Seen::Fin(0));
}

#[test]
fn waiters_are_handed_the_released_connection_in_their_order() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(Limits { max_sockets: 1, ..Limits::default() });
    let id = driver.open(&server);
    let [first, second] = [driver.wait(), driver.wait()];
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Handed(first)));
    driver.environment.begin(id, true, Duration::from_millis(1));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Handed(second)));
    assert_eq!(server.heads(), [2]);
    assert_eq!((driver.tally().reused, driver.tally().queue_wait.count), (2, 1));
}

#[test]
fn waiter_is_not_handed_a_connection_that_the_peer_has_closed() {
    let server = FaultServer::start("fin_while_idle");
    let mut driver = limited(Limits { max_sockets: 1, ..Limits::default() });
    let id = driver.open(&server);
    let waiter = driver.wait();
    driver.exchange(id, OK);
    server.open("go");
    driver.until_kernel_knows(id);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::PeerFin)));
    driver.close(id, CloseReason::Finished);
    assert_eq!(driver.closed(CloseReason::PeerFin), 1);
    let (agent, now) = (driver.agent, driver.now());
    let (granted, Lease::New(id)) = driver.environment.grant(agent, now).unwrap() else { panic!("a new connection") };
    assert_eq!(granted, waiter);
    driver.connect_to(id, &server);
    driver.exchange(id, OK);
}

#[test]
fn waiter_that_waits_too_long_gives_up_and_is_handed_nothing() {
    let server = FaultServer::start("two_exchanges");
    let limits = Limits { max_sockets: 1, ..Limits::default() };
    let queue_timeout = Some(Duration::from_secs(3));
    let mut driver = Driver::new(AgentOptions { limits, queue_timeout, ..options() });
    let id = driver.open(&server);
    let waiter = driver.wait();
    driver.pass(Duration::from_secs(3));
    let agent = driver.agent;
    driver.until_told(Event::GaveUp { agent, waiter });
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    assert_eq!(driver.tally().queue_timeouts, 1);
}

#[test]
fn waiter_that_withdraws_is_handed_nothing() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(Limits { max_sockets: 1, ..Limits::default() });
    let id = driver.open(&server);
    let [first, second] = [driver.wait(), driver.wait()];
    let (agent, origin) = (driver.agent, driver.origin);
    assert!(driver.environment.cancel(agent, origin, first));
    assert!(!driver.environment.cancel(agent, origin, first));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Handed(second)));
}

#[test]
fn queue_over_its_limit_refuses() {
    let mut driver = limited(Limits { max_sockets: 1, queue_limit: 1, ..Limits::default() });
    driver.reserve();
    driver.wait();
    assert_eq!(driver.checkout(true), Lease::QueueFull);
    assert_eq!(driver.tally().queue_full, 1);
}

#[test]
fn release_beyond_the_limit_of_idle_connections_evicts() {
    let server = FaultServer::start("three_connections");
    let mut driver = limited(Limits { max_free: 1, ..Limits::default() });
    let [first, second] = [driver.open(&server), driver.open(&server)];
    assert_eq!(driver.release(first), Some(Release::Kept));
    assert_eq!(driver.release(second), Some(Release::Close(CloseReason::Evicted)));
}

#[test]
fn idle_connection_of_another_origin_makes_room_for_a_waiter_at_the_total() {
    let server = FaultServer::start("three_connections");
    let mut driver = limited(Limits { max_total: 1, ..Limits::default() });
    let idle = driver.open(&server);
    driver.exchange(idle, OK);
    driver.release(idle);
    let agent = driver.agent;
    let other = driver.environment.add_origin(agent, "other");
    let now = driver.now();
    let Lease::Waiting(waiter) = driver.environment.checkout(agent, other, true, true, now) else { panic!("no room") };
    driver.until_told(Event::Ended { id: idle, reason: CloseReason::Evicted });
    driver.until_told(Event::Gone { id: idle });
    let (granted, Lease::New(id)) = driver.environment.grant(agent, now).unwrap() else { panic!("a new connection") };
    assert_eq!(granted, waiter);
    driver.connect_to(id, &server);
    server.wait_for(&Seen::Fin(0));
}

/// What a server may do to an idle connection, and why the engine closes it.
const DEATHS: [(&str, CloseReason); 4] = [
    ("fin_while_idle", CloseReason::PeerFin),
    ("rst_while_idle", CloseReason::PeerReset),
    ("late_bytes_while_idle", CloseReason::Unsolicited),
    ("garbage_while_idle", CloseReason::Unsolicited),
];

#[test]
fn checkout_finds_a_dead_connection_without_a_turn_and_opens_another() {
    for (fixture, reason) in DEATHS {
        let server = FaultServer::start(fixture);
        let mut driver = Driver::new(options());
        let dead = driver.open(&server);
        driver.exchange(dead, OK);
        driver.release(dead);
        server.open("go");
        driver.until_kernel_knows(dead);
        let told = driver.events.len();
        let fresh = driver.reserve();
        assert_ne!(fresh, dead);
        assert_eq!((driver.closed(reason), driver.events.len()), (1, told), "{fixture}");
        driver.connect_to(fresh, &server);
        driver.exchange(fresh, OK);
        assert!(driver.events.contains(&Event::Ended { id: dead, reason }), "{fixture}: {:?}", driver.events);
        assert_eq!((driver.tally().reused, server.heads()), (0, vec![1, 1]), "{fixture}");
    }
}

#[test]
fn checkout_passes_over_a_dead_connection_to_one_that_lives() {
    let server = FaultServer::start("fin_while_idle");
    let mut driver = limited(Limits { lifo: false, ..Limits::default() });
    let [dead, live] = two_idle(&mut driver, &server);
    server.open("go");
    driver.until_kernel_knows(dead);
    assert_eq!(driver.reuse(true), live);
}

#[test]
fn idle_connection_that_dies_is_closed_and_told_in_the_next_turn() {
    for (fixture, reason) in DEATHS {
        let server = FaultServer::start(fixture);
        let mut driver = Driver::new(options());
        let id = driver.open(&server);
        driver.exchange(id, OK);
        driver.release(id);
        server.open("go");
        driver.until_told(Event::Gone { id });
        let told: Vec<_> = driver.events.iter().skip(1).copied().collect();
        assert_eq!(told, [Event::Ended { id, reason }, Event::Gone { id }], "{fixture}");
        assert_eq!((driver.counts(), driver.closed(reason)), ([0; 4], 1), "{fixture}");
    }
}

#[test]
fn idle_connection_does_not_keep_the_loop_alive_and_a_leased_one_does() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    assert!(!driver.environment.reactor().is_alive());
    let id = driver.open(&server);
    assert!(driver.environment.reactor().is_alive());
    driver.exchange(id, OK);
    driver.release(id);
    assert!(!driver.environment.reactor().is_alive());
    driver.reuse(true);
    assert!(driver.environment.reactor().is_alive());
}
