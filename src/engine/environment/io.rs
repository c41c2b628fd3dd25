//! Bytes in, bytes out, and what happens when a connection dies.

use std::io;

use super::connection::{Connection, Link, State};
use super::death::Death;
use super::{Environment, Event, Slabs};
use crate::engine::pool::{CloseReason, ConnectionId};
use crate::engine::reactor::{Interest, Reactor, Ready};
use crate::engine::tls::Tls;
use crate::engine::transport::{Liveness, Received};

/// A fast peer must not starve the loop: so much is read from one connection in one turn at most, in reads of a slab.
pub(super) const READS_PER_TURN: usize = 4;

/// Less than the smallest send buffer.
const MOST_GATHERED: usize = 4096;

/// A piece of a body that is worth a copy, if it then leaves with those that follow it.
const LEAST_JOINED: usize = 16 * 1024;

/// So much of a body leaves in one call, once as much has left: what is short is not kept waiting.
const MOST_JOINED: usize = 256 * 1024;

/// Connections in use whose answers may have come by the end of a turn, and that are told of beside the idle ones.
const SUSPECTS: usize = 256;

/// What became of bytes to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The kernel has them, or is given them at the end of the turn.
    Taken,
    /// Not all yet: [`Event::Written`] or [`Event::WriteFailed`] follows.
    Pending,
    /// The connection is dead, with this system error number.
    Failed(i32),
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It brought as much as it might: there may be more.
    Full,
    /// There was no room for it.
    NoRoom,
    /// There is no more for now, or for ever.
    Done,
}

/// Whether a response begins as one that says: the request took too long to come.
fn is_idle_timeout(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.1 408 ") || head.starts_with(b"HTTP/1.0 408 ")
}

/// Whether a response's head announces the end of its connection.
fn says_close(head: &[u8]) -> bool {
    const CLOSE: &[u8] = b"connection: close";
    head.windows(CLOSE.len()).any(|words| words.eq_ignore_ascii_case(CLOSE))
}

pub(super) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl<W> Connection<W> {
    /// Whether a write may wait for the end of the turn, and be called taken: a small request's first on a connection
    /// that was idle, whose send buffer is therefore empty. Should it turn out dead, that is told as any death is.
    fn may_gather(&self, length: usize) -> bool {
        let exchange = &self.exchange;
        let is_first = exchange.bytes_written == 0 && !exchange.answered && self.output.is_empty();
        exchange.reused && is_first && length <= MOST_GATHERED
    }

    /// Whether a piece of a body may wait for the end of the turn, and be called taken, unless the kernel has no room. What is
    /// shared gathers by itself.
    fn may_join(&self, length: usize) -> bool {
        let is_long = self.exchange.bytes_written >= MOST_JOINED as u64;
        let may_have_room = self.is_gathered || self.output.is_empty();
        let fits = length >= LEAST_JOINED && self.output.unsent().len() + length <= MOST_JOINED;
        is_long && may_have_room && fits && self.shared.is_none() && self.open().is_some()
    }
}

impl<R: Reactor> Environment<R> {
    /// From here to [`scatter`](Self::scatter) a turn's events are told, and a reader that pauses for a moment is polled on.
    /// Pieces of a long body are held back to leave as one; if it `gathers`, heads of requests are too, so that a turn's requests
    /// leave together.
    pub fn begin_telling(&mut self, gathers: bool) {
        self.telling = true;
        self.gathering = gathers;
    }

    /// Sends what was held back, on connections that are still good.
    pub fn scatter(&mut self) {
        self.gathering = false;
        self.telling = false;
        for id in std::mem::take(&mut self.pausing) {
            self.update_interest(id);
        }
        let gathered = std::mem::take(&mut self.gathered);
        // Those that answers came to meanwhile are told of too.
        let suspects = if gathered.len() > 1 { self.sentinel.suspects(gathered.len() + SUSPECTS) } else { None };
        for id in gathered {
            let Some(connection) = self.connection(id) else { continue };
            if !std::mem::take(&mut connection.is_gathered) {
                continue;
            }
            if connection.shared.is_some() {
                self.write_shared(id);
                continue;
            }
            let is_cleared = |suspects: &Vec<ConnectionId>| suspects.binary_search(&id).is_err();
            // The sentinel knows what the kernel has, not what TLS has read ahead.
            let is_known = connection.is_watched_over && !connection.has_leftovers();
            if is_known && suspects.as_ref().is_some_and(is_cleared) {
                connection.is_unverified = false;
            }
            self.flush(id);
        }
    }

