//! Further attempts after a wait, and the budget that all sending again is paid from.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::engine::environment::{AgentOptions, Event, Failure, Trouble, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId};
use holdfast::engine::reactor::Reactor;
use holdfast::engine::retry::{Backoff, Evidence, Policy, Refusal, Share};
use support::driver::{Driver, options, place_of};
use support::ports::refusing_port;
use support::server::FaultServer;
use support::{GET, OK};

const NOTHING: Share = Share { ratio: 0.0, min_per_second: 0.0 };

fn attempts(attempts: u32) -> Policy {
    let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(5) };
    Policy { attempts, backoff, ..Policy::default() }
}

fn driver(policy: Policy) -> Driver {
    Driver::new(AgentOptions { retry: Arc::new(policy), ..options() })
}

fn failure(driver: &mut Driver, id: ConnectionId) -> Failure {
    let now = driver.now();
    driver.environment.facts(id, now).and_then(|facts| facts.failure).expect("a failed request")
}

fn replays(driver: &Driver) -> usize {
    driver.events.iter().filter(|event| matches!(event, Event::Replaying { .. })).count()
}

#[test]
fn refused_connection_is_tried_again_as_often_as_the_policy_says_and_then_its_error_surfaces() {
    let (_port, address) = refusing_port().expect("a port");
    for times in [0, 1, 3] {
        let mut driver = driver(attempts(times));
        let id = driver.reserve();
        driver.connect(id, place_of(address));
        assert_eq!(driver.write(id, GET), Wrote::Pending);
        let Trouble::Failed(failures) = driver.trouble(id) else { unreachable!("refused") };
        assert_eq!(failures.first().map(|failure| failure.errno), Some(libc::ECONNREFUSED));
        assert_eq!((replays(&driver), driver.tally().connect_errors), (times as usize, u64::from(times) + 1));
        assert_eq!(driver.tally().retries, u64::from(times));
        let Failure { evidence, attempts, refusal, .. } = failure(&mut driver, id);
        let expected = if times == 0 { Refusal::FreshConnection } else { Refusal::Spent };
        assert_eq!((evidence, attempts, refusal), (Evidence::NotWritten, times + 1, expected));
        driver.close(id, CloseReason::Error);
        assert_eq!(driver.counts(), [0; 4]);
    }
}

#[test]
fn server_that_comes_up_meanwhile_serves_the_request() {
    let (port, address) = refusing_port().expect("a port");
    let mut driver = driver(attempts(100_000));
    let id = driver.reserve();
    driver.connect(id, place_of(address));
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.until("a further attempt", |driver| replays(driver) > 0);
    port.listen(1).expect("a bound socket listens");
    driver.until_told(Event::Connected { id });
    driver.until_told(Event::Written { id });
}

#[test]
fn failure_that_the_policy_does_not_list_surfaces_at_once() {
    let (_port, address) = refusing_port().expect("a port");
    let mut driver = driver(Policy { errnos: vec![libc::ETIMEDOUT], ..attempts(3) });
    let id = driver.reserve();
    driver.connect(id, place_of(address));
    driver.trouble(id);
    assert_eq!(replays(&driver), 0);
}

#[test]
fn idempotent_request_reset_on_a_fresh_connection_is_tried_again() {
    for (idempotent, served) in [(true, true), (false, false)] {
        let server = FaultServer::start("fin_instead_of_an_answer");
        let mut driver = driver(attempts(1));
        let id = driver.open(&server);
        driver.environment.begin(id, idempotent, Duration::ZERO);
        driver.write(id, GET);
        if served {
            driver.until_received(id, OK);
        } else {
            driver.until_told(Event::End { id });
            assert_eq!(failure(&mut driver, id).refusal, Refusal::FreshConnection);
        }
        assert_eq!(server.heads(), if served { vec![1, 1] } else { vec![1] });
    }
}

#[test]
fn wait_is_full_of_jitter_and_keeps_the_loop_alive() {
    let (_port, address) = refusing_port().expect("a port");
    let hour = Duration::from_secs(3600);
    let mut driver = driver(Policy { backoff: Backoff { base: hour, max: hour }, ..attempts(1) });
    let id = driver.reserve();
    let before = Instant::now();
    driver.connect(id, place_of(address));
    driver.until("a wait", |driver| replays(driver) == 1);
    assert!(driver.environment.reactor().is_alive(), "something is still to come");
    assert!(before.elapsed() < hour);
    driver.pass(hour);
    driver.trouble(id);
    assert!(!driver.environment.reactor().is_alive());
}

#[test]
fn close_during_a_wait_leaves_nothing() {
    let (_port, address) = refusing_port().expect("a port");
    let hour = Duration::from_secs(3600);
    let mut driver = driver(Policy { backoff: Backoff { base: hour, max: hour }, ..attempts(1) });
    let id = driver.reserve();
    driver.connect(id, place_of(address));
    driver.until("a wait", |driver| replays(driver) == 1);
    driver.close(id, CloseReason::Destroyed);
    assert_eq!((driver.counts(), driver.environment.reactor().is_alive()), ([0; 4], false));
    driver.pass(hour);
    let now = driver.now();
    driver.environment.reactor().wake();
    driver.turn();
    assert!(driver.now() >= now && replays(&driver) == 1, "nothing is opened any more");
}

#[test]
fn empty_budget_surfaces_the_first_error() {
    let server = FaultServer::start("fin_after_second_head");
    let mut driver = driver(Policy { share: NOTHING, ..Policy::default() });
    let id = driver.open_and_reuse(&server, true);
    driver.write(id, GET);
    driver.until_told(Event::End { id });
    assert_eq!((failure(&mut driver, id).refusal, server.heads()), (Refusal::Budget, vec![2]));
    assert_eq!(driver.tally().refused.get(Refusal::Budget as usize), Some(&1));
}

#[test]
fn budget_is_spent_by_attempts_too() {
    let (_port, address) = refusing_port().expect("a port");
    let share = Share { ratio: 0.0, min_per_second: 0.2 };
    let mut driver = driver(Policy { share, ..attempts(100) });
    let id = driver.reserve();
    driver.connect(id, place_of(address));
    driver.trouble(id);
    assert_eq!((replays(&driver), failure(&mut driver, id).refusal), (2, Refusal::Budget));
}
