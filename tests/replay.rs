//! What is sent again when a reused connection dies, over real sockets, and what never is.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use holdfast::engine::environment::{AgentOptions, Event, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId};
use holdfast::engine::retry::{Evidence, Policy, Refusal};
use std::sync::Arc;

use support::driver::{Driver, options};
use support::server::{FaultServer, Seen};
use support::{GET, OK, post};

/// A connection that has served once and is leased again.
fn reused(retry: Policy, idempotent: bool, server: &FaultServer) -> (Driver, ConnectionId) {
    let mut driver = Driver::new(AgentOptions { retry: Arc::new(retry), ..options() });
    let id = driver.open_and_reuse(server, idempotent);
    (driver, id)
}

fn refused(driver: &Driver, refusal: Refusal) -> u64 {
    driver.tally().refused.get(refusal as usize).copied().unwrap_or_default()
}

fn replayed(driver: &Driver, evidence: Evidence) -> u64 {
    driver.tally().replays.get(evidence as usize).copied().unwrap_or_default()
}

fn until_dead(driver: &mut Driver, id: ConnectionId) {
    let is_death = move |event: &Event| {
        matches!(event, Event::End { id: whose } | Event::ReadFailed { id: whose, .. } | Event::WriteFailed { id: whose, .. }
            if *whose == id)
    };
    driver.until("dead", |driver| driver.events.iter().any(is_death));
}

fn replays(driver: &Driver) -> usize {
    driver.events.iter().filter(|event| matches!(event, Event::Replaying { .. })).count()
}

#[test]
fn idempotent_request_on_a_dead_reused_connection_is_served_by_a_fresh_one() {
    for (fixture, reason) in
        [("fin_after_second_head", CloseReason::PeerFin), ("rst_after_second_head", CloseReason::PeerReset)]
    {
        let server = FaultServer::start(fixture);
        let (mut driver, id) = reused(Policy::default(), true, &server);
        driver.exchange(id, OK);
        assert!(driver.events.contains(&Event::Replaying { id, reason }), "{fixture}: {:?}", driver.events);
        assert_eq!((server.heads(), replays(&driver)), (vec![2, 1], 1), "{fixture}");
        assert_eq!((driver.counts(), driver.tally().replays.iter().sum()), ([0, 0, 1, 0], 1u64), "{fixture}");
        assert_eq!(driver.closed(reason), 1, "{fixture}");
    }
}

#[test]
fn connection_of_a_replay_is_released_as_one_that_has_served_once() {
    let server = FaultServer::start("fin_after_second_head");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.exchange(id, OK);
    driver.release(id);
    let facts = driver.environment.facts(id, driver.now()).unwrap();
    assert_eq!((driver.counts(), facts.requests), ([0, 1, 0, 0], 1));
}

#[test]
fn request_in_parts_is_replayed_whole_and_in_order() {
    let server = FaultServer::start("fin_after_second_body");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    let request = post(b"xxxxx");
    let (head, body) = request.split_at(request.len() - 3);
    assert_eq!(driver.environment.write(id, head, true), Wrote::Pending);
    assert_eq!(driver.write(id, body), Wrote::Taken);
    driver.until_received(id, OK);
    assert!(
        server.seen().contains(&Seen::Body(0, 5)) && server.seen().contains(&Seen::Body(1, 5)),
        "{:?}",
        server.seen()
    );
}

#[test]
fn request_that_waits_for_room_when_the_connection_dies_is_replayed_whole() {
    let server = FaultServer::start("rst_before_the_body");
    let (mut driver, id) = reused(Policy { max_bytes: usize::MAX, ..Policy::default() }, true, &server);
    let size = 16 << 20;
    assert_eq!(driver.write(id, &post(&vec![b'x'; size])), Wrote::Pending);
    server.wait_for(&Seen::Head(0, "POST / HTTP/1.1".into()));
    server.open("go");
    driver.until_received(id, OK);
    assert!(server.seen().contains(&Seen::Body(1, size)), "{:?}", server.seen());
    let written = driver.events.iter().filter(|event| **event == Event::Written { id }).count();
    assert_eq!((written, replays(&driver)), (1, 1));
}

