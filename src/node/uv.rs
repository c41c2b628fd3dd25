//! libuv, as the host process has it. All of its `unsafe` is here, behind handles that are closed before they are freed.
//!
//! The functions are looked up at run time: Windows needs that, and a runtime without libuv gets a message, not a crash.

#![expect(unsafe_code, reason = "libuv is a C library")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::OnceLock;

type HandlePointer = *mut c_void;
type LoopPointer = *mut c_void;
type PollCallback = unsafe extern "C" fn(HandlePointer, c_int, c_int);
type Callback = unsafe extern "C" fn(HandlePointer);

pub(super) const READABLE: c_int = 1;
pub(super) const WRITABLE: c_int = 2;

// Source: `enum uv_handle_type` in include/uv.h v1.0 to v1.51: the order is part of the ABI.
const ASYNC: c_int = 1;
const CHECK: c_int = 2;
const POLL: c_int = 8;
const TIMER: c_int = 13;

macro_rules! functions {
    ($($name:ident: $type:ty = $symbol:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug)]
        struct Functions { $($name: $type),* }

        impl Functions {
            fn load() -> Result<Self, String> {
                #[cfg(unix)]
                let host = libloading::os::unix::Library::this();
                #[cfg(windows)]
                let host = libloading::os::windows::Library::this().map_err(|error| error.to_string())?;
                Ok(Self {
                    $($name: {
                        let symbol = concat!($symbol, "\0");
                        // SAFETY: the type is the function's in include/uv.h, the same since libuv 1.0.
                        *unsafe { host.get::<$type>(symbol.as_bytes()) }.map_err(|_| $symbol.to_owned())?
                    }),*
                })
            }
        }
    };
}

functions! {
    handle_size: unsafe extern "C" fn(c_int) -> usize = "uv_handle_size",
    set_data: unsafe extern "C" fn(HandlePointer, *mut c_void) = "uv_handle_set_data",
    get_data: unsafe extern "C" fn(HandlePointer) -> *mut c_void = "uv_handle_get_data",
    close: unsafe extern "C" fn(HandlePointer, Option<Callback>) = "uv_close",
    hold: unsafe extern "C" fn(HandlePointer) = "uv_ref",
    release: unsafe extern "C" fn(HandlePointer) = "uv_unref",
    poll_init: unsafe extern "C" fn(LoopPointer, HandlePointer, RawSocket) -> c_int = "uv_poll_init_socket",
    poll_start: unsafe extern "C" fn(HandlePointer, c_int, PollCallback) -> c_int = "uv_poll_start",
    poll_stop: unsafe extern "C" fn(HandlePointer) -> c_int = "uv_poll_stop",
    check_init: unsafe extern "C" fn(LoopPointer, HandlePointer) -> c_int = "uv_check_init",
    check_start: unsafe extern "C" fn(HandlePointer, Callback) -> c_int = "uv_check_start",
    timer_init: unsafe extern "C" fn(LoopPointer, HandlePointer) -> c_int = "uv_timer_init",
    timer_start: unsafe extern "C" fn(HandlePointer, Callback, u64, u64) -> c_int = "uv_timer_start",
    async_init: unsafe extern "C" fn(LoopPointer, HandlePointer, Option<Callback>) -> c_int = "uv_async_init",
    async_send: unsafe extern "C" fn(HandlePointer) -> c_int = "uv_async_send",
}

#[cfg(unix)]
pub(super) type RawSocket = std::os::fd::RawFd;
#[cfg(windows)]
pub(super) type RawSocket = std::os::windows::io::RawSocket;

fn functions() -> Result<&'static Functions, String> {
    static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();
    FUNCTIONS.get_or_init(Functions::load).as_ref().map_err(Clone::clone)
}

/// What a loop's handles call. Every call comes from the loop's thread, outside any other call into the listener.
pub(super) trait Listener {
    /// A handle was made; `closed` follows one day.
    fn opened(&self);
    /// A polled socket is ready, or has failed: then the poll is stopped.
    fn polled(&self, token: u32, status: c_int, events: c_int);
    /// The loop's check phase has come.
    fn checked(&self);
    /// The timer is due.
    fn timed(&self);
    /// The doorbell rang.
    fn rung(&self);
    /// A handle that was closed is freed.
    fn closed(&self, token: Option<u32>);
}

