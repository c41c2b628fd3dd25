//! What stands in for the loop, the doorbell and the embedder's memory.

use std::collections::BTreeMap;
use std::io;

use socket2::Socket;

use super::*;
use crate::engine::reactor::Interest;

/// A loop that finds every watched socket ready, whether it is or not.
#[derive(Debug, Default)]
pub(super) struct Mock {
    pub(super) watched: BTreeMap<ConnectionId, Interest>,
    pub(super) gone: Vec<ConnectionId>,
    pub(super) deadline: Option<Instant>,
    pub(super) holds_doorbell: bool,
}

impl Reactor for Mock {
    type Watch = ConnectionId;

    fn watch(&mut self, _: &Socket, id: ConnectionId) -> io::Result<ConnectionId> {
        assert_eq!(self.watched.insert(id, Interest::default()), None);
        Ok(id)
    }

    fn watch_for(&mut self, watch: &mut ConnectionId, interest: Interest) {
        assert!(self.watched.insert(*watch, interest).is_some());
    }

    fn hold(&mut self, watch: &mut ConnectionId, _: bool) {
        assert!(self.watched.contains_key(watch));
    }

    fn unwatch(&mut self, watch: ConnectionId, gone: Option<ConnectionId>) {
        assert!(self.watched.remove(&watch).is_some());
        self.gone.extend(gone);
    }

    fn gone_later(&mut self, id: ConnectionId) {
        self.gone.push(id);
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    fn wake(&mut self) {}

    fn hold_doorbell(&mut self, alive: bool) {
        self.holds_doorbell = alive;
    }

    fn take_ready(&mut self, into: &mut Vec<Ready>) {
        let ready = |(id, interest): (&ConnectionId, &Interest)| {
            let Interest { readable, writable } = *interest;
            (readable || writable).then_some(Ready { id: *id, readable, writable, stopped: false })
        };
        into.extend(self.watched.iter().filter_map(ready));
    }
}

pub(super) struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

pub(super) struct Room(pub(super) [u8; 64]);

impl Slabs for Room {
    fn room(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }

    fn commit(&mut self, _: usize) -> (u32, u32) {
        (0, 0)
    }
}
