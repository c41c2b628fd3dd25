//! The other end of an HTTP/2 connection, frame by frame (RFC 9113), in a thread of its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Error codes.
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// `MAX_CONCURRENT_STREAMS`.
const MOST_STREAMS: [u8; 2] = [0, 3];

/// `:status: 200` from HPACK's static table.
const OK: u8 = 0x88;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One accepted connection.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Accepts, and greets.
    fn meet(listener: &TcpListener, most_streams: u32) -> Self {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // What Nagle holds back is lost with the reset that follows a script.
        stream.set_nodelay(true).expect("a TCP connection");
        let mut peer = Self(stream);
        let mut preface = vec![0; PREFACE.len()];
        peer.0.read_exact(&mut preface).expect("a preface");
        assert_eq!(preface, PREFACE);
        peer.allow(most_streams);
        peer
    }

    /// The next frame; `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l2, l1, l0]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s3, s2, s1, s0]), payload })
    }

    /// The next frame of a kind; the others are passed over.
    pub(crate) fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().expect("another frame");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).expect("a client that listens");
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self, stream: u32, body: &str) {
        self.send(HEADERS, END_HEADERS, stream, &[OK]);
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }

    /// An answer's head alone.
    pub(crate) fn begin_answer(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, &[OK]);
    }

    /// The same with a header of that value.
    pub(crate) fn begin_answer_with(&mut self, stream: u32, value: &str) {
        let length = u8::try_from(value.len()).ok().filter(|length| *length < 127).expect("a short value");
        // A literal header without indexing: `x`, and the value.
        let mut head = vec![OK, 0, 1, b'x', length];
        head.extend_from_slice(value.as_bytes());
        self.send(HEADERS, END_HEADERS, stream, &head);
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.send(RESET, 0, stream, &code.to_be_bytes());
    }

    /// Says goodbye: streams above `last` were not looked at.
    pub(crate) fn go_away(&mut self, last: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), 0u32.to_be_bytes()].concat());
    }

    /// Has room for so many streams from now on.
    pub(crate) fn allow(&mut self, most_streams: u32) {
        self.send(SETTINGS, 0, 0, &[&MOST_STREAMS[..], &most_streams.to_be_bytes()].concat());
    }

    /// Waits for the client's end, whatever comes before it.
    pub(crate) fn wait_for_end(&mut self) {
        while self.frame().is_some() {}
    }
}

/// Plays one script a connection, one after the other.
pub(crate) struct PeerServer {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

pub(crate) type Script = Box<dyn FnOnce(&mut Peer) + Send>;

impl PeerServer {
    pub(crate) fn start(most_streams: u32, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let thread = thread::spawn(move || {
            // Held to the end: a script's connection may have more to say than the next one waits for.
            let mut met = Vec::new();
            for script in scripts {
                let mut peer = Peer::meet(&listener, most_streams);
                script(&mut peer);
                met.push(peer);
            }
        });
        Self { address, thread: Some(thread) }
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(ended.is_none_or(|ended| ended.is_ok()), "the server's script failed");
        }
    }
}
