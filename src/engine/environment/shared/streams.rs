//! Requests on the streams of a shared connection, and what comes for them.

use bytes::Bytes;

use super::super::connection::{Link, State};
use super::super::death::Death;
use super::super::io::{READS_PER_TURN, errno};
use super::super::spoken::READ;
use super::super::{AgentId, Environment, Event, Slabs, Wrote};
use crate::engine::http::{Breakage, Heard, Misfit, RequestHead, Session};
use crate::engine::pool::{CloseReason, ConnectionId, OriginId};
use crate::engine::reactor::Reactor;
use crate::engine::retry::Evidence;
use crate::engine::transport::{Liveness, Received, Transport};

impl<R: Reactor> Environment<R> {
    pub(in super::super) fn speak_shared(
        &mut self,
        carrier: ConnectionId,
        id: ConnectionId,
        head: RequestHead,
        has_body: bool,
    ) -> Result<(), Misfit> {
        let policy = self.policy(id).ok_or(Misfit::Connection)?;
        let sent = self.transport(carrier).map_or(0, Transport::sent);
        let stream = self.connection(id).ok_or(Misfit::Connection)?;
        stream.exchange.sent_before = sent;
        // A peer may refuse on a fresh connection too.
        if policy.enabled {
            stream.exchange.replay.restart();
        }
        self.with_session(carrier, |session| session.begin(id.0, head, has_body)).unwrap_or(Err(Misfit::Connection))?;
        self.progress_shared(carrier, None);
        Ok(())
    }

    pub(in super::super) fn push_shared(&mut self, carrier: ConnectionId, id: ConnectionId, chunk: Bytes) -> bool {
        let most = self.policy(id).map_or(0, |policy| policy.max_bytes);
        let Some(stream) = self.connection(id) else { return true };
        if !stream.exchange.answered {
            stream.exchange.replay.record(&chunk, most);
        }
        self.with_session(carrier, |session| session.push(id.0, chunk));
        self.progress_shared(carrier, None);
        self.with_session(carrier, |session| session.await_room(id.0)).unwrap_or(true)
    }

    pub(in super::super) fn finish_shared(&mut self, carrier: ConnectionId, id: ConnectionId) {
        self.with_session(carrier, |session| session.finish(id.0));
        self.progress_shared(carrier, None);
    }

    pub(in super::super) fn set_stream_flowing(&mut self, carrier: ConnectionId, id: ConnectionId, is_flowing: bool) {
        self.with_session(carrier, |session| session.set_flowing(id.0, is_flowing));
        if is_flowing {
            self.serve_again(carrier);
        }
    }

    /// What was sent of the body of a stream whose request begins again.
    pub fn take_body(&mut self, id: ConnectionId) -> Vec<u8> {
        self.connection(id).map(|stream| stream.exchange.replay.take()).unwrap_or_default()
    }

    /// An exchange begins again at `to`: it stays the one that it was.
    pub fn inherit(&mut self, to: ConnectionId, from: ConnectionId) {
        let Some(left) = self.connection(from).map(|stream| std::mem::take(&mut stream.exchange)) else { return };
        let Some(connection) = self.connection(to) else { return };
        let exchange = &mut connection.exchange;
        exchange.idempotent = left.idempotent;
        exchange.policy = left.policy;
        exchange.replayed = left.replayed;
        exchange.retries = left.retries;
    }

    /// Whether an idle connection has ended, as it said while nobody listened.
    pub(in super::super) fn ended_unheard(&mut self, id: ConnectionId) -> bool {
        if !self.is_shared(id) {
            return false;
        }
        self.hear_unread(id);
        self.connection(id).is_none_or(|connection| !matches!(connection.state, State::Idle { .. }))
    }

    pub(super) fn hear_unread(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        // What came earlier is told first: behind it may be the end.
        if connection.has_untold() {
            return;
        }
        if connection.open_mut().is_some_and(|open| open.transport.peek() != Liveness::Quiet) {
            self.hear_shared(id, None);
        }
    }

