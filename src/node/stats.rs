//! Numbers for JavaScript.

use std::collections::HashMap;

use napi_derive::napi;

use crate::engine::environment::{Facts, Failure, OriginStats};
use crate::engine::pool::CloseReason;
use crate::engine::retry::{Evidence, Refusal};
use crate::engine::stats::Histogram;

/// One origin's numbers.
#[napi(object)]
#[derive(Debug)]
pub struct NativeOriginStats {
    /// Its name.
    pub name: String,
    /// Connections being opened.
    pub connecting: f64,
    /// Connections at rest.
    pub idle: f64,
    /// Connections in use.
    pub leased: f64,
    /// Connections given up and not gone yet.
    pub closing: f64,
    /// Checkouts that wait.
    pub waiting: f64,
    /// Connections ever begun.
    pub opened: f64,
    /// Connections ever given up and gone, in total.
    pub gone: f64,
    /// Connections given up, by reason.
    pub closed: HashMap<String, f64>,
    /// Connections that could not be opened.
    pub connect_errors: f64,
    /// Leases given.
    pub requests: f64,
    /// Of these, on a connection that had served before.
    pub reused: f64,
    /// On a fresh connection although others were idle, which might have been about to close.
    pub unproven: f64,
    /// Replays, by evidence.
    pub replays: HashMap<String, f64>,
    /// Attempts after a wait.
    pub retries: f64,
    /// Failures that were not answered by sending again, by reason.
    pub refused: HashMap<String, f64>,
    /// Checkouts that found the queue full.
    pub queue_full: f64,
    /// Checkouts that waited for too long.
    pub queue_timeouts: f64,
    /// Milliseconds of idleness after which the origin closes connections, as far as it has taught.
    pub learned_idle_timeout: Option<f64>,
    /// Exchanges after which it does.
    pub learned_max_requests: Option<u32>,
    /// Milliseconds that checkouts waited.
    pub queue_wait: NativeHistogram,
    /// Milliseconds that opening took.
    pub connect: NativeHistogram,
    /// Milliseconds that connections had been idle when they were reused.
    pub idle_age: NativeHistogram,
    /// Exchanges per connection.
    pub requests_per_connection: NativeHistogram,
}

/// A distribution in short.
#[napi(object)]
#[derive(Debug)]
pub struct NativeHistogram {
    /// Values.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Upper bound of the lower half.
    pub p50: f64,
    /// Upper bound of 99 %.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// What is known of one connection; times in milliseconds.
#[napi(object)]
#[derive(Debug)]
pub struct NativeFacts {
    /// Bytes that came.
    pub bytes_read: f64,
    /// Bytes that left.
    pub bytes_written: f64,
    /// Bytes that have not left yet.
    pub unsent: f64,
    /// Exchanges finished.
    pub requests: u32,
    /// Since it was opened.
    pub age: Option<f64>,
    /// How long opening took.
    pub connect: Option<f64>,
    /// Since it was released.
    pub idle: Option<f64>,
    /// Why it is closing.
    pub reason: Option<String>,
    /// Whether it is TCP.
    pub is_tcp: bool,
    /// Why its request failed for good.
    pub failure: Option<NativeFault>,
}

/// What is known of a request that failed for good.
#[napi(object)]
#[derive(Debug)]
pub struct NativeFault {
    /// Its connection had served before.
    pub reused: bool,
    /// Milliseconds that it had been idle.
    pub idle: Option<f64>,
    /// Exchanges that it had finished.
    pub requests: u32,
    /// Where the request's bytes went.
    pub evidence: String,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it was not sent again.
    pub refusal: String,
}

#[expect(clippy::cast_precision_loss, reason = "JavaScript has no other number")]
fn number(count: u64) -> f64 {
    count as f64
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn histogram(histogram: &Histogram, unit: f64) -> NativeHistogram {
    let scaled = |value: u64| number(value) / unit;
    NativeHistogram {
        count: number(histogram.count),
        mean: scaled(histogram.sum) / number(histogram.count.max(1)),
        p50: scaled(histogram.quantile(0.5)),
        p99: scaled(histogram.quantile(0.99)),
        max: scaled(histogram.max),
    }
}

impl From<OriginStats<'_>> for NativeOriginStats {
    fn from(stats: OriginStats<'_>) -> Self {
        const MICROSECONDS: f64 = 1000.0;
        let OriginStats { name, counts, waiting, tally, learned } = stats;
        let nonzero = |(word, count): (&str, u64)| (count > 0).then(|| (word.to_owned(), number(count)));
        let closed = CloseReason::ALL.iter().map(|reason| reason.word()).zip(tally.closed);
        let refused = Refusal::ALL.iter().map(|refusal| refusal.word()).zip(tally.refused);
        let replays = Evidence::ALL.iter().map(|evidence| evidence.word()).zip(tally.replays);
        Self {
            name: name.to_owned(),
            connecting: number(counts.connecting as u64),
            idle: number(counts.idle as u64),
            leased: number(counts.leased as u64),
            closing: number(counts.closing as u64),
            waiting: number(waiting as u64),
            opened: number(counts.opened),
            gone: number(counts.closed),
            closed: closed.filter_map(nonzero).collect(),
            connect_errors: number(tally.connect_errors),
            requests: number(tally.requests),
            reused: number(tally.reused),
            unproven: number(tally.unproven),
            replays: replays.filter_map(nonzero).collect(),
            retries: number(tally.retries),
            refused: refused.filter_map(nonzero).collect(),
            queue_full: number(tally.queue_full),
            queue_timeouts: number(tally.queue_timeouts),
            learned_idle_timeout: learned.0.map(milliseconds),
            learned_max_requests: learned.1,
            queue_wait: histogram(&tally.queue_wait, MICROSECONDS),
            connect: histogram(&tally.connect, MICROSECONDS),
            idle_age: histogram(&tally.idle_age, MICROSECONDS),
            requests_per_connection: histogram(&tally.requests_per_connection, 1.0),
        }
    }
}

impl From<Facts> for NativeFacts {
    fn from(facts: Facts) -> Self {
        Self {
            bytes_read: number(facts.bytes_read),
            bytes_written: number(facts.bytes_written),
            unsent: number(facts.unsent as u64),
            requests: facts.requests,
            age: facts.age.map(milliseconds),
            connect: facts.connect.map(milliseconds),
            idle: facts.idle.map(milliseconds),
            reason: facts.reason.map(|reason| reason.word().to_owned()),
            is_tcp: facts.is_tcp,
            failure: facts.failure.map(NativeFault::from),
        }
    }
}

impl From<Failure> for NativeFault {
    fn from(failure: Failure) -> Self {
        Self {
            reused: failure.reused,
            idle: failure.idle.map(milliseconds),
            requests: failure.requests,
            evidence: failure.evidence.word().to_owned(),
            attempts: failure.attempts,
            refusal: failure.refusal.word().to_owned(),
        }
    }
}
