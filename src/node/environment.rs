//! The class that `lib/` talks to: one instance for each JavaScript environment. It translates, and decides nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::bridge::{Bridge, Engine};
use super::events::EventTable;
use super::js::{self, Callback, Lent};
use super::options::{NativeAgentOptions, NativeLimits, NativePolicy, NativeSettings, NativeTarget, duration};
use super::stats::{NativeFacts, NativeOriginStats};
use super::tls::{NativeHandshake, NativeProxy, NativeTlsContext, NativeTlsFailure};
use crate::engine::connect::{Failure, Refused, Target};
use crate::engine::environment::{AgentId, Detached, Lease, Trouble};
use crate::engine::http::Settings;
use crate::engine::lifetime::Hint;
use crate::engine::pool::{CloseReason, ConnectionId, OriginId, WaiterId};
use crate::engine::retry::Policy;

/// The ids of waiters begin here in answers that may also be a connection's.
pub(super) const WAITERS: f64 = 4_294_967_296.0;

/// Both ends of a connection.
#[napi(object)]
#[derive(Debug, Default)]
pub struct NativeAddresses {
    /// This end's address.
    pub local_address: Option<String>,
    /// This end's port.
    pub local_port: Option<u16>,
    /// The other end's address.
    pub remote_address: Option<String>,
    /// The other end's port.
    pub remote_port: Option<u16>,
}

/// One failed attempt to connect.
#[napi(object)]
#[derive(Debug)]
pub struct NativeFailure {
    /// `connect` or `bind`.
    pub syscall: String,
    /// The system's number.
    pub errno: i32,
    /// Where to.
    pub address: Option<String>,
    /// Where to.
    pub port: Option<u16>,
    /// From where, if that was asked for.
    pub local_address: Option<String>,
    /// From where, if that was asked for.
    pub local_port: Option<u16>,
}

/// Why a connection could not be opened: one of its fields.
#[napi(object)]
#[derive(Debug, Default)]
pub struct NativeTrouble {
    /// libuv's number for the resolver's answer.
    pub lookup: Option<i32>,
    /// The attempts.
    pub failures: Option<Vec<NativeFailure>>,
    /// Milliseconds after which it was given up.
    pub timed_out: Option<f64>,
    /// A system error number.
    pub unwatchable: Option<i32>,
    /// What the proxy said.
    pub refused: Option<NativeRefused>,
    /// Why it could not be made secure.
    pub insecure: Option<NativeTlsFailure>,
}

/// A proxy that opened nothing.
#[napi(object)]
#[derive(Debug)]
pub struct NativeRefused {
    /// Its answer's status, if it had one.
    pub status: Option<u16>,
    /// In words.
    pub reason: String,
}

/// A connection given away.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "napi's Buffer has none")]
pub struct NativeDetached {
    /// Its descriptor.
    pub fd: Option<i32>,
    /// What it had not sent.
    pub unsent: Buffer,
    /// What it had read and not told, in pairs: slab and offset as in the event table, and length.
    pub rows: Vec<u32>,
}

/// The engine of one JavaScript environment.
#[napi]
#[derive(Debug)]
pub struct NativeEnvironment {
    pub(super) bridge: Rc<Bridge>,
}

