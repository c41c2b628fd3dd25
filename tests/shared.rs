//! HTTP/2: many exchanges on one connection, and what becomes of each when the peer refuses it, says goodbye, or dies.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::time::Duration;

use bytes::Bytes;
use holdfast::engine::environment::{AgentOptions, Event, Lease};
use holdfast::engine::http::{Breakage, Limits, RequestHead, Settings};
use holdfast::engine::pool::{CloseReason, ConnectionId};
use holdfast::engine::retry::{Evidence, Refusal};

use support::driver::{Driver, options};
use support::peer::{
    ACK, DATA, END_STREAM, HEADERS, INTERNAL_ERROR, PING, Peer, PeerServer, REFUSED_STREAM, RESET, Script,
};

const LIMITS: Limits = Limits { head: 16 * 1024 };
const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a.example\r\n\r\n";

fn script(script: impl FnOnce(&mut Peer) + Send + 'static) -> Script {
    Box::new(script)
}

/// A stream on a new connection, which is shared from now on.
fn open(driver: &mut Driver, server: &PeerServer) -> (ConnectionId, ConnectionId) {
    let (agent, origin) = (driver.agent, driver.origin);
    driver.environment.set_shared(agent, origin, true);
    let carrier = driver.reserve();
    (carrier, open_reserved(driver, server, carrier))
}

fn open_reserved(driver: &mut Driver, server: &PeerServer, carrier: ConnectionId) -> ConnectionId {
    open_with(driver, server, carrier, Settings::new(LIMITS.head))
}

fn open_with(driver: &mut Driver, server: &PeerServer, carrier: ConnectionId, settings: Settings) -> ConnectionId {
    driver.connect_at(carrier, server.address);
    let now = driver.now();
    driver.environment.share(carrier, settings, now).expect("a stream")
}

/// Another stream on the connection that is open.
fn stream(driver: &mut Driver, idempotent: bool) -> ConnectionId {
    let lease = driver.checkout(idempotent);
    let Lease::Stream(id) = lease else { unreachable!("a stream, not {lease:?}") };
    id
}

fn speak(driver: &mut Driver, id: ConnectionId, head: &str, has_body: bool) {
    let head = RequestHead::parse(&Bytes::copy_from_slice(head.as_bytes())).expect("a request");
    driver.environment.speak(id, head, has_body, LIMITS).expect("the stream can have an exchange");
}

fn until_complete(driver: &mut Driver, id: ConnectionId, body: &str) {
    driver.until("complete", |driver| {
        driver.events.iter().any(|event| matches!(event, Event::Complete { id: whose, .. } if *whose == id))
    });
    assert_eq!(String::from_utf8_lossy(driver.received(id)), body);
    driver.forget(id);
    driver.environment.discard(id, CloseReason::Finished);
}

fn until_replaying(driver: &mut Driver, id: ConnectionId) {
    driver.until("begins again", |driver| {
        driver.events.iter().any(|event| matches!(event, Event::Replaying { id: whose, .. } if *whose == id))
    });
}

/// The exchange of `from` goes on at `to`.
fn begin_again(driver: &mut Driver, to: ConnectionId, from: ConnectionId) {
    driver.environment.inherit(to, from);
    driver.forget(from);
    driver.environment.discard(from, CloseReason::Finished);
}

/// What is known of a stream that failed.
fn failure(driver: &Driver, id: ConnectionId) -> (Evidence, Refusal) {
    let facts = driver.environment.facts(id, driver.now()).expect("a stream");
    let failure = facts.failure.expect("it has failed");
    (failure.evidence, failure.refusal)
}

fn replays(driver: &Driver, evidence: Evidence) -> u64 {
    driver.tally().replays.get(evidence as usize).copied().unwrap_or_default()
}

