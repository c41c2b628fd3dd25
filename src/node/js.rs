//! The few calls of N-API that napi-rs does not wrap: a callback from the loop, its exceptions, and lent memory.

#![expect(unsafe_code, reason = "N-API is a C interface")]

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use napi::{Env, JsValue, bindgen_prelude::*, sys};

/// A JavaScript function that the loop calls, with its receiver.
#[derive(Debug)]
pub(super) struct Callback {
    env: sys::napi_env,
    receiver: sys::napi_ref,
    function: sys::napi_ref,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// It returned.
    Returned,
    /// It threw, and the process lives on: `uncaughtException` has been told.
    Threw,
    /// JavaScript cannot run any more: the environment is ending.
    Ended,
}

fn reference(env: sys::napi_env, value: sys::napi_value) -> Result<sys::napi_ref> {
    let mut reference = ptr::null_mut();
    // SAFETY: `value` is a live value of `env`: both come from a call that JavaScript is making.
    check_status!(unsafe { sys::napi_create_reference(env, value, 1, &raw mut reference) })?;
    Ok(reference)
}

impl Callback {
    /// Keeps both for as long as the environment lives.
    pub(super) fn new(env: &Env, receiver: &Object, function: &Function<(), ()>) -> Result<Self> {
        let env = env.raw();
        Ok(Self { env, receiver: reference(env, receiver.raw())?, function: reference(env, function.raw())? })
    }

    /// Calls it from the loop, as Node calls back: ticks and microtasks run afterwards.
    pub(super) fn call(&self) -> Called {
        let env = self.env;
        let mut scope = ptr::null_mut();
        let mut receiver = ptr::null_mut();
        let mut function = ptr::null_mut();
        let mut result = ptr::null_mut();
        // SAFETY: the loop runs on the environment's thread, and the environment lives: `Bridge` stops calling when its
        // cleanup hook runs. The references are the constructor's.
        unsafe {
            if sys::napi_open_handle_scope(env, &raw mut scope) != sys::Status::napi_ok {
                return Called::Ended;
            }
            sys::napi_get_reference_value(env, self.receiver, &raw mut receiver);
            sys::napi_get_reference_value(env, self.function, &raw mut function);
            let status =
                sys::napi_make_callback(env, ptr::null_mut(), receiver, function, 0, ptr::null(), &raw mut result);
            let called = if status == sys::Status::napi_ok { Called::Returned } else { self.pass_exception_on() };
            sys::napi_close_handle_scope(env, scope);
            called
        }
    }

    /// # Safety
    /// As `call`.
    unsafe fn pass_exception_on(&self) -> Called {
        let env = self.env;
        let mut is_pending = false;
        let mut exception = ptr::null_mut();
        // SAFETY: the caller's promise.
        unsafe {
            let asked = sys::napi_is_exception_pending(env, &raw mut is_pending);
            if asked != sys::Status::napi_ok || !is_pending {
                return Called::Ended;
            }
            let taken = sys::napi_get_and_clear_last_exception(env, &raw mut exception);
            let passed =
                taken == sys::Status::napi_ok && sys::napi_fatal_exception(env, exception) == sys::Status::napi_ok;
            if passed { Called::Threw } else { Called::Ended }
        }
    }
}

/// Has `work` read a string's bytes in Latin-1, of a short one without memory of its own.
#[cfg(not(test))] // as `hot`, which alone calls it
pub(super) fn with_latin1<T>(text: napi::JsString<'_>, work: impl FnOnce(&[u8]) -> T) -> Result<T> {
    const SHORT: usize = 2048;
    let value = text.value();
    let mut short = [0_u8; SHORT];
    let mut length = 0;
    let memory = short.as_mut_ptr().cast();
    // SAFETY: `text` is a live string of its environment, and N-API writes no more than `SHORT` bytes, a NUL among them.
    check_status!(unsafe {
        sys::napi_get_value_string_latin1(value.env, value.value, memory, SHORT, &raw mut length)
    })?;
    match short.get(..length) {
        Some(bytes) if length + 1 < SHORT => Ok(work(bytes)),
        // As much as there was room for.
        Some(_) | None => text.into_latin1().map(|text| work(text.as_slice())),
    }
}

/// Tells `uncaughtException` of an error. Nothing is left to do if JavaScript cannot run any more.
pub(super) fn throw_uncaught(env: &Env, error: &Unknown<'_>) {
    // SAFETY: `error` is a live value of `env`: JavaScript is making this call.
    unsafe { sys::napi_fatal_exception(env.raw(), error.raw()) };
}

/// Memory that JavaScript lends: an `ArrayBuffer` of its own, referenced until it is given back.
#[derive(Debug)]
pub(super) struct Lent {
    env: sys::napi_env,
    buffer: sys::napi_ref,
    memory: NonNull<u8>,
    length: usize,
}

impl Lent {
    /// Borrows all of `array`, which must span its whole `ArrayBuffer`.
    pub(super) fn new(env: &Env, array: &Uint8ArraySlice<'_>) -> Result<Self> {
        let env = env.raw();
        let mut kind = 0;
        let (mut length, mut data, mut buffer, mut offset) = (0, ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: `array` is a live typed array of `env`.
        check_status!(unsafe {
            sys::napi_get_typedarray_info(
                env,
                array.raw(),
                &raw mut kind,
                &raw mut length,
                &raw mut data,
                &raw mut buffer,
                &raw mut offset,
            )
        })?;
        let memory = NonNull::new(data.cast()).ok_or_else(|| Error::from_reason("a slab has memory"))?;
        Ok(Self { env, buffer: reference(env, buffer)?, memory, length })
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The bytes from `offset` on.
    ///
    /// # Safety
    /// The buffer is not detached, and no JavaScript runs while the slice lives.
    pub(super) unsafe fn from(&mut self, offset: usize) -> &mut [u8] {
        let offset = offset.min(self.length);
        // SAFETY: within the buffer, which the reference keeps alive; the caller keeps JavaScript out.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(offset), self.length - offset) }
    }

    /// Gives the memory back. Without this it is JavaScript's again when the environment ends.
    pub(super) fn give_back(self) {
        // SAFETY: on the environment's thread while it lives; the reference is this one's own.
        unsafe { sys::napi_delete_reference(self.env, self.buffer) };
    }
}

/// Asks for `hook(state)` when the environment ends; it must see to it that [`cleaned_up`] is called.
pub(super) fn on_cleanup(
    env: &Env,
    state: *mut c_void,
    hook: unsafe extern "C" fn(sys::napi_async_cleanup_hook_handle, *mut c_void),
) -> Result<()> {
    // SAFETY: `env` is live; `state` stays valid until the hook, by the caller's count of owners.
    check_status!(unsafe { sys::napi_add_async_cleanup_hook(env.raw(), Some(hook), state, ptr::null_mut()) })
}

/// Lets the environment's end go on.
pub(super) fn cleaned_up(hook: sys::napi_async_cleanup_hook_handle) {
    // SAFETY: the handle that the hook was given, removed once.
    unsafe { sys::napi_remove_async_cleanup_hook(hook) };
}

/// The loop of the environment's thread.
pub(super) fn event_loop(env: &Env) -> Result<*mut c_void> {
    let mut pointer = ptr::null_mut();
    // SAFETY: `env` is live.
    check_status!(unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut pointer) })?;
    Ok(pointer.cast())
}
