//! JavaScript's options as the engine's. `lib/options.js` has validated them: here nothing is refused.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use crate::engine::connect::{Family, Order, Place, Target};
use crate::engine::environment::AgentOptions;
use crate::engine::http::Settings;
use crate::engine::lifetime;
use crate::engine::pool;
use crate::engine::retry::{Backoff, NonIdempotent, Policy, Share};
use crate::engine::transport::Knobs;

/// Numbers of an agent; `Infinity` is no limit.
#[napi(object)]
#[derive(Clone, Copy, Debug)]
pub struct NativeLimits {
    /// Per origin, in use or connecting.
    pub max_sockets: f64,
    /// Over all origins.
    pub max_total_sockets: f64,
    /// Idle, per origin.
    pub max_free_sockets: f64,
    /// Waiting checkouts, per origin.
    pub queue_limit: f64,
    /// Newest idle connection first.
    pub lifo: bool,
}

/// What a connection of HTTP/2 begins with; what is absent is the engine's to say.
#[napi(object)]
#[derive(Clone, Copy, Debug)]
pub struct NativeSettings {
    /// Bytes of an answer's head.
    pub max_header_size: u32,
    /// Streams until the peer says how many.
    pub max_concurrent_streams: Option<u32>,
    /// Unread bytes of an answer.
    pub initial_window_size: Option<u32>,
    /// Unread bytes of all answers.
    pub connection_window_size: Option<u32>,
}

/// An agent's options; times in milliseconds, absent is no limit.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct NativeAgentOptions {
    /// How many.
    pub limits: NativeLimits,
    /// Longest idle time.
    pub idle_timeout: Option<f64>,
    /// Longest time since connecting.
    pub ttl: Option<f64>,
    /// Share of the TTL by which it is shortened at random.
    pub ttl_jitter: f64,
    /// Taken off the server's hint.
    pub hint_buffer: f64,
    /// Most exchanges on a connection.
    pub max_requests: Option<f64>,
    /// Longest time for opening a connection.
    pub connect_timeout: Option<f64>,
    /// Longest time for a waiting checkout.
    pub queue_timeout: Option<f64>,
    /// Without a word for so long, an HTTP/2 peer is asked whether it is there.
    pub ping_interval: Option<f64>,
    /// Unacknowledged bytes give a connection up after so long.
    pub tcp_user_timeout: Option<f64>,
    /// Between two keep-alive probes.
    pub keep_alive_interval: Option<f64>,
    /// Lost keep-alive probes that give a connection up.
    pub keep_alive_count: Option<u32>,
    /// Whether what origins teach shortens idle times.
    pub learns: bool,
    /// What is sent again.
    pub retry: NativePolicy,
}

/// What is sent again; times in milliseconds.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct NativePolicy {
    /// Anything at all.
    pub enabled: bool,
    /// Most bytes kept of a request.
    pub max_bytes: f64,
    /// `evidence`, `never` or `always`.
    pub non_idempotent: String,
    /// Further attempts.
    pub attempts: u32,
    /// The first step of the wait before one.
    pub backoff_base: f64,
    /// The longest.
    pub backoff_max: f64,
    /// Of an origin's requests, what may be sent again.
    pub ratio: f64,
    /// On top of that.
    pub min_per_second: f64,
    /// What `attempts` are for.
    pub errnos: Vec<i32>,
}

/// Where to connect to.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct NativeTarget {
    /// A name to look up.
    pub host: Option<String>,
    /// Known addresses, instead of a name.
    pub addresses: Option<Vec<String>>,
    /// The port.
    pub port: u16,
    /// A Unix-domain socket, instead of all that.
    pub path: Option<String>,
    /// 4, 6, or 0 for both.
    pub family: u32,
    /// Flags of getaddrinfo.
    pub hints: i32,
    /// `verbatim`, `ipv4first` or `ipv6first`.
    pub order: String,
    /// Race all addresses.
    pub race: bool,
    /// Milliseconds from one address to the next.
    pub attempt_delay: f64,
    /// Local address.
    pub local_address: Option<String>,
    /// Local port.
    pub local_port: Option<u16>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is what no limit means")]
