//! Connecting: over every address the name has, and with TLS unless told otherwise.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use helpline_proto::version;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    Address, Fingerprint,
    stream::Stream,
    trust::{Security, Stranger, Trust, Verifier},
};

#[cfg(test)]
pub(crate) mod tests;

/// For the whole of it, the look-up of the name and TLS included.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long one address may keep the next one waiting (RFC 8305 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address demands a key to be checked, which takes TLS.
    #[error("without TLS the key that the link names can't be checked")]
    NoTls,
    /// The name has no address.
    #[error("the name can't be resolved: {0}")]
    NoAddress(io::Error),
    /// No address answered; this is what the last one said.
    #[error("{0}")]
    Unreachable(io::Error),
    /// Nothing answered in time.
    #[error("nothing answered within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The connection ended before it was encrypted.
    #[error("the connection ended before it was encrypted: {0}")]
    Broken(io::Error),
    /// What answers there speaks no TLS, or not ours.
    #[error("what answers there speaks no TLS, or another kind: {0}")]
    NotTls(rustls::Error),
    /// The server has another key than the one that was expected.
    #[error("expected {expected}, but it has {found}")]
    OtherKey {
        /// The one that was expected.
        expected: Fingerprint,
        /// The one it has.
        found: Fingerprint,
    },
    /// The public roots were expected to vouch for the server, and don't.
    #[error("no public root vouches for it: {0}")]
    NotVouched(String),
    /// The system has no random bytes for the ticket.
    #[error("the system has no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// Connects to one server, as often as it takes: who answered at first contact is expected later.
#[derive(Clone, Debug)]
pub struct Dialler {
    address: Address,
    tls: Option<Tls>,
    /// It has been told that somebody else answers.
    has_warned: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    verifier: Arc<Verifier>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.verifier.fmt(f)
    }
}

impl Dialler {
    /// Prepares to connect. A fingerprint in the address is what counts, whomever else `security` trusts.
    ///
    /// # Errors
    /// The address has a fingerprint, and there is to be no TLS.
    pub fn new(address: &Address, security: &Security) -> Result<Self, DialError> {
        let tls = match (security, address.fingerprint) {
            (Security::Plaintext, Some(_)) => return Err(DialError::NoTls),
            (Security::Plaintext, None) => None,
            (Security::Tls(_), Some(key)) => Some(tls(&address.host, Trust::Key(key))?),
            (Security::Tls(trust), None) => Some(tls(&address.host, trust.clone())?),
        };
        Ok(Self { address: address.clone(), tls, has_warned: Arc::default() })
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`DialError`] says. Nothing has been told to whoever else it was that answered.
    pub async fn dial(&self) -> Result<Stream, DialError> {
        match timeout(PATIENCE, self.connect()).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(DialError::TimedOut),
        }
    }

    /// Connects again.
    pub(crate) async fn redial(&self) -> Result<Stream, DialError> {
        self.dial().await.inspect_err(|error| match self.warning(error) {
            Some(warning) => tracing::warn!("{warning}"),
            None => tracing::debug!("no connection: {error}"),
        })
    }

    /// Somebody else may answer for a while, in a hotel's network for example: that is worth one word.
    fn warning(&self, error: &DialError) -> Option<String> {
        let is_stranger = matches!(error, DialError::OtherKey { .. } | DialError::NotVouched(_));
        let is_news = is_stranger && !self.has_warned.swap(true, Ordering::Relaxed);
        let address = &self.address;
        is_news.then(|| format!("somebody else answers at {address}, and is told nothing: {error}"))
    }

    async fn connect(&self) -> Result<Stream, DialError> {
        let stream = connect(&self.address).await?;
        // Lines are short and people wait for them. A system that refuses this still works.
        let _only_slower = stream.set_nodelay(true);
        let Some(Tls { connector, name, verifier }) = &self.tls else {
            return Ok(Stream::plain(stream));
        };
        let stream = connector.connect(name.clone(), stream).await.map_err(no_handshake)?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let met = verifier.met(certificates).map_err(DialError::NotTls)?;
        Ok(Stream::tls(stream, met))
    }
}

/// One for all connections to a server, so that its sessions are resumed.
fn tls(host: &str, trust: Trust) -> Result<Tls, DialError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let name = server_name(host);
    let verifier = Arc::new(Verifier::new(trust, name.clone(), Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(DialError::NotTls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![version::ALPN.to_vec()];
    // What is sent early can be sent again by somebody else.
    config.enable_early_data = false;
    // A name that no certificate can have isn't told to the server either, as addresses aren't.
    let name = name.unwrap_or(ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()));
    Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name, verifier })
}

/// What was dialled, as it may stand in a certificate.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    // The interface behind an IPv6 address is this machine's business.
    let (address, _) = host.split_once('%').unwrap_or((host, ""));
    match address.parse::<IpAddr>() {
        Ok(address) => Some(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(host.to_owned()).ok(),
    }
}

fn no_handshake(error: io::Error) -> DialError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, tls.and_then(Stranger::of)) {
        (_, Some(Stranger::OtherKey { expected, found })) => {
            DialError::OtherKey { expected: *expected, found: *found }
        }
        (_, Some(Stranger::NotVouched(why))) => DialError::NotVouched(why.clone()),
        (Some(tls), None) => DialError::NotTls(tls.clone()),
        (None, None) => DialError::Broken(error),
    }
}

async fn connect(address: &Address) -> Result<TcpStream, DialError> {
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(DialError::NoAddress)?.collect();
    tracing::debug!("{address} is {addresses:?}");
    let mut rest = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match rest.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None if attempts.is_empty() => return Err(DialError::Unreachable(last)),
            None => {}
        }
        let ended = if rest.len() == 0 {
            attempts.join_next().await
        } else {
            timeout(STAGGER, attempts.join_next()).await.unwrap_or_default()
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            // The attempt panicked, or is still under way.
            Some(Err(_)) | None => {}
        }
    }
}
