//! The engine: connections, pool, lifetimes and replay, without a word of JavaScript.

pub mod connect;