#[test]
fn exchanges_share_a_connection_and_it_is_idle_after_the_last() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let (first, second) = (peer.until(HEADERS).stream, peer.until(HEADERS).stream);
            peer.answer(second, "second");
            peer.answer(first, "first");
            let third = peer.until(HEADERS).stream;
            peer.answer(third, "third");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    let second = stream(&mut driver, true);
    speak(&mut driver, first, GET, false);
    speak(&mut driver, second, GET, false);
    assert_eq!(driver.counts(), [0, 0, 1, 0], "one connection");
    until_complete(&mut driver, second, "second");
    until_complete(&mut driver, first, "first");
    assert_eq!(driver.counts(), [0, 1, 0, 0]);
    let third = stream(&mut driver, true);
    assert_eq!(driver.counts(), [0, 0, 1, 0]);
    speak(&mut driver, third, GET, false);
    until_complete(&mut driver, third, "third");
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn waiters_get_streams_as_far_as_the_peer_has_room() {
    let server = PeerServer::start(
        1,
        vec![script(|peer| {
            for body in ["first", "second"] {
                let stream = peer.until(HEADERS).stream;
                peer.answer(stream, body);
            }
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (agent, origin) = (driver.agent, driver.origin);
    driver.environment.set_shared(agent, origin, true);
    let carrier = driver.reserve();
    let waiter = driver.wait();
    let first = open_reserved(&mut driver, &server, carrier);
    speak(&mut driver, first, GET, false);
    // Its answer comes behind the peer's settings.
    until_complete(&mut driver, first, "first");
    driver.until_told(Event::Room { agent });
    let now = driver.now();
    let (granted, Lease::Stream(second)) = driver.environment.grant(agent, now).unwrap() else { panic!("a stream") };
    assert_eq!(granted, waiter);
    driver.wait();
    assert_eq!(driver.environment.grant(agent, now), None, "the peer has room for one");
    speak(&mut driver, second, GET, false);
    until_complete(&mut driver, second, "second");
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn waiters_connect_by_themselves_where_nothing_is_shared() {
    let server = PeerServer::start(1, vec![]);
    let mut driver = Driver::new(options());
    let (agent, origin) = (driver.agent, driver.origin);
    driver.environment.set_shared(agent, origin, true);
    let first = driver.reserve();
    let waiter = driver.wait();
    driver.environment.set_shared(agent, origin, false);
    driver.until_told(Event::Room { agent });
    let now = driver.now();
    let (granted, Lease::New(second)) = driver.environment.grant(agent, now).unwrap() else { panic!("a connection") };
    assert_eq!(granted, waiter);
    for id in [first, second] {
        driver.close(id, CloseReason::Destroyed);
    }
    drop(server);
}

#[test]
fn refused_stream_begins_again_with_what_was_sent_of_its_body() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let refused = peer.until(DATA).stream;
            peer.reset(refused, REFUSED_STREAM);
            let again = peer.until(DATA);
            assert_eq!((again.payload.as_slice(), again.flags & END_STREAM), (b"body".as_slice(), 0));
            peer.answer(again.stream, "again");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    speak(&mut driver, first, POST, true);
    driver.environment.push_body(first, Bytes::from_static(b"body"));
    until_replaying(&mut driver, first);
    assert_eq!(driver.environment.take_body(first), b"body");
    assert_eq!(replays(&driver, Evidence::Refused), 1);
    let again = stream(&mut driver, false);
    begin_again(&mut driver, again, first);
    speak(&mut driver, again, POST, true);
    driver.environment.push_body(again, Bytes::from_static(b"body"));
    until_complete(&mut driver, again, "again");
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn request_that_is_refused_twice_fails() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            for _ in 0..2 {
                let refused = peer.until(HEADERS).stream;
                peer.reset(refused, REFUSED_STREAM);
            }
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    speak(&mut driver, first, GET, false);
    until_replaying(&mut driver, first);
    let again = stream(&mut driver, false);
    begin_again(&mut driver, again, first);
    speak(&mut driver, again, GET, false);
    driver.until_told(Event::Reset { id: again, code: REFUSED_STREAM });
    assert_eq!(failure(&driver, again), (Evidence::Refused, Refusal::Spent));
    driver.close(again, CloseReason::Error);
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn goodbye_leaves_out_what_begins_again_elsewhere_and_the_rest_ends_well() {
    let server = PeerServer::start(
        100,
        vec![
            script(|peer| {
                let (first, second) = (peer.until(HEADERS).stream, peer.until(HEADERS).stream);
                assert!(first < second);
                peer.go_away(first);
                peer.answer(first, "first");
                peer.wait_for_end();
            }),
            script(|peer| {
                let stream = peer.until(HEADERS).stream;
                peer.answer(stream, "second");
                peer.wait_for_end();
            }),
        ],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    let second = stream(&mut driver, false);
    speak(&mut driver, first, POST, false);
    speak(&mut driver, second, POST, false);
    until_replaying(&mut driver, second);
    let other = driver.reserve();
    let again = open_reserved(&mut driver, &server, other);
    begin_again(&mut driver, again, second);
    speak(&mut driver, again, POST, false);
    until_complete(&mut driver, first, "first");
    until_complete(&mut driver, again, "second");
    driver.until_told(Event::Gone { id: carrier });
    assert_eq!(driver.closed(CloseReason::Hint), 1);
    assert_eq!(replays(&driver, Evidence::Refused), 1);
    driver.close(other, CloseReason::Destroyed);
}

#[test]
fn death_of_the_connection_fails_what_was_answered_and_repeats_what_may_be() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let served = peer.until(HEADERS).stream;
            peer.answer(served, "served");
            let streams = [HEADERS; 3].map(|kind| peer.until(kind).stream);
            peer.begin_answer(streams[0]);
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, done) = open(&mut driver, &server);
    speak(&mut driver, done, GET, false);
    until_complete(&mut driver, done, "served");
    let answered = stream(&mut driver, true);
    let get = stream(&mut driver, true);
    let post = stream(&mut driver, false);
    speak(&mut driver, answered, GET, false);
    speak(&mut driver, get, GET, false);
    speak(&mut driver, post, POST, false);
    // Its script is over, and with it the process's end of the connection.
    drop(server);
    until_replaying(&mut driver, get);
    driver.until_told(Event::End { id: post });
    driver.until_told(Event::End { id: answered });
    assert_eq!(failure(&driver, answered).1, Refusal::Answered);
    assert_eq!(failure(&driver, post), (Evidence::Acknowledged, Refusal::Acknowledged));
    for id in [answered, get, post] {
        driver.close(id, CloseReason::Error);
    }
    driver.until_told(Event::Gone { id: carrier });
    assert_eq!(driver.counts(), [0; 4]);
}

/// Has a peer say something on a connection that is idle, whose last stream it is told, and takes the next request to it,
/// which the connection is not to have: the loop has not turned, and yet it is known.
fn leave_idle_connection(say: impl FnOnce(&mut Peer, u32) + Send + 'static) -> Driver {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let stream = peer.until(HEADERS).stream;
            peer.answer(stream, "served");
            peer.until(PING);
            say(peer, stream);
            peer.wait_for_end();
        })],
    );
    let interval = Duration::from_secs(60);
    let mut driver = Driver::new(AgentOptions { ping_interval: Some(interval), ..options() });
    let (carrier, done) = open(&mut driver, &server);
    speak(&mut driver, done, GET, false);
    until_complete(&mut driver, done, "served");
    driver.pass(interval);
    driver.turn();
    driver.until_kernel_knows(carrier);
    assert!(matches!(driver.checkout(true), Lease::New(_)), "it takes no more");
    driver.until_told(Event::Gone { id: carrier });
    driver
}

