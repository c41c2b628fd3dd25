//! The few calls of OpenSSL that the crate `openssl` does not wrap, or not as safe ones.

#![expect(unsafe_code, reason = "OpenSSL is a C interface")]

use std::ffi::{c_int, c_long, c_uchar};
use std::ptr;

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{SslContextBuilder, SslRef, SslSession, SslSessionRef};
use openssl::x509::X509CrlRef;
use openssl::x509::store::X509StoreBuilderRef;
use openssl_sys as sys;

unsafe extern "C" {
    fn X509_STORE_add_crl(store: *mut sys::X509_STORE, crl: *mut sys::X509_CRL) -> c_int;
    fn SSL_has_pending(ssl: *const sys::SSL) -> c_int;
    fn SSL_CTX_set_timeout(context: *mut sys::SSL_CTX, seconds: c_long) -> c_long;
    fn SSL_SESSION_get0_ticket(session: *const sys::SSL_SESSION, ticket: *mut *const c_uchar, length: *mut usize);
    fn SSL_get_shared_sigalgs(
        ssl: *mut sys::SSL,
        index: c_int,
        key: *mut c_int,
        hash: *mut c_int,
        both: *mut c_int,
        raw_key: *mut c_uchar,
        raw_hash: *mut c_uchar,
    ) -> c_int;
}

/// Has `store` know what `crl` revokes.
pub(super) fn add_crl(store: &mut X509StoreBuilderRef, crl: &X509CrlRef) -> Result<(), ErrorStack> {
    // SAFETY: both are live, and the store counts a reference of its own to the list.
    let added = unsafe { X509_STORE_add_crl(store.as_ptr(), crl.as_ptr()) };
    if added == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Whether bytes were read off the transport that nobody has had, be they a part of a record.
pub(super) fn has_pending(ssl: &SslRef) -> bool {
    // SAFETY: the session is live.
    unsafe { SSL_has_pending(ssl.as_ptr()) == 1 }
}

/// How many seconds sessions are good for.
pub(super) fn set_session_timeout(context: &mut SslContextBuilder, seconds: i32) {
    // SAFETY: the context is live.
    unsafe { SSL_CTX_set_timeout(context.as_ptr(), c_long::from(seconds)) };
}

/// Offers a session that was written down before.
pub(super) fn set_session(ssl: &mut SslRef, der: &[u8]) -> Result<(), ErrorStack> {
    let session = SslSession::from_der(der)?;
    // SAFETY: a session read from its DER form belongs to no context that it could be taken from.
    unsafe { ssl.set_session(&session) }
}

/// The ticket of a session, if it has one.
pub(super) fn ticket(session: &SslSessionRef) -> Option<Vec<u8>> {
    let (mut ticket, mut length) = (ptr::null(), 0);
    // SAFETY: the session is live, and so are the places that the answer goes to.
    unsafe { SSL_SESSION_get0_ticket(session.as_ptr(), &raw mut ticket, &raw mut length) };
    if ticket.is_null() || length == 0 {
        return None;
    }
    // SAFETY: so many bytes of the session's own, which outlives this borrow.
    Some(unsafe { std::slice::from_raw_parts(ticket, length) }.to_vec())
}

/// The signature algorithms that both sides know, as the kinds of key and hash.
pub(super) fn shared_signature_algorithms(ssl: &SslRef) -> Vec<(Nid, Nid)> {
    let ask = |index, key: *mut c_int, hash: *mut c_int| {
        let (both, raw) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the session is live; OpenSSL skips null places.
        unsafe { SSL_get_shared_sigalgs(ssl.as_ptr(), index, key, hash, both, raw, raw) }
    };
    let count = ask(0, ptr::null_mut(), ptr::null_mut());
    (0..count)
        .map(|index| {
            let (mut key, mut hash) = (0, 0);
            ask(index, &raw mut key, &raw mut hash);
            (Nid::from_raw(key), Nid::from_raw(hash))
        })
        .collect()
}
