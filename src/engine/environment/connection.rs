//! One place in the pool: its state, its link to the peer, its exchange.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::death::Failure;
use super::shared::Shared;
use super::{AgentId, Trouble};
use crate::engine::connect::{Attempt, Target};
use crate::engine::http::Speaker;
use crate::engine::lifetime::{Life, Limits};
use crate::engine::pool::{CloseReason, ConnectionId, OriginId};
use crate::engine::reactor::{Interest, Reactor};
use crate::engine::retry::{Policy, Replay};
use crate::engine::transport::{Ends, Output, Transport};

/// The four states of the glossary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Leased,
    Idle { since: Instant, until: Option<(Instant, CloseReason)> },
    Closing(CloseReason),
}

/// What leads to the peer.
#[derive(Debug)]
pub(super) enum Link<W> {
    /// Nothing yet, or nothing any more.
    None,
    /// On its way.
    Opening {
        /// Held for its drop, which cancels.
        _attempt: Attempt,
    },
    /// To be opened again after a wait.
    Waiting,
    /// Open and secured; the embedder still looks at whom it reached.
    Proving(Box<Transport>),
    /// A socket of this engine.
    Open(Open<W>),
    /// A socket that the embedder opened and drives itself.
    Foreign,
    /// A share of that connection.
    Stream(ConnectionId),
}

#[derive(Debug)]
pub(super) struct Open<W> {
    pub(super) transport: Transport,
    pub(super) watch: W,
    pub(super) interest: Interest,
}

/// One request and its response.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts of one request, each asked by itself")]
pub(super) struct Exchange {
    pub(super) idempotent: bool,
    pub(super) reused: bool,
    pub(super) answered: bool,
    pub(super) bytes_written: u64,
    /// Bytes that the kernel had taken of earlier exchanges on this connection.
    pub(super) sent_before: u64,
    /// Since when its connection had been idle, and until when.
    pub(super) idle_since: Option<Instant>,
    pub(super) leased_at: Option<Instant>,
    /// It was sent again at once.
    pub(super) replayed: bool,
    /// Attempts with a wait before them.
    pub(super) retries: u32,
    pub(super) replay: Replay,
    /// Its own, instead of the agent's.
    pub(super) policy: Option<Arc<Policy>>,
    /// Why it failed for good.
    pub(super) failure: Option<Failure>,
}

impl Exchange {
    /// How long its connection had been idle.
    pub(super) fn idle(&self) -> Option<Duration> {
        Some(self.leased_at?.saturating_duration_since(self.idle_since?))
    }
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent wishes of the embedder and facts of the socket, not a state"
)]
pub(super) struct Connection<W> {
    pub(super) agent: AgentId,
    pub(super) origin: OriginId,
    pub(super) state: State,
    pub(super) link: Link<W>,
    pub(super) life: Life,
    pub(super) exchange: Exchange,
    pub(super) output: Output,
    /// Speaks HTTP on it, unless the embedder does.
    pub(super) speaker: Option<Box<Speaker>>,
    /// Speaks HTTP/2 on it, for its streams.
    pub(super) shared: Option<Box<Shared>>,
    /// The embedder waits for `Written`.
    pub(super) is_awaited: bool,
    /// The embedder wants bytes.
    pub(super) is_flowing: bool,
    /// The peer's FIN was read.
    pub(super) is_ended: bool,
    /// FIN is sent as soon as the output is.
    pub(super) ends_after_output: bool,
    /// The embedder wants this connection to keep the loop alive.
    pub(super) is_held: bool,
    pub(super) is_gathered: bool,
    /// An idle one was passed over for it, and serves should this one not open.
    pub(super) is_beside: bool,
    /// The answer came early, and the rest of the request goes nowhere.
    pub(super) is_mute: bool,
    /// Somebody else's: driven here, but out of the pool.
    pub(super) is_away: bool,
    /// The next turn reads what TLS still holds.
    pub(super) is_resumed: bool,
    /// The reactor was asked to tell when it is gone.
    pub(super) is_parting: bool,
    /// The sentinel knows it.
    pub(super) is_watched_over: bool,
    /// Leased after an earlier exchange: the kernel is still to be asked, right before the first byte leaves.
    pub(super) is_unverified: bool,
    pub(super) no_delay: bool,
    pub(super) keep_alive: Option<Duration>,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) target: Option<Arc<Target>>,
    /// This end's address and the other's, as they were when it was connected.
    pub(super) ends: Ends,
    /// Tells attempts to open it apart, and connections with the same number.
    pub(super) ticket: u64,
    pub(super) begun: Instant,
    pub(super) opened: Option<Instant>,
    /// When the idle deadline in the heap fires, so that there is one entry, not one per release.
    pub(super) reminder: Option<Instant>,
    pub(super) trouble: Option<Box<Trouble>>,
    /// How the link died, which is why it is closed, whatever the caller does then.
    pub(super) death: Option<CloseReason>,
}

impl<W> Connection<W> {
    pub(super) fn new(agent: AgentId, origin: OriginId, limits: &Limits, now: Instant) -> Self {
        Self {
            agent,
            origin,
            state: State::Connecting,
            link: Link::None,
            life: Life::begin(limits, now, 0.0),
            exchange: Exchange::default(),
            output: Output::default(),
            speaker: None,
            shared: None,
            is_awaited: false,
            is_flowing: false,
            is_ended: false,
            ends_after_output: false,
            is_held: true,
            is_gathered: false,
            is_beside: false,
            is_mute: false,
            is_unverified: false,
            is_watched_over: false,
            is_away: false,
            is_resumed: false,
            is_parting: false,
            no_delay: false,
            keep_alive: None,
            bytes_read: 0,
            bytes_written: 0,
            target: None,
            ends: (None, None),
            ticket: 0,
            begun: now,
            opened: None,
            reminder: None,
            trouble: None,
            death: None,
        }
    }

