//! TLS and proxies as JavaScript asks for them, and what it asks of a secured connection. `lib/tls/` has validated it all.

use std::sync::Arc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::environment::NativeEnvironment;
use crate::engine::connect::{Insecure, Protocol, Proxy};
use crate::engine::pool::ConnectionId;
use crate::engine::tls::{Context, ContextOptions, Failure, Handshake, ProtocolFailure, Tls, Version};

/// A PKCS #12 archive.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "keys are never printed")]
pub struct NativeArchive {
    /// As read from its file.
    pub der: Buffer,
    /// What opens it.
    pub passphrase: String,
}

/// The options of a context. Certificates and lists are in PEM form.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "keys are never printed")]
pub struct NativeContextOptions {
    /// 0 to 3: TLS 1.0 to 1.3.
    pub min_version: Option<u32>,
    /// 0 to 3: TLS 1.0 to 1.3.
    pub max_version: Option<u32>,
    /// For TLS 1.2 and below.
    pub cipher_list: String,
    /// For TLS 1.3.
    pub cipher_suites: String,
    /// For the key exchange.
    pub groups: Option<String>,
    /// For signatures.
    pub sigalgs: Option<String>,
    /// OpenSSL's.
    pub security_level: u32,
    /// `SSL_OP_*`.
    pub options: f64,
    /// Whom to trust.
    pub roots: Vec<Buffer>,
    /// A chain may end in any trusted certificate.
    pub partial_chain: bool,
    /// Revocation lists.
    pub crl: Vec<Buffer>,
    /// The client's own.
    pub certificates: Vec<Buffer>,
    /// Their keys, in PKCS #8 form.
    pub keys: Vec<Buffer>,
    /// All that in archives.
    pub archives: Vec<NativeArchive>,
    /// Seconds.
    pub session_timeout: Option<i32>,
}

/// What connections with the same options share.
#[napi]
#[derive(Debug)]
pub struct NativeTlsContext(Arc<Context>);

/// What one connection has of its own.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "napi's Buffer has none")]
pub struct NativeHandshake {
    /// For SNI.
    pub servername: Option<String>,
    /// For ALPN, as on the wire.
    pub protocols: Option<Buffer>,
    /// To resume.
    pub session: Option<Buffer>,
    /// Ask for an OCSP response.
    pub request_ocsp: bool,
    /// Whose certificate it must be.
    pub identity: Option<String>,
}

/// A proxy, whose own address is the target's.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "credentials are never printed")]
pub struct NativeProxy {
    /// `forward`, `tunnel` or `socks`.
    pub protocol: String,
    /// The server's.
    pub host: String,
    /// The server's.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
    /// For SOCKS.
    pub user: Option<String>,
    /// For SOCKS.
    pub password: Option<String>,
    /// The proxy looks names up.
    pub resolves: bool,
    /// The proxy's own TLS.
    pub tls: Option<NativeHandshake>,
}

/// Why TLS failed: one of its fields.
#[napi(object)]
#[derive(Debug, Default)]
pub struct NativeTlsFailure {
    /// `ERR_SSL_...`, with the next three.
    pub code: Option<String>,
    /// `SSL routines`.
    pub library: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// As OpenSSL prints it.
    pub text: Option<String>,
    /// OpenSSL's number for what is wrong with the certificate.
    pub untrusted: Option<i32>,
    /// The peer closed within the handshake.
    pub ended: bool,
    /// A system error number.
    pub errno: Option<i32>,
    /// Lines of a key log.
    pub keylog: Vec<String>,
}

