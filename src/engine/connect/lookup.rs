//! Names to addresses, by the system's `getaddrinfo`.

use std::net::IpAddr;

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};

use super::{Family, Order, Target};

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupFailure {
    /// libuv's number for the resolver's answer (`UV_EAI_*`), or a negated system error number.
    pub errno: i32,
}

/// Looks `host` up on a thread of its own.
pub(super) async fn find(host: String, target: &Target) -> Result<Vec<IpAddr>, LookupFailure> {
    let hints = AddrInfoHints {
        socktype: libc::SOCK_STREAM,
        protocol: 0,
        address: match target.family {
            Family::Any => libc::AF_UNSPEC,
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        },
        flags: target.hints,
    };
    let order = target.order;
    let answer = tokio::task::spawn_blocking(move || {
        let found = getaddrinfo(Some(&host), None, Some(hints))
            .map_err(|error| LookupFailure { errno: uv_errno(error.kind(), &std::io::Error::from(error)) })?;
        let addresses: Vec<IpAddr> = found.filter_map(Result::ok).map(|info| info.sockaddr.ip()).collect();
        Ok(sorted(addresses, order))
    });
    // The task neither panics nor is cancelled but when the process ends.
    answer.await.unwrap_or(Err(LookupFailure { errno: EAI_FAIL }))
}

fn sorted(mut addresses: Vec<IpAddr>, order: Order) -> Vec<IpAddr> {
    match order {
        Order::Verbatim => {}
        Order::V4First => addresses.sort_by_key(IpAddr::is_ipv6),
        Order::V6First => addresses.sort_by_key(IpAddr::is_ipv4),
    }
    addresses
}

const EAI_FAIL: i32 = -3004;

/// Source: libuv `include/uv/errno.h` v1.46, whose numbers are the same on every system.
fn uv_errno(kind: LookupErrorKind, error: &std::io::Error) -> i32 {
    match kind {
        LookupErrorKind::Again => -3001,
        LookupErrorKind::Badflags => -3002,
        LookupErrorKind::Family => -3005,
        LookupErrorKind::Memory => -3006,
        LookupErrorKind::NoData => -3007,
        LookupErrorKind::NoName => -3008,
        LookupErrorKind::Service => -3010,
        LookupErrorKind::Socktype => -3011,
        LookupErrorKind::System | LookupErrorKind::IO => error.raw_os_error().map_or(EAI_FAIL, |errno| -errno),
        LookupErrorKind::Fail | LookupErrorKind::Unknown => EAI_FAIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_moves_one_family_to_the_front_and_keeps_the_rest() {
        let addresses: Vec<IpAddr> =
            ["::1", "127.0.0.1", "::2", "127.0.0.2"].iter().map(|ip| ip.parse().unwrap()).collect();
        let text =
            |order| sorted(addresses.clone(), order).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(Order::Verbatim), "::1 127.0.0.1 ::2 127.0.0.2");
        assert_eq!(text(Order::V4First), "127.0.0.1 127.0.0.2 ::1 ::2");
        assert_eq!(text(Order::V6First), "::1 ::2 127.0.0.1 127.0.0.2");
    }
}
