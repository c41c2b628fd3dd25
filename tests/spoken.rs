//! HTTP that the engine speaks itself: what is told of an answer, and that hyper does not notice a replay below it.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use bytes::Bytes;
use holdfast::engine::environment::Event;
use holdfast::engine::http::{Breakage, Limits, Misfit, RequestHead};
use holdfast::engine::pool::{CloseReason, ConnectionId};

use support::driver::{Driver, options};
use support::server::FaultServer;

const LIMITS: Limits = Limits { head: 16 * 1024 };
const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// Begins an exchange, which the connection can have.
fn speak(driver: &mut Driver, id: ConnectionId, head: &str, has_body: bool) {
    let head = RequestHead::parse(&Bytes::copy_from_slice(head.as_bytes())).expect("a request");
    driver.environment.speak(id, head, has_body, LIMITS).expect("the connection can have an exchange");
}

/// The answer's end: its head, whether the connection is fit for another, and the body.
fn answer(driver: &mut Driver, id: ConnectionId) -> (String, bool, String) {
    let is_end = move |event: &Event| matches!(event, Event::Complete { id: whose, .. } if *whose == id);
    driver.until("complete", |driver| driver.events.iter().any(is_end));
    let at = driver.events.iter().position(is_end).expect("it was told");
    let Event::Complete { is_reusable, .. } = driver.events.remove(at) else { unreachable!("the end of an answer") };
    let head = String::from_utf8(driver.environment.take_head(id)).expect("text");
    let body = String::from_utf8_lossy(driver.received(id)).into_owned();
    (head, is_reusable, body)
}

#[test]
fn exchanges_follow_each_other_on_one_connection() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    for exchange in 0..2 {
        speak(&mut driver, id, GET, false);
        let (head, is_reusable, _) = answer(&mut driver, id);
        assert!(head.starts_with("OK\n"), "{head}");
        assert!(is_reusable, "exchange {exchange}");
        driver.release(id);
        if exchange == 0 {
            assert_eq!(driver.reuse(true), id);
        }
    }
    assert_eq!(driver.events.iter().filter(|event| matches!(event, Event::Head { status: 200, .. })).count(), 2);
}

#[test]
fn replay_happens_below_hyper_with_the_body_that_was_pushed() {
    let server = FaultServer::start("fin_after_second_body");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    speak(&mut driver, id, GET, false);
    answer(&mut driver, id);
    driver.release(id);
    assert_eq!(driver.reuse(true), id);
    speak(&mut driver, id, "PUT / HTTP/1.1\r\nHost: a.example\r\ncontent-length: 4\r\n\r\n", true);
    for piece in ["xx", "xx"] {
        assert!(driver.environment.push_body(id, Bytes::from_static(piece.as_bytes())), "there is room");
    }
    driver.environment.finish_body(id);
    let (head, is_reusable, _) = answer(&mut driver, id);
    assert!(head.starts_with("OK\n") && is_reusable, "{head}");
    let replaying = Event::Replaying { id, reason: CloseReason::PeerFin };
    assert!(driver.events.contains(&replaying), "{:?}", driver.events);
    assert_eq!(server.heads(), [2, 1]);
}

#[test]
fn request_before_the_connection_is_open_leaves_with_it() {
    let server = FaultServer::start("two_exchanges");
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect(id, support::driver::place_of(server.address()));
    speak(&mut driver, id, GET, false);
    assert!(answer(&mut driver, id).1);
}

#[test]
fn answer_that_is_cut_is_told_by_the_end_alone() {
    let server = FaultServer::start("fin_after_response_byte");
    let mut driver = Driver::new(options());
    let id = driver.open(&server);
    speak(&mut driver, id, GET, false);
    answer(&mut driver, id);
    driver.release(id);
    assert_eq!(driver.reuse(true), id);
    speak(&mut driver, id, GET, false);
    driver.until_told(Event::End { id });
    let is_of_answer = |event: &Event| matches!(event, Event::Complete { .. } | Event::Broken { .. });
    assert!(!driver.events.iter().any(is_of_answer), "{:?}", driver.events);
}

/// Gives one client these answers, each when it has asked, and waits for it to leave unless it `closes` then.
fn answering(answers: Vec<Vec<u8>>, closes: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let mut head = [0; 1024];
        for answer in answers {
            assert!(socket.read(&mut head).expect("a head") > 0);
            socket.write_all(&answer).expect("room for an answer");
        }
        if !closes {
            assert_eq!(socket.read(&mut head).expect("the client's end"), 0);
        }
    });
    (address, server)
}

