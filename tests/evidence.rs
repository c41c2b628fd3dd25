//! Where the bytes of a failed request went, as the kernel tells, and what follows from it. A test for each row of the
//! table in docs/architecture.md, section 6.
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::sync::Arc;

use holdfast::engine::environment::{AgentOptions, Event, Failure, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId};
use holdfast::engine::retry::{Evidence, NonIdempotent, Policy, Refusal};
use support::driver::{Driver, options};
use support::server::{FaultServer, Seen};
use support::{GET, OK, post};

fn driver(policy: Policy) -> Driver {
    Driver::new(AgentOptions { retry: Arc::new(policy), ..options() })
}

/// A connection leased again, on which nothing gets through any more: its server has not read the last request's body.
fn clogged(policy: Policy, idempotent: bool, server: &FaultServer) -> (Driver, ConnectionId) {
    let mut driver = driver(policy);
    let id = driver.open(server);
    assert_eq!(driver.write(id, &post(&vec![b'x'; 48 * 1024])), Wrote::Taken);
    driver.until_received(id, OK);
    driver.release(id);
    assert_eq!(driver.reuse(idempotent), id);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    (driver, id)
}

/// A connection leased again, whose server has read the request.
fn delivered(policy: Policy, idempotent: bool, server: &FaultServer) -> (Driver, ConnectionId) {
    let mut driver = driver(policy);
    let id = driver.open_and_reuse(server, idempotent);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    let unread = driver.environment.transport(id).expect("it is open").sent();
    server.wait_for(&Seen::Head(0, "GET / HTTP/1.1".into()));
    driver.until_others("acknowledged", || {
        let transport = driver.environment.transport(id).expect("it is open");
        transport.acknowledged_after(0) == Some(unread)
    });
    (driver, id)
}

fn failure(driver: &mut Driver, id: ConnectionId) -> Failure {
    let now = driver.now();
    driver.environment.facts(id, now).and_then(|facts| facts.failure).expect("a failed request")
}

fn replayed(driver: &Driver, evidence: Evidence) -> u64 {
    driver.tally().replays.get(evidence as usize).copied().unwrap_or_default()
}

#[test]
fn peer_closed_before_a_byte_got_through_so_any_request_is_sent_again() {
    for idempotent in [true, false] {
        let server = FaultServer::start("fin_with_a_full_window");
        let (mut driver, id) = clogged(Policy::default(), idempotent, &server);
        server.open("go");
        driver.until_received(id, OK);
        assert_eq!(replayed(&driver, Evidence::PeerClosedFirst), 1);
        assert_eq!(server.heads(), [1, 1]);
    }
}

#[test]
fn policy_without_evidence_sends_nothing_twice_that_has_left() {
    let server = FaultServer::start("fin_with_a_full_window");
    let never = Policy { non_idempotent: NonIdempotent::Never, ..Policy::default() };
    let (mut driver, id) = clogged(never, false, &server);
    server.open("go");
    driver.until_told(Event::End { id });
    let Failure { reused, evidence, refusal, attempts, requests, idle } = failure(&mut driver, id);
    assert_eq!((evidence, refusal), (Evidence::PeerClosedFirst, Refusal::NotIdempotent));
    assert_eq!((reused, attempts, requests, idle.is_some()), (true, 1, 1, true));
}

#[test]
fn bytes_that_the_peer_s_kernel_has_forbid_to_send_again_what_is_not_idempotent() {
    for idempotent in [true, false] {
        let server = FaultServer::start("closes_after_second_head_when_told");
        let (mut driver, id) = delivered(Policy::default(), idempotent, &server);
        server.open("go");
        if idempotent {
            driver.until_received(id, OK);
            assert_eq!(replayed(&driver, Evidence::Acknowledged), 1);
        } else {
            driver.until_told(Event::End { id });
            assert_eq!(failure(&mut driver, id).refusal, Refusal::Acknowledged);
            assert_eq!((failure(&mut driver, id).evidence, server.heads()), (Evidence::Acknowledged, vec![2]));
        }
    }
}