    pub(super) fn open(&self) -> Option<&Open<W>> {
        match &self.link {
            Link::Open(open) => Some(open),
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Foreign | Link::Stream(_) => {
                None
            }
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open<W>> {
        match &mut self.link {
            Link::Open(open) => Some(open),
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Foreign | Link::Stream(_) => {
                None
            }
        }
    }

    /// Whether bytes of the exchange's request have left: on the wire, for TLS counts a batch as a whole.
    pub(super) fn has_sent(&self) -> bool {
        self.open().is_some_and(|open| open.transport.sent() > self.exchange.sent_before)
    }

    /// Whether it is on its way, or will be again.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.link, Link::Opening { .. } | Link::Waiting)
    }

    /// Whether it is made secure, and not only the way to a proxy.
    pub(super) fn is_secure(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.tls.is_some())
    }

    /// Whether TLS or hyper have bytes that the kernel does not know of any more.
    pub(super) fn has_leftovers(&self) -> bool {
        self.open().is_some_and(|open| !open.transport.is_drained()) || self.has_untold()
    }

    /// Whether hyper or h2 has something that is not told yet.
    pub(super) fn has_untold(&self) -> bool {
        self.speaker.as_ref().is_some_and(|speaker| speaker.has_backlog())
            || self.shared.as_ref().is_some_and(|shared| shared.session.has_backlog())
    }

    /// Begins the next exchange.
    pub(super) fn begin_exchange(&mut self, idempotent: bool, keep_replay: bool) {
        let reused = self.life.requests > 0;
        if reused {
            self.life.hint.max = self.life.hint.max.map(|max| max.saturating_sub(1));
        }
        let mut replay = std::mem::take(&mut self.exchange.replay);
        if keep_replay {
            replay.restart();
        } else {
            replay = Replay::Off;
        }
        let sent_before = self.open().map_or(0, |open| open.transport.sent());
        self.exchange = Exchange { idempotent, reused, sent_before, replay, ..Exchange::default() };
        self.is_flowing = true;
    }

    /// What it must be watched for right now.
    pub(super) fn wanted(&self) -> Interest {
        let listens = match self.state {
            State::Idle { .. } => true,
            State::Leased => self.is_flowing,
            State::Connecting | State::Closing(_) => false,
        };
        let stall = self.open().map(|open| open.transport.stall()).unwrap_or_default();
        let sends = !self.output.is_empty() && !self.is_gathered && !stall.write_wants_read;
        Interest {
            readable: (listens || stall.write_wants_read) && !self.is_ended,
            writable: sends || stall.read_wants_write,
        }
    }

    /// Gives the kernel the output, as far as it has room.
    pub(super) fn send_output(&mut self) -> io::Result<()> {
        let Link::Open(open) = &mut self.link else { return Ok(()) };
        while !self.output.is_empty() {
            let count = open.transport.send(self.output.unsent())?;
            if count == 0 {
                break;
            }
            self.output.advance(count);
            self.bytes_written += count as u64;
            self.exchange.bytes_written += count as u64;
        }
        Ok(())
    }

    /// Does so with what was called taken, of a connection that somebody is done with, and has no use for errors of.
    pub(super) fn hurry(&mut self) {
        if std::mem::take(&mut self.is_gathered) && self.shared.is_none() {
            drop(self.send_output());
        }
    }

    /// Cuts the link. The reactor tells `gone` when it is done, if somebody asks.
    pub(super) fn cut<R: Reactor<Watch = W>>(&mut self, reactor: &mut R, gone: Option<ConnectionId>) {
        self.output.clear();
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Open(Open { transport, watch, .. }) => {
                reactor.unwatch(watch, gone);
                drop(transport);
            }
            Link::None | Link::Opening { .. } | Link::Waiting | Link::Proving(_) | Link::Foreign | Link::Stream(_) => {
                if let Some(id) = gone {
                    reactor.gone_later(id);
                }
            }
        }
    }

    pub(super) fn facts(&self, now: Instant) -> Facts {
        Facts {
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written,
            unsent: self.output.unsent().len() + self.open().map_or(0, |open| open.transport.held_back()),
            requests: self.life.requests,
            age: self.opened.map(|opened| now.saturating_duration_since(opened)),
            connect: self.opened.map(|opened| opened.saturating_duration_since(self.begun)),
            idle: match self.state {
                State::Idle { since, .. } => Some(now.saturating_duration_since(since)),
                State::Connecting | State::Leased | State::Closing(_) => None,
            },
            reason: match self.state {
                State::Closing(reason) => Some(reason),
                State::Connecting | State::Leased | State::Idle { .. } => None,
            },
            is_tcp: self.open().is_some_and(|open| open.transport.is_tcp()),
            failure: self.exchange.failure,
        }
    }
}

/// What is known of one connection at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Bytes that came, over all exchanges.
    pub bytes_read: u64,
    /// Bytes that the kernel took, over all exchanges.
    pub bytes_written: u64,
    /// Bytes that it has not taken yet.
    pub unsent: usize,
    /// Exchanges finished.
    pub requests: u32,
    /// Since it was opened.
    pub age: Option<Duration>,
    /// How long opening it took.
    pub connect: Option<Duration>,
    /// Since it was released, while it is idle.
    pub idle: Option<Duration>,
    /// Why it is closing.
    pub reason: Option<CloseReason>,
    /// Whether it is TCP.
    pub is_tcp: bool,
    /// Why its request failed for good.
    pub failure: Option<Failure>,
}
