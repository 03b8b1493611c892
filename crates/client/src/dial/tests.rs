use std::{fs, path::Path, sync::Mutex};

use helpline_proto::{
    ids::{Side, Ticket},
    session::Opening,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{Event, link::Link, trust::Met};

use super::*;

/// Who a server of a test says it is.
pub(crate) struct Identity {
    key: KeyPair,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
}

impl Identity {
    /// A key with a certificate made by itself, long expired.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 1);
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        Self { key, chain }
    }

    /// A key that this authority vouches for, under this name.
    fn vouched(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let chain = vec![params.signed_by(&key, authority).unwrap().der().clone()];
        Self { key, chain }
    }

    /// Another certificate for the same key.
    fn renewed(&self) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        let params = CertificateParams::new(vec!["new.example".to_owned()]).unwrap();
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        Self { key, chain }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        use rcgen::PublicKeyData as _;
        Fingerprint(Sha256::digest(self.key.subject_public_key_info()).into())
    }

    fn config(&self) -> ServerConfig {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(self.chain.clone(), key)
                .unwrap();
        config.alpn_protocols = vec![version::ALPN.to_vec()];
        config
    }
}

fn authority(key: KeyPair) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "everybody knows me");
    CertifiedIssuer::self_signed(params, key).unwrap()
}

/// A server that says a byte to everybody, and hangs up at the first word: under one identity after the other.
pub(crate) struct Server {
    pub(crate) address: Address,
    identity: Arc<Mutex<Arc<ServerConfig>>>,
    /// How many connections had TLS, and how many of these went on with an earlier session.
    pub(crate) greeted: Arc<Mutex<(usize, usize)>>,
}

impl Server {
    pub(crate) async fn open(identity: &Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = at(&listener);
        let config = Arc::new(Mutex::new(Arc::new(identity.config())));
        let greeted = Arc::<Mutex<(usize, usize)>>::default();
        let (identity, counted) = (Arc::clone(&config), Arc::clone(&greeted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&config.lock().unwrap()));
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let resumed = stream.get_ref().1.handshake_kind();
                    let is_resumed = resumed == Some(rustls::HandshakeKind::Resumed);
                    {
                        let mut counted = counted.lock().unwrap();
                        counted.0 += 1;
                        counted.1 += usize::from(is_resumed);
                    }
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(version::ALPN));
                    let _ = stream.write_all(b"!").await;
                    let _ = stream.flush().await;
                    let _ = stream.read_u8().await;
                });
            }
        });
        Self { address, identity, greeted }
    }

    /// From now on it is somebody else.
    pub(crate) fn becomes(&self, identity: &Identity) {
        *self.identity.lock().unwrap() = Arc::new(identity.config());
    }

    /// The same server under another name.
    fn named(&self, host: &str) -> Address {
        Address { host: host.to_owned(), ..self.address.clone() }
    }
}

fn at(listener: &TcpListener) -> Address {
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

fn dialler(address: &Address, trust: Trust) -> Dialler {
    Dialler::new(address, &Security::Tls(trust)).unwrap()
}

async fn dial_plain(address: &Address) -> Result<Stream, DialError> {
    Dialler::new(address, &Security::Plaintext)?.dial().await
}

/// The first byte that comes: with TLS 1.3 a session can be resumed once that has been read.
async fn hear(mut stream: Stream) -> u8 {
    stream.read_u8().await.unwrap()
}

#[tokio::test]
async fn a_listener_is_reached_and_a_closed_port_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = at(&listener);
    let stream = dial_plain(&address).await.unwrap();
    assert!(stream.met() == Met::Anybody && stream.is_loopback());
    drop(listener);
    assert!(matches!(dial_plain(&address).await, Err(DialError::Unreachable(_))));
}

#[tokio::test]
async fn a_name_with_several_addresses_is_reached_over_any() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address { host: "localhost".to_owned(), ..at(&listener) };
    assert!(dial_plain(&address).await.is_ok());
}

