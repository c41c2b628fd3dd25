//! A keep-alive agent for Node.js whose connections live in Rust.

pub mod engine;
#[cfg(feature = "node")]
mod node;
