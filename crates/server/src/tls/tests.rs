use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::*;

/// Takes any certificate, as long as whoever shows it has its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that trusts anybody.
pub(crate) fn trusting(alpn: &[u8]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// The fingerprint of what a server has shown.
pub(crate) fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
    let certificate = ParsedCertificate::try_from(certificate).unwrap();
    Fingerprint(Sha256::digest(certificate.subject_public_key_info()).into())
}

/// Puts a new certificate and its key there.
pub(crate) fn put(files: &Files) -> Fingerprint {
    let pair = KeyPair::generate().unwrap();
    put_certificate(files, &pair);
    fs::write(&files.key, pair.serialize_pem()).unwrap();
    Fingerprint(Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&pair)).into())
}

fn put_certificate(files: &Files, pair: &KeyPair) {
    let params = CertificateParams::new(vec!["line.example".to_owned()]).unwrap();
    fs::write(&files.certificate, params.self_signed(pair).unwrap().pem()).unwrap();
}

pub(crate) fn files(directory: &Path) -> Files {
    Files { certificate: directory.join("chain.pem"), key: directory.join("key.pem") }
}

#[test]
fn a_line_keeps_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let first = Tls::own(directory.path()).unwrap();
    assert_eq!(first.key(), Key::Made);
    for file in ["tls-key.pem", "tls-cert.pem"] {
        let mode = fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let second = Tls::own(directory.path()).unwrap();
    assert_eq!((second.key(), second.fingerprint()), (Key::Kept, first.fingerprint()));
    let written = first.fingerprint().to_string();
    assert!(written.starts_with("sha256:") && written.len() == "sha256:".len() + 64, "{written}");
}

#[test]
fn a_certificate_that_is_lost_or_damaged_is_made_anew_around_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let before = Tls::own(directory.path()).unwrap().fingerprint();
    let certificate = directory.path().join("tls-cert.pem");
    let made = fs::read(&certificate).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    Tls::own(elsewhere.path()).unwrap();
    let of_another_key = fs::read(elsewhere.path().join("tls-cert.pem")).unwrap();
    for spoiled in [None, Some(&b""[..]), Some(&made[..made.len() / 2]), Some(&of_another_key)] {
        match spoiled {
            None => fs::remove_file(&certificate).unwrap(),
            Some(bytes) => fs::write(&certificate, bytes).unwrap(),
        }
        let after = Tls::own(directory.path()).unwrap();
        assert_eq!((after.key(), after.fingerprint()), (Key::Kept, before));
        assert!(fs::read(&certificate).unwrap().starts_with(b"-----BEGIN CERTIFICATE-----"));
        assert_ne!(fs::read(&certificate).unwrap(), of_another_key);
    }
}

#[test]
fn a_damaged_key_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    Tls::own(directory.path()).unwrap();
    let key = directory.path().join("tls-key.pem");
    let made = fs::read(&key).unwrap();
    let mut turned = made.clone();
    turned[40] ^= 1;
    for spoiled in [&b""[..], b"nonsense", &made[..made.len() / 2], &turned] {
        fs::write(&key, spoiled).unwrap();
        let error = Tls::own(directory.path()).unwrap_err();
        assert!(matches!(error, TlsError::Damaged(..)), "{error}");
        assert_eq!(fs::read(&key).unwrap(), spoiled);
    }
}

#[test]
fn a_start_that_was_cut_short_hurts_no_later_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tls-key.pem.new"), "half").unwrap();
    let made = Tls::own(directory.path()).unwrap();
    fs::remove_file(directory.path().join("tls-cert.pem")).unwrap();
    fs::write(directory.path().join("tls-cert.pem.new"), "half").unwrap();
    assert_eq!(Tls::own(directory.path()).unwrap().fingerprint(), made.fingerprint());
}

#[test]
fn what_is_given_has_to_be_there_and_to_fit() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let refused = || Tls::given(files.clone()).err().map(|error| error.to_string()).unwrap();
    assert!(refused().starts_with("cannot read"), "{}", refused());
    fs::write(&files.certificate, "nonsense").unwrap();
    fs::write(&files.key, "nonsense").unwrap();
    assert!(refused().starts_with("there is no certificate in"), "{}", refused());
    put_certificate(&files, &KeyPair::generate().unwrap());
    assert!(refused().starts_with("there is no private key in"), "{}", refused());
    let fingerprint = put(&files);
    let (tls, _) = Tls::given(files.clone()).unwrap();
    assert_eq!((tls.key(), tls.fingerprint()), (Key::Given, fingerprint));
    put_certificate(&files, &KeyPair::generate().unwrap());
    assert!(refused().contains("cannot be used with the key in"), "{}", refused());
}

#[test]
fn a_certificate_is_loaded_anew_once_its_files_have_settled() {
    let directory = tempfile::tempdir().unwrap();
    let files = files(directory.path());
    let first = put(&files);
    let (tls, mut watch) = Tls::given(files.clone()).unwrap();
    watch.look();
    assert_eq!(tls.fingerprint(), first);
    let second = put(&files);
    watch.look();
    assert_eq!(tls.fingerprint(), first, "it may not be all there yet");
    watch.look();
    assert_eq!(tls.fingerprint(), second);

    // One that can't be used changes nothing, and is tried once.
    put_certificate(&files, &KeyPair::generate().unwrap());
    for _ in 0..3 {
        watch.look();
        assert_eq!(tls.fingerprint(), second);
    }
    fs::remove_file(&files.key).unwrap();
    watch.look();
    watch.look();
    assert_eq!(tls.fingerprint(), second);
    let third = put(&files);
    watch.look();
    watch.look();
    assert_eq!(tls.fingerprint(), third);
}