#[test]
fn request_of_which_nothing_had_left_goes_out_on_a_fresh_connection_even_if_not_idempotent() {
    let server = FaultServer::start("rst_while_idle");
    let (mut driver, id) = reused(Policy::default(), false, &server);
    server.open("go");
    driver.until_kernel_knows(id);
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.until_received(id, OK);
    assert!(driver.events.contains(&Event::Written { id }));
    assert!(driver.events.contains(&Event::Swapped { id }));
    let tally = driver.tally();
    assert_eq!((tally.replays, server.heads()), ([0; 5], vec![1, 1]));
}

#[test]
fn request_that_had_not_left_when_its_connection_died_goes_out_on_a_fresh_one_even_if_over_the_cap() {
    let server = FaultServer::start("rst_while_idle");
    let (mut driver, id) = reused(Policy { max_bytes: 1, ..Policy::default() }, false, &server);
    server.open("go");
    driver.until_kernel_knows(id);
    driver.write(id, GET);
    driver.until_received(id, OK);
    assert!(driver.events.contains(&Event::Swapped { id }));
    assert_eq!((replayed(&driver, Evidence::NotWritten), server.heads()), (0, vec![1, 1]));
}

#[test]
fn bytes_that_come_before_the_request_left_are_not_its_answer() {
    for (fixture, reason) in
        [("late_bytes_while_idle", CloseReason::Unsolicited), ("fin_while_idle", CloseReason::PeerFin)]
    {
        let server = FaultServer::start(fixture);
        let (mut driver, id) = reused(Policy::default(), false, &server);
        server.open("go");
        driver.until_told(Event::Replaying { id, reason });
        assert_eq!(driver.write(id, GET), Wrote::Pending, "{fixture}");
        driver.until_received(id, OK);
        assert_eq!(replayed(&driver, Evidence::NotWritten), 1, "{fixture}");
    }
}

#[test]
fn gathered_request_whose_connection_died_meanwhile_goes_out_on_a_fresh_one() {
    let server = FaultServer::start("rst_while_idle");
    let (mut driver, id) = reused(Policy::default(), false, &server);
    driver.environment.begin_telling(true);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    server.open("go");
    driver.until_kernel_knows(id);
    driver.environment.scatter();
    driver.until_received(id, OK);
    assert!(driver.events.contains(&Event::Swapped { id }));
    assert_eq!((replayed(&driver, Evidence::NotWritten), server.heads()), (0, vec![1, 1]));
}

#[test]
fn connection_found_dead_at_the_end_of_a_turn_is_swapped_for_a_fresh_one() {
    for fixture in ["fin_while_idle", "rst_while_idle", "late_bytes_while_idle"] {
        for others in [false, true] {
            let (server, healthy) = (FaultServer::start(fixture), FaultServer::start("two_exchanges"));
            let mut driver = Driver::new(options());
            let dead = driver.open(&server);
            driver.exchange(dead, OK);
            driver.release(dead);
            let live = driver.open_another(&healthy);
            driver.exchange(live, OK);
            driver.release(live);
            server.open("go");
            driver.until_kernel_knows(dead);
            driver.environment.begin_telling(true);
            let leased = [driver.reuse(false), driver.reuse(false)];
            assert_eq!(leased, [live, dead]);
            assert_eq!(driver.write(dead, GET), Wrote::Taken);
            if others {
                assert_eq!(driver.write(live, GET), Wrote::Taken);
            }
            driver.environment.scatter();
            driver.until_received(dead, OK);
            if others {
                driver.until_received(live, OK);
            }
            assert!(driver.events.contains(&Event::Swapped { id: dead }), "{fixture}: {:?}", driver.events);
            assert_eq!((replays(&driver), server.heads(), driver.tally().reused), (0, vec![1, 1], 1), "{fixture}");
        }
    }
}

