//! Which idle connections are not tried, and what servers teach by closing them.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use holdfast::engine::environment::{AgentOptions, Event, Lease, Trouble, Wrote};
use holdfast::engine::lifetime::Hint;
use holdfast::engine::pool::{CloseReason, ConnectionId, Limits, Release};
use holdfast::engine::reactor::Reactor;
use support::driver::{Driver, options, place_of};
use support::ports::{FullQueue, refusing_port};
use support::server::{FaultServer, Seen};
use support::{GET, OK};

/// As many idle connections to `server`.
fn idle(driver: &mut Driver, server: &FaultServer, count: usize) -> Vec<ConnectionId> {
    let ids: Vec<_> = (0..count).map(|_| driver.open_another(server)).collect();
    for id in &ids {
        driver.exchange(*id, OK);
    }
    for id in &ids {
        driver.release(*id);
    }
    ids
}

fn learning_options() -> AgentOptions {
    let mut options: AgentOptions = options();
    options.lifetime.learns = true;
    options
}

fn learning() -> Driver {
    Driver::new(learning_options())
}

/// Its peer has closed it, and its number is free.
fn until_closed(driver: &mut Driver, id: ConnectionId) {
    driver.until_told(Event::Ended { id, reason: CloseReason::PeerFin });
    driver.until("gone", |driver| driver.counts() == [0; 4]);
    driver.events.clear();
}

/// Two connections, one after the other, are closed by a server that closes three when told, each after so long idle.
fn close_twice_after(age: Duration, driver: &mut Driver, server: &FaultServer) {
    for gate in ["first", "second"] {
        let id = driver.open(server);
        driver.exchange(id, OK);
        driver.release(id);
        driver.pass(age);
        server.open(gate);
        until_closed(driver, id);
    }
}

fn learned(driver: &Driver) -> (Option<Duration>, Option<u32>) {
    driver.environment.stats(driver.agent).next().expect("the origin is known").learned
}

#[test]
fn siblings_of_a_connection_that_died_in_use_are_not_tried() {
    let server = FaultServer::start("third_head_resets");
    let mut driver = Driver::new(options());
    let ids = idle(&mut driver, &server, 3);
    let id = driver.reuse(true);
    assert_eq!(Some(&id), ids.last());
    driver.write(id, GET);
    server.wait_for(&Seen::Head(2, "GET / HTTP/1.1".into()));
    server.open("go");
    driver.until_received(id, OK);
    assert_eq!(driver.closed(CloseReason::Distrusted), 2);
    assert_eq!((server.heads(), driver.counts()), (vec![1, 1, 2, 1], [0, 0, 1, 0]));
}

#[test]
fn sibling_that_became_idle_after_the_lease_is_still_trusted() {
    let server = FaultServer::start("third_head_resets");
    let mut driver = Driver::new(options());
    let busy = driver.open(&server);
    driver.exchange(busy, OK);
    let ids = idle(&mut driver, &server, 2);
    let id = driver.reuse(true);
    driver.write(id, GET);
    driver.pass(Duration::from_millis(1));
    driver.release(busy);
    server.wait_for(&Seen::Head(2, "GET / HTTP/1.1".into()));
    server.open("go");
    driver.until_received(id, OK);
    assert_eq!((Some(&id), driver.closed(CloseReason::Distrusted)), (ids.last(), 1));
    assert_eq!(driver.counts(), [0, 1, 1, 0]);
}

#[test]
fn connections_that_idled_while_the_machine_slept_are_not_tried() {
    let server = FaultServer::start("three_connections");
    let mut driver = Driver::new(options());
    idle(&mut driver, &server, 2);
    driver.environment.reactor().wake();
    driver.turn();
    driver.environment.reactor().slept = Duration::from_secs(60);
    assert!(matches!(driver.checkout(true), Lease::New(_)), "a fresh one");
    assert_eq!(driver.closed(CloseReason::Distrusted), 2);
}

