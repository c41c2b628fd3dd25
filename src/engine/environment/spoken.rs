//! Connections whose HTTP the engine speaks itself: what the embedder asks of an exchange, and what it hears of it.

use bytes::Bytes;

use super::connection::Link;
use super::death::Death;
use super::io::{READS_PER_TURN, Read, errno};
use super::{Environment, Event, Slabs, Wrote};
use crate::engine::http::{Limits, Misfit, RequestHead, Speaker, Told};
use crate::engine::pool::ConnectionId;
use crate::engine::reactor::Reactor;
use crate::engine::transport::Received;

/// A read for hyper.
pub(super) const READ: usize = 64 * 1024;

impl<R: Reactor> Environment<R> {
    /// Begins an exchange on a leased connection. Of a request that `has_body` nothing leaves before a part of that does.
    /// News: `Head`, `Data`, then `Complete` or `Broken`, or what ends any connection.
    ///
    /// # Errors
    /// [`Misfit::Connection`], [`Misfit::Header`] for a body whose length none tells, or what HTTP/2 cannot have of a request
    /// that HTTP/1.1 can.
    pub fn speak(&mut self, id: ConnectionId, head: RequestHead, has_body: bool, limits: Limits) -> Result<(), Misfit> {
        if let Some(carrier) = self.carrier_of(id) {
            return self.speak_shared(carrier, id, head, has_body);
        }
        let (now, gathering) = (self.now, self.gathering);
        let connection = self.connection(id).ok_or(Misfit::Connection)?;
        // Nothing has been done since the checkout, which asked the kernel: it need not be asked again.
        connection.is_unverified &= has_body || gathering || connection.exchange.leased_at != Some(now);
        if connection.speaker.as_ref().is_none_or(|speaker| !speaker.is_ready()) {
            connection.speaker = Speaker::new(limits).map(Box::new);
        }
        let speaker = connection.speaker.as_mut().ok_or(Misfit::Connection)?;
        speaker.begin(head, has_body)?;
        if !has_body {
            self.progress(id, None);
        }
        Ok(())
    }

    /// Puts in a piece of a request's body. `false`: wait for `Written` before the next.
    pub fn push_body(&mut self, id: ConnectionId, chunk: Bytes) -> bool {
        if let Some(carrier) = self.carrier_of(id) {
            return self.push_shared(carrier, id, chunk);
        }
        if self.is_homeless(id) {
            // It begins again with what was sent, and this behind it.
            if let Some(stream) = self.connection(id) {
                stream.exchange.replay.extend(&chunk);
            }
            return false;
        }
        self.with_speaker(id, |speaker| speaker.push(chunk));
        self.progress(id, None);
        self.with_speaker(id, Speaker::await_room).unwrap_or(true)
    }

    /// A request's body is whole.
    pub fn finish_body(&mut self, id: ConnectionId) {
        if let Some(carrier) = self.carrier_of(id) {
            return self.finish_shared(carrier, id);
        }
        self.with_speaker(id, Speaker::finish);
        self.progress(id, None);
    }

    /// The head that the first untaken `Head` told of: `reason`, and `\n name \n value` for each header.
    pub fn take_head(&mut self, id: ConnectionId) -> Vec<u8> {
        if let Some(carrier) = self.carrier_of(id) {
            return self.with_session(carrier, |session| session.take_head(id.0)).unwrap_or_default();
        }
        self.with_speaker(id, Speaker::take_head).unwrap_or_default()
    }

    /// The trailers that `Complete` told of: `name \n value`, and so on.
    pub fn take_trailers(&mut self, id: ConnectionId) -> Vec<u8> {
        if let Some(carrier) = self.carrier_of(id) {
            return self.with_session(carrier, |session| session.take_trailers(id.0)).unwrap_or_default();
        }
        self.with_speaker(id, Speaker::take_trailers).unwrap_or_default()
    }

    /// From here on the embedder reads and writes bytes of whatever the connection speaks now; answers those that have come.
    pub fn fall_silent(&mut self, id: ConnectionId) -> Vec<u8> {
        let speaker = self.connection(id).and_then(|connection| connection.speaker.take());
        speaker.map_or_else(Vec::new, |speaker| speaker.into_unread())
    }

    fn with_speaker<T>(&mut self, id: ConnectionId, work: impl FnOnce(&mut Speaker) -> T) -> Option<T> {
        self.connection(id)?.speaker.as_mut().map(|speaker| work(speaker))
    }

