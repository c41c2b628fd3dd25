//! What happens to an exchange whose connection died or could not be opened: sent again, or told.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, Exchange, Link, State};
use super::{Due, Environment, Event, Trouble};
use crate::engine::pool::{CloseReason, ConnectionId};
use crate::engine::reactor::Reactor;
use crate::engine::retry::{Attempt, Evidence, Policy, Refusal, Verdict, decide};
use crate::engine::transport::Liveness;

/// How a connection in use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    Fin,
    /// Bytes came that cannot be an answer.
    Unsolicited,
    /// A `408` for the time that it was idle, on its way when the request left.
    IdleTimeout,
    Error(i32),
}

impl Death {
    pub(super) fn reason(self) -> CloseReason {
        match self {
            Self::Fin => CloseReason::PeerFin,
            Self::Unsolicited | Self::IdleTimeout => CloseReason::Unsolicited,
            Self::Error(_) => CloseReason::PeerReset,
        }
    }

    /// As the caller would hear of it: an end without an answer is Node's `ECONNRESET`.
    pub(super) fn errno(self) -> i32 {
        match self {
            Self::Fin | Self::Unsolicited | Self::IdleTimeout => libc::ECONNRESET,
            Self::Error(errno) => errno,
        }
    }
}

/// What is known of a request that failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its connection had served before.
    pub reused: bool,
    /// How long that had been idle.
    pub idle: Option<Duration>,
    /// Exchanges that it had finished.
    pub requests: u32,
    /// Where the request's bytes went.
    pub evidence: Evidence,
    /// How often it was sent, this time included.
    pub attempts: u32,
    /// Why it was not sent again.
    pub refusal: Refusal,
}

impl<W> Connection<W> {
    pub(super) fn failure(&self, evidence: Evidence, refusal: Refusal) -> Failure {
        let exchange = &self.exchange;
        Failure {
            reused: exchange.reused,
            idle: exchange.idle(),
            requests: self.life.requests,
            evidence,
            attempts: 1 + u32::from(exchange.replayed) + exchange.retries,
            refusal,
        }
    }

    fn evidence(&self, death: Death) -> Evidence {
        self.evidence_of(&self.exchange, death)
    }

    /// Of an exchange on this connection.
    pub(super) fn evidence_of(&self, exchange: &Exchange, death: Death) -> Evidence {
        let Some(open) = self.open() else { return Evidence::NotWritten };
        let has_fin = match death {
            Death::Fin | Death::IdleTimeout => true,
            // Linux calls a reset EPIPE if a FIN had come before it, else ECONNRESET (net/ipv4/tcp_input.c, tcp_reset).
            // To look for the FIN now would mislead: with its error read, a reset connection reads as ended.
            Death::Error(errno) => errno == libc::EPIPE,
            Death::Unsolicited => false,
        };
        // On the wire: with TLS, a record of which a part has left is as much as a whole one.
        let sent = open.transport.sent().saturating_sub(exchange.sent_before);
        let acknowledged = || open.transport.acknowledged_after(exchange.sent_before);
        Evidence::of(sent, if sent == 0 { None } else { acknowledged() }, has_fin)
    }
}

impl<R: Reactor> Environment<R> {
    /// The policy of a connection's exchange: its own, or the agent's.
    pub(super) fn policy(&mut self, id: ConnectionId) -> Option<Arc<Policy>> {
        let connection = self.connection(id)?;
        let (agent, own) = (connection.agent, connection.exchange.policy.clone());
        Some(own.unwrap_or_else(|| Arc::clone(&self.agent(agent).options.retry)))
    }

    /// A connection in use ended: its exchange goes on elsewhere, or the embedder hears.
    pub(super) fn died(&mut self, id: ConnectionId, death: Death) {
        if self.sends_again(id, death) {
            return;
        }
        let Some(connection) = self.connection(id) else { return };
        connection.is_ended = true;
        // The answer came before the whole request had left: what breaks now is the rest of an upload that the server
        // does not want. Should the answer not be whole, its end says so.
        let is_answered = connection.exchange.answered && !connection.is_away;
        if matches!(death, Death::Error(_)) && is_answered && !connection.output.is_empty() {
            self.mute(id);
        }
        let is_mute = self.connection(id).is_some_and(|connection| connection.is_mute);
        self.update_interest(id);
        if !matches!(death, Death::Error(_)) || is_mute {
            self.end_spoken(id);
        }
        self.tell(match death {
            Death::Error(errno) if !is_mute => Event::ReadFailed { id, errno },
            Death::Error(_) | Death::Fin | Death::Unsolicited | Death::IdleTimeout => Event::End { id },
        });
    }

    /// Writing failed. Whether that is nobody's business: the exchange goes on elsewhere, or the server has answered
    /// before it closed, and what it said is still to be read.
    pub(super) fn survives_write_failure(&mut self, id: ConnectionId, errno: i32) -> bool {
        if self.is_shared(id) {
            self.mute_shared(id);
            return true;
        }
        let Some(connection) = self.connection(id) else { return false };
        let has_written = connection.has_sent();
        let has_answer = connection.exchange.answered
            || has_written && connection.open_mut().is_some_and(|open| open.transport.peek() == Liveness::Unsolicited);
        if has_answer && connection.state == State::Leased && !connection.is_away {
            self.mute(id);
            return true;
        }
        self.sends_again(id, Death::Error(errno))
    }