#[test]
fn request_that_was_written_and_is_not_idempotent_is_not_replayed() {
    for (fixture, reason) in
        [("fin_after_second_head", CloseReason::PeerFin), ("rst_after_second_head", CloseReason::PeerReset)]
    {
        let server = FaultServer::start(fixture);
        let (mut driver, id) = reused(Policy::default(), false, &server);
        driver.write(id, GET);
        until_dead(&mut driver, id);
        // A reset may come before the acknowledgement of what the server has read.
        let known = refused(&driver, Refusal::Acknowledged) + refused(&driver, Refusal::Unknown);
        assert_eq!((replays(&driver), known), (0, 1), "{fixture}");
        assert_eq!((driver.counts(), server.heads()), ([0, 0, 1, 0], vec![2]), "{fixture}");
        driver.close(id, CloseReason::Error);
        assert_eq!(driver.closed(reason), 1, "closed for what it died of: {fixture}");
    }
}

#[test]
fn response_byte_forbids_a_replay() {
    let server = FaultServer::start("rst_after_response_byte");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.exchange(id, "H");
    server.open("go");
    until_dead(&mut driver, id);
    assert_eq!((replays(&driver), driver.counts(), server.heads()), (0, [0, 0, 1, 0], vec![2]));
}

#[test]
fn response_byte_that_comes_together_with_the_fin_forbids_a_replay() {
    let server = FaultServer::start("fin_after_response_byte");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.write(id, GET);
    driver.until_told(Event::End { id });
    assert_eq!((driver.received(id), replays(&driver), server.heads()), (&b"H"[..], 0, vec![2]));
}

#[test]
fn request_is_not_replayed_twice() {
    let server = FaultServer::start("dies_twice");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.write(id, GET);
    driver.until_told(Event::End { id });
    assert_eq!((replays(&driver), refused(&driver, Refusal::Spent)), (1, 1));
    assert_eq!((driver.counts(), server.heads()), ([0, 0, 1, 0], vec![2, 1]));
}

#[test]
fn request_on_a_fresh_connection_is_not_replayed() {
    let server = FaultServer::start("fin_instead_of_an_answer");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    driver.write(id, GET);
    driver.until_told(Event::End { id });
    assert_eq!((replays(&driver), server.heads()), (0, vec![1]));
    assert_eq!(refused(&driver, Refusal::FreshConnection), 1);
}

#[test]
fn request_over_the_cap_is_not_replayed() {
    for (cap, times) in [(GET.len() - 1, 0), (GET.len(), 1)] {
        let server = FaultServer::start("fin_after_second_head");
        let (mut driver, id) = reused(Policy { max_bytes: cap, ..Policy::default() }, true, &server);
        driver.write(id, GET);
        driver.until("an end", |driver| !driver.received(id).is_empty() || driver.events.contains(&Event::End { id }));
        assert_eq!((replays(&driver), refused(&driver, Refusal::Capped)), (times, 1 - times as u64), "cap {cap}");
    }
}

#[test]
fn agent_without_replay_surfaces_the_death() {
    let server = FaultServer::start("fin_after_second_head");
    let (mut driver, id) = reused(Policy { enabled: false, ..Policy::default() }, true, &server);
    driver.write(id, GET);
    driver.until_told(Event::End { id });
    assert_eq!((replays(&driver), refused(&driver, Refusal::Off), server.heads()), (0, 1, vec![2]));
}

#[test]
fn replay_that_nobody_accepts_fails_as_a_connect_does() {
    let server = FaultServer::start("fin_after_second_head_then_refuses");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.write(id, GET);
    driver.until_told(Event::ConnectFailed { id });
    assert_eq!((driver.counts(), replays(&driver)), ([1, 0, 0, 0], 1));
    driver.close(id, CloseReason::Error);
    assert_eq!(driver.counts(), [0; 4]);
}

#[test]
fn lease_withdrawn_during_a_replay_leaves_nothing() {
    let server = FaultServer::start("fin_after_second_head");
    let (mut driver, id) = reused(Policy::default(), true, &server);
    driver.write(id, GET);
    driver.until_told(Event::Replaying { id, reason: CloseReason::PeerFin });
    driver.close(id, CloseReason::Destroyed);
    assert_eq!((driver.counts(), driver.environment.reactor().is_alive()), ([0; 4], false));
}
