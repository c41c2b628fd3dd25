//! Nothing that ends keeps a descriptor. One test at a time: they count those of the process.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use holdfast::engine::connect::Place;
use holdfast::engine::environment::{Lease, Wrote};
use holdfast::engine::pool::CloseReason;
use support::driver::{Driver, options, place_of};
use support::ports::FullQueue;
use support::server::{FaultServer, Seen};
use support::{GET, OK, post};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Background threads let go when they next run.
fn until_only(expected: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    while descriptors() != expected && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(descriptors(), expected);
}

fn full_queue() -> FullQueue {
    FullQueue::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

/// The runtime's own descriptors come with the first connect, and stay.
fn warm_up() {
    let server = FaultServer::start("accepts");
    Driver::new(options()).open(&server);
}

/// One test function, so that no other runs beside it.
#[test]
fn nothing_that_ends_keeps_a_descriptor() {
    warm_up();
    let idle = descriptors();
    for claim in [
        closed_connections_leave_no_descriptor,
        aborted_connects_leave_no_descriptor,
        replaced_connection_leaves_no_descriptor,
        detached_connection_is_closed_by_its_new_owner,
        environment_abandoned_with_everything_in_flight_leaves_no_descriptor,
        connection_that_opens_after_its_environment_ended_leaves_no_descriptor,
    ] {
        claim();
        until_only(idle);
    }
}

fn closed_connections_leave_no_descriptor() {
    let server = FaultServer::start("three_connections");
    let mut driver = Driver::new(options());
    let [idle, leased] = [driver.open(&server), driver.open(&server)];
    driver.exchange(idle, OK);
    let before = descriptors();
    driver.release(idle);
    driver.close(idle, CloseReason::Destroyed);
    driver.close(leased, CloseReason::Destroyed);
    server.wait_for(&Seen::Fin(0));
    server.wait_for(&Seen::Fin(1));
    // Of each the socket and the loop's second descriptor of it, and the server's end.
    until_only(before - 6);
}

fn aborted_connects_leave_no_descriptor() {
    let full = full_queue();
    let mut driver = Driver::new(options());
    let before = descriptors();
    for _ in 0..10 {
        let id = driver.reserve();
        driver.connect(id, place_of(full.address()));
        driver.close(id, CloseReason::Destroyed);
    }
    until_only(before);
}

fn replaced_connection_leaves_no_descriptor() {
    let server = FaultServer::start("fin_after_second_head");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.exchange(id, OK);
    driver.release(id);
    driver.reuse(true);
    driver.exchange(id, OK);
    driver.close(id, CloseReason::Destroyed);
    assert_eq!(driver.counts(), [0; 4]);
    server.wait_for(&Seen::Fin(1));
}

fn detached_connection_is_closed_by_its_new_owner() {
    let server = FaultServer::start("accepts");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    let before = descriptors();
    let detached = driver.environment.detach(id).expect("an open connection");
    until_only(before - 1);
    drop(detached);
    server.wait_for(&Seen::Fin(0));
}

fn environment_abandoned_with_everything_in_flight_leaves_no_descriptor() {
    let (server, stalled, full) =
        (FaultServer::start("three_connections"), FaultServer::start("slow_reader"), full_queue());
    let mut options = options();
    options.limits.max_sockets = 6;
    options.connect_timeout = Some(Duration::from_secs(60));
    let mut driver = Driver::new(options);
    let [idle, leased, closing] = [driver.open(&server), driver.open(&server), driver.open(&server)];
    driver.exchange(idle, OK);
    driver.release(idle);
    driver.write(leased, GET);
    driver.environment.close(closing, CloseReason::Destroyed, false);
    assert_eq!(driver.reuse(true), idle);
    driver.exchange(idle, OK);
    driver.environment.begin_telling(true);
    let stuck = driver.open(&stalled);
    assert_eq!(driver.write(stuck, &post(&vec![b'x'; 16 << 20])), Wrote::Pending);
    let hanging = driver.reserve();
    driver.connect(hanging, place_of(full.address()));
    let looked_up = driver.reserve();
    driver.connect(looked_up, Place::Name { host: "localhost".into(), port: full.address().port() });
    driver.reserve();
    assert!(matches!(driver.checkout(true), Lease::Waiting(_)), "{:?}", driver.counts());
    driver.environment.abandon();
    assert!(driver.environment.next_event().is_none());
    driver.until_others("all closed", || {
        (0..3).all(|at| server.seen().iter().any(|seen| *seen == Seen::Fin(at) || *seen == Seen::Reset(at)))
    });
}

fn connection_that_opens_after_its_environment_ended_leaves_no_descriptor() {
    let server = FaultServer::start("accepts");
    let mut driver = Driver::new(options());
    for connection in 0..4 {
        let id = driver.reserve();
        driver.connect(id, place_of(server.address()));
        server.wait_for(&Seen::Accepted(connection));
    }
    driver.environment.abandon();
    for connection in 0..4 {
        let [fin, reset] = [Seen::Fin(connection), Seen::Reset(connection)];
        driver.until_others("closed", || server.seen().contains(&fin) || server.seen().contains(&reset));
    }
}