#[test]
fn two_closes_at_the_same_age_teach_an_idle_timeout() {
    let server = FaultServer::start("fin_while_idle_thrice");
    let mut driver = learning();
    let age = Duration::from_secs(5);
    close_twice_after(age, &mut driver, &server);
    let (timeout, max_requests) = learned(&driver);
    let timeout = timeout.expect("a lesson");
    assert!(timeout < age && timeout > age.mul_f64(0.8), "{timeout:?}");
    assert_eq!(max_requests, None);

    let id = driver.open(&server);
    driver.exchange(id, OK);
    driver.release(id);
    driver.pass(age.mul_f64(0.95));
    assert!(matches!(driver.checkout(true), Lease::New(_)), "it is not raced");
    assert_eq!(driver.closed(CloseReason::Expired), 1);
}

#[test]
fn late_look_teaches_the_age_at_which_the_server_closed() {
    let server = FaultServer::start("fin_while_idle_thrice");
    let mut driver = learning();
    for gate in ["first", "second"] {
        let id = driver.open(&server);
        driver.exchange(id, OK);
        driver.release(id);
        // The test's clock stands for the server's patience, the kernel's for the time until somebody looks.
        driver.pass(Duration::from_millis(1500));
        server.open(gate);
        driver.until_kernel_knows(id);
        let asleep = std::time::Instant::now();
        driver.until_others("a while", || asleep.elapsed() > Duration::from_millis(600));
        until_closed(&mut driver, id);
    }
    let timeout = learned(&driver).0;
    if cfg!(target_os = "linux") {
        let is_close = |timeout: Duration| (1300..1700).contains(&timeout.as_millis());
        assert!(timeout.is_some_and(is_close), "{timeout:?}");
    }
}

#[test]
fn closes_after_the_same_number_of_exchanges_teach_that_number() {
    let server = FaultServer::start("fin_after_two_exchanges");
    let mut driver = learning();
    for gate in ["first", "second"] {
        let id = driver.open_and_reuse(&server, true);
        driver.exchange(id, OK);
        server.open(gate);
        driver.until_kernel_knows(id);
        assert_eq!(driver.release(id), Some(Release::Kept), "nobody has looked");
        until_closed(&mut driver, id);
    }
    assert_eq!(learned(&driver), (None, Some(2)));
    let id = driver.open_and_reuse(&server, true);
    driver.exchange(id, OK);
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::MaxRequests)));
}

#[test]
fn agent_that_must_not_learn_learns_nothing() {
    let server = FaultServer::start("fin_while_idle_thrice");
    let mut driver = Driver::new(options());
    close_twice_after(Duration::from_secs(5), &mut driver, &server);
    assert_eq!(learned(&driver), (None, None));
}

const PAUSE: Duration = Duration::from_secs(1);

/// A connection to `server` has idled for a pause. Whether a request that cannot be sent twice gets another one.
fn leaves_alone(driver: &mut Driver, server: &FaultServer) -> bool {
    idle(driver, server, 1);
    driver.pass(PAUSE);
    matches!(driver.checkout(false), Lease::New(_))
}

#[test]
fn connection_that_nobody_knows_to_last_is_for_requests_that_can_be_sent_again() {
    let server = FaultServer::start("three_connections");
    let mut driver = learning();
    assert!(leaves_alone(&mut driver, &server));
    assert_eq!((driver.counts(), driver.tally().unproven), ([1, 1, 0, 0], 1));
    driver.reuse(true);
}

#[test]
fn connection_is_known_to_last_once_another_one_has_idled_for_a_quarter_longer() {
    let server = FaultServer::start("three_connections");
    let mut driver = learning();
    idle(&mut driver, &server, 1);
    driver.pass(PAUSE.mul_f64(0.2));
    assert!(leaves_alone(&mut driver, &server));
    let id = driver.reuse(true);
    driver.release(id);
    driver.pass(PAUSE.mul_f64(0.9));
    driver.reuse(false);
    assert_eq!(driver.tally().unproven, 1);
}

