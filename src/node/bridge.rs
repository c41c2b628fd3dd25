//! From the loop to JavaScript and back: turns, deliveries, and the end of an environment.

#![expect(unsafe_code, reason = "the cleanup hook's state is a pointer")]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use napi::{Env, sys};

use super::events::EventTable;
use super::js::{self, Callback, Called};
use super::reactor::{ReadyList, UvReactor};
use super::slabs::SlabTable;
use super::uv::{Listener, Loop, READABLE, WRITABLE};
use crate::engine::environment::Environment;
use crate::engine::pool::ConnectionId;
use crate::engine::reactor::Ready;

/// Deliveries in a turn from which on their requests leave together. A lone one had better leave while the rest of its
/// turn still runs; ten in flight gain 40 % (AMD EPYC, nginx on loopback, 2026-11).
const GATHER_FROM: usize = 2;

pub(super) type Engine = Environment<UvReactor>;

/// What one JavaScript environment's loop drives. Owned by its class instance, its handles and its cleanup hook.
pub(super) struct Bridge {
    /// `None` once the environment has ended.
    pub(super) engine: RefCell<Option<Engine>>,
    pub(super) slabs: RefCell<SlabTable>,
    events: RefCell<EventTable>,
    callback: Callback,
    ready: ReadyList,
    /// Something happened since the last turn.
    is_woken: Cell<bool>,
    is_delivering: Cell<bool>,
    handles: Cell<usize>,
    hook: Cell<Option<sys::napi_async_cleanup_hook_handle>>,
}

