//! How long a connection is kept, over real sockets and a clock that the test moves on.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::time::{Duration, Instant};

use holdfast::engine::environment::{AgentOptions, Event};
use holdfast::engine::lifetime::{Hint, Limits};
use holdfast::engine::pool::{CloseReason, ConnectionId, Release};
use support::OK;
use support::driver::{Driver, options};
use support::server::FaultServer;

const SECOND: Duration = Duration::from_secs(1);

fn limited(change: impl FnOnce(&mut Limits)) -> Driver {
    let mut options: AgentOptions = options();
    change(&mut options.lifetime);
    Driver::new(options)
}

/// A connection that has served once and was released.
fn idle(driver: &mut Driver, server: &FaultServer) -> ConnectionId {
    let id = driver.open(server);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    id
}

#[test]
fn idle_timeout_ends_a_connection_by_the_loop_s_deadline_and_not_before() {
    let timeout = Duration::from_millis(30);
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.idle_timeout = Some(timeout));
    let before = Instant::now();
    let id = idle(&mut driver, &server);
    driver.until_told(Event::Ended { id, reason: CloseReason::Expired });
    assert!(before.elapsed() >= timeout);
    driver.until_told(Event::Gone { id });
    assert_eq!((driver.counts(), driver.closed(CloseReason::Expired)), ([0; 4], 1));
}

#[test]
fn idle_timeout_that_a_busy_loop_missed_is_found_at_checkout() {
    let server = FaultServer::start("three_connections");
    let mut driver = limited(|limits| limits.idle_timeout = Some(4 * SECOND));
    let id = idle(&mut driver, &server);
    driver.pass(4 * SECOND);
    assert_ne!(driver.reserve(), id);
    assert_eq!(driver.closed(CloseReason::Expired), 1);
    driver.until_told(Event::Ended { id, reason: CloseReason::Expired });
}

#[test]
fn idle_connection_within_its_timeout_is_reused() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.idle_timeout = Some(40 * SECOND));
    let id = idle(&mut driver, &server);
    driver.pass(39 * SECOND);
    assert_eq!(driver.reuse(true), id);
}

#[test]
fn idle_clock_starts_over_at_each_release_and_stands_still_in_use() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.idle_timeout = Some(40 * SECOND));
    let id = idle(&mut driver, &server);
    driver.pass(30 * SECOND);
    driver.reuse(true);
    driver.pass(3600 * SECOND);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    driver.pass(30 * SECOND);
    // A turn in which the first deadline is due, and nothing comes of it.
    driver.environment.reactor().bell_now();
    driver.turn();
    assert_eq!(driver.counts(), [0, 1, 0, 0]);
    driver.pass(11 * SECOND);
    driver.until_told(Event::Ended { id, reason: CloseReason::Expired });
}

#[test]
fn idle_timeout_of_one_connection_overrides_the_agent_s() {
    for own in [Some(60 * SECOND), None] {
        let server = FaultServer::start("two_exchanges");
        let mut driver = limited(|limits| limits.idle_timeout = Some(4 * SECOND));
        let id = driver.open(&server);
        driver.environment.set_idle_timeout(id, own);
        driver.exchange(id, OK);
        driver.release(id);
        driver.pass(50 * SECOND);
        assert_eq!(driver.reuse(true), id, "{own:?}");
    }
}

#[test]
fn hint_of_the_server_less_the_buffer_ends_an_idle_connection_sooner() {
    let server = FaultServer::start("three_connections");
    let mut driver = limited(|limits| limits.idle_timeout = Some(60 * SECOND));
    let id = driver.open(&server);
    driver.environment.hint(id, Hint::parse("timeout=5"));
    driver.exchange(id, OK);
    driver.release(id);
    driver.pass(4 * SECOND);
    driver.until_told(Event::Ended { id, reason: CloseReason::Hint });
}

#[test]
fn hint_within_the_buffer_closes_at_release() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.environment.hint(id, Hint::parse("timeout=1"));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::Hint)));
}

#[test]
fn hint_of_exchanges_left_is_counted_down() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.environment.hint(id, Hint::parse("max=1"));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    driver.reuse(true);
    // A server that repeats itself does not raise what is left.
    driver.environment.hint(id, Hint::parse("max=1"));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::Hint)));
}

#[test]
fn ttl_that_passed_in_use_closes_at_release() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.ttl = Some(60 * SECOND));
    let id = driver.open(&server);
    driver.exchange(id, OK);
    driver.pass(60 * SECOND);
    assert_eq!(driver.counts(), [0, 0, 1, 0]);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::Ttl)));
}

#[test]
fn ttl_that_passed_while_idle_is_found_at_checkout_and_by_the_deadline() {
    for by_deadline in [false, true] {
        let server = FaultServer::start("three_connections");
        let mut driver = limited(|limits| limits.ttl = Some(60 * SECOND));
        let id = idle(&mut driver, &server);
        driver.pass(60 * SECOND);
        if !by_deadline {
            assert_ne!(driver.reserve(), id);
        }
        driver.until_told(Event::Ended { id, reason: CloseReason::Ttl });
        assert_eq!(driver.closed(CloseReason::Ttl), 1);
    }
}

#[test]
fn ttl_is_not_lengthened_by_reuse() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.ttl = Some(60 * SECOND));
    let id = idle(&mut driver, &server);
    driver.pass(50 * SECOND);
    driver.reuse(true);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    driver.pass(10 * SECOND);
    driver.until_told(Event::Ended { id, reason: CloseReason::Ttl });
}

#[test]
fn connection_serves_as_many_exchanges_as_it_may() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = limited(|limits| limits.max_requests = Some(2));
    let id = idle(&mut driver, &server);
    driver.reuse(true);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::MaxRequests)));
    driver.close(id, CloseReason::Finished);
    assert_eq!((driver.closed(CloseReason::MaxRequests), driver.tally().requests_per_connection.max), (1, 2));
}

#[test]
fn connection_past_its_ttl_is_not_handed_to_a_waiter() {
    let server = FaultServer::start("two_exchanges");
    let mut options = options();
    options.lifetime.ttl = Some(60 * SECOND);
    options.limits.max_sockets = 1;
    let mut driver = Driver::new(options);
    let id = driver.open(&server);
    driver.wait();
    driver.exchange(id, OK);
    driver.pass(60 * SECOND);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::Ttl)));
}

#[test]
fn connection_that_awaits_a_waiter_is_handed_over_though_it_might_not_idle() {
    let server = FaultServer::start("two_exchanges");
    let mut options = options();
    options.limits.max_sockets = 1;
    let mut driver = Driver::new(options);
    let id = driver.open(&server);
    let waiter = driver.wait();
    driver.environment.hint(id, Hint::parse("timeout=1"));
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Handed(waiter)));
}
