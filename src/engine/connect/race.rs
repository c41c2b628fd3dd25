//! Connecting to the first address that answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use socket2::Socket;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Failure, News, Target};

/// The addresses to try: each once, the families in turn (RFC 8305 §4); without a race the first alone.
fn candidates(addresses: &[IpAddr], port: u16, race: bool) -> Vec<SocketAddr> {
    let mut families: [Vec<IpAddr>; 2] = Default::default();
    let Some(first) = addresses.first() else { return Vec::new() };
    if !race {
        return vec![SocketAddr::new(*first, port)];
    }
    let [preferred, other] = &mut families;
    for address in addresses {
        let family = if address.is_ipv4() == first.is_ipv4() { &mut *preferred } else { &mut *other };
        if !family.contains(address) {
            family.push(*address);
        }
    }
    let rounds = preferred.len().max(other.len());
    (0..rounds)
        .flat_map(|round| [preferred.get(round), other.get(round)])
        .flatten()
        .map(|address| SocketAddr::new(*address, port))
        .collect()
}

/// Races the candidates: each gets a head start, or less when the ones before it have all failed.
pub(super) async fn connect(addresses: &[IpAddr], port: u16, target: &Target) -> Result<Socket, News> {
    let candidates = candidates(addresses, port, target.race);
    let mut attempts = JoinSet::new();
    let mut failures: Vec<(usize, Failure)> = Vec::new();
    let mut rest = candidates.iter().enumerate();
    loop {
        let next = rest.next();
        if let Some((index, address)) = next {
            let (address, local) = (*address, local_end(target, address));
            attempts.spawn(async move { connect_one(address, local).await.map_err(|failure| (index, failure)) });
        }
        let ended = if next.is_none() {
            attempts.join_next().await
        } else {
            match timeout(target.attempt_delay, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(Ok(socket))) => return Ok(socket),
            Some(Ok(Err(failure))) => failures.push(failure),
            None if next.is_none() => break,
            // An attempt neither panics nor is cancelled before the race is over.
            Some(Err(_)) | None => {}
        }
    }
    failures.sort_by_key(|(index, _)| *index);
    Err(News::Failed(failures.into_iter().map(|(_, failure)| failure).collect()))
}

fn local_end(target: &Target, peer: &SocketAddr) -> Option<SocketAddr> {
    let any = if peer.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    (target.local_address.is_some() || target.local_port != 0)
        .then(|| SocketAddr::new(target.local_address.unwrap_or(any), target.local_port))
}

async fn connect_one(address: SocketAddr, local: Option<SocketAddr>) -> Result<Socket, Failure> {
    let failure =
        |syscall| move |error: io::Error| Failure { syscall, errno: errno(&error), address: Some(address), local };
    let socket =
        if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failure("connect"))?;
    if let Some(local) = local {
        // As libuv: a port in TIME_WAIT may be bound again.
        #[cfg(unix)]
        socket.set_reuseaddr(true).map_err(failure("bind"))?;
        socket.bind(local).map_err(failure("bind"))?;
    }
    let stream = socket.connect(address).await.map_err(failure("connect"))?;
    stream.into_std().map(Socket::from).map_err(failure("connect"))
}

/// Connects to a Unix-domain socket.
#[cfg(unix)]
pub(super) async fn connect_path(path: &Path) -> Result<Socket, News> {
    let mut stream = tokio::net::UnixStream::connect(path).await;
    if stream.is_err()
        && let Some(padded) = padded(path)
    {
        stream = tokio::net::UnixStream::connect(padded).await.or(stream);
    }
    match stream.and_then(tokio::net::UnixStream::into_std) {
        Ok(stream) => Ok(Socket::from(stream)),
        Err(error) => Err(News::Failed(vec![path_failure(&error)])),
    }
}

/// An abstract name as servers on libuv before 1.48 bind it: with NUL bytes up to the length of `sun_path`.
#[cfg(unix)]
fn padded(path: &Path) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    const SUN_PATH: usize = 108;
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    if bytes.first() != Some(&0) || bytes.len() >= SUN_PATH {
        return None;
    }
    bytes.resize(SUN_PATH, 0);
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "the same signature on every system")]
pub(super) async fn connect_path(_: &Path) -> Result<Socket, News> {
    Err(News::Failed(vec![path_failure(&io::Error::from(io::ErrorKind::Unsupported))]))
}

fn path_failure(error: &io::Error) -> Failure {
    Failure { syscall: "connect", errno: errno(error), address: None, local: None }
}

fn errno(error: &io::Error) -> i32 {
    // Only an address that cannot be one (a path that is too long) has no number.
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn candidates_alternate_between_families_and_drop_repeats() {
        let found = candidates(&ips("::1 ::1 ::2 127.0.0.1 ::3"), 80, true);
        let text: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(text.join(" "), "::1 127.0.0.1 ::2 ::3");
    }

    #[test]
    fn candidates_without_a_race_are_the_first_address() {
        assert_eq!(candidates(&ips("127.0.0.1 ::1"), 80, false), [SocketAddr::new(ips("127.0.0.1")[0], 80)]);
        assert_eq!(candidates(&[], 80, false), []);
    }
}