/// A head that promises `length` bytes, and the first `count` of them.
fn long_answer(length: usize, count: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.extend((b'a'..=b'z').cycle().take(count));
    answer
}

const LONG: usize = 1_000_003;

#[test]
fn long_answer_is_told_whole_and_what_follows_it_too() {
    let (address, server) = answering([0, LONG, LONG].map(|count| long_answer(LONG, count)).to_vec(), false);
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect_at(id, address);
    for (count, method) in [(0, "HEAD"), (LONG, "GET"), (2 * LONG, "GET")] {
        speak(&mut driver, id, &GET.replace("GET", method), false);
        let (head, is_reusable, body) = answer(&mut driver, id);
        assert_eq!((head, is_reusable), (format!("OK\nContent-Length\n{LONG}"), true));
        let bodies = (b'a'..=b'z').cycle().take(LONG).chain((b'a'..=b'z').cycle().take(LONG));
        assert!(body.bytes().eq(bodies.take(count)), "{} bytes", body.len());
        driver.release(id);
        if count < 2 * LONG {
            assert_eq!(driver.reuse(true), id);
        }
    }
    driver.close(id, CloseReason::Error);
    server.join().expect("the server ends");
}

#[test]
fn long_answer_that_is_cut_is_told_by_the_end_alone() {
    for count in [0, 1, 100_000, LONG - 65_536, LONG - 1] {
        let (address, server) = answering(vec![long_answer(LONG, count)], true);
        let mut driver = Driver::new(options());
        let id = driver.reserve();
        driver.connect_at(id, address);
        speak(&mut driver, id, GET, false);
        driver.until_told(Event::End { id });
        assert_eq!(driver.received(id).len(), count);
        let is_of_end = |event: &Event| matches!(event, Event::Complete { .. } | Event::Broken { .. });
        assert!(!driver.events.iter().any(is_of_end), "{:?}", driver.events);
        server.join().expect("the server ends");
    }
}

/// Answers one client in HTTP/1.0, when it has sent what ends in the first of these, and so on; gives back what came.
fn answering_old(ends: &'static [&str]) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let mut all = String::new();
        for end in ends {
            let mut asked = String::new();
            while !asked.ends_with(end) {
                let mut bytes = [0; 1024];
                let count = socket.read(&mut bytes).expect("a request");
                asked += str::from_utf8(bytes.get(..count).expect("what was read")).expect("text");
            }
            let answer = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
            socket.write_all(answer).expect("room for an answer");
            all += &asked;
        }
        all
    });
    (address, server)
}

#[test]
fn body_of_unknown_length_is_whole_behind_an_answer_in_http_1_0() {
    let (address, server) = answering_old(&["\r\n\r\n", "0\r\n\r\n", "0\r\n\r\n"]);
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect_at(id, address);
    speak(&mut driver, id, GET, false);
    assert!(answer(&mut driver, id).1);
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [&b"body"[..], b""] {
        driver.release(id);
        assert_eq!(driver.reuse(true), id);
        speak(&mut driver, id, head, true);
        if !body.is_empty() {
            driver.environment.push_body(id, Bytes::from_static(body));
        }
        driver.environment.finish_body(id);
        assert!(answer(&mut driver, id).1);
    }
    assert_eq!(server.join().expect("the server ends"), format!("{GET}{head}4\r\nbody\r\n0\r\n\r\n{head}0\r\n\r\n"));
}

#[test]
fn body_whose_length_nothing_tells_is_refused() {
    let (address, server) = answering(Vec::new(), false);
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect_at(id, address);
    let head = RequestHead::parse(&Bytes::from_static(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n")).expect("a request");
    assert_eq!(driver.environment.speak(id, head, true, LIMITS), Err(Misfit::Header));
    driver.close(id, CloseReason::Error);
    server.join().expect("the server ends");
}

#[test]
fn answer_with_two_lengths_is_broken() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let (address, server) = answering(vec![answer.into()], false);
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    driver.connect_at(id, address);
    speak(&mut driver, id, GET, false);
    driver.until_told(Event::Broken { id, breakage: Breakage::Length });
    driver.close(id, CloseReason::Error);
    server.join().expect("the server ends");
}