    /// The rest of a request goes nowhere: its answer has come, and its connection cannot take it.
    fn mute(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        connection.is_mute = true;
        connection.output.clear();
        let is_awaited = std::mem::take(&mut connection.is_awaited);
        if self.is_spoken(id) {
            self.relieved(id);
        } else if is_awaited {
            self.tell_soon(Event::Written { id });
        }
    }

    /// Decides on the exchange of a dead connection; if it is sent again, that has begun.
    pub(super) fn sends_again(&mut self, id: ConnectionId, death: Death) -> bool {
        let Some(policy) = self.policy(id) else { return false };
        let Some(connection) = self.connection(id) else { return false };
        // One death, one decision: what the kernel says after the first error is no evidence any more.
        if connection.death.replace(death.reason()).is_some() {
            return false;
        }
        // Answered ones are the rule: every connection that its peer ends after an exchange comes here.
        if connection.exchange.answered {
            connection.exchange.failure = Some(connection.failure(Evidence::Acknowledged, Refusal::Answered));
            return false;
        }
        if connection.state != State::Leased || connection.target.is_none() {
            return false;
        }
        let evidence = connection.evidence(death);
        self.settle(id, &policy, death.reason(), evidence, death.errno(), true)
    }

    /// Decides on an exchange whose connection could not be opened.
    pub(super) fn opens_again(&mut self, id: ConnectionId, trouble: &Trouble) -> bool {
        let Some(policy) = self.policy(id) else { return false };
        // The embedder may not even have said where to.
        if self.connection(id).is_none_or(|connection| connection.target.is_none()) {
            return false;
        }
        let (errno, connected) = (trouble.errno(), trouble.was_connected());
        self.settle(id, &policy, CloseReason::Error, Evidence::NotWritten, errno, connected)
    }

    pub(super) fn settle(
        &mut self,
        id: ConnectionId,
        policy: &Policy,
        reason: CloseReason,
        evidence: Evidence,
        errno: i32,
        connected: bool,
    ) -> bool {
        let Some((agent, origin)) = self.place(id) else { return false };
        let now = self.now;
        let affordable = self.agent(agent).budget(origin).affords(&policy.share, now);
        let Some(connection) = self.connection(id) else { return false };
        let exchange = &connection.exchange;
        let attempt = Attempt {
            connected,
            reused: exchange.reused,
            answered: exchange.answered,
            evidence,
            idempotent: exchange.idempotent,
            replayable: exchange.replay.is_whole(),
            replayed: exchange.replayed,
            retries: exchange.retries,
            listed: policy.errnos.contains(&errno),
            affordable,
        };
        // What a stream has not sent is not held by anybody below it.
        let is_lost = matches!(connection.link, Link::Stream(_)) && !attempt.replayable;
        let verdict = match decide(policy, &attempt) {
            Verdict::Replay | Verdict::Retry if is_lost => Verdict::Surface(Refusal::Capped),
            verdict @ (Verdict::Replay | Verdict::Retry | Verdict::Surface(_)) => verdict,
        };
        let idle_since = exchange.idle_since;
        let leased_at = exchange.leased_at.unwrap_or(now);
        match verdict {
            Verdict::Surface(refusal) => {
                connection.exchange.failure = Some(connection.failure(evidence, refusal));
                self.agent(agent).tally(origin).refused(refusal);
                return false;
            }
            Verdict::Replay => {
                connection.exchange.replayed = true;
                self.agent(agent).tally(origin).replayed(evidence);
                self.agent(agent).budget(origin).spend(now);
                // Of a peer that still answers there is nothing to learn.
                if attempt.reused && evidence != Evidence::Refused {
                    self.learn(id, reason, idle_since);
                    self.distrust(agent, origin, leased_at);
                }
                if !self.abandon_stream(id) {
                    self.reopen(id, reason);
                }
            }
            Verdict::Retry => {
                let wait = policy.backoff.wait(attempt.retries, fastrand::f64());
                connection.exchange.retries += 1;
                self.agent(agent).tally(origin).retries += 1;
                self.agent(agent).budget(origin).spend(now);
                self.reopen_after(id, reason, wait);
                if self.is_homeless(id) {
                    return true; // told when the wait is over
                }
            }
        }
        self.tell_soon(Event::Replaying { id, reason });
        true
    }

    /// A wait before another attempt is over.
    pub(super) fn retry_due(&mut self, id: ConnectionId, ticket: u64) {
        let Some(connection) = self.connection(id) else { return };
        if connection.state != State::Connecting || connection.ticket != ticket {
            return;
        }
        if let Link::Waiting = connection.link {
            connection.link = Link::None;
            self.opening_ended(id);
            if self.is_homeless(id) {
                self.tell(Event::Replaying { id, reason: CloseReason::PeerReset });
            } else {
                self.begin_opening(id);
            }
        }
    }

    /// Opens a connection again after a wait, during which the loop stays alive for it.
    fn reopen_after(&mut self, id: ConnectionId, reason: CloseReason, wait: Duration) {
        if !self.abandon_stream(id) {
            self.give_up_link(id, reason);
        }
        let at = self.now + wait;
        let ticket = self.issue_ticket(id, at);
        let Some(connection) = self.connection(id) else { return };
        connection.link = Link::Waiting;
        self.opening_began(id);
        self.remind(at, Due::Retry(id, ticket));
    }
}