/// The loop of one environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    uv: &'static Functions,
    pointer: NonNull<c_void>,
}

/// What hangs on each handle's `data`; freed in its close callback.
struct Attached {
    layout: Layout,
    listener: Rc<dyn Listener>,
    token: u32,
    /// What `closed` is told.
    closing: Option<u32>,
}

/// A handle that is initialised and not closed.
#[derive(Debug)]
pub(super) struct Handle {
    uv: &'static Functions,
    pointer: NonNull<c_void>,
}

impl Loop {
    /// # Errors
    /// The name of a libuv function that this process does not have.
    ///
    /// # Safety
    /// `pointer` is the `uv_loop_t` of the calling thread, and outlives every handle made from this.
    pub(super) unsafe fn new(pointer: *mut c_void) -> Result<Self, String> {
        let pointer = NonNull::new(pointer).ok_or("napi_get_uv_event_loop")?;
        Ok(Self { uv: functions()?, pointer })
    }

    /// A stopped poll of a socket, which must stay open until the handle is closed.
    pub(super) fn poll(&self, listener: Rc<dyn Listener>, token: u32, socket: RawSocket) -> Result<Handle, c_int> {
        // SAFETY: `memory` is of the size for a poll; the loop is this thread's (`Loop::new`).
        self.handle(POLL, listener, token, |uv, memory| unsafe {
            (uv.poll_init)(self.pointer.as_ptr(), memory, socket)
        })
    }

    /// A running check.
    pub(super) fn check(&self, listener: Rc<dyn Listener>) -> Result<Handle, c_int> {
        // SAFETY: as in `poll`.
        let check =
            self.handle(CHECK, listener, 0, |uv, memory| unsafe { (uv.check_init)(self.pointer.as_ptr(), memory) })?;
        // SAFETY: the handle is initialised; `on_check` reads the `Attached` that `handle` set.
        unsafe { (self.uv.check_start)(check.pointer.as_ptr(), on_check) };
        Ok(check)
    }

    /// A timer that is not set.
    pub(super) fn timer(&self, listener: Rc<dyn Listener>) -> Result<Handle, c_int> {
        // SAFETY: as in `poll`.
        self.handle(TIMER, listener, 0, |uv, memory| unsafe { (uv.timer_init)(self.pointer.as_ptr(), memory) })
    }

    /// A doorbell.
    pub(super) fn doorbell(&self, listener: Rc<dyn Listener>) -> Result<Handle, c_int> {
        // SAFETY: as in `poll`; `on_ring` runs in a later turn, when `data` is set.
        self.handle(ASYNC, listener, 0, |uv, memory| unsafe {
            (uv.async_init)(self.pointer.as_ptr(), memory, Some(on_ring))
        })
    }

    fn handle(
        &self,
        kind: c_int,
        listener: Rc<dyn Listener>,
        token: u32,
        init: impl FnOnce(&Functions, HandlePointer) -> c_int,
    ) -> Result<Handle, c_int> {
        // SAFETY: `kind` is one of libuv's handle types.
        let size = unsafe { (self.uv.handle_size)(kind) };
        let layout = Layout::from_size_align(size.max(64), 16).map_err(|_| -libc::ENOMEM)?;
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<c_void>();
        let Some(pointer) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let status = init(self.uv, memory);
        if status != 0 {
            // SAFETY: from `alloc_zeroed` with this layout; libuv keeps nothing of a handle that it refused.
            unsafe { dealloc(memory.cast(), layout) };
            return Err(status);
        }
        listener.opened();
        let attached = Box::new(Attached { layout, listener, token, closing: None });
        // SAFETY: the handle is initialised.
        unsafe { (self.uv.set_data)(memory, Box::into_raw(attached).cast()) };
        Ok(Handle { uv: self.uv, pointer })
    }
}

impl Handle {
    /// Polls for `events`, or stops at none.
    pub(super) fn poll_for(&mut self, events: c_int) {
        // SAFETY: only polls are asked this, and a `Handle` is not closed; `on_poll` reads what `handle` set.
        unsafe {
            if events == 0 {
                (self.uv.poll_stop)(self.pointer.as_ptr());
            } else {
                (self.uv.poll_start)(self.pointer.as_ptr(), events, on_poll);
            }
        }
    }