/// What was negotiated.
#[napi(object)]
#[expect(missing_debug_implementations, reason = "napi's Buffer has none")]
pub struct NativeTlsFacts {
    /// `TLSv1.3`.
    pub protocol: String,
    /// OpenSSL's name.
    pub cipher_name: Option<String>,
    /// The standard's name.
    pub cipher_standard_name: Option<String>,
    /// The version that brought it.
    pub cipher_version: Option<String>,
    /// What the server chose (ALPN).
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub is_reused: bool,
    /// OpenSSL's number; 0 is fine.
    pub verdict: i32,
    /// In words.
    pub verdict_text: String,
    /// Kind, group and bits of the server's key.
    pub key_kind: Option<String>,
    /// See `key_kind`.
    pub key_group: Option<String>,
    /// See `key_kind`.
    pub key_bits: Option<u32>,
    /// The OCSP response.
    pub ocsp: Option<Buffer>,
}

fn version(number: u32) -> Version {
    match number {
        0 => Version::Tls1,
        1 => Version::Tls1_1,
        2 => Version::Tls1_2,
        _ => Version::Tls1_3,
    }
}

fn copies(buffers: &[Buffer]) -> Vec<Vec<u8>> {
    buffers.iter().map(|buffer| buffer.to_vec()).collect()
}

#[napi]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bits were numbers of JavaScript")]
impl NativeTlsContext {
    /// OpenSSL looks at the options when the first connection needs them.
    #[napi(constructor)]
    pub fn new(options: NativeContextOptions) -> Self {
        let archives = options.archives.iter().map(|archive| (archive.der.to_vec(), archive.passphrase.clone()));
        Self(Arc::new(Context::new(ContextOptions {
            min_version: options.min_version.map(version),
            max_version: options.max_version.map(version),
            cipher_list: options.cipher_list,
            cipher_suites: options.cipher_suites,
            groups: options.groups,
            signature_algorithms: options.sigalgs,
            security_level: options.security_level,
            options: options.options as u64,
            roots: copies(&options.roots),
            partial_chain: options.partial_chain,
            revocations: copies(&options.crl),
            certificates: copies(&options.certificates),
            keys: copies(&options.keys),
            archives: archives.collect(),
            session_timeout: options.session_timeout,
        })))
    }

    pub(super) fn begin(&self, handshake: NativeHandshake) -> Handshake {
        Handshake {
            context: Arc::clone(&self.0),
            server_name: handshake.servername,
            protocols: handshake.protocols.map(|protocols| protocols.to_vec()),
            session: handshake.session.map(|session| Arc::from(&*session)),
            asks_status: handshake.request_ocsp,
            identity: handshake.identity,
        }
    }
}

impl NativeProxy {
    pub(super) fn through(self, context: Option<&NativeTlsContext>) -> Proxy {
        let tls = self.tls.zip(context).map(|(tls, context)| context.begin(tls));
        let protocol = match (self.protocol.as_str(), tls) {
            ("socks", _) => Protocol::Socks { credentials: self.user.zip(self.password), resolves: self.resolves },
            ("forward", Some(tls)) => Protocol::Forward(tls),
            (_, tls) => Protocol::Tunnel { tls, authorization: self.authorization },
        };
        Proxy { protocol, host: self.host, port: self.port }
    }
}

impl From<Failure> for NativeTlsFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Protocol(ProtocolFailure { code, library, reason, text }) => Self {
                code: Some(code),
                library: Some(library),
                reason: Some(reason),
                text: Some(text),
                ..Self::default()
            },
            Failure::Untrusted(verdict) => Self { untrusted: Some(verdict), ..Self::default() },
            Failure::Ended => Self { ended: true, ..Self::default() },
            Failure::System(errno) => Self { errno: Some(errno), ..Self::default() },
        }
    }
}

impl From<Insecure> for NativeTlsFailure {
    fn from(Insecure { failure, key_log }: Insecure) -> Self {
        Self { keylog: key_log, ..Self::from(failure) }
    }
}

impl NativeEnvironment {
    fn tls<T>(&self, id: u32, ask: impl FnOnce(&mut Tls) -> T) -> Result<Option<T>> {
        self.with(|engine| engine.tls(ConnectionId(id)).map(ask))
    }

    fn tls_bytes(&self, id: u32, ask: impl FnOnce(&mut Tls) -> Option<Vec<u8>>) -> Result<Option<Buffer>> {
        Ok(self.tls(id, ask)?.flatten().map(Buffer::from))
    }
}

