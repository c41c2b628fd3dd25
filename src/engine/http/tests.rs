//! One hyper over its exchanges, fed by hand.

use bytes::Bytes;

use super::{Limits, RequestHead, Speaker, Told};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const PUT: &str = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n";

/// What was told of one answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    status: u16,
    body: Vec<u8>,
    /// Whether the connection can have another exchange, once the answer is whole.
    end: Option<bool>,
}

fn begun(head: &str, has_body: bool) -> Speaker {
    let mut speaker = Speaker::new(Limits { head: 1024 }).expect("hyper begins");
    let head = RequestHead::parse(&Bytes::copy_from_slice(head.as_bytes())).expect("a head");
    speaker.begin(head, has_body).expect("hyper takes it");
    assert_eq!(speaker.advance(true), None);
    speaker
}

/// Has the speaker go on, as the environment does: what need not go through hyper is read to where it is told.
fn hear(speaker: &mut Speaker, piece: &[u8], heard: &mut Heard) {
    let (past, rest) = piece.split_at(piece.len().min(usize::try_from(speaker.past()).expect("a short body")));
    heard.body.extend_from_slice(past);
    speaker.passed(past.len() as u64);
    if !rest.is_empty() {
        speaker.feed(rest.to_vec(), rest.len());
    }
    while let Some(told) = speaker.advance(true) {
        match told {
            Told::Head { status, .. } => heard.status = status,
            Told::Chunk => {
                let mut room = [0; 2];
                let count = speaker.take_chunk(&mut room);
                heard.body.extend_from_slice(room.get(..count).expect("room"));
            }
            Told::Complete { is_reusable, .. } => {
                assert_eq!(heard.end.replace(is_reusable), None, "an end comes once");
                break;
            }
            Told::Broken(breakage) => panic!("{breakage:?}"),
        }
    }
    speaker.reclaim();
}

#[test]
fn answer_is_whole_wherever_it_is_cut() {
    let versions = [("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false), ("HTTP/1.0", "", false)];
    for (version, headers, is_reusable) in
        versions.into_iter().chain([("HTTP/1.0", "Connection: keep-alive\r\n", true)])
    {
        let answer = format!("{version} 200 OK\r\n{headers}Content-Length: 5\r\n\r\nhello");
        for at in 1..=answer.len() {
            let (first, second) = answer.as_bytes().split_at(at);
            let (mut speaker, mut heard) = (begun(GET, false), Heard::default());
            hear(&mut speaker, first, &mut heard);
            assert_eq!(heard.end.is_some(), second.is_empty(), "{version} at {at}");
            hear(&mut speaker, second, &mut heard);
            assert_eq!(
                heard,
                Heard { status: 200, body: b"hello".to_vec(), end: Some(is_reusable) },
                "{version} at {at}"
            );
        }
    }
}

#[test]
fn answer_that_ends_within_its_body_has_no_end_of_its_own() {
    for headers in ["", "Connection: close\r\n"] {
        let (mut speaker, mut heard) = (begun(GET, false), Heard::default());
        hear(&mut speaker, format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 5\r\n\r\nhell").as_bytes(), &mut heard);
        speaker.end();
        hear(&mut speaker, b"", &mut heard);
        assert_eq!(heard, Heard { status: 200, body: b"hell".to_vec(), end: None });
    }
}

#[test]
fn bytes_behind_an_answer_are_no_part_of_it_and_end_the_connection() {
    for body in ["", "hello"] {
        let (mut speaker, mut heard) = (begun(GET, false), Heard::default());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}HTTP/1.1 200 OK\r\n\r\n", body.len());
        hear(&mut speaker, answer.as_bytes(), &mut heard);
        assert_eq!(heard, Heard { status: 200, body: body.into(), end: Some(false) });
    }
}

#[test]
fn head_that_comes_before_the_request_has_left_does_not_end_it() {
    for headers in ["", "Connection: close\r\n"] {
        let (mut speaker, mut heard) = (begun(PUT, true), Heard::default());
        speaker.push(Bytes::from_static(b"up"));
        hear(&mut speaker, format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 5\r\n\r\n").as_bytes(), &mut heard);
        speaker.push(Bytes::from_static(b"!!"));
        speaker.finish();
        hear(&mut speaker, b"", &mut heard);
        assert!(speaker.take_written().ends_with(b"\r\n\r\nup!!"));
        hear(&mut speaker, b"hello", &mut heard);
        assert_eq!(heard, Heard { status: 200, body: b"hello".to_vec(), end: Some(headers.is_empty()) });
    }
}

#[test]
fn length_of_what_has_no_body_is_not_waited_for() {
    for (head, status) in [(&*GET.replace("GET", "HEAD"), 200), (GET, 304)] {
        let (mut speaker, mut heard) = (begun(head, false), Heard::default());
        hear(&mut speaker, format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n").as_bytes(), &mut heard);
        assert_eq!(heard, Heard { status, body: Vec::new(), end: Some(true) });
    }
}
