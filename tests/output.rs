//! Bytes out and in over real sockets: what waits, what is told, and what a connection takes along when it is given away.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::io::{Read, Write};
use std::time::Duration;

use holdfast::engine::environment::{Event, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId, Release};
use support::driver::{Driver, options};
use support::server::{FaultServer, Seen};
use support::{GET, OK, post};

/// More than the buffers of both ends take.
const LARGE: usize = 16 << 20;

/// A large request on its way to a server that does not read.
fn stuck(fixture: &str) -> (FaultServer, Driver, ConnectionId) {
    let server = FaultServer::start(fixture);
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    assert_eq!(driver.write(id, &post(&vec![b'x'; LARGE])), Wrote::Pending);
    (server, driver, id)
}

fn count(driver: &Driver, event: Event) -> usize {
    driver.events.iter().filter(|other| **other == event).count()
}

#[test]
fn write_that_the_kernel_takes_whole_is_taken_and_nothing_more_is_told() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.exchange(id, OK);
    let facts = driver.environment.facts(id, driver.now()).unwrap();
    assert_eq!((facts.bytes_written, facts.bytes_read, facts.unsent), (GET.len() as u64, OK.len() as u64, 0));
    assert_eq!(driver.events, [Event::Connected { id }]);
}

#[test]
fn write_to_a_peer_that_does_not_read_waits_and_is_acknowledged_once_when_it_has_left() {
    let (server, mut driver, id) = stuck("slow_reader");
    let facts = driver.environment.facts(id, driver.now()).unwrap();
    let whole = post(&vec![b'x'; LARGE]).len();
    assert_eq!(facts.bytes_written + facts.unsent as u64, whole as u64);
    assert!(facts.unsent > 0);
    assert_eq!(count(&driver, Event::Written { id }), 0);
    server.open("read");
    driver.until_told(Event::Written { id });
    driver.until_received(id, OK);
    assert_eq!(count(&driver, Event::Written { id }), 1);
    server.wait_for(&Seen::Body(0, LARGE));
    assert_eq!(driver.environment.facts(id, driver.now()).unwrap().bytes_written, whole as u64);
}

#[test]
fn connection_with_unsent_bytes_is_not_kept() {
    let (_server, mut driver, id) = stuck("slow_reader");
    assert_eq!(driver.release(id), Some(Release::Close(CloseReason::Finished)));
}

#[test]
fn close_with_unsent_bytes_does_not_wait_for_them() {
    let (server, mut driver, id) = stuck("slow_reader");
    driver.close(id, CloseReason::Destroyed);
    server.open("read");
    driver.until_others("gone", || server.seen().iter().any(|seen| matches!(seen, Seen::Fin(0) | Seen::Reset(0))));
    assert!(!server.seen().contains(&Seen::Body(0, LARGE)));
    assert_eq!(driver.counts(), [0; 4]);
}

#[test]
fn reset_asked_for_reaches_the_peer_as_one() {
    for (reset, seen) in [(true, Seen::Reset(0)), (false, Seen::Fin(0))] {
        let server = FaultServer::start("accepts");
        let mut driver = Driver::new(options());
        let id = driver.open(&server);
        driver.environment.close(id, CloseReason::Destroyed, reset);
        driver.until_told(Event::Gone { id });
        server.wait_for(&seen);
    }
}

#[test]
fn fin_follows_the_output_and_the_answer_still_comes() {
    let (server, mut driver, id) = stuck("answers_after_fin");
    driver.environment.shut_down(id);
    assert_eq!(count(&driver, Event::ShutDown { id }), 0);
    server.open("read");
    driver.until_told(Event::ShutDown { id });
    driver.until_received(id, OK);
    driver.until_told(Event::End { id });
    let told = [Event::Connected { id }, Event::Written { id }, Event::ShutDown { id }, Event::End { id }];
    assert_eq!(driver.events, told);
    let body = server.seen().iter().position(|seen| *seen == Seen::Body(0, LARGE)).unwrap();
    assert!(server.seen()[body..].contains(&Seen::Fin(0)));
}

#[test]
fn fin_asked_for_while_connecting_follows_the_request() {
    let server = FaultServer::start("answers_after_fin");
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect(id, support::driver::place_of(server.address()));
    driver.write(id, &post(b"x"));
    driver.environment.shut_down(id);
    server.open("read");
    driver.until_received(id, OK);
    assert!(server.seen().contains(&Seen::Body(0, 1)));
}

#[test]
fn write_that_fails_while_it_waits_is_told_and_not_acknowledged() {
    let (server, mut driver, id) = stuck("rst_unread");
    server.open("go");
    let is_failure = move |event: &Event| matches!(event, Event::WriteFailed { id: whose, .. } if *whose == id);
    driver.until("a failure", |driver| driver.events.iter().any(is_failure));
    assert_eq!(count(&driver, Event::Written { id }), 0);
    assert_eq!(driver.environment.facts(id, driver.now()).unwrap().unsent, 0);
}

#[test]
fn reader_that_stopped_is_told_nothing_until_it_goes_on() {
    let server = FaultServer::start("three_connections");
    let mut driver = Driver::new(options());
    let [stopped, other] = [driver.open(&server), driver.open(&server)];
    driver.environment.set_flowing(stopped, false);
    driver.write(stopped, GET);
    driver.until_kernel_knows(stopped);
    // Turns go by, with readiness of another connection in them.
    driver.exchange(other, OK);
    assert_eq!(driver.received(stopped), b"");
    driver.environment.set_flowing(stopped, true);
    driver.until_received(stopped, OK);
}

