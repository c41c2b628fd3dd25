//! What the embedder hears, and where it wants its bytes.

use super::AgentId;
use crate::engine::http::Breakage;
use crate::engine::pool::{CloseReason, ConnectionId, WaiterId};

/// One fact for the embedder, in the order in which they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes arrived in a slab.
    Data {
        /// Whose.
        id: ConnectionId,
        /// The slab's number.
        slab: u32,
        /// Where they begin.
        offset: u32,
        /// How many.
        length: u32,
    },
    /// The peer closed its side.
    End {
        /// Whose.
        id: ConnectionId,
    },
    /// Reading failed.
    ReadFailed {
        /// Whose.
        id: ConnectionId,
        /// The system's error number.
        errno: i32,
    },
    /// The kernel has taken everything that [`Wrote::Pending`](super::Wrote::Pending) announced.
    Written {
        /// Whose.
        id: ConnectionId,
    },
    /// Writing what was pending failed.
    WriteFailed {
        /// Whose.
        id: ConnectionId,
        /// The system's error number.
        errno: i32,
    },
    /// The name was looked up; [`addresses`](super::Environment::take_addresses) has the answer.
    Found {
        /// Whose.
        id: ConnectionId,
    },
    /// Open and leased.
    Connected {
        /// Whose.
        id: ConnectionId,
    },
    /// Secured, on a fresh connection or on a replacement: [`accept`](super::Environment::accept) it, or close it.
    Secured {
        /// Whose.
        id: ConnectionId,
    },
    /// Sessions to resume have come: [`tls`](super::Environment::tls) has them.
    Session {
        /// Whose.
        id: ConnectionId,
    },
    /// Could not be opened; [`take_trouble`](super::Environment::take_trouble) says why.
    ConnectFailed {
        /// Whose.
        id: ConnectionId,
    },
    /// The FIN asked for was sent.
    ShutDown {
        /// Whose.
        id: ConnectionId,
    },
    /// An idle connection ended and was closed.
    Ended {
        /// Whose.
        id: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// The exchange goes on on a fresh connection.
    Replaying {
        /// Whose.
        id: ConnectionId,
        /// Why the first connection ended.
        reason: CloseReason,
    },
    /// The connection was found dead before a byte of the exchange had left; it goes on on a fresh one.
    Swapped {
        /// Whose.
        id: ConnectionId,
    },
    /// The connection could not be opened, or not soon; the exchange goes on on one that was idle. `Secured` or `Connected`
    /// follows.
    FellBack {
        /// Whose.
        id: ConnectionId,
    },
    /// The loop is done with a closed connection.
    Gone {
        /// Whose.
        id: ConnectionId,
    },
    /// The head of an answer that the engine reads itself; [`take_head`](super::Environment::take_head) has it. What `Data`
    /// tells after that is its body.
    Head {
        /// Whose.
        id: ConnectionId,
        /// Its status.
        status: u16,
        /// The connection speaks something else from here on: [`fall_silent`](super::Environment::fall_silent).
        is_upgrade: bool,
    },
    /// That answer is whole.
    Complete {
        /// Whose.
        id: ConnectionId,
        /// [`take_trailers`](super::Environment::take_trailers) has them.
        has_trailers: bool,
        /// Whether both messages allow for another exchange.
        is_reusable: bool,
    },
    /// That answer cannot be understood.
    Broken {
        /// Whose.
        id: ConnectionId,
        /// Why.
        breakage: Breakage,
    },
    /// One side has given a share of a connection up, with this error code of HTTP/2.
    Reset {
        /// Whose.
        id: ConnectionId,
        /// RFC 9113, 7.
        code: u32,
    },
    /// There may be room for a waiter.
    Room {
        /// Whose waiter.
        agent: AgentId,
    },
    /// A waiter waited for too long.
    GaveUp {
        /// Whose waiter.
        agent: AgentId,
        /// Which.
        waiter: WaiterId,
    },
}

impl Event {
    /// The connection it is about.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        match *self {
            Self::Data { id, .. }
            | Self::End { id }
            | Self::ReadFailed { id, .. }
            | Self::Written { id }
            | Self::WriteFailed { id, .. }
            | Self::Found { id }
            | Self::Connected { id }
            | Self::Secured { id }
            | Self::Session { id }
            | Self::ConnectFailed { id }
            | Self::ShutDown { id }
            | Self::Ended { id, .. }
            | Self::Replaying { id, .. }
            | Self::Swapped { id }
            | Self::FellBack { id }
            | Self::Head { id, .. }
            | Self::Complete { id, .. }
            | Self::Broken { id, .. }
            | Self::Reset { id, .. }
            | Self::Gone { id } => Some(id),
            Self::GaveUp { .. } | Self::Room { .. } => None,
        }
    }
}

/// Memory that the embedder lends for reads. What was committed is never written again.
pub trait Slabs {
    /// Room for the next read, or `None` when the embedder must be told first of what was read.
    fn room(&mut self) -> Option<&mut [u8]>;

    /// The first `length` bytes of that room are filled: which slab, and from where.
    fn commit(&mut self, length: usize) -> (u32, u32);
}