    /// Asks the kernel of a connection that was leased unasked. If it is dead, the exchange gets a fresh one unnoticed:
    /// no byte of it has left.
    fn verify(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if !std::mem::take(&mut connection.is_unverified) {
            return;
        }
        if let Err(reason) = connection.liveness() {
            self.swap(id, reason);
        }
    }

    /// Writes a part of the exchange's request. `more` says that another part follows at once.
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8], more: bool) -> Wrote {
        let (telling, gathering) = (self.telling, self.gathering);
        let may_gather = |connection: &Connection<R::Watch>| {
            gathering && connection.may_gather(bytes.len()) || telling && connection.may_join(bytes.len())
        };
        if self.connection(id).is_some_and(|connection| connection.is_unverified && !may_gather(connection)) {
            self.verify(id);
        }
        let Some((agent, _)) = self.place(id) else { return Wrote::Failed(libc::EPIPE) };
        let max_replay = self.agent(agent).options.retry.max_bytes;
        let Some(connection) = self.connection(id) else { return Wrote::Failed(libc::EPIPE) };
        if connection.is_mute {
            return Wrote::Taken;
        }
        let exchange = &mut connection.exchange;
        if !exchange.answered {
            exchange.replay.record(bytes, exchange.policy.as_ref().map_or(max_replay, |policy| policy.max_bytes));
        }
        let gathers = may_gather(connection);
        let sent = match &mut connection.link {
            Link::Open(open) if connection.output.is_empty() && !more => {
                if gathers {
                    Ok(None)
                } else {
                    open.transport.send(bytes).map(Some)
                }
            }
            Link::Open(_) | Link::Opening { .. } | Link::Waiting | Link::Proving(_) => Ok(None),
            // That it could not be opened is still to be told.
            Link::None if connection.trouble.is_some() => Ok(None),
            Link::None | Link::Foreign | Link::Stream(_) => return Wrote::Failed(libc::EPIPE),
        };
        match sent {
            Ok(Some(count)) => {
                connection.bytes_written += count as u64;
                connection.exchange.bytes_written += count as u64;
                let Some(rest) = bytes.get(count..).filter(|rest| !rest.is_empty()) else { return Wrote::Taken };
                connection.output.push(rest);
            }
            Ok(None) => {
                connection.output.push(bytes);
                if more {
                    return Wrote::Pending;
                }
                if gathers {
                    if !std::mem::replace(&mut connection.is_gathered, true) {
                        self.gathered.push(id);
                    }
                    return Wrote::Taken;
                }
            }
            Err(error) => {
                connection.output.push(bytes);
                let errno = errno(&error);
                if !self.survives_write_failure(id, errno) {
                    return Wrote::Failed(errno);
                }
            }
        }
        let Some(connection) = self.connection(id) else { return Wrote::Failed(libc::EPIPE) };
        connection.is_awaited = true;
        // What a `more` left behind is sent here, not when the loop next turns.
        if connection.open().is_some() { self.flush_quietly(id) } else { Wrote::Pending }
    }

    /// Sends FIN once everything written has left; [`Event::ShutDown`] follows.
    pub fn shut_down(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        connection.ends_after_output = true;
        if connection.output.is_empty()
            && !matches!(connection.link, Link::Opening { .. } | Link::Waiting | Link::Proving(_))
        {
            self.finish_shut_down(id);
            self.reactor.wake();
        }
    }

    /// Whether the embedder wants bytes of this connection.
    pub fn set_flowing(&mut self, id: ConnectionId, flowing: bool) {
        if let Some(carrier) = self.carrier_of(id) {
            return self.set_stream_flowing(carrier, id, flowing);
        }
        if let Some(connection) = self.connection(id)
            && connection.is_flowing != flowing
        {
            connection.is_flowing = flowing;
            // A reader that pauses at each chunk often goes on before the turn has ended, and a poll is dear to stop.
            if !flowing && self.telling {
                self.pausing.push(id);
            } else {
                self.update_interest(id);
            }
            if flowing && self.is_spoken(id) && self.past(id) == 0 {
                self.serve_again(id); // hyper may have more to tell
            } else {
                self.read_on(id);
            }
        }
    }

    /// Has the next turn read what TLS still holds: no poll knows of it.
    pub(super) fn read_on(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if connection.is_flowing && connection.has_leftovers() {
            self.serve_again(id);
        }
    }

    /// Serves a connection in the next turn as if it were readable.
    pub(super) fn serve_again(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if !std::mem::replace(&mut connection.is_resumed, true) {
            self.leftovers.push(Ready { id, readable: true, writable: false, stopped: false });
            self.reactor.wake();
        }
    }

    /// Whether a leased connection, or one on its way, keeps the loop alive.
    pub fn set_held(&mut self, id: ConnectionId, held: bool) {
        let is_opening = self.connection(id).is_some_and(|connection| connection.is_opening());
        if is_opening {
            self.opening_ended(id);
        }
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        connection.is_held = held;
        if let Link::Open(open) = &mut connection.link {
            self.reactor.hold(&mut open.watch, held);
        }
        if is_opening {
            self.opening_began(id);
        }
    }

    /// Serves one readiness; `false` if there was no room for its bytes.
    pub(super) fn serve(&mut self, ready: Ready, slabs: &mut impl Slabs) -> bool {
        let Ready { id, readable, writable, stopped } = ready;
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return true };
        connection.is_resumed = false;
        if stopped && let Link::Open(open) = &mut connection.link {
            open.interest = Interest::default();
        }
        let stall = connection.open().map(|open| open.transport.stall()).unwrap_or_default();
        let (readable, writable) =
            (readable || writable && stall.read_wants_write, writable || readable && stall.write_wants_read);
        if readable || stopped {
            match connection.state {
                _ if connection.shared.is_some() => {
                    if !self.hear_shared(id, Some(slabs)) {
                        return false;
                    }
                }
                State::Idle { .. } => self.check_idle(id),
                State::Leased if connection.is_flowing && !connection.is_ended => {
                    let is_done =
                        if connection.speaker.is_some() { self.hear(id, slabs) } else { self.read(id, slabs, stopped) };
                    if !is_done {
                        return false;
                    }
                }
                State::Leased | State::Connecting | State::Closing(_) => {}
            }
        }
        if (writable || stopped) && self.connection(id).is_some_and(|connection| !connection.output.is_empty()) {
            self.flush(id);
        }
        // A stopped watch whose owner still wants to hear starts again; a paused one waits for `set_flowing`.
        if stopped {
            self.update_interest(id);
        }
        true
    }

    fn check_idle(&mut self, id: ConnectionId) {
        let reason =
            match self.connection(id).and_then(|connection| connection.open_mut()).map(|open| open.transport.peek()) {
                None | Some(Liveness::Quiet) => return,
                Some(Liveness::Unsolicited) => CloseReason::Unsolicited,
                Some(Liveness::Fin) => CloseReason::PeerFin,
                Some(Liveness::Reset) => CloseReason::PeerReset,
            };
        self.end_idle(id, reason);
    }

    fn read(&mut self, id: ConnectionId, slabs: &mut impl Slabs, hung_up: bool) -> bool {
        for _ in 0..READS_PER_TURN {
            match self.read_once(id, slabs, hung_up, usize::MAX) {
                Read::Full => {}
                Read::NoRoom => return false,
                Read::Done => return true,
            }
        }
        self.read_on(id);
        true
    }

    /// Reads `most` bytes at most to where the embedder finds them.
    pub(super) fn read_once(&mut self, id: ConnectionId, slabs: &mut impl Slabs, hung_up: bool, most: usize) -> Read {
        let Some(room) = slabs.room() else { return Read::NoRoom };
        let size = room.len().min(most);
        let Some(room) = room.get_mut(..size) else { return Read::Done };
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return Read::Done };
        let Link::Open(open) = &mut connection.link else { return Read::Done };
        match open.transport.receive(room) {
            Received::Bytes(count) => {
                if !self.answers(id, room.get(..count).unwrap_or_default()) {
                    return Read::Done;
                }
                // First: the end of an answer may set off a connection that resumes them.
                self.tell_sessions(id);
                self.tell_data(id, slabs, count);
                if count == size {
                    return Read::Full;
                }
                if hung_up && self.hang_up_is_end {
                    self.died(id, Death::Fin);
                } else {
                    // How a secured connection ended behind its last bytes is told apart from them, as of any other.
                    self.read_on(id);
                }
            }
            Received::End => self.died(id, Death::Fin),
            Received::Nothing => {
                self.tell_sessions(id);
                // What it waits for may have changed: TLS has its own mind.
                self.update_interest(id);
            }
            Received::Failed(error) => self.died(id, Death::Error(errno(&error))),
        }
        Read::Done
    }

    /// Whether bytes that came answer the exchange; if not, it was dealt with.
    pub(super) fn answers(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return false };
        // Nothing was sent, so this answers nothing: the server wrote to an idle connection.
        if connection.exchange.reused && !connection.exchange.answered && !connection.has_sent() {
            self.died(id, Death::Unsolicited);
            return false;
        }
        let exchange = &mut connection.exchange;
        if exchange.reused
            && !exchange.answered
            && is_idle_timeout(bytes)
            && let Link::Open(open) = &connection.link
        {
            let is_unread = || open.transport.acknowledged_after(exchange.sent_before) == Some(0);
            let crossed = exchange.idempotent && says_close(bytes) || is_unread();
            if crossed && self.sends_again(id, Death::IdleTimeout) {
                return false;
            }
        }
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return false };
        connection.exchange.answered = true;
        connection.bytes_read += bytes.len() as u64;
        true
    }

    pub(super) fn tell_sessions(&mut self, id: ConnectionId) {
        // Those of a proxy that is spoken to by TLS are nobody's.
        let is_secure = self.connection(id).is_some_and(|connection| connection.is_secure());
        if is_secure && self.tls(id).is_some_and(Tls::has_sessions) {
            self.tell(Event::Session { id });
        }
    }

    /// Sends pending output and tells how it went.
    pub(super) fn flush(&mut self, id: ConnectionId) {
        let awaited = self.connection(id).is_some_and(|connection| connection.is_awaited);
        match self.flush_quietly(id) {
            Wrote::Taken if awaited && self.is_shared(id) => self.relieved_shared(id),
            Wrote::Taken if awaited && self.is_spoken(id) => self.relieved(id),
            Wrote::Taken if awaited => self.tell(Event::Written { id }),
            Wrote::Failed(errno) => self.tell(Event::WriteFailed { id, errno }),
            Wrote::Taken | Wrote::Pending => {}
        }
        let finishes = |connection: &Connection<R::Watch>| {
            connection.ends_after_output && connection.output.is_empty() && connection.open().is_some()
        };
        if self.connection(id).is_some_and(|connection| finishes(connection)) {
            self.finish_shut_down(id);
        }
    }

    fn flush_quietly(&mut self, id: ConnectionId) -> Wrote {
        self.verify(id);
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return Wrote::Failed(libc::EPIPE) };
        if connection.open().is_none() {
            return Wrote::Pending;
        }
        connection.is_gathered = false;
        let wrote = match connection.send_output() {
            Ok(()) if connection.output.is_empty() => {
                connection.is_awaited = false;
                Wrote::Taken
            }
            Ok(()) => Wrote::Pending,
            Err(error) => Wrote::Failed(errno(&error)),
        };
        if let Wrote::Failed(errno) = wrote {
            if self.survives_write_failure(id, errno) {
                return Wrote::Pending;
            }
            if let Some(connection) = self.connection(id) {
                connection.is_awaited = false;
                connection.output.clear();
            }
        }
        self.update_interest(id);
        wrote
    }

    fn finish_shut_down(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if let Some(open) = connection.open_mut() {
            // ENOTCONN: the peer has reset it already, which a read will tell.
            drop(open.transport.shut_down());
        }
        self.tell(Event::ShutDown { id });
    }

    pub(super) fn update_interest(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else { return };
        let wanted = connection.wanted();
        if let Link::Open(open) = &mut connection.link
            && open.interest != wanted
        {
            open.interest = wanted;
            self.reactor.watch_for(&mut open.watch, wanted);
        }
    }
}