#[test]
fn goodbye_to_an_idle_connection_is_heard_before_the_next_request() {
    let driver = leave_idle_connection(Peer::go_away);
    assert_eq!(driver.closed(CloseReason::PeerFin), 1);
}

#[test]
fn idle_connection_whose_peer_has_room_for_none_is_left() {
    let driver = leave_idle_connection(|peer, _| peer.allow(0));
    assert_eq!(driver.closed(CloseReason::PeerFin), 1);
}

#[test]
fn waiter_whose_peer_has_room_for_none_gets_another_connection() {
    let server = PeerServer::start(
        1,
        vec![script(|peer| {
            let stream = peer.until(HEADERS).stream;
            peer.allow(0);
            peer.answer(stream, "last");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (agent, origin) = (driver.agent, driver.origin);
    driver.environment.set_shared(agent, origin, true);
    let carrier = driver.reserve();
    let waiter = driver.wait();
    let first = open_reserved(&mut driver, &server, carrier);
    speak(&mut driver, first, GET, false);
    until_complete(&mut driver, first, "last");
    let now = driver.now();
    let (granted, lease) = driver.environment.grant(agent, now).expect("room");
    assert!(granted == waiter && matches!(lease, Lease::New(_)), "{lease:?}");
    driver.until_told(Event::Gone { id: carrier });
}

#[test]
fn peer_that_answers_no_ping_is_given_up() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let silent = peer.until(HEADERS).stream;
            assert_eq!(silent, 1);
            let ping = peer.until(PING);
            peer.send(PING, ACK, 0, &ping.payload);
            peer.until(PING);
            peer.wait_for_end();
        })],
    );
    let interval = Duration::from_secs(10);
    let mut driver = Driver::new(AgentOptions { ping_interval: Some(interval), ..options() });
    let (carrier, silent) = open(&mut driver, &server);
    speak(&mut driver, silent, POST, false);
    // Its settings.
    driver.until_kernel_knows(carrier);
    driver.turn();
    driver.pass(interval);
    driver.turn();
    driver.until_kernel_knows(carrier);
    driver.turn();
    // Another question, and no answer in time.
    for _ in 0..3 {
        driver.pass(interval);
        driver.turn();
    }
    driver.until_told(Event::ReadFailed { id: silent, errno: libc::ETIMEDOUT });
    driver.close(silent, CloseReason::Error);
    driver.until_told(Event::Gone { id: carrier });
}

