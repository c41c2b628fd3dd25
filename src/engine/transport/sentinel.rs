//! Asks the kernel of many connections at once which of them have something to read.

use std::io;

use socket2::Socket;

use crate::engine::pool::ConnectionId;

/// An epoll of our own over all open connections. One call tells what a peek of each would: fifty peeks between fifty
/// requests cost a tenth of their time (AMD EPYC, nginx on loopback, 2026-11).
#[cfg(target_os = "linux")]
pub struct Sentinel {
    epoll: Option<std::os::fd::OwnedFd>,
    seen: Vec<rustix::event::epoll::Event>,
}

#[cfg(target_os = "linux")]
impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinel").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
impl Default for Sentinel {
    fn default() -> Self {
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).ok();
        Self { epoll, seen: Vec::new() }
    }
}

#[cfg(target_os = "linux")]
impl Sentinel {
    /// Watches over `socket` until it is closed or [`remove`](Self::remove)d. Without success it is asked by itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&self, socket: &Socket, id: ConnectionId) -> io::Result<()> {
        use rustix::event::epoll::{EventData, EventFlags, add};
        let epoll = self.epoll.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Ok(add(epoll, socket, EventData::new_u64(u64::from(id.0)), EventFlags::IN | EventFlags::RDHUP)?)
    }

    /// Lets go of a socket that lives on elsewhere.
    pub fn remove(&self, socket: &Socket) {
        if let Some(epoll) = &self.epoll {
            // ENOENT: it was never added.
            let _ignored = rustix::event::epoll::delete(epoll, socket);
        }
    }

    /// The connections that have bytes, a FIN or an error, sorted; `None` if the kernel did not tell of all.
    pub fn suspects(&mut self, most: usize) -> Option<Vec<ConnectionId>> {
        let epoll = self.epoll.as_ref()?;
        self.seen.clear();
        self.seen.reserve(most + 1);
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::epoll::wait(epoll, rustix::buffer::spare_capacity(&mut self.seen), Some(&timeout)).ok()?;
        if self.seen.len() > most {
            return None;
        }
        let id = |event: &rustix::event::epoll::Event| u32::try_from(event.data.u64()).ok().map(ConnectionId);
        let mut ids: Vec<_> = self.seen.iter().filter_map(id).collect();
        ids.sort_unstable();
        Some(ids)
    }
}

/// Elsewhere each connection is asked by itself.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub struct Sentinel;

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_self, clippy::missing_errors_doc, reason = "the same shape on every system")]
impl Sentinel {
    /// Never watches.
    pub fn add(&self, _: &Socket, _: ConnectionId) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never watched.
    pub fn remove(&self, _: &Socket) {}

    /// Never knows.
    pub fn suspects(&mut self, _: usize) -> Option<Vec<ConnectionId>> {
        None
    }
}
