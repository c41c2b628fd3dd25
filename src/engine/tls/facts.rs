//! What was negotiated on a secured connection.

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::ssl::SslRef;
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use super::{Tls, ffi};

/// What callers ask right after a handshake.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `TLSv1.3`.
    pub protocol: String,
    /// OpenSSL's name, the standard's name, and the version that brought it.
    pub cipher: Option<(String, String, String)>,
    /// The protocol that the server chose (ALPN).
    pub application_protocol: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// OpenSSL's number for what is wrong with the server's certificate; 0 is nothing.
    pub verdict: i32,
    /// The same in words.
    pub verdict_text: String,
    /// The server's part of the key exchange: `DH`, `ECDH` or nothing that has a name; the group; bits.
    pub ephemeral_key: Option<(&'static str, Option<String>, u32)>,
    /// The OCSP response that came with the certificate.
    pub status: Option<Vec<u8>>,
}

/// What OpenSSL says of the server's certificate.
pub(super) fn verdict(ssl: &SslRef) -> X509VerifyResult {
    if ssl.peer_certificate().is_none() && !ssl.session_reused() {
        // No certificate at all is nothing to trust.
        X509VerifyResult::APPLICATION_VERIFICATION
    } else {
        ssl.verify_result()
    }
}

impl Facts {
    pub(super) fn of(ssl: &SslRef) -> Self {
        let verdict = verdict(ssl);
        Self {
            protocol: ssl.version_str().to_owned(),
            cipher: ssl.current_cipher().map(|cipher| {
                let standard = cipher.standard_name().unwrap_or_else(|| cipher.name());
                (cipher.name().to_owned(), standard.to_owned(), cipher.version().to_owned())
            }),
            application_protocol: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            is_resumed: ssl.session_reused(),
            verdict: verdict.as_raw(),
            verdict_text: verdict.error_string().to_owned(),
            ephemeral_key: ephemeral_key(ssl),
            status: ssl.ocsp_status().map(<[u8]>::to_vec),
        }
    }
}

fn ephemeral_key(ssl: &SslRef) -> Option<(&'static str, Option<String>, u32)> {
    let key = ssl.peer_tmp_key().ok()?;
    let name = |nid: Nid| nid.short_name().ok().map(str::to_owned);
    match key.id() {
        Id::DH => Some(("DH", None, key.bits())),
        Id::EC => {
            let group = key.ec_key().ok().and_then(|key| key.group().curve_name()).and_then(name);
            Some(("ECDH", group, key.bits()))
        }
        Id::X25519 => Some(("ECDH", Some("X25519".to_owned()), key.bits())),
        Id::X448 => Some(("ECDH", Some("X448".to_owned()), key.bits())),
        _ => None,
    }
}

fn der<T>(certificates: impl IntoIterator<Item = T>) -> Vec<Vec<u8>>
where
    T: AsRef<X509Ref>,
{
    certificates.into_iter().filter_map(|certificate| certificate.as_ref().to_der().ok()).collect()
}

impl Tls {
    /// The server's certificate and those that it sent along, in DER form.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match self.ssl().peer_cert_chain() {
            Some(chain) if !chain.is_empty() => der(chain),
            // A resumed session has the server's own alone.
            Some(_) | None => der(self.ssl().peer_certificate()),
        }
    }

    /// A certificate that the client trusts and that has signed the one given, both in DER form.
    #[must_use]
    pub fn trusted_issuer(&self, certificate: &[u8]) -> Option<Vec<u8>> {
        let certificate = X509::from_der(certificate).ok()?;
        let roots = self.ssl().ssl_context().cert_store().all_certificates();
        let issuer = roots.iter().find(|root| root.issued(&certificate) == X509VerifyResult::OK)?;
        issuer.to_der().ok()
    }

    /// The client's own certificate, in DER form.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.ssl().certificate()?.to_der().ok()
    }

    /// The session in use, in DER form.
    #[must_use]
    pub fn session(&self) -> Option<Vec<u8>> {
        self.ssl().session()?.to_der().ok()
    }

    /// The session's ticket.
    #[must_use]
    pub fn ticket(&self) -> Option<Vec<u8>> {
        ffi::ticket(self.ssl().session()?)
    }

    /// The last `Finished` message sent.
    #[must_use]
    pub fn finished(&self) -> Option<Vec<u8>> {
        message(|buffer| self.ssl().finished(buffer))
    }

    /// The last `Finished` message received.
    #[must_use]
    pub fn peer_finished(&self) -> Option<Vec<u8>> {
        message(|buffer| self.ssl().peer_finished(buffer))
    }

    /// Signature algorithms that both sides know, as Node names them.
    #[must_use]
    pub fn shared_signature_algorithms(&self) -> Vec<String> {
        let name = |nid: Nid| match nid {
            Nid::UNDEF => "UNDEF",
            Nid::RSAENCRYPTION => "RSA",
            Nid::RSASSAPSS => "RSA-PSS",
            Nid::DSA => "DSA",
            Nid::X9_62_ID_ECPUBLICKEY => "ECDSA",
            other => other.short_name().unwrap_or("UNDEF"),
        };
        let pairs = ffi::shared_signature_algorithms(self.ssl());
        pairs.into_iter().map(|(key, hash)| format!("{}+{}", name(key), name(hash))).collect()
    }

    /// Keying material (RFC 5705) of so many bytes.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn export(&self, length: usize, label: &str, context: Option<&[u8]>) -> Result<Vec<u8>, ErrorStack> {
        let mut material = vec![0; length];
        self.ssl().export_keying_material(&mut material, label, context)?;
        Ok(material)
    }
}

fn message(copy: impl Fn(&mut [u8]) -> usize) -> Option<Vec<u8>> {
    // The longest there is: a SHA-512 hash.
    let mut buffer = [0; 64];
    let length = copy(&mut buffer);
    (length > 0).then(|| buffer.get(..length).unwrap_or(&buffer).to_vec())
}