#[tokio::test]
async fn a_fingerprint_is_never_ignored() {
    let wei = Identity::new();
    let server = Server::open(&wei).await;
    let with = |fingerprint| Address { fingerprint: Some(fingerprint), ..server.address.clone() };
    let (right, wrong) = (with(wei.fingerprint()), with(Fingerprint([7; 32])));
    assert!(matches!(dial_plain(&right).await, Err(DialError::NoTls)));
    for trust in [Trust::FirstContact, Trust::PublicRoots, Trust::Key(Fingerprint([8; 32]))] {
        let stream = dialler(&right, trust.clone()).dial().await.unwrap();
        assert_eq!(stream.met(), Met::Key(wei.fingerprint()));
        let Err(DialError::OtherKey { expected, found }) = dialler(&wrong, trust).dial().await
        else {
            panic!("let through")
        };
        assert_eq!((expected, found), (Fingerprint([7; 32]), wei.fingerprint()));
    }
}

#[tokio::test]
async fn whoever_answers_first_is_expected_again() {
    let (wei, mallory) = (Identity::new(), Identity::new());
    let server = Server::open(&wei).await;
    let dialler = dialler(&server.address, Trust::FirstContact);
    let met = Met::Key(wei.fingerprint());
    assert_eq!(dialler.dial().await.unwrap().met(), met);
    server.becomes(&mallory);
    assert!(matches!(dialler.redial().await, Err(DialError::OtherKey { .. })));
    assert!(matches!(dialler.dial().await, Err(DialError::OtherKey { .. })));
    server.becomes(&wei.renewed());
    assert_eq!(dialler.dial().await.unwrap().met(), met, "it is the key that counts");
}

#[tokio::test]
async fn a_stranger_in_between_is_told_nothing_and_the_server_found_again() {
    let (wei, gate) = (Identity::new(), Identity::new());
    let server = Server::open(&wei).await;
    let dialler = dialler(&server.address, Trust::Key(wei.fingerprint()));
    let stream = dialler.dial().await.unwrap();
    // It has been let in before, so that it comes back.
    let opening = Opening::Resume(Side::Caller, Ticket([7; 32]));
    let mut link = Link::over(stream, opening).dialling(dialler.clone());
    server.becomes(&gate);
    for _ in 0..4 {
        let Some(Event::Offline(_)) = link.next().await else { panic!("not lost") };
    }
    assert_eq!(server.greeted.lock().unwrap().0, 1, "the gate was not talked to");
    server.becomes(&wei);
    let attempt = link.attempt();
    while server.greeted.lock().unwrap().0 == 1 {
        assert!(link.attempt() < attempt + 5, "not found again");
        link.next().await.unwrap();
    }
    let other = || DialError::NotVouched("once more".to_owned());
    assert_eq!(dialler.warning(&other()), None, "that was told already");
    let new = Dialler::new(&server.address, &Security::Plaintext).unwrap();
    assert_eq!(new.warning(&DialError::TimedOut), None);
    assert!(
        new.warning(&other()).is_some_and(|told| told.contains("told nothing: no public root"))
    );
}

#[tokio::test]
async fn nobody_passes_with_a_certificate_alone() {
    let (wei, mallory) = (Identity::new(), Identity::new());
    let mut config = mallory.config();
    // Wei's certificate, which anybody can have, and a key of one's own.
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(mallory.key.serialize_der()));
    let signer = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(wei.chain.clone(), signer);
    config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let server = Server::open(&wei).await;
        let mut of_version =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&config.cert_resolver));
        of_version.alpn_protocols = vec![version::ALPN.to_vec()];
        *server.identity.lock().unwrap() = Arc::new(of_version);
        for trust in [Trust::Key(wei.fingerprint()), Trust::FirstContact] {
            let dialled = dialler(&server.address, trust).dial().await;
            assert!(matches!(dialled, Err(DialError::NotTls(_))), "{dialled:?}");
        }
        assert_eq!(server.greeted.lock().unwrap().0, 0);
    }
}