    /// Sets the timer, once.
    pub(super) fn set_timer(&mut self, milliseconds: u64) {
        // SAFETY: only the timer is asked this, and a `Handle` is not closed.
        unsafe { (self.uv.timer_start)(self.pointer.as_ptr(), on_time, milliseconds, 0) };
    }

    /// Whether the handle keeps the loop alive.
    pub(super) fn hold(&mut self, alive: bool) {
        // SAFETY: a `Handle` is initialised and not closed.
        unsafe { if alive { (self.uv.hold)(self.pointer.as_ptr()) } else { (self.uv.release)(self.pointer.as_ptr()) } }
    }

    /// A way to ring this doorbell from any thread.
    pub(super) fn ringer(&self) -> Ringer {
        Ringer { uv: self.uv, pointer: self.pointer }
    }

    /// Closes the handle; `Listener::closed` is told `token` when it is freed.
    pub(super) fn close(self, token: Option<u32>) {
        // SAFETY: the handle is initialised and, as this takes it, closed once; `data` is the box that `handle` set, and
        // nothing else borrows it: callbacks run from the loop only.
        unsafe {
            let attached = (self.uv.get_data)(self.pointer.as_ptr()).cast::<Attached>();
            (*attached).closing = token;
            (self.uv.close)(self.pointer.as_ptr(), Some(on_close));
        }
    }
}

/// Rings a doorbell. It must not be used once the doorbell is closed: `engine::doorbell` sees to that, under its lock.
#[derive(Debug)]
pub(super) struct Ringer {
    uv: &'static Functions,
    pointer: NonNull<c_void>,
}

// SAFETY: `uv_async_send` may be called from any thread; nothing else is done with the pointer.
unsafe impl Send for Ringer {}

impl crate::engine::doorbell::Bell for Ringer {
    fn ring(&self) {
        // SAFETY: the doorbell is open: `Doorbell::close` drops this before the handle is closed.
        unsafe { (self.uv.async_send)(self.pointer.as_ptr()) };
    }
}

/// # Safety
/// `handle` carries an `Attached`.
unsafe fn listener(handle: HandlePointer) -> Option<(Rc<dyn Listener>, u32)> {
    let uv = functions().ok()?;
    // SAFETY: the caller's promise. The clone keeps the listener alive should it close this handle.
    let attached = unsafe { (uv.get_data)(handle).cast::<Attached>().as_ref() }?;
    Some((Rc::clone(&attached.listener), attached.token))
}

unsafe extern "C" fn on_poll(handle: HandlePointer, status: c_int, events: c_int) {
    // SAFETY: `Loop::handle` set it.
    if let Some((listener, token)) = unsafe { listener(handle) } {
        listener.polled(token, status, events);
    }
}

unsafe extern "C" fn on_check(handle: HandlePointer) {
    // SAFETY: `Loop::handle` set it.
    if let Some((listener, _)) = unsafe { listener(handle) } {
        listener.checked();
    }
}

unsafe extern "C" fn on_time(handle: HandlePointer) {
    // SAFETY: `Loop::handle` set it.
    if let Some((listener, _)) = unsafe { listener(handle) } {
        listener.timed();
    }
}

unsafe extern "C" fn on_ring(handle: HandlePointer) {
    // SAFETY: `Loop::handle` set it.
    if let Some((listener, _)) = unsafe { listener(handle) } {
        listener.rung();
    }
}

unsafe extern "C" fn on_close(handle: HandlePointer) {
    let Ok(uv) = functions() else { return };
    // SAFETY: `Loop::handle` set it from `Box::into_raw`, and a handle is closed once.
    let attached = unsafe { Box::from_raw((uv.get_data)(handle).cast::<Attached>()) };
    let Attached { layout, listener, closing, .. } = *attached;
    // SAFETY: from `alloc_zeroed` with this layout, and libuv is done with it.
    unsafe { dealloc(handle.cast(), layout) };
    listener.closed(closing);
}

/// The events of a poll as libuv counts them.
pub(super) fn events(readable: bool, writable: bool) -> c_int {
    (if readable { READABLE } else { 0 }) | (if writable { WRITABLE } else { 0 })
}
