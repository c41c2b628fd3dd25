//! A loop over the `polling` crate that behaves as libuv's polls do: a hung-up watch is reported once, and stops.

#![expect(unsafe_code, reason = "`Poller::add` wants a promise about the descriptor")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use holdfast::engine::doorbell::Bell;
use holdfast::engine::pool::ConnectionId;
use holdfast::engine::reactor::{Interest, Reactor, Ready};
use polling::{Event, Events, PollMode, Poller};
use socket2::Socket;

/// The loop of one environment.
#[derive(Debug)]
pub(crate) struct PollReactor {
    poller: Arc<Poller>,
    events: Events,
    watched: BTreeMap<ConnectionId, Watched>,
    ready: Vec<Ready>,
    gone: Vec<ConnectionId>,
    deadline: Option<Instant>,
    holds_doorbell: bool,
    /// How long the machine has slept.
    pub(crate) slept: Duration,
}

#[derive(Debug)]
struct Watched {
    /// A second descriptor of the same socket, closed at `unwatch`.
    socket: Socket,
    is_polled: bool,
    is_held: bool,
}

/// Wakes the loop.
#[derive(Debug)]
pub(crate) struct PollBell(Arc<Poller>);

impl Bell for PollBell {
    fn ring(&self) {
        self.0.notify().expect("a poller can be notified");
    }
}

impl PollReactor {
    pub(crate) fn new() -> Self {
        Self {
            poller: Arc::new(Poller::new().expect("the system has a poller")),
            events: Events::new(),
            watched: BTreeMap::new(),
            ready: Vec::new(),
            gone: Vec::new(),
            deadline: None,
            holds_doorbell: false,
            slept: Duration::ZERO,
        }
    }

    pub(crate) fn bell(&self) -> PollBell {
        PollBell(Arc::clone(&self.poller))
    }

    /// Waits until something is ready, the bell rings, the deadline has come or `limit` has. It is `now`.
    pub(crate) fn wait(&mut self, now: Instant, limit: Instant) {
        let until = match self.deadline {
            _ if !self.gone.is_empty() => now,
            Some(deadline) => deadline.min(limit),
            None => limit,
        };
        self.events.clear();
        self.poller.wait(&mut self.events, Some(until.saturating_duration_since(now))).expect("a poller can wait");
        let events: Vec<Event> = self.events.iter().collect();
        for event in events {
            let id = ConnectionId(u32::try_from(event.key).expect("keys are numbers of connections"));
            let stopped = event.is_err() == Some(true);
            if stopped {
                self.poll_for(id, Interest::default());
            }
            self.ready.push(Ready { id, readable: event.readable, writable: event.writable, stopped });
        }
    }

    /// Makes the next wait short.
    pub(crate) fn bell_now(&self) {
        self.bell().ring();
    }

    /// A timer fires once.
    pub(crate) fn fire(&mut self, now: Instant) {
        self.deadline = self.deadline.filter(|deadline| *deadline > now);
    }

    /// The connections whose watch the loop is done with.
    pub(crate) fn take_gone(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.gone)
    }

    /// Whether anything keeps this loop alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.holds_doorbell || self.watched.values().any(|watched| watched.is_held)
    }

    fn poll_for(&mut self, id: ConnectionId, interest: Interest) {
        let watched = self.watched.get_mut(&id).expect("only what is watched is polled");
        let wants = interest != Interest::default();
        let event = Event::new(id.0 as usize, interest.readable, interest.writable);
        match (watched.is_polled, wants) {
            (true, true) => self.poller.modify_with_mode(&watched.socket, event, PollMode::Level),
            (true, false) => self.poller.delete(&watched.socket),
            // SAFETY: `socket` is kept until `unwatch`, which deletes it from the poller first.
            (false, true) => unsafe { self.poller.add_with_mode(&watched.socket, event, PollMode::Level) },
            (false, false) => Ok(()),
        }
        .expect("an open socket can be polled");
        watched.is_polled = wants;
    }
}

impl Reactor for PollReactor {
    type Watch = ConnectionId;

    fn wall_clock(&self) -> SystemTime {
        SystemTime::now() + self.slept
    }

    fn watch(&mut self, socket: &Socket, id: ConnectionId) -> io::Result<ConnectionId> {
        let watched = Watched { socket: socket.try_clone()?, is_polled: false, is_held: true };
        assert!(self.watched.insert(id, watched).is_none(), "connection {} is watched twice", id.0);
        Ok(id)
    }

    fn watch_for(&mut self, watch: &mut ConnectionId, interest: Interest) {
        self.poll_for(*watch, interest);
    }

    fn hold(&mut self, watch: &mut ConnectionId, alive: bool) {
        self.watched.get_mut(watch).expect("only what is watched is held").is_held = alive;
    }

    fn unwatch(&mut self, watch: ConnectionId, gone: Option<ConnectionId>) {
        self.poll_for(watch, Interest::default());
        self.watched.remove(&watch);
        self.gone.extend(gone);
    }

    fn gone_later(&mut self, id: ConnectionId) {
        self.gone.push(id);
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    fn wake(&mut self) {
        self.poller.notify().expect("a poller can be notified");
    }

    fn hold_doorbell(&mut self, alive: bool) {
        self.holds_doorbell = alive;
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        into.append(&mut self.ready);
    }
}
