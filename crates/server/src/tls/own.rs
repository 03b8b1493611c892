//! The key that a line makes for itself, and a certificate around it.

use std::{fs, io, path::Path};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::data;

use super::{Key, TlsError, certified};

const KEY: &str = "tls-key.pem";

const CERTIFICATE: &str = "tls-cert.pem";

/// The key kept in a directory and a certificate of it; both are made if they aren't there. A key that is there
/// is never replaced.
pub(super) fn load(directory: &Path) -> Result<(CertifiedKey, Key), TlsError> {
    let (pair, key) = match kept_key(directory)? {
        Some(pair) => (pair, Key::Kept),
        None => (make_key(directory)?, Key::Made),
    };
    match kept_certificate(directory, &pair)? {
        Some(certified) => Ok((certified, key)),
        None => Ok((make_certificate(directory, &pair)?, key)),
    }
}

fn kept_key(directory: &Path) -> Result<Option<KeyPair>, TlsError> {
    let path = directory.join(KEY);
    let Some(pem) = read(&path)? else { return Ok(None) };
    let damaged = |why: String| TlsError::Damaged(path.clone(), why);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| damaged(error.to_string()))?;
    KeyPair::try_from(&key).map(Some).map_err(|error| damaged(error.to_string()))
}

fn make_key(directory: &Path) -> Result<KeyPair, TlsError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(setup)?;
    data::replace(directory, KEY, pair.serialize_pem().as_bytes())?;
    Ok(pair)
}

/// The certificate that is kept, if it is one and of this key.
fn kept_certificate(directory: &Path, pair: &KeyPair) -> Result<Option<CertifiedKey>, TlsError> {
    let Some(pem) = read(&directory.join(CERTIFICATE))? else { return Ok(None) };
    let Ok(certificate) = CertificateDer::from_pem_slice(&pem) else { return Ok(None) };
    Ok(certified(vec![certificate], private(pair)).ok())
}

/// Nobody looks at more than the key in it, so it neither expires nor says who the host is.
fn make_certificate(directory: &Path, pair: &KeyPair) -> Result<CertifiedKey, TlsError> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(setup)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Helpline");
    let certificate = params.self_signed(pair).map_err(setup)?;
    data::replace(directory, CERTIFICATE, certificate.pem().as_bytes())?;
    Ok(certified(vec![certificate.der().clone()], private(pair))?)
}

fn private(pair: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(pair.serialize_der()).into()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match fs::read(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TlsError::Unreadable(path.into(), error)),
    }
}

fn setup(error: rcgen::Error) -> TlsError {
    TlsError::Setup(rustls::Error::General(error.to_string()))
}