/// Runs `work`; a panic in it ends neither the process nor the loop.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Bridge {
    /// Starts an environment's engine on its loop.
    pub(super) fn start(env: &Env, callback: Callback, events: EventTable) -> napi::Result<Rc<Self>> {
        // SAFETY: the loop is this thread's, and outlives its environment's handles: the cleanup hook closes them.
        let event_loop = unsafe { Loop::new(js::event_loop(env)?) }.map_err(|missing| {
            napi::Error::from_reason(format!(
                "holdfast needs the event loop of Node.js, and this runtime has no {missing}"
            ))
        })?;
        let bridge = Rc::new(Self {
            engine: RefCell::new(None),
            slabs: RefCell::default(),
            events: RefCell::new(events),
            callback,
            ready: ReadyList::default(),
            is_woken: Cell::new(false),
            is_delivering: Cell::new(false),
            handles: Cell::new(0),
            hook: Cell::new(None),
        });
        let listener: Rc<dyn Listener> = Rc::<Self>::clone(&bridge);
        let reactor = UvReactor::start(event_loop, listener, Rc::clone(&bridge.ready))
            .map_err(|status| napi::Error::from_reason(format!("libuv refused a handle with status {status}")))?;
        let ringer = reactor.ringer().ok_or_else(|| napi::Error::from_reason("a new reactor has a doorbell"))?;
        *bridge.engine.borrow_mut() = Some(Environment::new(reactor, ringer));
        js::on_cleanup(env, Rc::into_raw(Rc::clone(&bridge)).cast_mut().cast(), end)?;
        Ok(bridge)
    }

    /// Lets JavaScript ask the engine something. A panic becomes an exception.
    pub(super) fn call<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> napi::Result<T> {
        let mut engine = self.engine.borrow_mut();
        let engine = engine.as_mut().ok_or_else(|| napi::Error::from_reason("this environment has ended"))?;
        guarded(|| work(engine))
            .ok_or_else(|| napi::Error::from_reason("holdfast failed within: please report the message above"))
    }

    fn turn(&self) {
        if !self.is_woken.replace(false) {
            return;
        }
        self.run_engine();
        self.deliver();
    }

    /// Lets the engine do what is due. No JavaScript runs in here.
    fn run_engine(&self) {
        let mut slabs = self.slabs.borrow_mut();
        guarded(|| {
            if let Some(engine) = self.engine.borrow_mut().as_mut() {
                if !engine.has_events() {
                    slabs.rewind();
                }
                engine.turn(&mut *slabs, Instant::now());
            }
        });
    }

    /// Tells JavaScript what happened, until nothing is left to tell.
    fn deliver(&self) {
        if self.is_delivering.replace(true) {
            return;
        }
        loop {
            let (rows, deliveries) = self.next_batch();
            if rows == 0 {
                break;
            }
            self.with(|engine| engine.begin_telling(deliveries >= GATHER_FROM));
            let goes_on = self.call_back();
            self.with(Engine::scatter);
            if !goes_on {
                break;
            }
        }
        self.is_delivering.set(false);
    }

    fn with(&self, work: impl FnOnce(&mut Engine)) {
        guarded(|| {
            if let Some(engine) = self.engine.borrow_mut().as_mut() {
                work(engine);
            }
        });
    }

    /// Fills the event table; answers how many events there are to tell, in how many deliveries.
    fn next_batch(&self) -> (usize, usize) {
        let fill = || {
            let mut engine = self.engine.borrow_mut();
            let mut events = self.events.borrow_mut();
            let wants_slabs = || self.slabs.borrow().vacant().is_some();
            engine.as_mut().map_or((0, 0), |engine| events.fill(engine, wants_slabs))
        };
        let batch = guarded(fill).unwrap_or_default();
        if batch.0 > 0 {
            return batch;
        }
        // Sockets that the last batch had no room for: JavaScript has lent new slabs since.
        let has_backlog = self.engine.borrow().as_ref().is_some_and(Engine::has_backlog);
        if has_backlog {
            let mut slabs = self.slabs.borrow_mut();
            slabs.rewind();
            self.with(|engine| engine.catch_up(&mut *slabs));
        }
        if has_backlog { guarded(fill).unwrap_or_default() } else { (0, 0) }
    }

    /// `false` if JavaScript cannot run any more.
    fn call_back(&self) -> bool {
        let mut cursor = 0;
        loop {
            match self.callback.call() {
                Called::Returned => return true,
                Called::Ended => return false,
                Called::Threw => {
                    let reached = self.events.borrow_mut().cursor();
                    // The same event twice: it would throw for ever.
                    if reached == cursor {
                        return false;
                    }
                    cursor = reached;
                }
            }
        }
    }

    fn wake(&self) {
        self.is_woken.set(true);
    }

    /// Closes everything, in the order in which it cannot be called any more.
    fn end(&self, hook: sys::napi_async_cleanup_hook_handle) {
        self.hook.set(Some(hook));
        let engine = self.engine.borrow_mut().take();
        if let Some(mut engine) = engine {
            engine.abandon();
            engine.reactor().stop();
        }
        self.finish_end();
    }

    fn finish_end(&self) {
        if self.handles.get() == 0
            && let Some(hook) = self.hook.take()
        {
            js::cleaned_up(hook);
        }
    }
}

impl Listener for Bridge {
    fn opened(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    fn polled(&self, token: u32, status: c_int, events: c_int) {
        self.wake();
        let failed = status < 0;
        self.ready.borrow_mut().push(Ready {
            id: ConnectionId(token),
            readable: events & READABLE != 0,
            writable: events & WRITABLE != 0,
            stopped: failed,
        });
    }

    fn checked(&self) {
        self.turn();
    }

    fn timed(&self) {
        self.with(Engine::deadline_came);
        self.wake();
        // The check comes after the poll, in which the loop may sleep for as long as nothing else happens.
        self.turn();
    }

    fn rung(&self) {
        self.wake();
    }

    fn closed(&self, token: Option<u32>) {
        self.handles.set(self.handles.get() - 1);
        if let Some(token) = token {
            self.with(|engine| engine.gone(ConnectionId(token)));
            self.deliver();
        }
        self.finish_end();
    }
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge").field("handles", &self.handles).finish_non_exhaustive()
    }
}

unsafe extern "C" fn end(hook: sys::napi_async_cleanup_hook_handle, state: *mut c_void) {
    // SAFETY: `start` leaked one count of this for the hook, which runs once.
    let bridge = unsafe { Rc::from_raw(state.cast::<Bridge>()) };
    guarded(|| bridge.end(hook));
}
