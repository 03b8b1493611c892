//! Who a server has to be: the key that is expected, public roots, or whoever answers first.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use sha2::{Digest as _, Sha256};

use crate::Fingerprint;

/// How a connection is kept from others.
///
/// Whoever uses this library decides that, and nothing is remembered for them: to recognise a server the next
/// time, keep what a [`Stream`](crate::Stream) has [`met`](crate::Stream::met).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all. A server takes that from its own machine only, unless it was told otherwise.
    Plaintext,
    /// By TLS.
    Tls(Trust),
}

/// Who a server has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever has this key. What else stands in its certificate, and when that expires, doesn't matter.
    Key(Fingerprint),
    /// Whoever has a certificate for the dialled name that this machine's public roots vouch for.
    PublicRoots,
    /// Whoever answers first. From then on it is expected to be the same: vouched for by the public roots if it was,
    /// else with the same key.
    FirstContact,
}

/// Who was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nobody can tell: the connection isn't encrypted.
    Anybody,
    /// Whoever has this key.
    Key(Fingerprint),
    /// A server that the public roots vouch for.
    PublicRoots,
}

/// Why a server isn't the one that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    OtherKey { expected: Fingerprint, found: Fingerprint },
    NotVouched(String),
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey { expected, found } => {
                write!(f, "expected the key {expected}, but it has {found}")
            }
            Self::NotVouched(why) => write!(f, "no public root vouches for it: {why}"),
        }
    }
}

impl std::error::Error for Stranger {}

impl Stranger {
    /// The reason why a handshake failed, if it is this one.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
                why.downcast_ref()
            }
            _ => None,
        }
    }
}

impl From<Stranger> for Error {
    fn from(stranger: Stranger) -> Self {
        CertificateError::Other(OtherError(Arc::new(stranger))).into()
    }
}

/// Checks who answers: at every handshake that they have the private key, and that they are who was expected.
pub(crate) struct Verifier {
    trust: Trust,
    /// Who it was at first contact.
    first: OnceLock<Trust>,
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
    roots: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

impl Verifier {
    /// `name` is what was dialled, as it may stand in a certificate.
    pub(crate) fn new(
        trust: Trust,
        name: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { trust, first: OnceLock::new(), name, provider, roots: OnceLock::new() }
    }

    /// Who it is that the handshake was done with. At first contact that settles who is expected later.
    pub(crate) fn met(&self, certificates: &[CertificateDer<'_>]) -> Result<Met, Error> {
        let none = Error::NoCertificatesPresented;
        let (end, others) = certificates.split_first().ok_or(none)?;
        let trust = match self.expected() {
            Trust::FirstContact => {
                let first = match self.vouched(end, others, UnixTime::now()) {
                    Ok(()) => Trust::PublicRoots,
                    Err(why) => {
                        tracing::debug!("{why}");
                        Trust::Key(fingerprint(end)?)
                    }
                };
                self.first.get_or_init(|| first)
            }
            trust => trust,
        };
        match trust {
            Trust::Key(key) => Ok(Met::Key(*key)),
            Trust::PublicRoots | Trust::FirstContact => Ok(Met::PublicRoots),
        }
    }

    fn expected(&self) -> &Trust {
        self.first.get().unwrap_or(&self.trust)
    }

    fn vouched(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Stranger> {
        let not_vouched = Stranger::NotVouched;
        let name = self.name.as_ref();
        let name = name.ok_or_else(|| not_vouched("certificates know no such name".to_owned()))?;
        let roots = self.roots.get_or_init(|| public_roots(&self.provider)).as_ref();
        let roots = roots.map_err(|why| not_vouched(why.clone()))?;
        roots
            .verify_server_cert(end, others, name, &[], now)
            .map(|_| ())
            .map_err(|error| not_vouched(error.to_string()))
    }
}

/// The roots that the operating system has, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn public_roots(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::debug!("public roots: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (taken, ignored) = roots.add_parsable_certificates(loaded.certs);
    tracing::debug!("{taken} public roots, and {ignored} that can't be read");
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| "this machine has no public roots".to_owned())
}

/// What the key in a certificate is recognised by.
fn fingerprint(certificate: &CertificateDer<'_>) -> Result<Fingerprint, Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(Fingerprint(Sha256::digest(&key).into()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = fingerprint(end)?;
        match self.expected() {
            Trust::Key(expected) if *expected != found => {
                return Err(Stranger::OtherKey { expected: *expected, found }.into());
            }
            Trust::PublicRoots => self.vouched(end, others, now)?,
            Trust::Key(_) | Trust::FirstContact => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(self.expected()).finish()
    }
}