#[test]
fn connection_that_reached_its_limit_in_peace_lets_others_be_trusted() {
    let server = FaultServer::start("three_connections");
    let mut options = learning_options();
    options.lifetime.idle_timeout = Some(PAUSE.mul_f64(1.1));
    let mut driver = Driver::new(options);
    idle(&mut driver, &server, 1);
    driver.pass(PAUSE.mul_f64(1.1));
    driver.until("expired", |driver| driver.closed(CloseReason::Expired) == 1);
    assert!(!leaves_alone(&mut driver, &server));
}

#[test]
fn nobody_need_know_more_of_a_short_pause_or_one_within_a_hint() {
    let server = FaultServer::start("three_connections");
    let mut driver = learning();
    idle(&mut driver, &server, 1);
    driver.pass(Duration::from_millis(100));
    let id = driver.reuse(false);
    driver.environment.hint(id, Hint { timeout: Some(PAUSE * 3), max: None });
    driver.release(id);
    driver.pass(PAUSE);
    driver.reuse(false);
}

#[test]
fn connection_that_nobody_knows_to_last_is_used_where_there_is_no_room_beside_it_or_nothing_is_learned() {
    let server = FaultServer::start("three_connections");
    let mut options: AgentOptions = options();
    assert!(!leaves_alone(&mut Driver::new(options.clone()), &server), "nothing is learned");
    options.lifetime.learns = true;
    let one_at_a_time = Limits { max_sockets: 1, ..options.limits };
    let one_at_rest = Limits { max_free: 1, ..options.limits };
    for limits in [one_at_a_time, one_at_rest] {
        options.limits = limits;
        let server = FaultServer::start("three_connections");
        assert!(!leaves_alone(&mut Driver::new(options.clone()), &server), "no room: {limits:?}");
    }
}

/// A request that cannot be sent twice has passed an idle connection over; answers both.
fn passed_over(driver: &mut Driver, server: &FaultServer) -> (ConnectionId, ConnectionId) {
    let passed = idle(driver, server, 1).remove(0);
    driver.pass(PAUSE);
    let Lease::New(id) = driver.checkout(false) else { unreachable!("nothing is known") };
    (passed, id)
}

/// The exchange of `id` goes on on the connection that was `idle`.
fn falls_back(driver: &mut Driver, idle: ConnectionId, id: ConnectionId, server: &FaultServer) {
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.until_told(Event::FellBack { id });
    driver.until_received(id, OK);
    driver.until_told(Event::Gone { id: idle });
    driver.release(id);
    assert_eq!((driver.counts(), server.heads()), ([0, 1, 0, 0], vec![2]));
    let facts = driver.environment.facts(id, driver.now()).expect("it is idle");
    assert_eq!((facts.requests, driver.tally().reused), (2, 1));
    assert_eq!(driver.reuse(true), id);
}

#[test]
fn connection_that_was_passed_over_serves_if_the_other_is_refused() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = learning();
    let (idle, id) = passed_over(&mut driver, &server);
    let (_held, refusing) = refusing_port().expect("a free port");
    driver.connect(id, place_of(refusing));
    falls_back(&mut driver, idle, id, &server);
    assert_eq!(driver.tally().connect_errors, 1);
}

#[test]
fn connection_that_was_passed_over_serves_if_the_other_is_slow_to_open() {
    let server = FaultServer::start("two_exchanges");
    let full = FullQueue::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut driver = learning();
    let (idle, id) = passed_over(&mut driver, &server);
    driver.connect(id, place_of(full.address()));
    driver.pass(Duration::from_secs(1));
    falls_back(&mut driver, idle, id, &server);
    assert_eq!(driver.tally().connect_errors, 0);
}