    /// Reads what has come, for h2. `false` if there was no room for what it made of it.
    pub(in super::super) fn hear_shared(&mut self, id: ConnectionId, mut slabs: Option<&mut (dyn Slabs + '_)>) -> bool {
        let mut is_done = self.progress_shared(id, slabs.as_deref_mut());
        for _ in 0..READS_PER_TURN {
            let may_have_more = is_done && self.hear_shared_once(id);
            is_done = is_done && self.progress_shared(id, slabs.as_deref_mut());
            if let Some(memory) = self.with_session(id, Session::reclaim) {
                self.give_back(memory);
            }
            if !may_have_more {
                break;
            }
        }
        self.read_on(id);
        is_done
    }

    fn hear_shared_once(&mut self, id: ConnectionId) -> bool {
        let mut scratch = self.scratch();
        let now = self.now;
        let Some(connection) = self.connection(id) else { return false };
        let (Some(shared), Link::Open(open)) = (&mut connection.shared, &mut connection.link) else { return false };
        match open.transport.receive(&mut scratch) {
            Received::Bytes(count) => {
                connection.bytes_read += count as u64;
                shared.heard_at = now;
                shared.is_pinged = false;
                shared.session.feed(scratch, count);
                self.tell_sessions(id);
                return count == READ;
            }
            Received::End => self.carrier_died(id, Death::Fin),
            Received::Nothing => {
                self.tell_sessions(id);
                self.update_interest(id);
            }
            Received::Failed(error) => self.carrier_died(id, Death::Error(errno(&error))),
        }
        self.give_back(scratch);
        false
    }

    /// Has h2 go on as far as it can, writes what it says, and tells what it heard. `false` if there was no room for bytes of
    /// a body; without `slabs` they wait for the next turn.
    pub(super) fn progress_shared(&mut self, carrier: ConnectionId, mut slabs: Option<&mut (dyn Slabs + '_)>) -> bool {
        let is_turn = slabs.is_some();
        let mut is_done = true;
        while let Some((who, heard)) = self.with_session(carrier, Session::advance).flatten() {
            let id = ConnectionId(who);
            match heard {
                Heard::Head(status) => {
                    if let Some(stream) = self.connection(id) {
                        stream.exchange.answered = true;
                    }
                    self.tell_of(is_turn, Event::Head { id, status, is_upgrade: false });
                }
                Heard::Chunk => {
                    is_done = slabs.as_deref_mut().is_some_and(|slabs| self.tell_chunk(carrier, id, slabs));
                    if !is_done {
                        break;
                    }
                }
                Heard::Room => self.tell_soon(Event::Written { id }),
                Heard::Complete { has_trailers } => {
                    self.tell_of(is_turn, Event::Complete { id, has_trailers, is_reusable: true });
                }
                Heard::TooLarge => {
                    self.tell_of(is_turn, Event::Broken { id, breakage: Breakage::HeadTooLarge });
                }
                Heard::Refused => self.refused(id),
                Heard::Reset(code) => self.tell_of(is_turn, Event::Reset { id, code }),
                Heard::Cut => {
                    let death = self.connection(carrier).and_then(|connection| connection.shared.as_ref()?.death);
                    self.stream_failed(id, death.unwrap_or(Death::Fin), Evidence::Acknowledged);
                }
            }
        }
        if !is_done && !is_turn {
            self.serve_again(carrier);
        }
        self.write_shared(carrier);
        self.look_at_session(carrier);
        is_done
    }

    fn tell_chunk(&mut self, carrier: ConnectionId, id: ConnectionId, slabs: &mut dyn Slabs) -> bool {
        let Some(room) = slabs.room() else { return false };
        let count = self.with_session(carrier, |session| session.take_chunk(id.0, room));
        self.tell_data(id, slabs, count.unwrap_or_default());
        true
    }

    /// Gives the kernel what h2 has written; a turn's at its end, so that its requests leave together.
    pub(in super::super) fn write_shared(&mut self, carrier: ConnectionId) {
        if self.gathering {
            let Some(connection) = self.connection(carrier) else { return };
            if !std::mem::replace(&mut connection.is_gathered, true) {
                self.gathered.push(carrier);
            }
            return;
        }
        let written = self.with_session(carrier, Session::take_written);
        let Some(bytes) = written.filter(|bytes| !bytes.is_empty()) else { return };
        let wrote = self.write(carrier, &bytes, false);
        self.with_session(carrier, |session| session.wrote(bytes, wrote == Wrote::Pending));
    }

    /// The kernel has taken all of the output.
    pub(in super::super) fn relieved_shared(&mut self, carrier: ConnectionId) {
        self.with_session(carrier, Session::drained);
        self.progress_shared(carrier, None);
    }

    /// Whether the peer has said goodbye, or made room.
    fn look_at_session(&mut self, carrier: ConnectionId) {
        let Some((agent, origin)) = self.place(carrier) else { return };
        if self.with_session(carrier, Session::is_closing) == Some(true) {
            let is_idle = self.connection(carrier).is_some_and(|it| matches!(it.state, State::Idle { .. }));
            self.retire(carrier, if is_idle { CloseReason::PeerFin } else { CloseReason::Hint });
        } else if self.agent(agent).pool.waiting(origin) > 0 && self.has_room(carrier) {
            self.tell_room(agent, origin);
        }
    }

    pub(super) fn tell_room(&mut self, agent: AgentId, origin: OriginId) {
        if self.agent(agent).pool.waiting(origin) > 0 {
            self.tell_soon(Event::Room { agent });
        }
    }
}