#[test]
fn policy_of_always_sends_again_what_may_have_been_executed() {
    let server = FaultServer::start("closes_after_second_head_when_told");
    let always = Policy { non_idempotent: NonIdempotent::Always, ..Policy::default() };
    let (mut driver, id) = delivered(always, false, &server);
    server.open("go");
    driver.until_received(id, OK);
    assert_eq!((replayed(&driver, Evidence::Acknowledged), server.heads()), (1, vec![2, 1]));
}

#[test]
fn request_s_own_policy_comes_before_the_agent_s() {
    let server = FaultServer::start("closes_after_second_head_when_told");
    let mut driver = driver(Policy::default());
    let id = driver.open_and_reuse(&server, true);
    driver.environment.set_policy(id, Arc::new(Policy { enabled: false, ..Policy::default() }));
    driver.write(id, GET);
    server.wait_for(&Seen::Head(0, "GET / HTTP/1.1".into()));
    server.open("go");
    driver.until_told(Event::End { id });
    assert_eq!((failure(&mut driver, id).refusal, server.heads()), (Refusal::Off, vec![2]));
}

#[test]
fn reset_with_unacknowledged_bytes_proves_nothing() {
    // Read and reset at once: the acknowledgement of what was read is still delayed, so the bytes look undelivered.
    let server = FaultServer::start("rst_after_second_head");
    let mut driver = driver(Policy::default());
    let id = driver.open_and_reuse(&server, false);
    driver.write(id, GET);
    driver.until_told(Event::ReadFailed { id, errno: libc::ECONNRESET });
    let Failure { evidence, refusal, .. } = failure(&mut driver, id);
    // A machine that stalls for 40 ms acknowledges.
    let is_honest = [(Evidence::Unknown, Refusal::Unknown), (Evidence::Acknowledged, Refusal::Acknowledged)];
    assert!(is_honest.contains(&(evidence, refusal)), "{evidence:?} {refusal:?}");
    assert_eq!(server.heads(), [2]);
}

#[test]
fn timeout_answer_that_crossed_the_request_is_an_idle_close() {
    let server = FaultServer::start("times_out_with_a_full_window");
    let (mut driver, id) = clogged(Policy::default(), false, &server);
    server.open("go");
    driver.until_received(id, OK);
    assert_eq!((replayed(&driver, Evidence::PeerClosedFirst), server.heads()), (1, vec![1, 1]));
    assert_eq!(driver.closed(CloseReason::Unsolicited), 1);
}

#[test]
fn timeout_answer_that_cannot_be_replayed_is_an_answer() {
    let server = FaultServer::start("times_out_with_a_full_window");
    let (mut driver, id) = clogged(Policy { enabled: false, ..Policy::default() }, true, &server);
    server.open("go");
    driver.until_told(Event::End { id });
    assert!(driver.received(id).starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn timeout_answer_to_a_request_that_was_read_is_an_answer() {
    let server = FaultServer::start("times_out_after_second_head");
    let (mut driver, id) = delivered(Policy::default(), false, &server);
    server.open("go");
    driver.until_told(Event::End { id });
    assert!(driver.received(id).starts_with(b"HTTP/1.1 408 "));
    assert_eq!(server.heads(), [2]);
}

#[test]
fn timeout_answer_that_closes_is_repeated_if_that_is_harmless() {
    let server = FaultServer::start("times_out_after_second_head");
    let (mut driver, id) = delivered(Policy::default(), true, &server);
    server.open("go");
    driver.until_received(id, OK);
    assert_eq!((replayed(&driver, Evidence::Acknowledged), server.heads()), (1, vec![2, 1]));
}

#[test]
fn early_answer_reaches_the_caller_though_the_upload_breaks() {
    let server = FaultServer::start("rejects_early");
    let mut driver = driver(Policy::default());
    let id = driver.open(&server);
    assert_eq!(driver.write(id, &post(&vec![b'x'; 32 << 20])), Wrote::Pending);
    driver.until_told(Event::End { id });
    assert!(driver.received(id).starts_with(b"HTTP/1.1 413 "));
    assert!(driver.events.contains(&Event::Written { id }), "{:?}", driver.events);
    assert_eq!(driver.write(id, b"more"), Wrote::Taken, "the rest of the upload goes nowhere");
    driver.release(id);
    assert_eq!(driver.counts(), [0, 0, 0, 1], "and its connection is not kept");
}
