//! A server that does to each connection what a script says, in threads of its own.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::script::{self, Step};

/// Longest time for one step: a test that needs more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server saw, and on which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Accepted(usize),
    /// The first line of a request.
    Head(usize, String),
    /// A body of so many bytes, all of which were `x`.
    Body(usize, usize),
    /// The client's FIN.
    Fin(usize),
    /// The client's reset.
    Reset(usize),
}

/// Opens the gate that a stalled connection waits at.
struct Gate {
    name: Option<String>,
    opener: Sender<()>,
}

/// The running server.
pub(crate) struct FaultServer {
    address: SocketAddr,
    gates: Vec<Gate>,
    reports: Receiver<Seen>,
    seen: RefCell<Vec<Seen>>,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl FaultServer {
    /// Plays the server of that name in `fixtures/catalogue.json`. Connections beyond the last script are refused.
    pub(crate) fn start(fixture: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (reporter, reports) = channel();
        let mut gates = Vec::new();
        let script = script::load(fixture);
        if let Some(size) = script.receive_buffer {
            SockRef::from(&listener).set_recv_buffer_size(size).expect("a buffer can be small");
        }
        let scripts = script.connections.into_iter().map(|steps| with_gates(steps, &mut gates)).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let listener = {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || accept_all(listener, scripts, &reporter, &is_over))
        };
        Self { address, gates, reports, seen: RefCell::default(), is_over, listener: Some(listener) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets those go on that stall at `gate`.
    pub(crate) fn open(&self, gate: &str) {
        let gates: Vec<_> = self.gates.iter().filter(|other| other.name.as_deref() == Some(gate)).collect();
        assert!(!gates.is_empty(), "no gate {gate}");
        for gate in gates {
            gate.opener.send(()).expect("someone waits at the gate");
        }
    }

    /// Blocks the thread, loop and all, until the server has seen `what`.
    pub(crate) fn wait_for(&self, what: &Seen) {
        let until = Instant::now() + PATIENCE;
        while !self.seen().contains(what) {
            let report = self.reports.recv_timeout(until.saturating_duration_since(Instant::now()));
            assert!(report.is_ok(), "the server saw {:?}, and not {what:?}", self.seen.borrow());
            self.seen.borrow_mut().extend(report);
        }
    }

    /// All that it has seen so far, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen = self.seen.borrow_mut();
        seen.extend(self.reports.try_iter());
        seen.clone()
    }

    /// How many requests it has read on each connection.
    pub(crate) fn heads(&self) -> Vec<usize> {
        let mut heads = Vec::new();
        for seen in self.seen() {
            let (at, count) = match seen {
                Seen::Accepted(at) => (at, 0),
                Seen::Head(at, _) => (at, 1),
                Seen::Body(..) | Seen::Fin(_) | Seen::Reset(_) => continue,
            };
            heads.resize(heads.len().max(at + 1), 0);
            heads.iter_mut().skip(at).take(1).for_each(|head| *head += count);
        }
        heads
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.gates.clear();
        // Wakes a listener that still waits; refused if it does not.
        drop(TcpStream::connect(self.address));
        let ended = self.listener.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
    }
}

enum Act {
    Do(Step),
    /// Until it is opened, or the test is over.
    WaitAt(Receiver<()>),
}

fn with_gates(steps: Vec<Step>, gates: &mut Vec<Gate>) -> Vec<Act> {
    let mut act = |step| {
        let Step::Stall(name) = step else { return Act::Do(step) };
        let (opener, gate) = channel();
        gates.push(Gate { name, opener });
        Act::WaitAt(gate)
    };
    steps.into_iter().map(&mut act).collect()
}

fn accept_all(listener: TcpListener, scripts: Vec<Vec<Act>>, reporter: &Sender<Seen>, is_over: &AtomicBool) {
    let mut players = Vec::new();
    let (mut listener, last) = (Some(listener), scripts.len() - 1);
    for (number, script) in scripts.into_iter().enumerate() {
        let (stream, _) = listener.as_ref().expect("there is a script left").accept().expect("a listener accepts");
        // Before the last script has begun, so that nobody can still get in.
        listener = listener.filter(|_| number < last);
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let reporter = reporter.clone();
        players.push(thread::spawn(move || {
            let tell = |seen| drop(reporter.send(seen));
            tell(Seen::Accepted(number));
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            stream.set_nodelay(true).expect("Nagle's algorithm can be turned off");
            let mut player = Player { number, stream, unread: Vec::new(), body: 0 };
            // A client that is gone ends the script.
            let _ended = script.into_iter().try_for_each(|act| player.play(act, &tell));
        }));
    }
    for player in players {
        player.join().expect("a script plays to its end");
    }
}

/// One connection.
struct Player {
    number: usize,
    stream: TcpStream,
    unread: Vec<u8>,
    /// The length that the last head announced.
    body: usize,
}

impl Player {
    fn play(&mut self, act: Act, tell: &dyn Fn(Seen)) -> io::Result<()> {
        match act {
            Act::WaitAt(gate) => drop(gate.recv()),
            Act::Do(Step::Accept | Step::Stall(_)) => {}
            Act::Do(Step::ReadHead) => tell(Seen::Head(self.number, self.read_head(tell)?)),
            Act::Do(Step::ReadBody) => {
                let body = self.body;
                while self.unread.len() < body {
                    self.read_some(tell)?;
                }
                let whole = self.unread.drain(..body).all(|byte| byte == b'x');
                tell(Seen::Body(self.number, if whole { body } else { 0 }));
            }
            Act::Do(Step::Write(bytes)) => self.stream.write_all(&bytes)?,
            Act::Do(Step::Fin) => self.stream.shutdown(std::net::Shutdown::Write)?,
            Act::Do(Step::Rst) => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Act::Do(Step::Close) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Act::Do(Step::AwaitClose) => while self.read_some(tell).is_ok() {},
        }
        Ok(())
    }

    fn read_head(&mut self, tell: &dyn Fn(Seen)) -> io::Result<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_some(tell)?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        self.body = length.map_or(0, |length| length.parse().expect("a length is a number"));
        Ok(head.lines().next().unwrap_or_default().to_owned())
    }

    fn read_some(&mut self, tell: &dyn Fn(Seen)) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                tell(Seen::Fin(self.number));
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(count) => {
                self.unread.extend(bytes.iter().take(count));
                Ok(())
            }
            Err(error) => {
                tell(Seen::Reset(self.number));
                Err(error)
            }
        }
    }
}
