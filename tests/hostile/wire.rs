//! A connection that does what no client does, in plaintext or under TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use helpline_proto::{
    frame, limits,
    message::{Message, Ref},
};
use helpline_tests::PATIENCE;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// How connections are made.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Plain,
    Tls(Arc<ClientConfig>),
}

impl Wire {
    /// In plaintext, and with TLS, each handshake a whole one.
    pub(crate) fn both() -> [Self; 2] {
        [Self::Plain, Self::tls(Resumption::disabled())]
    }

    pub(crate) fn tls(resumption: Resumption) -> Self {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(aws_lc_rs::default_provider())))
                .with_no_client_auth();
        config.alpn_protocols = vec![b"helpline/1".to_vec()];
        config.resumption = resumption;
        Self::Tls(Arc::new(config))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plaintext",
            Self::Tls(_) => "TLS",
        }
    }

    /// Connects. What is sent and read first goes through the handshake first.
    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        self.over(TcpStream::connect(to)?)
    }

    /// Connects as another address of this machine.
    pub(crate) fn connect_as(&self, from: SocketAddrV4, to: SocketAddr) -> io::Result<Connection> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &from)?;
        connect(&socket, &to)?;
        self.over(socket.into())
    }

    fn over(&self, stream: TcpStream) -> io::Result<Connection> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(match self {
            Self::Plain => Connection::Plain(stream),
            Self::Tls(config) => {
                let name = ServerName::try_from("line.example").unwrap();
                let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
                Connection::Tls(Box::new(StreamOwned::new(tls, stream)))
            }
        })
    }
}

/// A connection, blocking.
#[derive(Debug)]
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// The handshake, whatever follows it.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => {
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn send(&mut self, messages: &[Message]) -> io::Result<()> {
        self.write_all(&bytes_of(messages))?;
        self.flush()
    }

    /// The next message; none once the connection is over.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        loop {
            let found = frame::split(buffer, limits::FRAME).expect("a server sends frames");
            if let Some(frame) = found {
                let size = frame.size();
                let message = Message::decode(frame).expect("a server sends messages");
                let _ = buffer.split_to(size);
                return Ok(Some(message));
            }
            let mut piece = [0; 16 * 1024];
            match self.read(&mut piece)? {
                0 => return Ok(None),
                size => buffer.extend_from_slice(&piece[..size]),
            }
        }
    }

    /// Ends its side, and returns all that comes until the other does.
    pub(crate) fn rest(&mut self) -> Vec<Message> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        while let Ok(Some(message)) = self.next(&mut buffer) {
            messages.push(message);
        }
        messages
    }

    /// Breaks it off: many that end in good order would leave no port free.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO)).unwrap();
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

pub(crate) fn bytes_of(messages: &[Message]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for message in messages {
        message.encode(Ref::NONE, &mut bytes).unwrap();
    }
    bytes
}

/// Takes any certificate, and doesn't check who shows it: an attacker doesn't care.
#[derive(Debug)]
struct Anybody(CryptoProvider);

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
