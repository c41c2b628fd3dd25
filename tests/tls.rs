//! Secured connections: nothing leaves before the embedder has accepted whom it reached, and what TLS holds back from the
//! kernel's view is seen all the same.

#[expect(dead_code, reason = "each suite uses its part")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use holdfast::engine::connect::Target;
use holdfast::engine::environment::{Event, Trouble, Wrote};
use holdfast::engine::pool::{CloseReason, ConnectionId, Release};
use holdfast::engine::tls::{Context, ContextOptions, Failure, Handshake};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::{X509, X509NameBuilder};
use socket2::SockRef;
use support::driver::{Driver, options, place_of, target};
use support::{GET, OK};

/// A server of one connection, which does what `serve` does with it.
struct Server {
    address: SocketAddr,
    cert: X509,
    thread: JoinHandle<()>,
}

fn identity() -> Result<(PKey<Private>, X509), ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut cert = X509::builder()?;
    cert.set_version(2)?;
    cert.set_subject_name(&name)?;
    cert.set_issuer_name(&name)?;
    cert.set_pubkey(&key)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1)?);
    cert.set_not_before(&from)?;
    cert.set_not_after(&to)?;
    cert.sign(&key, MessageDigest::sha256())?;
    Ok((key, cert.build()))
}

fn serving(serve: impl FnOnce(SslStream<std::net::TcpStream>) + Send + 'static) -> Server {
    serving_at(TcpListener::bind("127.0.0.1:0").expect("a free port"), serve)
}

fn serving_at(listener: TcpListener, serve: impl FnOnce(SslStream<std::net::TcpStream>) + Send + 'static) -> Server {
    let (key, cert) = identity().expect("a certificate");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("OpenSSL");
    acceptor.set_private_key(&key).expect("its key");
    acceptor.set_certificate(&cert).expect("its certificate");
    let acceptor = acceptor.build();
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        if let Ok(stream) = acceptor.accept(stream) {
            serve(stream);
        }
    });
    Server { address, cert, thread }
}

fn handshake(roots: &[&X509]) -> Handshake {
    let roots = roots.iter().map(|root| root.to_pem().expect("PEM")).collect();
    Handshake {
        context: Arc::new(Context::new(ContextOptions { roots, security_level: 1, ..ContextOptions::default() })),
        server_name: Some("localhost".to_owned()),
        protocols: None,
        session: None,
        asks_status: false,
        identity: None,
    }
}

/// Begins a connection, and waits for the end of its handshake.
fn secured(driver: &mut Driver, server: &Server, handshake: Handshake) -> ConnectionId {
    let id = driver.reserve();
    let (place, now) = (place_of(server.address), driver.now());
    driver.environment.connect(id, Target { tls: Some(handshake), ..target(place) }, now);
    driver.until_told(Event::Secured { id });
    id
}

fn accept(driver: &mut Driver, id: ConnectionId) {
    let now = driver.now();
    driver.environment.accept(id, now);
}

/// What a server has read, told as it reads it.
fn telling() -> (Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    channel()
}

fn answer(stream: &mut SslStream<std::net::TcpStream>) -> Vec<u8> {
    let mut request = vec![0; GET.len()];
    stream.read_exact(&mut request).expect("a request");
    stream.write_all(OK.as_bytes()).expect("a client that listens");
    request
}

#[test]
fn request_leaves_only_when_its_connection_is_accepted() {
    let (told, read) = telling();
    let server = serving(move |mut stream| told.send(answer(&mut stream)).unwrap());
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[&server.cert]));
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    assert_eq!(driver.counts(), [1, 0, 0, 0], "it still counts as connecting");
    assert_eq!(driver.environment.tls(id).unwrap().facts().verdict, 0);
    assert!(read.try_recv().is_err(), "the request left before its connection was accepted");
    accept(&mut driver, id);
    driver.until_received(id, OK);
    assert_eq!(read.recv().unwrap(), GET);
    driver.close(id, CloseReason::Destroyed);
    server.thread.join().unwrap();
}

#[test]
fn connection_that_is_refused_has_told_the_server_nothing() {
    let (told, read) = telling();
    let server = serving(move |mut stream| {
        let mut bytes = Vec::new();
        // A client that ends without a word of it is an error to OpenSSL.
        drop(stream.read_to_end(&mut bytes));
        told.send(bytes).unwrap();
    });
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[]));
    assert_eq!(driver.environment.tls(id).unwrap().facts().verdict, 18, "a self-signed certificate that nobody trusts");
    assert_eq!(driver.write(id, GET), Wrote::Pending);
    driver.close(id, CloseReason::Error);
    assert_eq!(read.recv().unwrap(), b"");
    server.thread.join().unwrap();
}