#[test]
fn reset_is_told_with_its_code_and_harms_no_other_stream() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let (first, second) = (peer.until(HEADERS).stream, peer.until(HEADERS).stream);
            peer.reset(first, INTERNAL_ERROR);
            peer.answer(second, "second");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    let second = stream(&mut driver, true);
    speak(&mut driver, first, GET, false);
    speak(&mut driver, second, GET, false);
    driver.until_told(Event::Reset { id: first, code: INTERNAL_ERROR });
    driver.close(first, CloseReason::Error);
    until_complete(&mut driver, second, "second");
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn stream_that_nobody_reads_holds_up_no_other_and_is_whole_after_the_connection_s_end() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let (first, second) = (peer.until(HEADERS).stream, peer.until(HEADERS).stream);
            peer.answer(first, "first");
            peer.answer(second, "second");
        })],
    );
    let mut driver = Driver::new(options());
    let (_, first) = open(&mut driver, &server);
    let second = stream(&mut driver, true);
    speak(&mut driver, first, GET, false);
    speak(&mut driver, second, GET, false);
    driver.environment.set_flowing(first, false);
    until_complete(&mut driver, second, "second");
    drop(server);
    driver.until("the connection's end", |driver| driver.counts() == [0; 4]);
    assert_eq!(driver.received(first), b"");
    driver.environment.set_flowing(first, true);
    until_complete(&mut driver, first, "first");
}

#[test]
fn stream_that_is_given_up_is_reset_and_its_connection_lives_on() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let stream = peer.until(HEADERS).stream;
            assert_eq!(peer.until(RESET).stream, stream);
            let other = peer.until(HEADERS).stream;
            peer.answer(other, "other");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    speak(&mut driver, first, GET, false);
    driver.close(first, CloseReason::Destroyed);
    let other = stream(&mut driver, true);
    speak(&mut driver, other, GET, false);
    until_complete(&mut driver, other, "other");
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn pieces_pushed_after_the_refusal_are_kept_for_the_new_beginning() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let refused = peer.until(DATA).stream;
            peer.reset(refused, REFUSED_STREAM);
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    speak(&mut driver, first, POST, true);
    driver.environment.push_body(first, Bytes::from_static(b"one "));
    until_replaying(&mut driver, first);
    let has_room = driver.environment.push_body(first, Bytes::from_static(b"two"));
    assert!(!has_room, "whoever pushes waits for where it goes on");
    assert_eq!(driver.environment.take_body(first), b"one two");
    driver.environment.discard(first, CloseReason::Finished);
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn streams_before_the_peer_has_said_how_many_are_a_hundred() {
    let server = PeerServer::start(100, vec![script(Peer::wait_for_end)]);
    let mut driver = Driver::new(options());
    let (carrier, first) = open(&mut driver, &server);
    let mut streams = vec![first];
    streams.extend((1..100).map(|_| stream(&mut driver, true)));
    driver.wait();
    for id in streams {
        driver.environment.discard(id, CloseReason::Destroyed);
    }
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn connection_that_the_last_waiter_has_left_is_idle() {
    let server = PeerServer::start(
        1,
        vec![script(|peer| {
            let stream = peer.until(HEADERS).stream;
            peer.answer(stream, "first");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (agent, origin) = (driver.agent, driver.origin);
    let (carrier, first) = open(&mut driver, &server);
    driver.until_kernel_knows(carrier);
    driver.turn();
    let waiter = driver.wait();
    speak(&mut driver, first, GET, false);
    until_complete(&mut driver, first, "first");
    assert_eq!(driver.counts(), [0, 0, 1, 0], "the waiter may have it");
    driver.environment.cancel(agent, origin, waiter);
    assert_eq!(driver.counts(), [0, 1, 0, 0]);
    driver.close(carrier, CloseReason::Destroyed);
}

#[test]
fn answer_that_came_while_nobody_listened_is_told_before_the_end_behind_it() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let stream = peer.until(HEADERS).stream;
            peer.answer(stream, "whole");
        })],
    );
    let mut driver = Driver::new(options());
    let (_, first) = open(&mut driver, &server);
    speak(&mut driver, first, POST, false);
    drop(server);
    for _ in 0..3 {
        // Each looks at the connection.
        driver.checkout(true);
    }
    until_complete(&mut driver, first, "whole");
}

#[test]
fn head_that_is_too_large_is_its_stream_s_fault_alone() {
    let server = PeerServer::start(
        100,
        vec![script(|peer| {
            let (first, second) = (peer.until(HEADERS).stream, peer.until(HEADERS).stream);
            peer.begin_answer_with(first, &"x".repeat(100));
            peer.answer(second, "second");
            peer.wait_for_end();
        })],
    );
    let mut driver = Driver::new(options());
    let (agent, origin) = (driver.agent, driver.origin);
    driver.environment.set_shared(agent, origin, true);
    let carrier = driver.reserve();
    let first = open_with(&mut driver, &server, carrier, Settings::new(100));
    let second = stream(&mut driver, true);
    speak(&mut driver, first, GET, false);
    speak(&mut driver, second, GET, false);
    driver.until_told(Event::Broken { id: first, breakage: Breakage::HeadTooLarge });
    driver.close(first, CloseReason::Error);
    until_complete(&mut driver, second, "second");
    driver.close(carrier, CloseReason::Destroyed);
}