/// A live connection's number; `-1 - number` of a new one; `-1 - number` less 2^32 of a stream; a waiter's number; or
/// `Infinity`, no room.
pub(super) fn lease_number(lease: Lease) -> f64 {
    match lease {
        Lease::Reused(id) => f64::from(id.0),
        Lease::New(id) => -1.0 - f64::from(id.0),
        Lease::Stream(id) => -1.0 - f64::from(id.0) - WAITERS,
        Lease::Waiting(waiter) => waiter_number(waiter),
        Lease::QueueFull => f64::INFINITY,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as many waiters would take centuries")]
pub(super) fn waiter_number(waiter: WaiterId) -> f64 {
    WAITERS + waiter.0 as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "only numbers from `waiter_number` come back"
)]
fn waiter_id(number: f64) -> WaiterId {
    WaiterId((number - WAITERS) as u64)
}

fn failure(failure: &Failure) -> NativeFailure {
    NativeFailure {
        syscall: failure.syscall.to_owned(),
        errno: failure.errno,
        address: failure.address.map(|address| address.ip().to_string()),
        port: failure.address.map(|address| address.port()),
        local_address: failure.local.map(|address| address.ip().to_string()),
        local_port: failure.local.map(|address| address.port()),
    }
}

impl NativeEnvironment {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> Result<T> {
        self.bridge.call(work)
    }
}

#[napi]
#[expect(clippy::needless_pass_by_value, clippy::unused_self, reason = "the shape that napi-derive calls")]
impl NativeEnvironment {
    /// `events` is the memory of the event table; `deliver` is called with `receiver` when it has been filled.
    /// `hang_up_is_end`: a reset that comes together with bytes is told as their end.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        events: Uint8ArraySlice<'_>,
        receiver: Object<'_>,
        deliver: Function<'_, (), ()>,
        hang_up_is_end: bool,
    ) -> Result<Self> {
        let callback = Callback::new(&env, &receiver, &deliver)?;
        let bridge = Bridge::start(&env, callback, EventTable::new(Lent::new(&env, &events)?))?;
        bridge.call(|engine| engine.set_hang_up_is_end(hang_up_is_end))?;
        Ok(Self { bridge })
    }

    /// As an exception that nobody caught.
    #[napi]
    pub fn throw_uncaught(&self, env: Env, error: Unknown<'_>) {
        js::throw_uncaught(&env, &error);
    }

    /// The number of a slab to lend, or -1.
    #[napi]
    pub fn vacant_slab(&self) -> i32 {
        self.bridge.slabs.borrow().vacant().and_then(|number| i32::try_from(number).ok()).unwrap_or(-1)
    }

    /// Lends the slab of that number.
    #[napi]
    pub fn lend_slab(&self, env: Env, number: u32, slab: Uint8ArraySlice<'_>) -> Result<()> {
        let slab = Lent::new(&env, &slab)?;
        self.bridge.slabs.borrow_mut().lend(number as usize, slab);
        Ok(())
    }

    /// A new agent's number.
    #[napi]
    pub fn add_agent(&self, options: NativeAgentOptions) -> Result<u32> {
        self.with(|engine| engine.add_agent(options.into()).0)
    }

    /// Forgets an unused agent.
    #[napi]
    pub fn remove_agent(&self, agent: u32) -> Result<bool> {
        self.with(|engine| engine.remove_agent(AgentId(agent)))
    }

    /// New options.
    #[napi]
    pub fn set_options(&self, agent: u32, options: NativeAgentOptions) -> Result<()> {
        self.with(|engine| engine.set_options(AgentId(agent), options.into()))
    }

    /// New limits.
    #[napi]
    pub fn set_limits(&self, agent: u32, limits: NativeLimits) -> Result<()> {
        self.with(|engine| engine.set_limits(AgentId(agent), limits.into()))
    }

    /// A new origin's number.
    #[napi]
    pub fn add_origin(&self, agent: u32, name: String) -> Result<u32> {
        self.with(|engine| engine.add_origin(AgentId(agent), &name).0)
    }

    /// Forgets an unused origin.
    #[napi]
    pub fn remove_origin(&self, agent: u32, origin: u32) -> Result<bool> {
        self.with(|engine| engine.remove_origin(AgentId(agent), OriginId(origin)))
    }

    /// A new connection's number, whatever the limits say.
    #[napi]
    pub fn reserve(&self, agent: u32, origin: u32) -> Result<u32> {
        self.with(|engine| engine.reserve_anyway(AgentId(agent), OriginId(origin), Instant::now()).0)
    }

    /// The waiter there is room for and what it gets, as `checkout` answers it, or nothing.
    #[napi]
    pub fn grant(&self, agent: u32) -> Result<Option<Vec<f64>>> {
        self.with(|engine| {
            let granted = engine.grant(AgentId(agent), Instant::now());
            granted.map(|(waiter, lease)| vec![waiter_number(waiter), lease_number(lease)])
        })
    }

    /// Whether exchanges with an origin share a connection, as far as anybody knows.
    #[napi]
    pub fn set_shared(&self, agent: u32, origin: u32, is_shared: bool) -> Result<()> {
        self.with(|engine| engine.set_shared(AgentId(agent), OriginId(origin), is_shared))
    }

    /// An open connection speaks HTTP/2 from here on: the number of its exchange's stream.
    #[napi]
    pub fn share(&self, id: u32, settings: NativeSettings) -> Result<Option<u32>> {
        let settings = Settings::from(settings);
        self.with(|engine| engine.share(ConnectionId(id), settings, Instant::now()).map(|stream| stream.0))
    }

    /// What was sent of the body of a stream whose request begins again.
    #[napi]
    pub fn take_body(&self, id: u32) -> Result<Buffer> {
        Ok(self.with(|engine| engine.take_body(ConnectionId(id)))?.into())
    }

    /// The exchange of `from` begins again at `to`.
    #[napi]
    pub fn inherit(&self, to: u32, from: u32) -> Result<()> {
        self.with(|engine| engine.inherit(ConnectionId(to), ConnectionId(from)))
    }

    /// Says of a waiter's lease whether its request may be sent twice, and how many milliseconds it waited.
    #[napi]
    pub fn begin(&self, id: u32, idempotent: bool, waited: f64) -> Result<()> {
        self.with(|engine| engine.begin(ConnectionId(id), idempotent, duration(waited)))
    }

    /// A policy for the one request that has just got a connection.
    #[napi]
    pub fn set_policy(&self, id: u32, policy: NativePolicy) -> Result<()> {
        self.with(|engine| engine.set_policy(ConnectionId(id), Arc::new(policy.into())))
    }

    /// Whether a request may be sent once more because of its answer; spends the budget.
    #[napi]
    pub fn spend_retry(&self, agent: u32, origin: u32, policy: NativePolicy) -> Result<bool> {
        let policy = Policy::from(policy);
        self.with(|engine| engine.spend_retry(AgentId(agent), OriginId(origin), &policy.share, Instant::now()))
    }

    /// Takes a waiter out of the queue.
    #[napi]
    pub fn cancel(&self, agent: u32, origin: u32, waiter: f64) -> Result<bool> {
        self.with(|engine| engine.cancel(AgentId(agent), OriginId(origin), waiter_id(waiter)))
    }

    /// Notes a `Keep-Alive` header.
    #[napi]
    pub fn hint(&self, id: u32, header: String) -> Result<()> {
        self.with(|engine| engine.hint(ConnectionId(id), Hint::parse(&header)))
    }

    /// An idle timeout for one connection; 0 is no limit.
    #[napi]
    pub fn set_idle_timeout(&self, id: u32, milliseconds: f64) -> Result<()> {
        let timeout = (milliseconds > 0.0).then(|| duration(milliseconds));
        self.with(|engine| engine.set_idle_timeout(ConnectionId(id), timeout))
    }

    /// Opens a new connection; `tls` and its context make it secure, `proxy` opens it.
    #[napi]
    pub fn connect(
        &self,
        id: u32,
        target: NativeTarget,
        tls: Option<NativeHandshake>,
        context: Option<ClassInstance<'_, NativeTlsContext>>,
        proxy: Option<NativeProxy>,
        proxy_context: Option<ClassInstance<'_, NativeTlsContext>>,
    ) -> Result<()> {
        let mut target = Target::from(target);
        target.tls = tls.zip(context).map(|(tls, context)| context.begin(tls));
        target.proxy = proxy.map(|proxy| proxy.through(proxy_context.as_deref()));
        self.with(|engine| engine.connect(ConnectionId(id), target, Instant::now()))
    }

    /// Whom a secured connection reached is fine.
    #[napi]
    pub fn accept(&self, id: u32) -> Result<()> {
        self.with(|engine| engine.accept(ConnectionId(id), Instant::now()))
    }

    /// Lets a secured connection out of the pool.
    #[napi]
    pub fn part(&self, id: u32) -> Result<bool> {
        self.with(|engine| engine.part(ConnectionId(id)))
    }

    /// A new connection is a socket of JavaScript's own.
    #[napi]
    pub fn adopt(&self, id: u32) -> Result<()> {
        self.with(|engine| engine.adopt(ConnectionId(id), Instant::now()))
    }

    /// A new connection is to be a socket of JavaScript's own.
    #[napi]
    pub fn open_elsewhere(&self, id: u32) -> Result<()> {
        self.with(|engine| engine.open_elsewhere(ConnectionId(id)))
    }

    /// A new connection cannot be opened; whether its exchange goes on on one that was idle.
    #[napi]
    pub fn fall_back(&self, id: u32) -> Result<bool> {
        self.with(|engine| engine.fall_back(ConnectionId(id), Instant::now()))
    }

    /// The agent's idle connections are about to end.
    #[napi]
    pub fn fall_back_all(&self, agent: u32) -> Result<()> {
        self.with(|engine| engine.fall_back_all(AgentId(agent), Instant::now()))
    }

    /// FIN, once everything is sent.
    #[napi]
    pub fn shut_down(&self, id: u32) -> Result<()> {
        self.with(|engine| engine.shut_down(ConnectionId(id)))
    }

    /// Read on, or stop reading.
    #[napi]
    pub fn set_flowing(&self, id: u32, flowing: bool) -> Result<()> {
        self.with(|engine| engine.set_flowing(ConnectionId(id), flowing))
    }

    /// Whether it keeps the loop alive.
    #[napi]
    pub fn set_held(&self, id: u32, held: bool) -> Result<()> {
        self.with(|engine| engine.set_held(ConnectionId(id), held))
    }

    /// `TCP_NODELAY`.
    #[napi]
    pub fn set_no_delay(&self, id: u32, on: bool) -> Result<()> {
        self.with(|engine| engine.set_no_delay(ConnectionId(id), on))
    }

    /// TCP keep-alive with probes after so many milliseconds; less than 0 is off.
    #[napi]
    pub fn set_keep_alive(&self, id: u32, idle: f64) -> Result<()> {
        let idle = (idle >= 0.0).then(|| duration(idle));
        self.with(|engine| engine.set_keep_alive(ConnectionId(id), idle))
    }

    /// Closes at once, for an error, because the exchange was the last one, or because the caller wants it.
    #[napi]
    pub fn close(&self, id: u32, failed: bool, finished: bool, reset: bool) -> Result<()> {
        let reason = match (failed, finished) {
            (true, _) => CloseReason::Error,
            (false, true) => CloseReason::Finished,
            (false, false) => CloseReason::Destroyed,
        };
        self.with(|engine| engine.close(ConnectionId(id), reason, reset))
    }

    /// Closes and forgets a connection without a socket, or with JavaScript's own.
    #[napi]
    pub fn discard(&self, id: u32, failed: bool) -> Result<()> {
        let reason = if failed { CloseReason::Error } else { CloseReason::Destroyed };
        self.with(|engine| engine.discard(ConnectionId(id), reason))
    }

    /// A closed connection's place is free.
    #[napi]
    pub fn dispose(&self, id: u32) -> Result<()> {
        self.with(|engine| engine.dispose(ConnectionId(id)))
    }

    /// Gives an open connection away.
    #[napi]
    pub fn detach(&self, id: u32) -> Result<Option<NativeDetached>> {
        let detached = self.with(|engine| engine.detach(ConnectionId(id)))?;
        Ok(detached.map(|Detached { socket, unsent, received }| {
            #[cfg(unix)]
            let fd = socket.map(std::os::fd::IntoRawFd::into_raw_fd);
            #[cfg(windows)]
            let fd = socket.and(None);
            let rows = received.iter().flat_map(|(slab, offset, length)| [slab << 16 | offset, *length]).collect();
            NativeDetached { fd, unsent: unsent.into(), rows }
        }))
    }

    /// The engine stops speaking HTTP on a connection; answers what has come of whatever it speaks now.
    #[napi]
    pub fn fall_silent(&self, id: u32) -> Result<Buffer> {
        Ok(self.with(|engine| engine.fall_silent(ConnectionId(id)))?.into())
    }

    /// What a lookup found.
    #[napi]
    pub fn found(&self, id: u32) -> Result<Vec<String>> {
        let addresses = self.with(|engine| engine.take_addresses(ConnectionId(id)))?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    /// Why opening failed.
    #[napi]
    pub fn trouble(&self, id: u32) -> Result<NativeTrouble> {
        let trouble = self.with(|engine| engine.take_trouble(ConnectionId(id)))?;
        Ok(match trouble {
            None => NativeTrouble::default(),
            Some(Trouble::NotFound(failure)) => NativeTrouble { lookup: Some(failure.errno), ..Default::default() },
            Some(Trouble::Failed(failures)) => {
                NativeTrouble { failures: Some(failures.iter().map(failure).collect()), ..Default::default() }
            }
            Some(Trouble::TimedOut(after)) => {
                NativeTrouble { timed_out: Some(after.as_secs_f64() * 1000.0), ..Default::default() }
            }
            Some(Trouble::Unwatchable(errno)) => NativeTrouble { unwatchable: Some(errno), ..Default::default() },
            Some(Trouble::Refused(Refused { status, reason })) => {
                NativeTrouble { refused: Some(NativeRefused { status, reason }), ..Default::default() }
            }
            Some(Trouble::Insecure(insecure)) => {
                NativeTrouble { insecure: Some(NativeTlsFailure::from(insecure)), ..Default::default() }
            }
        })
    }

    /// Both ends, from the moment it was connected.
    #[napi]
    pub fn addresses(&self, id: u32) -> Result<NativeAddresses> {
        self.with(|engine| {
            let (local, remote) = engine.ends(ConnectionId(id));
            NativeAddresses {
                local_address: local.map(|address| address.ip().to_string()),
                local_port: local.map(|address| address.port()),
                remote_address: remote.map(|address| address.ip().to_string()),
                remote_port: remote.map(|address| address.port()),
            }
        })
    }

    /// What is known of a connection.
    #[napi]
    pub fn facts(&self, id: u32) -> Result<Option<NativeFacts>> {
        self.with(|engine| engine.facts(ConnectionId(id), Instant::now()).map(NativeFacts::from))
    }

    /// An agent's numbers by origin.
    #[napi]
    pub fn stats(&self, agent: u32) -> Result<Vec<NativeOriginStats>> {
        self.with(|engine| engine.stats(AgentId(agent)).map(NativeOriginStats::from).collect())
    }
}
