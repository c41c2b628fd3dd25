//! What the engine asks of the loop that drives it: to be told of readiness, deadlines and wake-ups.

use std::io;
use std::time::{Instant, SystemTime};

use socket2::Socket;

use super::pool::ConnectionId;

/// What a watched socket is watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes, FIN or reset.
    pub readable: bool,
    /// Room for bytes.
    pub writable: bool,
}

/// What became of a watched socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whose socket.
    pub id: ConnectionId,
    /// Reading will not block.
    pub readable: bool,
    /// Writing will not block.
    pub writable: bool,
    /// The loop has stopped watching it; only another [`Reactor::watch_for`] resumes.
    pub stopped: bool,
}

/// The loop. Every call comes from the loop's own thread.
pub trait Reactor {
    /// One watched socket.
    type Watch;

    /// Begins to watch `socket` for nothing yet. Such a watch keeps the loop alive.
    ///
    /// # Errors
    /// The loop's, when it cannot watch this descriptor.
    fn watch(&mut self, socket: &Socket, id: ConnectionId) -> io::Result<Self::Watch>;

    /// Watches for `interest` from now on, level-triggered.
    fn watch_for(&mut self, watch: &mut Self::Watch, interest: Interest);

    /// Whether the watch keeps the loop alive.
    fn hold(&mut self, watch: &mut Self::Watch, alive: bool);

    /// Ends the watch; the socket may be closed right after. If `gone` names a connection, [`Environment::gone`] must be
    /// called when the loop is done with the watch: at the end of this turn, and never from within this call.
    ///
    /// [`Environment::gone`]: super::environment::Environment::gone
    fn unwatch(&mut self, watch: Self::Watch, gone: Option<ConnectionId>);

    /// As [`unwatch`](Self::unwatch) for a connection that was never watched.
    fn gone_later(&mut self, id: ConnectionId);

    /// When a turn is needed at the latest; a deadline does not keep the loop alive.
    fn set_deadline(&mut self, deadline: Option<Instant>);

    /// Asks for a turn soon, though no socket may be ready.
    fn wake(&mut self);

    /// Whether answers that are still to come through the doorbell keep the loop alive.
    fn hold_doorbell(&mut self, alive: bool);

    /// The time of day, which goes on while the machine sleeps.
    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Moves the readiness seen since the last call to the end of `into`, in the order seen.
    fn take_ready(&mut self, into: &mut Vec<Ready>);
}