    /// Whether the engine speaks HTTP on a connection or a share of one.
    #[must_use]
    pub fn is_spoken(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id.0 as usize)
            .is_some_and(|connection| connection.speaker.is_some() || matches!(connection.link, Link::Stream(_)))
    }

    /// Reads what has come, for hyper. `false` if there was no room for what it made of it.
    pub(super) fn hear(&mut self, id: ConnectionId, slabs: &mut impl Slabs) -> bool {
        // What came earlier is told first: behind it may be the end.
        let mut is_done =
            self.with_speaker(id, |speaker| speaker.awaits_head()) == Some(true) || self.progress(id, Some(slabs));
        for _ in 0..READS_PER_TURN {
            let may_have_more = is_done
                && match self.pass_once(id, slabs) {
                    Some(Read::NoRoom) => return false,
                    // Behind the body comes nothing that was asked for.
                    Some(read) => read == Read::Full && self.past(id) > 0,
                    None => self.hear_once(id),
                };
            is_done = is_done && self.progress(id, Some(slabs));
            if let Some(memory) = self.with_speaker(id, Speaker::reclaim) {
                self.give_back(memory);
            }
            if !may_have_more {
                break;
            }
        }
        self.read_on(id);
        is_done
    }

    /// Memory for a read, which goes where its bytes go, and comes back.
    pub(super) fn scratch(&mut self) -> Vec<u8> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(READ, 0);
        scratch
    }

    pub(super) fn give_back(&mut self, memory: Vec<u8>) {
        if memory.len() > self.scratch.len() {
            self.scratch = memory;
        }
    }

    /// Whether what comes next of an answer would be told at once.
    fn listens(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id.0 as usize)
            .is_some_and(|connection| connection.is_flowing && !connection.has_untold() && connection.speaker.is_some())
    }

    /// How many bytes of an answer come next that hyper has no need of.
    pub(super) fn past(&self, id: ConnectionId) -> u64 {
        let connection = self.connections.get(id.0 as usize);
        connection.and_then(|connection| connection.speaker.as_ref()).map_or(0, |speaker| speaker.past())
    }

    /// Tells what one read brings of a body that hyper has no need of, if such bytes come next.
    fn pass_once(&mut self, id: ConnectionId, slabs: &mut impl Slabs) -> Option<Read> {
        let most = self.past(id);
        if most == 0 {
            return None;
        }
        if !self.listens(id) {
            return Some(Read::Done);
        }
        let before = self.connection(id)?.bytes_read;
        let read = self.read_once(id, slabs, false, usize::try_from(most).unwrap_or(usize::MAX));
        let count = self.connection(id)?.bytes_read - before;
        self.with_speaker(id, |speaker| speaker.passed(count));
        Some(read)
    }

    /// Gives hyper what one read brings; whether there may be more.
    fn hear_once(&mut self, id: ConnectionId) -> bool {
        if !self.listens(id) {
            return false;
        }
        let mut scratch = self.scratch();
        let Some(open) = self.connection(id).and_then(|connection| connection.open_mut()) else { return false };
        match open.transport.receive(&mut scratch) {
            Received::Bytes(count) => {
                if !self.answers(id, scratch.get(..count).unwrap_or_default()) {
                    self.give_back(scratch);
                    return false;
                }
                self.with_speaker(id, |speaker| speaker.feed(scratch, count));
                self.tell_sessions(id);
                return count == READ;
            }
            Received::End => self.died(id, Death::Fin),
            Received::Nothing => {
                self.tell_sessions(id);
                self.update_interest(id);
            }
            Received::Failed(error) => self.died(id, Death::Error(errno(&error))),
        }
        self.give_back(scratch);
        false
    }

    /// Has hyper go on as far as it can, writes what it says, and tells what it heard. `false` if there was no room for
    /// bytes of a body; without `slabs` they wait for the next turn.
    pub(super) fn progress(&mut self, id: ConnectionId, mut slabs: Option<&mut dyn Slabs>) -> bool {
        loop {
            let Some(connection) = self.connection(id) else { return true };
            let is_flowing = connection.is_flowing;
            let Some(speaker) = connection.speaker.as_mut() else { return true };
            let told = speaker.advance(is_flowing);
            self.write_on(id);
            match told {
                None => break,
                Some(Told::Head { status, is_upgrade }) => {
                    self.tell_of(slabs.is_some(), Event::Head { id, status, is_upgrade });
                    if is_upgrade {
                        // What comes now is read when somebody else is there to hear it.
                        break;
                    }
                }
                Some(Told::Complete { has_trailers, is_reusable }) => {
                    self.tell_of(slabs.is_some(), Event::Complete { id, has_trailers, is_reusable });
                    break;
                }
                Some(Told::Broken(breakage)) => self.tell_of(slabs.is_some(), Event::Broken { id, breakage }),
                Some(Told::Chunk) => {
                    let Some(slabs) = slabs.as_deref_mut() else {
                        self.read_on(id);
                        return true;
                    };
                    let Some(room) = slabs.room() else { return false };
                    let Some(speaker) = self.connections.get_mut(id.0 as usize).and_then(|it| it.speaker.as_mut())
                    else {
                        return true;
                    };
                    let count = speaker.take_chunk(room);
                    self.tell_data(id, slabs, count);
                }
            }
        }
        if self.with_speaker(id, Speaker::is_relieved) == Some(true) {
            self.tell_soon(Event::Written { id });
        }
        true
    }

    /// So many bytes for `id` have been put into the room of `slabs`.
    pub(super) fn tell_data(&mut self, id: ConnectionId, slabs: &mut dyn Slabs, count: usize) {
        let (slab, offset) = slabs.commit(count);
        self.tell(Event::Data { id, slab, offset, length: u32::try_from(count).unwrap_or(u32::MAX) });
    }

    /// A turn tells at its end; whatever comes outside of one needs another.
    pub(super) fn tell_of(&mut self, is_turn: bool, event: Event) {
        if is_turn {
            self.tell(event);
        } else {
            self.tell_soon(event);
        }
    }

    /// Gives the kernel what hyper has written.
    fn write_on(&mut self, id: ConnectionId) {
        let Some(bytes) = self.with_speaker(id, Speaker::take_written).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        let wrote = self.write(id, &bytes, false);
        self.with_speaker(id, |speaker| speaker.wrote(bytes, wrote == Wrote::Pending));
        if let Wrote::Failed(errno) = wrote {
            self.tell_soon(Event::WriteFailed { id, errno });
        }
    }

    /// The kernel has taken all of a connection's output.
    pub(super) fn relieved(&mut self, id: ConnectionId) {
        self.with_speaker(id, Speaker::drained);
        self.progress(id, None);
    }

    /// Tells hyper that the connection has ended, which may be how an answer is whole.
    pub(super) fn end_spoken(&mut self, id: ConnectionId) {
        self.with_speaker(id, Speaker::end);
        self.progress(id, None);
    }
}
