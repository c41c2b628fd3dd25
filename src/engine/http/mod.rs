//! HTTP/1.1, spoken by hyper over a connection of the engine, and HTTP/2, by h2. hyper sees an endless pipe: whatever happens
//! to the connection below before an answer has begun, replays included, is none of its business. Of HTTP/2, where many
//! exchanges share a connection, each of them learns whether it must begin again.
//!
//! Nothing here touches a socket: bytes are fed in and taken out, and what they meant is asked for.

mod body;
mod breakage;
mod head;
mod session;
mod speaker;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use breakage::Breakage;
pub use head::{Misfit, RequestHead};
pub use session::Settings;
pub(crate) use session::{Heard, Session};
pub use speaker::Limits;
pub(crate) use speaker::{Speaker, Told};

/// Copies as much as there is room for; answers how much.
fn copy_as_fits(from: &[u8], room: &mut [u8]) -> usize {
    let count = room.len().min(from.len());
    if let (Some(to), Some(from)) = (room.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}
