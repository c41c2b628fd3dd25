//! The N-API skin over the engine: the loop's reactor, translation of options, handles and events. No decision is made here.

mod bridge;
mod environment;
mod events;
#[cfg(not(test))] // napi-derive registers nothing in tests, and all of it would be dead code
mod hot;
mod js;
mod options;
mod reactor;
mod slabs;
mod stats;
mod tls;
mod uv;
