//! What belongs to one agent: pool, limits, policy, tallies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{AgentId, Environment};
use crate::engine::lifetime::{self, Learned};
use crate::engine::pool::{self, ConnectionId, Counts, OriginId, Pool};
use crate::engine::reactor::Reactor;
use crate::engine::retry::{Budget, Policy, Share};
use crate::engine::stats::Tally;
use crate::engine::transport::Knobs;

/// An agent's options, as far as the engine knows them.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// How many.
    pub limits: pool::Limits,
    /// How long.
    pub lifetime: lifetime::Limits,
    /// What is sent again.
    pub retry: Arc<Policy>,
    /// What the kernel does.
    pub knobs: Knobs,
    /// Longest time for opening a connection, name lookup included.
    pub connect_timeout: Option<Duration>,
    /// Longest time for a waiter.
    pub queue_timeout: Option<Duration>,
    /// After so long without a word, the peer of a shared connection is asked whether it is there.
    pub ping_interval: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Box<str>,
    pub(super) tally: Tally,
    budget: Budget,
    learned: Learned,
    /// The connection in use that its exchanges share.
    pub(super) carrier: Option<ConnectionId>,
}

/// One agent of an environment.
#[derive(Debug)]
pub struct Agent {
    pub(super) options: AgentOptions,
    pub(super) pool: Pool,
    /// By the number of the origin.
    records: Vec<Option<Record>>,
}

impl Agent {
    pub(super) fn record(&mut self, origin: OriginId) -> &mut Record {
        let record = self.records.get_mut(origin.0 as usize).and_then(Option::as_mut);
        record.expect("an origin has a record as long as it is in the pool")
    }

    pub(super) fn tally(&mut self, origin: OriginId) -> &mut Tally {
        &mut self.record(origin).tally
    }

    pub(super) fn budget(&mut self, origin: OriginId) -> &mut Budget {
        &mut self.record(origin).budget
    }

    pub(super) fn learned(&mut self, origin: OriginId) -> &mut Learned {
        &mut self.record(origin).learned
    }

    /// The limits for an origin, with what it has taught.
    pub(super) fn lifetime(&mut self, origin: OriginId, now: Instant) -> lifetime::Limits {
        let limits = self.options.lifetime;
        if !limits.learns {
            return limits;
        }
        let learned = self.learned(origin);
        limits.taught(learned.idle_timeout(now), learned.max_requests(now))
    }
}

/// One origin's numbers at this moment.
#[derive(Debug)]
pub struct OriginStats<'a> {
    /// Its name.
    pub name: &'a str,
    /// Connections by state.
    pub counts: Counts,
    /// Checkouts that wait.
    pub waiting: usize,
    /// What it has seen.
    pub tally: &'a Tally,
    /// What it has taught: after which idle time, and after how many exchanges, it closes.
    pub learned: (Option<Duration>, Option<u32>),
}

impl<R: Reactor> Environment<R> {
    /// A new agent.
    pub fn add_agent(&mut self, options: AgentOptions) -> AgentId {
        let agent = Agent { pool: Pool::new(options.limits), options, records: Vec::new() };
        AgentId(u32::try_from(self.agents.insert(agent)).unwrap_or(u32::MAX))
    }

    /// Forgets an agent that has no connections and no waiters any more; `false` if it has.
    pub fn remove_agent(&mut self, id: AgentId) -> bool {
        let is_unused = |agent: &Agent| agent.pool.total().all() == 0 && agent.pool.waiters().next().is_none();
        let removable = self.agents.get(id.0 as usize).is_some_and(is_unused) && !self.has_places(id, None);
        removable && self.agents.try_remove(id.0 as usize).is_some()
    }

    /// New options for an agent, from the next decision on; nothing is closed for them.
    pub fn set_options(&mut self, id: AgentId, options: AgentOptions) {
        let agent = self.agent(id);
        agent.pool.set_limits(options.limits);
        agent.options = options;
    }

    /// New numbers for an agent; nothing is closed for them.
    pub fn set_limits(&mut self, id: AgentId, limits: pool::Limits) {
        self.agent(id).pool.set_limits(limits);
    }

    /// The numbers in force.
    pub fn limits(&mut self, id: AgentId) -> pool::Limits {
        self.agent(id).pool.limits()
    }

    /// Makes an origin known to an agent.
    pub fn add_origin(&mut self, id: AgentId, name: &str) -> OriginId {
        let now = self.now;
        let agent = self.agent(id);
        let origin = agent.pool.add_origin();
        let at = origin.0 as usize;
        if agent.records.len() <= at {
            agent.records.resize_with(at + 1, || None);
        }
        if let Some(record) = agent.records.get_mut(at) {
            *record = Some(Record {
                name: name.into(),
                tally: Tally::default(),
                budget: Budget::new(now),
                learned: Learned::default(),
                carrier: None,
            });
        }
        origin
    }

    /// Forgets an origin that has neither connections nor waiters, and its numbers; `false` if it has.
    pub fn remove_origin(&mut self, id: AgentId, origin: OriginId) -> bool {
        if self.has_places(id, Some(origin)) {
            return false;
        }
        let agent = self.agent(id);
        let removed = agent.pool.remove_origin(origin);
        if removed && let Some(record) = agent.records.get_mut(origin.0 as usize) {
            *record = None;
        }
        removed
    }

    /// Whether there are places of an agent, or of one of its origins: those that the pool does not count any more, too.
    fn has_places(&self, agent: AgentId, origin: Option<OriginId>) -> bool {
        let is_its = |connection: &Connection<R::Watch>| {
            connection.agent == agent && origin.is_none_or(|origin| connection.origin == origin)
        };
        self.connections.iter().any(|(_, connection)| is_its(connection))
    }

    /// Whether a request to an origin may be sent once more for its answer's sake; the budget is spent then, and it counts.
    pub fn spend_retry(&mut self, id: AgentId, origin: OriginId, share: &Share, now: Instant) -> bool {
        self.now = now;
        let agent = self.agent(id);
        let affords = agent.budget(origin).affords(share, now);
        if affords {
            agent.budget(origin).spend(now);
            agent.tally(origin).retries += 1;
        }
        affords
    }

    /// The numbers of an agent's origins.
    pub fn stats(&self, id: AgentId) -> impl Iterator<Item = OriginStats<'_>> {
        self.agents.get(id.0 as usize).into_iter().flat_map(|agent| {
            agent.records.iter().enumerate().filter_map(|(at, record)| {
                let origin = OriginId(u32::try_from(at).ok()?);
                let Record { name, tally, learned, .. } = record.as_ref()?;
                let (counts, waiting) = (agent.pool.counts(origin), agent.pool.waiting(origin));
                let learned = (learned.idle_timeout(self.now), learned.max_requests(self.now));
                Some(OriginStats { name, counts, waiting, tally, learned })
            })
        })
    }
}