fn count(number: f64) -> usize {
    if number.is_finite() { number as usize } else { usize::MAX }
}

/// A duration of zero or more milliseconds.
pub(super) fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
}

impl From<NativeLimits> for pool::Limits {
    fn from(limits: NativeLimits) -> Self {
        Self {
            max_sockets: count(limits.max_sockets),
            max_total: count(limits.max_total_sockets),
            max_free: count(limits.max_free_sockets),
            queue_limit: count(limits.queue_limit),
            lifo: limits.lifo,
        }
    }
}

impl From<NativeSettings> for Settings {
    fn from(settings: NativeSettings) -> Self {
        let usual = Self::new(settings.max_header_size as usize);
        Self {
            streams: settings.max_concurrent_streams.map_or(usual.streams, |count| count as usize),
            stream_window: settings.initial_window_size.unwrap_or(usual.stream_window),
            window: settings.connection_window_size.unwrap_or(usual.window),
            ..usual
        }
    }
}

impl From<NativeAgentOptions> for AgentOptions {
    fn from(options: NativeAgentOptions) -> Self {
        Self {
            limits: options.limits.into(),
            lifetime: lifetime::Limits {
                idle_timeout: options.idle_timeout.map(duration),
                ttl: options.ttl.map(duration),
                ttl_jitter: options.ttl_jitter,
                hint_buffer: duration(options.hint_buffer),
                max_requests: options.max_requests.map(|max| u32::try_from(count(max)).unwrap_or(u32::MAX)),
                learns: options.learns,
            },
            retry: Arc::new(options.retry.into()),
            knobs: Knobs {
                user_timeout: options.tcp_user_timeout.map(duration),
                keep_alive_interval: options.keep_alive_interval.map(duration),
                keep_alive_count: options.keep_alive_count,
            },
            connect_timeout: options.connect_timeout.map(duration),
            queue_timeout: options.queue_timeout.map(duration),
            ping_interval: options.ping_interval.map(duration),
        }
    }
}

impl From<NativePolicy> for Policy {
    fn from(policy: NativePolicy) -> Self {
        Self {
            enabled: policy.enabled,
            max_bytes: count(policy.max_bytes),
            non_idempotent: match policy.non_idempotent.as_str() {
                "never" => NonIdempotent::Never,
                "always" => NonIdempotent::Always,
                _ => NonIdempotent::Evidence,
            },
            attempts: policy.attempts,
            backoff: Backoff { base: duration(policy.backoff_base), max: duration(policy.backoff_max) },
            share: Share { ratio: policy.ratio, min_per_second: policy.min_per_second },
            errnos: policy.errnos,
        }
    }
}

impl From<NativeTarget> for Target {
    fn from(target: NativeTarget) -> Self {
        let NativeTarget { host, addresses, port, path, .. } = target;
        let ip = |text: &String| -> Option<IpAddr> {
            // A zone (`fe80::1%eth0`) is the resolver's to read, as in libuv; a plain address is the rule.
            text.parse().ok()
        };
        let place = match (path, addresses) {
            (Some(path), _) => Place::Path(PathBuf::from(path)),
            (None, Some(addresses)) => {
                let known: Vec<IpAddr> = addresses.iter().filter_map(ip).collect();
                match addresses.first() {
                    Some(host) if known.is_empty() => Place::Name { host: host.clone(), port },
                    _ => Place::Addresses { addresses: known, port },
                }
            }
            (None, None) => Place::Name { host: host.unwrap_or_default(), port },
        };
        Self {
            place,
            proxy: None,
            tls: None,
            family: match target.family {
                4 => Family::V4,
                6 => Family::V6,
                _ => Family::Any,
            },
            hints: target.hints,
            order: match target.order.as_str() {
                "ipv4first" => Order::V4First,
                "ipv6first" => Order::V6First,
                _ => Order::Verbatim,
            },
            race: target.race,
            attempt_delay: duration(target.attempt_delay),
            local_address: target.local_address.as_ref().and_then(ip),
            local_port: target.local_port.unwrap_or_default(),
        }
    }
}
