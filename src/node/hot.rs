//! The calls that every request makes. Closures: what napi-derive exports takes 130 ns, most of them to watch over borrowed
//! arguments, a closure 60 (napi 3.16, Node 20.20, AMD EPYC, 2026-11).

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use napi::bindgen_prelude::*;
use napi::{Env, JsString, JsValue, sys};
use napi_derive::napi;

use super::bridge::Bridge;
use super::environment::{NativeEnvironment, lease_number, waiter_number};
use super::js;
use crate::engine::environment::{AgentId, Wrote};
use crate::engine::http::{Limits, Misfit, RequestHead};
use crate::engine::pool::{ConnectionId, OriginId, Release};

/// What every request calls.
#[napi(object, object_from_js = false)]
#[expect(missing_debug_implementations, reason = "napi's Function has none")]
pub struct NativeCalls<'env> {
    /// A live connection's number; `-1 - number` of a new one; `-1 - number` less 2^32 of a share of one (HTTP/2); a
    /// waiter's number (from 2^32 on); or `Infinity`, no room.
    #[napi(ts_type = "(agent: number, origin: number, idempotent: boolean, mended: boolean) => number")]
    pub checkout: Function<'env, (), f64>,
    /// -1: kept idle. -2: close it. Otherwise the number of the waiter that has it now.
    #[napi(ts_type = "(id: number, reusable: boolean) => number")]
    pub release: Function<'env, (), f64>,
    /// 0: the kernel has it. 1: not yet. Less: a negated system error number.
    #[napi(ts_type = "(id: number, text: string, isUtf8: boolean, more: boolean) => number")]
    pub write_string: Function<'env, (), i32>,
    /// As `writeString`.
    #[napi(ts_type = "(id: number, bytes: Uint8Array, more: boolean) => number")]
    pub write_bytes: Function<'env, (), i32>,
    /// Begins an exchange whose HTTP the engine speaks. `text` is `method \n target`, and `\n name \n value` for each
    /// header. 0: it has begun. 1, 2, 3: HTTP cannot have this method, target, header. 4: the connection can have no
    /// exchange.
    #[napi(ts_type = "(id: number, text: string, hasBody: boolean, maxHead: number) => number")]
    pub speak: Function<'env, (), i32>,
    /// A piece of a request's body. `false`: wait for `Written`.
    #[napi(ts_type = "(id: number, bytes: Uint8Array) => boolean")]
    pub push_body: Function<'env, (), bool>,
    /// A request's body is whole.
    #[napi(ts_type = "(id: number) => void")]
    pub finish_body: Function<'env, (), ()>,
    /// The head that was told of: `reason`, and `\n name \n value` for each header.
    #[napi(ts_type = "(id: number) => string")]
    pub take_head: Function<'env, (), Latin1>,
    /// The trailers that were told of: `name \n value`, and so on.
    #[napi(ts_type = "(id: number) => string")]
    pub take_trailers: Function<'env, (), Latin1>,
}

/// Bytes that JavaScript gets as a string.
#[derive(Debug)]
pub struct Latin1(Vec<u8>);

impl ToNapiValue for Latin1 {
    #[expect(unsafe_code, reason = "the trait's method is; what is done here is not")]
    unsafe fn to_napi_value(env: sys::napi_env, text: Self) -> Result<sys::napi_value> {
        Env::from_raw(env).create_string_latin1(&text.0).map(|string| string.raw())
    }
}

#[napi]
impl NativeEnvironment {
    /// The calls that every request makes, of this environment.
    #[napi]
    pub fn calls<'env>(&self, env: &'env Env) -> Result<NativeCalls<'env>> {
        let bridge = &self.bridge;
        Ok(NativeCalls {
            checkout: call(env, bridge, "checkout", checkout)?,
            release: call(env, bridge, "release", release)?,
            write_string: call(env, bridge, "writeString", write_string)?,
            write_bytes: call(env, bridge, "writeBytes", write_bytes)?,
            speak: call(env, bridge, "speak", speak)?,
            push_body: call(env, bridge, "pushBody", push_body)?,
            finish_body: call(env, bridge, "finishBody", finish_body)?,
            take_head: call(env, bridge, "takeHead", take_head)?,
            take_trailers: call(env, bridge, "takeTrailers", take_trailers)?,
        })
    }
}

fn call<'env, A: TupleFromSliceValues, T: ToNapiValue>(
    env: &'env Env,
    bridge: &Rc<Bridge>,
    name: &str,
    work: impl Fn(&Bridge, A) -> Result<T> + 'static,
) -> Result<Function<'env, (), T>> {
    let bridge = Rc::clone(bridge);
    env.create_function_from_closure(name, move |context| work(&bridge, context.args()?))
}

fn wrote(wrote: Wrote) -> i32 {
    match wrote {
        Wrote::Taken => 0,
        Wrote::Pending => 1,
        Wrote::Failed(errno) => -errno,
    }
}

fn checkout(bridge: &Bridge, (agent, origin, idempotent, mended): (u32, u32, bool, bool)) -> Result<f64> {
    let (agent, origin) = (AgentId(agent), OriginId(origin));
    bridge.call(|engine| lease_number(engine.checkout(agent, origin, idempotent, mended, Instant::now())))
}

fn release(bridge: &Bridge, (id, reusable): (u32, bool)) -> Result<f64> {
    bridge.call(|engine| match engine.release(ConnectionId(id), reusable, Instant::now()) {
        Some(Release::Kept) => -1.0,
        Some(Release::Close(_)) | None => -2.0,
        Some(Release::Handed(waiter)) => waiter_number(waiter),
    })
}

fn write_string(bridge: &Bridge, (id, text, is_utf8, more): (u32, JsString<'_>, bool, bool)) -> Result<i32> {
    let write = |bytes: &[u8]| bridge.call(|engine| wrote(engine.write(ConnectionId(id), bytes, more)));
    if is_utf8 { write(text.into_utf8()?.as_slice()) } else { js::with_latin1(text, write)? }
}

fn write_bytes(bridge: &Bridge, (id, bytes, more): (u32, Uint8ArraySlice<'_>, bool)) -> Result<i32> {
    bridge.call(|engine| wrote(engine.write(ConnectionId(id), &bytes, more)))
}

fn speak(bridge: &Bridge, (id, text, has_body, max_head): (u32, JsString<'_>, bool, u32)) -> Result<i32> {
    let text = js::with_latin1(text, Bytes::copy_from_slice)?;
    let limits = Limits { head: max_head as usize };
    bridge.call(|engine| {
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

fn push_body(bridge: &Bridge, (id, bytes): (u32, Uint8ArraySlice<'_>)) -> Result<bool> {
    bridge.call(|engine| engine.push_body(ConnectionId(id), Bytes::copy_from_slice(&bytes)))
}

fn finish_body(bridge: &Bridge, (id,): (u32,)) -> Result<()> {
    bridge.call(|engine| engine.finish_body(ConnectionId(id)))
}

fn take_head(bridge: &Bridge, (id,): (u32,)) -> Result<Latin1> {
    bridge.call(|engine| Latin1(engine.take_head(ConnectionId(id))))
}

fn take_trailers(bridge: &Bridge, (id,): (u32,)) -> Result<Latin1> {
    bridge.call(|engine| Latin1(engine.take_trailers(ConnectionId(id))))
}