#[napi]
#[expect(clippy::needless_pass_by_value, reason = "the shape that napi-derive calls")]
impl NativeEnvironment {
    /// What was negotiated.
    #[napi]
    pub fn tls_facts(&self, id: u32) -> Result<Option<NativeTlsFacts>> {
        self.tls(id, |tls| {
            let facts = tls.facts();
            let (name, standard, version) = facts
                .cipher
                .map_or((None, None, None), |(name, standard, version)| (Some(name), Some(standard), Some(version)));
            let (kind, group, bits) =
                facts.ephemeral_key.map_or((None, None, None), |(kind, group, bits)| (Some(kind), group, Some(bits)));
            NativeTlsFacts {
                protocol: facts.protocol,
                cipher_name: name,
                cipher_standard_name: standard,
                cipher_version: version,
                alpn: facts.application_protocol.map(|name| String::from_utf8_lossy(&name).into_owned()),
                is_reused: facts.is_resumed,
                verdict: facts.verdict,
                verdict_text: facts.verdict_text,
                key_kind: kind.map(str::to_owned),
                key_group: group,
                key_bits: bits,
                ocsp: facts.status.map(Buffer::from),
            }
        })
    }

    /// Lines of a key log since the last call.
    #[napi]
    pub fn take_keylog(&self, id: u32) -> Result<Vec<String>> {
        Ok(self.tls(id, Tls::take_key_log)?.unwrap_or_default())
    }

    /// Why a read or a write failed with `EPROTO`.
    #[napi]
    pub fn tls_failure(&self, id: u32) -> Result<Option<NativeTlsFailure>> {
        Ok(self.tls(id, |tls| tls.failure().cloned())?.flatten().map(NativeTlsFailure::from))
    }

    /// Sessions to resume that have come.
    #[napi]
    pub fn take_sessions(&self, id: u32) -> Result<Vec<Buffer>> {
        Ok(self.tls(id, Tls::take_sessions)?.unwrap_or_default().into_iter().map(Buffer::from).collect())
    }

    /// The server's certificates as it sent them, in DER form.
    #[napi]
    pub fn peer_certificates(&self, id: u32) -> Result<Vec<Buffer>> {
        let certificates = self.tls(id, |tls| tls.peer_certificates())?;
        Ok(certificates.unwrap_or_default().into_iter().map(Buffer::from).collect())
    }

    /// A trusted certificate that signed the one given, in DER form.
    #[napi]
    pub fn trusted_issuer(&self, id: u32, certificate: Uint8ArraySlice<'_>) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| tls.trusted_issuer(&certificate))
    }

    /// The client's own certificate, in DER form.
    #[napi]
    pub fn own_certificate(&self, id: u32) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| tls.certificate())
    }

    /// The session in use, in DER form.
    #[napi]
    pub fn tls_session(&self, id: u32) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| tls.session())
    }

    /// The ticket of the session in use.
    #[napi]
    pub fn tls_ticket(&self, id: u32) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| tls.ticket())
    }

    /// The last `Finished` message: ours, or the peer's.
    #[napi]
    pub fn tls_finished(&self, id: u32, peer: bool) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| if peer { tls.peer_finished() } else { tls.finished() })
    }

    /// Signature algorithms that both sides know.
    #[napi]
    pub fn shared_sigalgs(&self, id: u32) -> Result<Vec<String>> {
        Ok(self.tls(id, |tls| tls.shared_signature_algorithms())?.unwrap_or_default())
    }

    /// Keying material (RFC 5705).
    #[napi]
    pub fn export_keying_material(
        &self,
        id: u32,
        length: u32,
        label: String,
        context: Option<Uint8ArraySlice<'_>>,
    ) -> Result<Option<Buffer>> {
        self.tls_bytes(id, |tls| tls.export(length as usize, &label, context.as_deref()).ok())
    }
}
