//! Opening connections: what answers, what refuses, what takes too long, and what an abort leaves.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use holdfast::engine::connect::{Failure, LookupFailure, Place, Target};
use holdfast::engine::environment::{AgentOptions, Event, Trouble, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId};
use support::driver::{Driver, options, place_of, target};
#[cfg(target_os = "linux")]
use support::ports::FullQueue;
use support::ports::refusing_port;
use support::server::{FaultServer, Seen};
use support::{GET, OK};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn connect(driver: &mut Driver, target: Target) -> ConnectionId {
    let (id, now) = (driver.reserve(), driver.now());
    driver.environment.connect(id, target, now);
    id
}

fn refused(address: SocketAddr) -> Failure {
    Failure { syscall: "connect", errno: libc::ECONNREFUSED, address: Some(address), local: None }
}

#[test]
fn refused_connection_fails_with_its_address_and_number_and_keeps_its_place_until_closed() {
    let (_held, address) = refusing_port().unwrap();
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, target(place_of(address)));
    let Trouble::Failed(failures) = driver.trouble(id) else { panic!("refused") };
    assert_eq!(failures, [refused(address)]);
    assert_eq!((driver.counts(), driver.tally().connect_errors), ([1, 0, 0, 0], 1));
    assert!(!driver.environment.reactor().is_alive());
    assert_eq!(driver.write(id, GET), Wrote::Failed(libc::EPIPE));
    driver.close(id, CloseReason::Error);
    assert_eq!((driver.counts(), driver.closed(CloseReason::Error)), ([0; 4], 1));
}

#[test]
fn raced_addresses_are_tried_until_one_answers() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    // The server has the port of one family alone, so the other refuses, or is not there at all.
    let place = Place::Addresses { addresses: vec![V6, V4], port: server.address().port() };
    let id = connect(&mut driver, target(place));
    driver.until_told(Event::Connected { id });
    driver.exchange(id, OK);
    assert_eq!(driver.environment.take_addresses(id), [V6, V4]);
    assert_eq!(driver.tally().connect_errors, 0);
}

#[test]
fn raced_addresses_that_all_fail_are_listed_in_their_order() {
    let (_held, address) = refusing_port().unwrap();
    let mut driver = Driver::new(options());
    let place = Place::Addresses { addresses: vec![V6, V4], port: address.port() };
    let id = connect(&mut driver, target(place));
    let Trouble::Failed(failures) = driver.trouble(id) else { panic!("refused") };
    let addresses: Vec<_> = failures.iter().filter_map(|failure| failure.address).map(|address| address.ip()).collect();
    assert_eq!(addresses, [V6, V4]);
    assert_eq!(failures[1], refused(address));
}

#[cfg(target_os = "linux")]
#[test]
fn address_that_hangs_loses_its_head_start_to_the_next() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    // Both on one port: the one that hangs is at another loopback address.
    let (hanging, port) = (IpAddr::from([127, 0, 0, 2]), server.address().port());
    let _full = FullQueue::at(SocketAddr::new(hanging, port));
    let place = Place::Addresses { addresses: vec![hanging, V4], port };
    let attempt_delay = Duration::from_millis(10);
    let id = connect(&mut driver, Target { attempt_delay, ..target(place) });
    driver.until_told(Event::Connected { id });
    driver.exchange(id, OK);
}

#[test]
fn without_a_race_the_first_address_alone_is_tried() {
    let (_held, address) = refusing_port().unwrap();
    let mut driver = Driver::new(options());
    let place = Place::Addresses { addresses: vec![V4, V6], port: address.port() };
    let id = connect(&mut driver, Target { race: false, ..target(place) });
    let Trouble::Failed(failures) = driver.trouble(id) else { panic!("refused") };
    assert_eq!(failures, [refused(address)]);
}

#[test]
fn place_without_addresses_fails_with_an_empty_list() {
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, target(Place::Addresses { addresses: Vec::new(), port: 1 }));
    assert!(matches!(driver.trouble(id), Trouble::Failed(failures) if failures.is_empty()));
}

#[test]
fn local_address_that_is_not_here_fails_in_bind() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let elsewhere = IpAddr::from([192, 0, 2, 1]);
    let id = connect(&mut driver, Target { local_address: Some(elsewhere), ..target(place_of(server.address())) });
    let Trouble::Failed(failures) = driver.trouble(id) else { panic!("not bound") };
    let local = Some(SocketAddr::new(elsewhere, 0));
    let address = Some(server.address());
    assert_eq!(failures, [Failure { syscall: "bind", errno: libc::EADDRNOTAVAIL, address, local }]);
}

