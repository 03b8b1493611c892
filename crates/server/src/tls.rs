//! TLS, and the key that a line is known by.
//!
//! Who calls a line remembers its key, not its certificate: a certificate may be made anew at any time,
//! the key stays.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use helpline_proto::{address::Fingerprint, version};
use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::data::DataError;

pub use self::given::{Files, Watch};

mod given;
mod own;
#[cfg(test)]
pub(crate) mod tests;

/// Where the key of a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It was made just now: nobody can know it.
    Made,
    /// It was made at an earlier start.
    Kept,
    /// The host has given it.
    Given,
}

/// Why there is no key, or no certificate, to answer with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The line's own key can't be kept.
    #[error(transparent)]
    Unkept(#[from] DataError),
    /// The line's own key is there, and is none.
    #[error("the key of this line is damaged: {0}: {1}")]
    Damaged(PathBuf, String),
    /// What was given isn't a certificate.
    #[error("there is no certificate in {0}: {1}")]
    NoCertificate(PathBuf, pem::Error),
    /// What was given isn't a key.
    #[error("there is no private key in {0}: {1}")]
    NoKey(PathBuf, pem::Error),
    /// What was given doesn't fit together, or isn't supported.
    #[error("the certificate in {} cannot be used with the key in {}: {why}", .files.certificate.display(), .files.key.display())]
    Unfit {
        /// What was given.
        files: Files,
        /// Why it can't be used.
        why: rustls::Error,
    },
    /// The cryptography itself.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// A line's end of TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    key: Key,
}

impl Tls {
    /// With the key of its own that a line keeps in its data directory, and makes at its first start.
    ///
    /// # Errors
    /// The key is damaged, or can't be read or kept.
    pub fn own(directory: &Path) -> Result<Self, TlsError> {
        let (certified, key) = own::load(directory)?;
        Ok(Self::with(certified, key)?)
    }

    /// With a certificate that the host has given, and what looks after it.
    ///
    /// # Errors
    /// It can't be read, or doesn't fit its key.
    pub fn given(files: Files) -> Result<(Self, Watch), TlsError> {
        let seen = files.stamp();
        let tls = Self::with(files.load()?, Key::Given)?;
        let watch = Watch::new(files, seen, Arc::clone(&tls.shown));
        Ok((tls, watch))
    }

    fn with(certified: CertifiedKey, key: Key) -> Result<Self, rustls::Error> {
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
        let acceptor = TlsAcceptor::from(Arc::new(config(Arc::clone(&shown))?));
        Ok(Self { acceptor, shown, key })
    }

    /// What the line is known by now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.shown.now())
    }

    /// Where its key comes from.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.fingerprint()).finish()
    }
}

/// The certificate that newcomers are shown. Who is connected already keeps what they were shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

fn config(shown: Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![version::ALPN.to_vec()];
    config.ignore_client_order = true;
    // Nothing may be said twice by whoever records a connection.
    config.max_early_data_size = 0;
    // What was agreed on lives in tickets at the clients: it costs no memory here, however many come.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Each new connection gets another; who comes back has one connection at a time.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Cipher suites with SHA-256 first: processors have instructions for it, and none for SHA-384, which without them
/// is a third of what a handshake costs.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let has_sha_384 =
        |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).ends_with("SHA384");
    provider.cipher_suites.sort_by_key(has_sha_384);
    provider
}

/// A certificate together with the key that it is of.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let certified = CertifiedKey::from_der(chain, key, &provider())?;
    // A key that doesn't tell its public half has no fingerprint.
    certified.keys_match()?;
    Ok(certified)
}

fn fingerprint(certified: &CertifiedKey) -> Fingerprint {
    let public = certified.key.public_key();
    Fingerprint(Sha256::digest(public.as_deref().unwrap_or_default()).into())
}