#[test]
fn identity_that_the_certificate_has_not_ends_the_handshake() {
    let server = serving(|_| {});
    let mut driver = Driver::new(options());
    let id = driver.reserve();
    let tls = Handshake { identity: Some("other.example".to_owned()), ..handshake(&[&server.cert]) };
    let (place, now) = (place_of(server.address), driver.now());
    driver.environment.connect(id, Target { tls: Some(tls), ..target(place) }, now);
    let Trouble::Insecure(insecure) = driver.trouble(id) else { unreachable!("it is insecure") };
    assert_eq!(insecure.failure, Failure::Untrusted(62));
    driver.environment.discard(id, CloseReason::Error);
    server.thread.join().unwrap();
}

#[test]
fn tickets_are_no_news_of_an_idle_connection_and_close_notify_is_its_end() {
    let (go, gone) = telling();
    let server = serving(move |mut stream| {
        answer(&mut stream);
        gone.recv().unwrap();
        stream.shutdown().unwrap();
    });
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[&server.cert]));
    accept(&mut driver, id);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    driver.until_received(id, OK);
    assert_eq!(driver.release(id), Some(Release::Kept));
    assert_eq!(driver.reuse(true), id, "it is alive, whatever tickets came");
    assert!(!driver.environment.tls(id).unwrap().take_sessions().is_empty());
    driver.release(id);
    go.send(Vec::new()).unwrap();
    driver.until_told(Event::Ended { id, reason: CloseReason::PeerFin });
    server.thread.join().unwrap();
}

#[test]
fn secured_connection_that_parts_counts_no_more_and_still_speaks() {
    let server = serving(|mut stream| {
        answer(&mut stream);
        answer(&mut stream);
    });
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[&server.cert]));
    accept(&mut driver, id);
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    driver.until_received(id, OK);
    assert!(driver.environment.detach(id).is_none(), "its TLS cannot be given away");
    assert!(driver.environment.part(id));
    assert_eq!((driver.counts(), driver.closed(CloseReason::Detached)), ([0; 4], 1));
    assert_eq!(driver.write(id, GET), Wrote::Taken);
    driver.until_received(id, OK);
    driver.close(id, CloseReason::Destroyed);
    assert_eq!(driver.counts(), [0; 4]);
    server.thread.join().unwrap();
}

#[test]
fn large_writes_to_a_slow_reader_arrive_whole_and_in_order() {
    let pattern = |length: usize| (0..=250_u8).cycle().take(length);
    let sizes = [40_000, 16_384, 1, 65_536, 65_537, 200_000].repeat(100);
    let total: usize = sizes.iter().sum();
    let ((told, read), (begin, may_begin)) = (telling(), channel());
    let server = serving(move |mut stream| {
        may_begin.recv().expect("a test that goes on");
        let mut body = vec![0; total];
        stream.read_exact(&mut body).expect("all of it");
        told.send(body).expect("a test that waits");
    });
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[&server.cert]));
    accept(&mut driver, id);
    let mut bytes = pattern(total);
    let mut waits = 0;
    for size in sizes {
        let piece: Vec<_> = bytes.by_ref().take(size).collect();
        if driver.write(id, &piece) == Wrote::Pending {
            waits += 1;
            begin.send(()).unwrap_or_default();
            driver.until_told(Event::Written { id });
            driver.events.clear();
        }
    }
    assert!(waits > 0, "the kernels took {total} bytes that nobody read");
    assert!(read.recv().expect("a body").into_iter().eq(pattern(total)));
    server.thread.join().expect("a server that did its part");
}

#[test]
fn answer_that_comes_while_a_first_large_write_is_partly_sent_is_no_unsolicited_one() {
    const EARLY: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    let (done, is_done) = channel::<()>();
    // Both kernels together have room for some records, not for all that leave together.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    SockRef::from(&listener).set_recv_buffer_size(4096).expect("a small buffer");
    let server = serving_at(listener, move |mut stream| {
        answer(&mut stream);
        stream.read_exact(&mut [0; 16]).expect("a second request");
        stream.write_all(EARLY.as_bytes()).expect("a client that listens");
        is_done.recv().unwrap_or_default();
    });
    let mut driver = Driver::new(options());
    let id = secured(&mut driver, &server, handshake(&[&server.cert]));
    accept(&mut driver, id);
    driver.exchange(id, OK);
    driver.release(id);
    assert_eq!(driver.reuse(false), id);
    let socket = driver.environment.transport(id).expect("an open connection").socket();
    socket.set_send_buffer_size(16_384).expect("a small buffer");
    assert_eq!(driver.write(id, &vec![b'x'; 200_000]), Wrote::Pending);
    driver.until_kernel_knows(id);
    driver.until_received(id, EARLY);
    assert_eq!(driver.closed(CloseReason::Unsolicited), 0);
    drop(done);
}
