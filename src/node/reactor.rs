//! The engine's reactor over libuv.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use socket2::Socket;

use super::uv::{self, Handle, Listener, Loop, Ringer};
use crate::engine::pool::ConnectionId;
use crate::engine::reactor::{Interest, Reactor, Ready};

/// Readiness as the polls report it, until the engine takes it.
pub(super) type ReadyList = Rc<RefCell<Vec<Ready>>>;

/// One environment's reactor: a check, a timer, a doorbell, and a poll per connection.
#[derive(Debug)]
pub(super) struct UvReactor {
    event_loop: Loop,
    listener: ListenerRef,
    handles: Option<Handles>,
    ready: ReadyList,
}

#[derive(Debug)]
struct Handles {
    check: Handle,
    timer: Handle,
    doorbell: Handle,
}

#[derive(Clone)]
struct ListenerRef(Rc<dyn Listener>);

impl std::fmt::Debug for ListenerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl UvReactor {
    /// Starts the check. Nothing of it keeps the loop alive.
    pub(super) fn start(event_loop: Loop, listener: Rc<dyn Listener>, ready: ReadyList) -> Result<Self, i32> {
        let mut check = event_loop.check(Rc::clone(&listener))?;
        let mut timer = event_loop.timer(Rc::clone(&listener))?;
        let mut doorbell = event_loop.doorbell(Rc::clone(&listener))?;
        for handle in [&mut check, &mut timer, &mut doorbell] {
            handle.hold(false);
        }
        let handles = Some(Handles { check, timer, doorbell });
        Ok(Self { event_loop, listener: ListenerRef(listener), handles, ready })
    }

    /// What rings this environment's doorbell.
    pub(super) fn ringer(&self) -> Option<Ringer> {
        self.handles.as_ref().map(|handles| handles.doorbell.ringer())
    }

    /// Closes what is not a connection's. Answers how many closes follow.
    pub(super) fn stop(&mut self) -> usize {
        let Some(Handles { check, timer, doorbell }) = self.handles.take() else { return 0 };
        let all = [check, timer, doorbell];
        let count = all.len();
        for handle in all {
            handle.close(None);
        }
        count
    }
}

/// A connection's poll.
#[derive(Debug)]
pub(super) struct Watch(Handle);

impl Reactor for UvReactor {
    type Watch = Watch;

    fn watch(&mut self, socket: &Socket, id: ConnectionId) -> io::Result<Watch> {
        #[cfg(unix)]
        let raw = std::os::fd::AsRawFd::as_raw_fd(socket);
        #[cfg(windows)]
        let raw = std::os::windows::io::AsRawSocket::as_raw_socket(socket);
        let poll = self.event_loop.poll(Rc::clone(&self.listener.0), id.0, raw);
        poll.map(Watch).map_err(|status| io::Error::from_raw_os_error(-status))
    }

    fn watch_for(&mut self, watch: &mut Watch, interest: Interest) {
        watch.0.poll_for(uv::events(interest.readable, interest.writable));
    }

    fn hold(&mut self, watch: &mut Watch, alive: bool) {
        watch.0.hold(alive);
    }

    fn unwatch(&mut self, watch: Watch, gone: Option<ConnectionId>) {
        watch.0.close(gone.map(|id| id.0));
    }

    fn gone_later(&mut self, id: ConnectionId) {
        // A handle that is closed at once: its callback comes in the loop's closing phase, as a socket's does.
        match self.event_loop.timer(Rc::clone(&self.listener.0)) {
            Ok(timer) => timer.close(Some(id.0)),
            Err(_) => self.wake(),
        }
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) {
        if let (Some(handles), Some(deadline)) = (&mut self.handles, deadline) {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a timer that fires early would only have to be set again.
            let milliseconds = u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            handles.timer.set_timer(milliseconds);
        }
    }

    fn wake(&mut self) {
        if let Some(handles) = &self.handles {
            crate::engine::doorbell::Bell::ring(&handles.doorbell.ringer());
        }
    }

    fn hold_doorbell(&mut self, alive: bool) {
        if let Some(handles) = &mut self.handles {
            handles.doorbell.hold(alive);
        }
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        into.append(&mut self.ready.borrow_mut());
    }
}