#[test]
fn local_address_is_the_one_asked_for() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, Target { local_address: Some(V4), ..target(place_of(server.address())) });
    driver.until_told(Event::Connected { id });
    let local = driver.environment.ends(id).0.unwrap();
    assert_eq!(local.ip(), V4);
}

#[test]
fn localhost_is_looked_up_and_then_connected() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let place = Place::Name { host: "localhost".into(), port: server.address().port() };
    let id = connect(&mut driver, target(place));
    driver.until_told(Event::Connected { id });
    assert_eq!(driver.events, [Event::Found { id }, Event::Connected { id }]);
    assert!(driver.environment.take_addresses(id).contains(&V4));
}

#[test]
fn name_without_an_address_is_not_found_under_libuv_s_number() {
    let mut driver = Driver::new(options());
    let place = Place::Name { host: "no-number".into(), port: 1 };
    // A number is asked for, so that no name server is.
    let id = connect(&mut driver, Target { hints: libc::AI_NUMERICHOST, ..target(place) });
    assert!(matches!(driver.trouble(id), Trouble::NotFound(LookupFailure { errno: -3008 })));
    assert!(!driver.environment.reactor().is_alive());
}

#[cfg(target_os = "linux")]
#[test]
fn connect_timeout_ends_an_attempt_that_hangs_and_nothing_of_it_comes_later() {
    let connect_timeout = Some(Duration::from_secs(7));
    let mut driver = Driver::new(AgentOptions { connect_timeout, ..options() });
    let full = FullQueue::at(SocketAddr::new(V4, 0));
    let id = connect(&mut driver, target(place_of(full.address())));
    driver.pass(Duration::from_secs(7));
    assert!(matches!(driver.trouble(id), Trouble::TimedOut(after) if Some(after) == connect_timeout));
    assert!(!driver.environment.reactor().is_alive());
    driver.close(id, CloseReason::Error);
    assert_eq!((driver.counts(), driver.tally().connect_errors), ([0; 4], 1));
}

#[test]
fn connect_timeout_covers_what_the_embedder_does_before_it_connects() {
    let connect_timeout = Some(Duration::from_secs(7));
    let mut driver = Driver::new(AgentOptions { connect_timeout, ..options() });
    let id = driver.reserve();
    driver.pass(Duration::from_secs(7));
    assert!(matches!(driver.trouble(id), Trouble::TimedOut(_)));
}

#[test]
fn connect_timeout_means_nothing_to_a_connection_that_is_open() {
    let server = FaultServer::start("two_exchanges");
    let connect_timeout = Some(Duration::from_secs(60));
    let mut driver = Driver::new(AgentOptions { connect_timeout, ..options() });
    let id = driver.open(&server);
    driver.pass(Duration::from_secs(60));
    driver.exchange(id, OK);
    assert_eq!(driver.events, [Event::Connected { id }]);
}

#[test]
fn bytes_written_while_connecting_leave_when_it_is_open() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, target(place_of(server.address())));
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.until_told(Event::Written { id });
    driver.until_received(id, OK);
}

#[cfg(target_os = "linux")]
#[test]
fn abort_while_connecting_leaves_nothing() {
    let mut driver = Driver::new(options());
    let full = FullQueue::at(SocketAddr::new(V4, 0));
    let id = connect(&mut driver, target(place_of(full.address())));
    assert!(driver.environment.reactor().is_alive());
    driver.close(id, CloseReason::Destroyed);
    assert_eq!((driver.counts(), &driver.events[..]), ([0; 4], &[Event::Gone { id }][..]));
    assert!(!driver.environment.reactor().is_alive());
}

#[test]
fn connection_that_opens_after_its_abort_is_closed_and_untold() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, target(place_of(server.address())));
    server.wait_for(&Seen::Accepted(0));
    driver.close(id, CloseReason::Destroyed);
    driver.until_others("closed", || server.seen().iter().any(|seen| matches!(seen, Seen::Fin(0) | Seen::Reset(0))));
    assert_eq!((driver.counts(), &driver.events[..]), ([0; 4], &[Event::Gone { id }][..]));
}

#[cfg(unix)]
#[test]
fn unix_socket_is_connected_by_its_path_and_a_missing_one_has_no_address() {
    let path = std::env::temp_dir().join(format!("holdfast-connect-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut driver = Driver::new(options());
    let id = connect(&mut driver, target(Place::Path(path.clone())));
    driver.until_told(Event::Connected { id });
    assert!(!driver.environment.facts(id, driver.now()).unwrap().is_tcp);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let id = connect(&mut driver, target(Place::Path(path)));
    let Trouble::Failed(failures) = driver.trouble(id) else { panic!("no such path") };
    assert_eq!(failures, [Failure { syscall: "connect", errno: libc::ENOENT, address: None, local: None }]);
}
