//! The calls that every request makes. Functions, not methods: napi-rs takes 0.3 µs to find and check a method's receiver
//! (AMD EPYC, Node 20.20, 2026-11), which is more than most of these need. The first argument is `NativeEnvironment.number`.

#![expect(unreachable_pub, reason = "napi-derive exports what is public")]

use std::time::Instant;

use bytes::Bytes;
use napi::JsString;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::bridge::{Engine, bridge};
use super::environment::{lease_number, waiter_number};
use crate::engine::environment::{AgentId, Wrote};
use crate::engine::http::{Limits, Misfit, RequestHead};
use crate::engine::pool::{ConnectionId, OriginId, Release};

fn with<T>(environment: u32, work: impl FnOnce(&mut Engine) -> T) -> Result<T> {
    bridge(environment).ok_or_else(|| Error::from_reason("this environment has ended"))?.call(work)
}

fn wrote(wrote: Wrote) -> i32 {
    match wrote {
        Wrote::Taken => 0,
        Wrote::Pending => 1,
        Wrote::Failed(errno) => -errno,
    }
}

/// A live connection's number; `-1 - number` of a new one; `-1 - number` less 2^32 of a share of one (HTTP/2); a waiter's
/// number (from 2^32 on); or `Infinity`, no room.
#[napi]
pub fn checkout(environment: u32, agent: u32, origin: u32, idempotent: bool) -> Result<f64> {
    with(environment, |engine| {
        lease_number(engine.checkout(AgentId(agent), OriginId(origin), idempotent, Instant::now()))
    })
}

/// -1: kept idle. -2: close it. Otherwise the number of the waiter that has it now.
#[napi]
pub fn release(environment: u32, id: u32, reusable: bool) -> Result<f64> {
    with(environment, |engine| match engine.release(ConnectionId(id), reusable, Instant::now()) {
        Some(Release::Kept) => -1.0,
        Some(Release::Close(_)) | None => -2.0,
        Some(Release::Handed(waiter)) => waiter_number(waiter),
    })
}

/// 0: the kernel has it. 1: not yet. Less: a negated system error number.
#[napi]
pub fn write_string(environment: u32, id: u32, text: JsString<'_>, is_utf8: bool, more: bool) -> Result<i32> {
    if is_utf8 {
        let bytes = text.into_utf8()?;
        with(environment, |engine| wrote(engine.write(ConnectionId(id), bytes.as_slice(), more)))
    } else {
        let bytes = text.into_latin1()?;
        with(environment, |engine| wrote(engine.write(ConnectionId(id), bytes.as_slice(), more)))
    }
}

/// As `writeString`.
#[napi]
pub fn write_bytes(environment: u32, id: u32, bytes: Uint8ArraySlice<'_>, more: bool) -> Result<i32> {
    with(environment, |engine| wrote(engine.write(ConnectionId(id), &bytes, more)))
}

/// Begins an exchange whose HTTP the engine speaks. `text` is `method \n target`, and `\n name \n value` for each header. 0: it
/// has begun. 1, 2, 3: HTTP cannot have this method, target, header. 4: the connection can have no exchange.
#[napi]
pub fn speak(environment: u32, id: u32, text: JsString<'_>, has_body: bool, max_head: u32) -> Result<i32> {
    let text = Bytes::copy_from_slice(text.into_latin1()?.as_slice());
    let limits = Limits { head: max_head as usize };
    with(environment, |engine| {
        let spoken = RequestHead::parse(&text).and_then(|head| engine.speak(ConnectionId(id), head, has_body, limits));
        match spoken {
            Ok(()) => 0,
            Err(Misfit::Method) => 1,
            Err(Misfit::Path) => 2,
            Err(Misfit::Header) => 3,
            Err(Misfit::Connection) => 4,
        }
    })
}

/// A piece of a request's body. `false`: wait for `Written`.
#[napi]
pub fn push_body(environment: u32, id: u32, bytes: Uint8ArraySlice<'_>) -> Result<bool> {
    with(environment, |engine| engine.push_body(ConnectionId(id), Bytes::copy_from_slice(&bytes)))
}

/// A request's body is whole.
#[napi]
pub fn finish_body(environment: u32, id: u32) -> Result<()> {
    with(environment, |engine| engine.finish_body(ConnectionId(id)))
}

/// The head that was told of: `reason`, and `\n name \n value` for each header.
#[napi]
pub fn take_head(env: &Env, environment: u32, id: u32) -> Result<JsString<'_>> {
    let head = with(environment, |engine| engine.take_head(ConnectionId(id)))?;
    env.create_string_latin1(&head)
}

/// The trailers that were told of: `name \n value`, and so on.
#[napi]
pub fn take_trailers(env: &Env, environment: u32, id: u32) -> Result<JsString<'_>> {
    let trailers = with(environment, |engine| engine.take_trailers(ConnectionId(id)))?;
    env.create_string_latin1(&trailers)
}
