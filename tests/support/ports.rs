//! Ports where nobody answers.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

fn bound(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, address))
}

/// A port that refuses, and that nobody else gets as long as the socket lives.
///
/// # Errors
/// The kernel's.
pub(crate) fn refusing_port() -> io::Result<(Socket, SocketAddr)> {
    bound(([127, 0, 0, 1], 0).into())
}

/// A listener that accepts nobody and whose queue is full: on Linux, a connect to it hangs.
pub(crate) struct FullQueue {
    address: SocketAddr,
    _listener: Socket,
    _filler: Socket,
}

impl FullQueue {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let (listener, address) = bound(address).expect("a free port");
        listener.listen(0).expect("a bound socket listens");
        let filler = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        filler.connect(&address.into()).expect("there is room for one");
        Self { address, _listener: listener, _filler: filler }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
