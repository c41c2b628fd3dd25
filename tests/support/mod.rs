//! What drives the engine in these suites: a loop, memory, and servers that misbehave by script.

pub(crate) mod driver;
pub(crate) mod peer;
pub(crate) mod ports;
pub(crate) mod reactor;
mod script;
pub(crate) mod server;
mod slabs;

/// A request that every script's `read_head` takes for one.
pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// The answer of every script's `ok`.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A POST whose body is `body`.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