#[test]
fn connection_that_was_passed_over_serves_if_the_embedder_finds_no_way_or_wants_no_idle_ones() {
    for asks in [
        |driver: &mut Driver, id| assert!(driver.environment.fall_back(id, driver.now())),
        |driver: &mut Driver, _| driver.environment.fall_back_all(driver.agent, driver.now()),
        |driver: &mut Driver, _| driver.pass(Duration::from_secs(1)), // a lookup that does not answer
    ] {
        let server = FaultServer::start("two_exchanges");
        let mut driver = learning();
        let (idle, id) = passed_over(&mut driver, &server);
        asks(&mut driver, id);
        driver.until_told(Event::FellBack { id });
        driver.connect(id, place_of(server.address())); // too late
        assert_eq!(driver.write(id, GET), Wrote::Taken);
        driver.until_received(id, OK);
        driver.until_told(Event::Gone { id: idle });
        assert_eq!((driver.counts(), server.heads()), ([0, 0, 1, 0], vec![2]));
    }
}

#[test]
fn connection_that_was_passed_over_serves_as_soon_as_it_is_idle_again() {
    let server = FaultServer::start("three_exchanges");
    let full = FullQueue::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut driver = learning();
    let (passed, id) = passed_over(&mut driver, &server);
    driver.connect(id, place_of(full.address()));
    assert_eq!(driver.reuse(true), passed);
    driver.pass(Duration::from_secs(1));
    driver.exchange(passed, OK);
    driver.release(passed);
    driver.pass(Duration::from_millis(100));
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.until_received(id, OK);
    assert_eq!(server.heads(), [3]);
}

#[test]
fn connection_that_the_embedder_opens_itself_has_no_stand_in() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = learning();
    let (_, id) = passed_over(&mut driver, &server);
    driver.environment.open_elsewhere(id);
    assert!(!driver.environment.fall_back(id, driver.now()));
}

#[test]
fn connection_that_was_passed_over_and_has_ended_saves_nobody() {
    let server = FaultServer::start("fin_while_idle_thrice");
    let mut driver = learning();
    let (idle, id) = passed_over(&mut driver, &server);
    server.open("first");
    driver.until_kernel_knows(idle);
    let (_held, refusing) = refusing_port().expect("a free port");
    driver.connect(id, place_of(refusing));
    assert!(matches!(driver.trouble(id), Trouble::Failed(_)));
}

#[test]
fn lesson_says_how_long_a_connection_lasts() {
    let server = FaultServer::start("fin_while_idle_thrice");
    let mut driver = learning();
    close_twice_after(PAUSE * 2, &mut driver, &server);
    assert!(!leaves_alone(&mut driver, &server));
}

#[test]
fn doubt_about_the_oldest_is_no_reason_not_to_use_the_newest() {
    let server = FaultServer::start("three_connections");
    let mut options = learning_options();
    options.limits.lifo = false;
    let mut driver = Driver::new(options);
    idle(&mut driver, &server, 1);
    driver.pass(PAUSE);
    let newest = idle(&mut driver, &server, 1);
    assert_eq!(driver.reuse(false), newest[0]);
}

#[test]
fn hint_is_trusted_less_a_tenth_and_no_less_than_clocks_are_coarse() {
    for (hint, pause, is_trusted) in [(60, 53.0, true), (60, 55.0, false), (1, 0.7, true), (1, 0.85, false)] {
        let server = FaultServer::start("three_connections");
        let mut options = learning_options();
        options.lifetime.hint_buffer = Duration::from_millis(50);
        let mut driver = Driver::new(options);
        let id = driver.open(&server);
        driver.exchange(id, OK);
        driver.environment.hint(id, Hint { timeout: Some(Duration::from_secs(hint)), max: None });
        driver.release(id);
        driver.pass(Duration::from_secs_f64(pause));
        assert_eq!(matches!(driver.checkout(false), Lease::Reused(_)), is_trusted, "{pause} of {hint} s");
    }
}
