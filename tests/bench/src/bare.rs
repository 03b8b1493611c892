//! Servers that answer with what they are told, and do nothing else: what a connection costs at least, in
//! plaintext and under TLS.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

const LISTENER: Token = Token(usize::MAX);

/// Bytes read at once.
const READ: usize = 64 * 1024;

struct Guest {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

/// Answers in plaintext.
pub(crate) fn echo(at: SocketAddr) -> io::Result<()> {
    serve(at, None)
}

/// Answers under TLS, with a key of the kind that a line makes for itself, and a certificate that it signed.
pub(crate) fn echo_tls(at: SocketAddr) -> io::Result<()> {
    let config = config().map_err(io::Error::other)?;
    serve(at, Some(Arc::new(config)))
}

fn config() -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&pair)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![helpline_proto::version::ALPN.to_vec()];
    // A line remembers nothing either, and gives one ticket with which to come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn serve(at: SocketAddr, config: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(at)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut guests: Vec<Option<Guest>> = Vec::new();
    // Places in it that nobody has.
    let mut free = Vec::new();
    let mut buffer = vec![0; READ];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut stream) = accept(&listener)? {
                    stream.set_nodelay(true)?;
                    let place = free.pop().unwrap_or_else(|| {
                        guests.push(None);
                        guests.len() - 1
                    });
                    poll.registry().register(&mut stream, Token(place), Interest::READABLE)?;
                    let tls = config.as_ref().map(|config| ServerConnection::new(config.clone()));
                    let tls = tls.transpose().map_err(io::Error::other)?.map(Box::new);
                    if let Some(guest) = guests.get_mut(place) {
                        *guest = Some(Guest { stream, tls });
                    }
                }
                continue;
            }
            let place = event.token().0;
            let Some(guest) = guests.get_mut(place) else { continue };
            if guest.as_mut().is_some_and(|guest| !guest.answer(&mut buffer)) {
                *guest = None;
                free.push(place);
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Guest {
    /// Takes in what has come and answers it. False when the guest has left.
    fn answer(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.once(buffer) {
                // A socket that gives less than it was asked for has no more.
                Ok(size) if size > 0 && size < buffer.len() => return true,
                Ok(size) if size > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Answers what one read brings, which fits into the socket: a few bytes.
    fn once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            let size = self.stream.read(buffer)?;
            self.stream.write_all(buffer.get(..size).unwrap_or_default())?;
            return Ok(size);
        };
        let size = tls.read_tls(&mut self.stream)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let plain = state.plaintext_bytes_to_read();
        if let Some(plain) = buffer.get_mut(..plain) {
            tls.reader().read_exact(plain)?;
            tls.writer().write_all(plain)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(size)
    }
}
