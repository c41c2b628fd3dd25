//! The socket options that differ from system to system.

use std::io;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

/// A write to a dead connection must be an error, not a signal that ends the process.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) const SEND_FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) const SEND_FLAGS: std::ffi::c_int = 0;

/// What the kernel does by itself for a connection; `None` leaves the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    /// Give up a connection whose sent bytes are not acknowledged for so long (Linux; elsewhere nothing).
    pub user_timeout: Option<Duration>,
    /// Between two keep-alive probes.
    pub keep_alive_interval: Option<Duration>,
    /// Lost keep-alive probes before the connection is given up.
    pub keep_alive_count: Option<u32>,
}

/// The kernel counts keep-alive in whole seconds, in 15 bits (Linux `MAX_TCP_KEEPIDLE`), and zero is an error.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().clamp(1, 32_767))
}

pub(super) fn set_keep_alive(socket: &Socket, idle: Option<Duration>, knobs: &Knobs) -> io::Result<()> {
    let Some(idle) = idle else { return socket.set_keepalive(false) };
    let mut keep_alive = TcpKeepalive::new();
    // As libuv: no initial delay leaves the system's, two hours.
    if idle >= Duration::from_secs(1) {
        keep_alive = keep_alive.with_time(whole_seconds(idle));
    }
    // libuv's own defaults (deps/uv/src/unix/tcp.c, v1.46): a probe a second, ten of them.
    keep_alive = keep_alive.with_interval(knobs.keep_alive_interval.map_or(Duration::from_secs(1), whole_seconds));
    #[cfg(not(windows))]
    {
        keep_alive = keep_alive.with_retries(knobs.keep_alive_count.unwrap_or(10));
    }
    socket.set_tcp_keepalive(&keep_alive)
}

pub(super) fn set_knobs(socket: &Socket, knobs: &Knobs) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = knobs.user_timeout {
        return socket.set_tcp_user_timeout(Some(timeout));
    }
    let _ = (socket, knobs);
    Ok(())
}
