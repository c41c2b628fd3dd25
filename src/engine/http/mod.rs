//! HTTP/1.1, spoken by hyper over a connection of the engine. hyper sees an endless pipe: whatever happens to the connection
//! below before an answer has begun, replays included, is none of its business.
//!
//! Nothing here touches a socket: bytes are fed in and taken out, and what they meant is asked for.

mod body;
mod breakage;
mod head;
mod speaker;
mod wire;

pub use breakage::Breakage;
pub use head::{Misfit, RequestHead};
pub use speaker::Limits;
pub(crate) use speaker::{Speaker, Told};