#[tokio::test]
async fn a_session_is_resumed_on_the_next_connection() {
    let wei = Identity::new();
    let server = Server::open(&wei).await;
    let dialler = dialler(&server.address, Trust::FirstContact);
    for _ in 0..3 {
        let stream = dialler.dial().await.unwrap();
        assert_eq!(stream.met(), Met::Key(wei.fingerprint()));
        assert_eq!(hear(stream).await, b'!');
    }
    assert_eq!(*server.greeted.lock().unwrap(), (3, 2));
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_apart_from_what_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = at(&listener);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        drop(stream);
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
    });
    let dialler = dialler(&address, Trust::FirstContact);
    assert!(matches!(dialler.dial().await, Err(DialError::NotTls(_))));
    assert!(matches!(dialler.dial().await, Err(DialError::Broken(_))));
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_accepts_and_says_nothing_is_given_up_after_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialler = dialler(&at(&listener), Trust::FirstContact);
    assert!(matches!(dialler.dial().await, Err(DialError::TimedOut)));
}

/// Public roots come from the environment, which belongs to the whole process: so this is done in one of its own.
#[test]
fn public_roots_vouch_for_names() {
    let home = tempfile::tempdir().unwrap();
    let authority = authority(KeyPair::generate().unwrap());
    let roots = home.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    fs::write(home.path().join("authority.der"), authority.key().serialize_der()).unwrap();
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dial::tests::with_public_roots_of_its_own"])
        .env("SSL_CERT_FILE", &roots)
        .env_remove("SSL_CERT_DIR")
        .env("HELPLINE_AUTHORITY_CHILD", home.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && told.contains("1 passed"), "{told}");
}

/// Does nothing unless the test before has begun it.
#[tokio::test]
async fn with_public_roots_of_its_own() {
    let Some(home) = std::env::var_os("HELPLINE_AUTHORITY_CHILD") else { return };
    let key = fs::read(Path::new(&home).join("authority.der")).unwrap();
    let authority = authority(KeyPair::try_from(key).unwrap());
    let good = Identity::vouched(&authority, "localhost");
    let server = Server::open(&good).await;
    let localhost = server.named("localhost");
    for trust in [Trust::FirstContact, Trust::PublicRoots] {
        let dialler = dialler(&localhost, trust);
        assert_eq!(dialler.dial().await.unwrap().met(), Met::PublicRoots);
        // Another key is fine, if it is vouched for; no vouching isn't, even with the same key.
        server.becomes(&Identity::vouched(&authority, "localhost"));
        assert_eq!(dialler.dial().await.unwrap().met(), Met::PublicRoots);
        server.becomes(&good.renewed());
        let dialled = dialler.dial().await;
        assert!(matches!(dialled, Err(DialError::NotVouched(_))), "{dialled:?}");
        server.becomes(&good);
    }
    // It vouches for the name that was dialled, and for no other.
    let other = dialler(&server.address, Trust::PublicRoots).dial().await;
    assert!(matches!(other, Err(DialError::NotVouched(_))), "{other:?}");
    let first = dialler(&server.address, Trust::FirstContact).dial().await.unwrap();
    assert_eq!(first.met(), Met::Key(good.fingerprint()));
    let by_address = Identity::vouched(&authority, "127.0.0.1");
    server.becomes(&by_address);
    let first = dialler(&server.address, Trust::FirstContact).dial().await.unwrap();
    assert_eq!(first.met(), Met::PublicRoots);
}

#[test]
fn names_and_addresses_are_told_apart_for_certificates() {
    for (host, is_address) in
        [("example.org", false), ("127.0.0.1", true), ("::1", true), ("fe80::1%eth0", true)]
    {
        let name = server_name(host).unwrap();
        assert_eq!(matches!(name, ServerName::IpAddress(_)), is_address, "{host}");
    }
    assert_eq!(server_name("büro.example"), None);
    assert!(tls("büro.example", Trust::FirstContact).is_ok());
}
