//! TLS by OpenSSL: the same library that Node has, so that servers get the same verdicts under the same names.
//!
//! A handshake runs on a background thread ([`connect`](super::connect)); the secured connection then moves to the loop.
//! The certificate's verdict is a fact that the embedder looks at before a byte of a request leaves.

mod context;
mod facts;
mod failure;
mod ffi;
mod notes;
mod stream;

pub use context::{Context, ContextOptions, Version};
pub use facts::Facts;
pub use failure::{Failure, ProtocolFailure};
pub use stream::{Handshake, Stall, Step, Tls};
