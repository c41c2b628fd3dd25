//! What the kernel knows of the bytes that it took: how many the peer's kernel has acknowledged, and when it last spoke.

use std::time::Duration;

use socket2::Socket;

/// Facts of one TCP connection, readable until its descriptor is closed, after a reset too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Bytes that the peer's kernel acknowledged since the connect began, the SYN included (`tcpi_bytes_acked`).
    pub(super) acknowledged: u64,
    pub(super) silence: Silence,
}

/// For how long the peer has been silent; zero where nobody tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// Since its last segment that acknowledged something, a FIN included (`tcpi_last_ack_recv`).
    pub of_kernel: Duration,
    /// Since its last bytes (`tcpi_last_data_recv`).
    pub of_words: Duration,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    #![expect(unsafe_code, reason = "getsockopt fills memory; no library of ours reads TCP_INFO this far")]

    use std::os::fd::AsRawFd;

    use super::{Delivery, Duration, Silence, Socket};

    /// `struct tcp_info` of include/uapi/linux/tcp.h: where the fields begin. It only ever grows at its end.
    const LAST_DATA_RECV: usize = 52;
    const LAST_ACK_RECV: usize = 56;
    const BYTES_ACKED: usize = 120;
    const SIZE: usize = 128;

    pub(super) fn delivery(socket: &Socket) -> Option<Delivery> {
        let mut info = [0u8; SIZE];
        let mut length: libc::socklen_t = SIZE.try_into().ok()?;
        // SAFETY: the descriptor is the socket's own and open; `info` has room for `length` bytes, and the kernel writes no
        // more than that, and into `length` how many it wrote. Any bytes are a valid `[u8; SIZE]`.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // Older kernels (before 4.1) write less.
        if status != 0 || usize::try_from(length).ok()? < SIZE {
            return None;
        }
        let milliseconds = |at: usize| {
            let milliseconds = u32::from_ne_bytes(info.get(at..)?.first_chunk().copied()?);
            Some(Duration::from_millis(milliseconds.into()))
        };
        Some(Delivery {
            acknowledged: u64::from_ne_bytes(info.get(BYTES_ACKED..)?.first_chunk().copied()?),
            silence: Silence { of_kernel: milliseconds(LAST_ACK_RECV)?, of_words: milliseconds(LAST_DATA_RECV)? },
        })
    }
}

/// Asks the kernel; `None` where it does not tell.
pub(super) fn delivery(socket: &Socket) -> Option<Delivery> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::delivery(socket);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        None
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn acknowledged_bytes_are_the_syn_and_what_the_peer_has_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let socket = Socket::from(client.try_clone().unwrap());
        assert_eq!(delivery(&socket).unwrap().acknowledged, 1);
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"!").unwrap();
        // What answers it also acknowledges it.
        client.read_exact(&mut [0; 1]).unwrap();
        assert_eq!(delivery(&socket).unwrap().acknowledged, 6);
    }

    #[test]
    fn last_bytes_end_a_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut byte = [0; 1];
        // A silence, which is the subject.
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        client.read_exact(&mut byte).unwrap_err();
        let written = std::time::Instant::now();
        server.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
        let silence = delivery(&Socket::from(client)).unwrap().silence;
        assert!(silence.of_words <= written.elapsed() + Duration::from_millis(5), "{silence:?}");
    }

    #[test]
    fn socket_that_is_no_tcp_tells_nothing() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(delivery(&Socket::from(std::os::fd::OwnedFd::from(one))), None);
    }
}