#[test]
fn gathered_heads_leave_at_the_end_of_the_turn() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.exchange(id, OK);
    driver.release(id);
    driver.reuse(true);
    driver.environment.begin_telling(true);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    assert_eq!(driver.environment.facts(id, driver.now()).unwrap().unsent, GET.len());
    driver.environment.scatter();
    assert_eq!(driver.environment.facts(id, driver.now()).unwrap().unsent, 0);
    driver.until_received(id, OK);
}

/// Of a long body so much has left before.
const BEFORE: usize = 256 * 1024;
const PIECE: usize = 64 * 1024;

fn piece() -> Vec<u8> {
    vec![b'x'; PIECE]
}

/// A request with a body of so many bytes, of which [`BEFORE`] have left; the rest is written while a turn is told.
fn long(size: usize) -> (FaultServer, Driver, ConnectionId) {
    let server = FaultServer::start("slow_reader");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    let mut request = post(&vec![b'x'; size]);
    request.truncate(request.len() - size + BEFORE);
    driver.write(id, &request);
    driver.until("leave", |driver| unsent(driver, id) == 0);
    driver.environment.begin_telling(false);
    (server, driver, id)
}

fn unsent(driver: &Driver, id: ConnectionId) -> usize {
    driver.environment.facts(id, driver.now()).map_or(0, |facts| facts.unsent)
}

#[test]
fn pieces_of_a_long_body_leave_as_one_at_the_end_of_the_turn() {
    let (server, mut driver, id) = long(BEFORE + 2 * PIECE);
    for held in [PIECE, 2 * PIECE] {
        assert_eq!((driver.write(id, &piece()), unsent(&driver, id)), (Wrote::Taken, held));
    }
    server.open("read");
    driver.environment.scatter();
    driver.until_received(id, OK);
    assert!(server.seen().contains(&Seen::Body(0, BEFORE + 2 * PIECE)));
}

#[test]
fn short_body_leaves_at_once() {
    let server = FaultServer::start("slow_reader");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.environment.begin_telling(false);
    assert_eq!((driver.write(id, &post(&piece())), unsent(&driver, id)), (Wrote::Taken, 0));
}

#[test]
fn no_more_of_a_body_is_held_back_than_leaves_in_one_call() {
    let (server, mut driver, id) = long(LARGE);
    let mut write = || (driver.write(id, &piece()), unsent(&driver, id));
    let held: Vec<_> = (0..5).map(|_| write()).collect();
    assert_eq!(held[3], (Wrote::Taken, 4 * PIECE));
    assert!(held[4].1 < 5 * PIECE, "{held:?}");
    // What the kernel has no room for is told of as ever.
    let rest = (LARGE - BEFORE) / PIECE - 5;
    assert_eq!((0..rest).map(|_| write().0).last(), Some(Wrote::Pending));
    driver.environment.scatter();
    server.open("read");
    driver.until_received(id, OK);
    assert_eq!(count(&driver, Event::Written { id }), 1);
    assert!(server.seen().contains(&Seen::Body(0, LARGE)));
}

#[test]
fn what_was_called_taken_leaves_before_the_connection_is_closed() {
    let (server, mut driver, id) = long(BEFORE + PIECE);
    assert_eq!((driver.write(id, &piece()), unsent(&driver, id)), (Wrote::Taken, PIECE));
    driver.close(id, CloseReason::Destroyed);
    server.open("read");
    server.wait_for(&Seen::Body(0, BEFORE + PIECE));
}

#[test]
fn connection_whose_answer_came_before_its_request_had_left_is_kept() {
    let (server, mut driver, id) = long(BEFORE + PIECE);
    assert_eq!((driver.write(id, &piece()), unsent(&driver, id)), (Wrote::Taken, PIECE));
    server.open("read");
    assert_eq!((driver.release(id), unsent(&driver, id)), (Some(Release::Kept), 0));
}

#[test]
fn detached_connection_gives_its_descriptor_and_what_it_had_not_sent() {
    let (server, mut driver, id) = stuck("upgrades");
    let detached = driver.environment.detach(id).unwrap();
    assert_eq!((driver.counts(), driver.closed(CloseReason::Detached)), ([0; 4], 1));
    assert!(!driver.environment.reactor().is_alive());
    let mut socket = detached.socket.unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    server.open("read");
    socket.write_all(&detached.unsent).unwrap();
    let mut answer = [0; 41];
    socket.read_exact(&mut answer).unwrap();
    assert!(answer.ends_with(b"\r\n\r\nhello"), "{:?}", String::from_utf8_lossy(&answer));
    server.wait_for(&Seen::Body(0, LARGE));
    assert!(driver.environment.detach(id).is_none());
}

#[test]
fn detached_connection_gives_the_bytes_that_were_read_and_not_told() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.write(id, GET);
    driver.until_kernel_knows(id);
    let received = driver.turn_and_detach(id);
    assert_eq!(String::from_utf8_lossy(&received), OK);
    assert_eq!(driver.events, [Event::Connected { id }]);
}
