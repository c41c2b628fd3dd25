//! What connections with the same options share: versions, ciphers, whom to trust, the client's own certificate.

use std::fmt;
use std::sync::OnceLock;

use openssl::error::ErrorStack;
use openssl::pkcs12::{ParsedPkcs12_2, Pkcs12};
use openssl::pkey::PKey;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl};

use super::{Failure, ffi, notes};

/// The options of a context, as OpenSSL takes them.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "keys are never printed")]
pub struct ContextOptions {
    /// The lowest protocol version, as on the wire; `None` is OpenSSL's.
    pub min_version: Option<Version>,
    /// The highest.
    pub max_version: Option<Version>,
    /// For TLS 1.2 and below.
    pub cipher_list: String,
    /// For TLS 1.3; empty is OpenSSL's.
    pub cipher_suites: String,
    /// Groups for the key exchange; `None` is OpenSSL's.
    pub groups: Option<String>,
    /// Signature algorithms; `None` is OpenSSL's.
    pub signature_algorithms: Option<String>,
    /// OpenSSL's, before the cipher list may change it.
    pub security_level: u32,
    /// `SSL_OP_*` bits.
    pub options: u64,
    /// Whom to trust, in PEM form; several may lie in one text.
    pub roots: Vec<Vec<u8>>,
    /// Whether a chain may end in a trusted certificate that is not self-signed.
    pub partial_chain: bool,
    /// Revocation lists, in PEM form; with one, everything is checked.
    pub revocations: Vec<Vec<u8>>,
    /// The client's own chains, in PEM form: the leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Their keys, in PKCS #8 form, not encrypted.
    pub keys: Vec<Vec<u8>>,
    /// PKCS #12 archives of all that, with their passphrases.
    pub archives: Vec<(Vec<u8>, String)>,
    /// How many seconds sessions are good for; `None` is OpenSSL's.
    pub session_timeout: Option<i32>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0
    Tls1,
    /// 1.1
    Tls1_1,
    /// 1.2
    Tls1_2,
    /// 1.3
    Tls1_3,
}

impl From<Version> for SslVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::Tls1 => Self::TLS1,
            Version::Tls1_1 => Self::TLS1_1,
            Version::Tls1_2 => Self::TLS1_2,
            Version::Tls1_3 => Self::TLS1_3,
        }
    }
}

/// A context, made when it is first needed: to read a hundred roots takes milliseconds that a loop does not have.
pub struct Context {
    options: ContextOptions,
    made: OnceLock<Result<SslContext, Failure>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    /// A context with these options, which are looked at when it is made.
    #[must_use]
    pub fn new(options: ContextOptions) -> Self {
        Self { options, made: OnceLock::new() }
    }

    /// OpenSSL's context. Called on a background thread.
    pub(super) fn made(&self) -> Result<&SslContext, Failure> {
        let made = self.made.get_or_init(|| self.options.make().map_err(Failure::from));
        made.as_ref().map_err(Clone::clone)
    }
}

impl ContextOptions {
    fn make(&self) -> Result<SslContext, ErrorStack> {
        let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
        context.set_min_proto_version(self.min_version.map(SslVersion::from))?;
        context.set_max_proto_version(self.max_version.map(SslVersion::from))?;
        context.set_security_level(self.security_level);
        if !self.cipher_suites.is_empty() {
            context.set_ciphersuites(&self.cipher_suites)?;
        }
        if !self.cipher_list.is_empty() {
            context.set_cipher_list(&self.cipher_list)?;
        }
        if let Some(groups) = &self.groups {
            context.set_groups_list(groups)?;
        }
        if let Some(algorithms) = &self.signature_algorithms {
            context.set_sigalgs_list(algorithms)?;
        }
        // A bare FIN ends a connection as in Node, where the length of a message tells whether it is whole.
        context.set_options(SslOptions::from_bits_retain(self.options) | SslOptions::IGNORE_UNEXPECTED_EOF);
        context
            .set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS);
        // One system call for what has come, instead of two for each record.
        context.set_read_ahead(true);
        // The verdict is read after the handshake, as in Node, where every certificate is looked at to the end.
        context.set_verify_callback(SslVerifyMode::NONE, |_, _| true);
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        notes::take(&mut context)?;
        if let Some(seconds) = self.session_timeout {
            ffi::set_session_timeout(&mut context, seconds);
        }
        // Each is opened once: it takes as long as its maker thought a passphrase should.
        let archives = self.archives.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        self.present(&mut context, &archives)?;
        context.set_cert_store(self.trust(&archives)?.build());
        Ok(context.build())
    }

    /// What the client shows of itself.
    fn present(&self, context: &mut SslContextBuilder, archives: &[ParsedPkcs12_2]) -> Result<(), ErrorStack> {
        for pem in &self.certificates {
            let mut chain = X509::stack_from_pem(pem)?.into_iter();
            if let Some(leaf) = chain.next() {
                context.set_certificate(&leaf)?;
            }
            for issuer in chain {
                context.add_extra_chain_cert(issuer)?;
            }
        }
        for key in &self.keys {
            let key = PKey::private_key_from_pkcs8(key)?;
            context.set_private_key(&key)?;
        }
        for archive in archives {
            if let Some(leaf) = &archive.cert {
                context.set_certificate(leaf)?;
            }
            for issuer in archive.ca.iter().flatten() {
                context.add_extra_chain_cert(issuer.to_owned())?;
            }
            if let Some(key) = &archive.pkey {
                context.set_private_key(key)?;
            }
        }
        Ok(())
    }

    /// Whom the client trusts.
    fn trust(&self, archives: &[ParsedPkcs12_2]) -> Result<X509StoreBuilder, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for pem in &self.roots {
            for root in readable(pem) {
                store.add_cert(root)?;
            }
        }
        for issuer in archives.iter().flat_map(|archive| archive.ca.iter().flatten()) {
            store.add_cert(issuer.to_owned())?;
        }
        if self.partial_chain {
            store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        }
        for pem in &self.revocations {
            ffi::add_crl(&mut store, X509Crl::from_pem(pem)?.as_ref())?;
            store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
        }
        Ok(store)
    }
}

/// The certificates of a text, up to the first that cannot be read, as Node takes them.
fn readable(pem: &[u8]) -> Vec<X509> {
    const END: &str = "-----END CERTIFICATE-----";
    X509::stack_from_pem(pem).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(pem);
        text.split_inclusive(END).map_while(|one| X509::from_pem(one.as_bytes()).ok()).collect()
    })
}

fn open((der, passphrase): &(Vec<u8>, String)) -> Result<ParsedPkcs12_2, ErrorStack> {
    // A passphrase with a NUL byte opens nothing, and the crate would panic over it.
    let passphrase = if passphrase.contains('\0') { "" } else { passphrase };
    Pkcs12::from_der(der)?.parse2(passphrase)
}
