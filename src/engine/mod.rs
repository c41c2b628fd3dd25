//! The engine: connections, pool, lifetimes and replay, without a word of JavaScript.
//!
//! Terminology: an *origin* is what makes two requests able to share a connection. A *checkout* asks for a *lease*, the
//! right to one *exchange* on a connection. A parked checkout is a *waiter*. A connection is connecting, idle, leased or
//! closing.
//!
//! [`environment`] is the shell: it owns the sockets, asks the pure parts ([`pool`], [`lifetime`], [`retry`]) what to do,
//! and then does it. Whoever embeds it supplies a [`reactor`].

pub mod connect;
pub mod doorbell;
pub mod environment;
pub mod http;
pub mod lifetime;
pub mod pool;
pub mod reactor;
pub mod retry;
pub mod stats;
pub mod tls;
pub mod transport;
