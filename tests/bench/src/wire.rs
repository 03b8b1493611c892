//! A connection as bytes, in plaintext or under TLS.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source as _};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

/// How long a server may take to answer while a conversation is set up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection: blocking while it is set up, then [`register`](Self::register)ed.
pub(crate) struct Wire {
    stream: Stream,
    tls: Option<Box<ClientConnection>>,
    /// What came and isn't used yet.
    came: Vec<u8>,
    /// What is to be sent.
    pub(crate) out: Vec<u8>,
}

enum Stream {
    Blocking(TcpStream),
    Registered(mio::net::TcpStream),
    Closed,
}

impl Wire {
    /// Connects, in plaintext.
    pub(crate) fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: Stream::Blocking(stream), tls: None, came: Vec::new(), out: Vec::new() })
    }

    /// Connects under TLS, without a word before it is needed.
    pub(crate) fn connect_tls(at: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut wire = Self::connect(at)?;
        let name = ServerName::from(at.ip());
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        wire.tls = Some(Box::new(tls));
        Ok(wire)
    }

    /// Sends what is to be sent, and reads until `take` has what it wants. It is given all that came and
    /// isn't used, and says how much of it is, or that more has to come.
    pub(crate) fn ask<T>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> io::Result<Option<(usize, T)>>,
    ) -> io::Result<T> {
        self.flush()?;
        loop {
            if let Some((used, answer)) = take(&self.came)? {
                self.came.drain(..used);
                return Ok(answer);
            }
            if !self.read()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.flush()?;
        }
    }

    /// Goes on without blocking.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Stream::Blocking(stream) = std::mem::replace(&mut self.stream, Stream::Closed) {
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
            self.stream = Stream::Registered(stream);
        }
        Ok(())
    }

    /// Reads once. False at the end.
    fn read(&mut self) -> io::Result<bool> {
        const ONCE: usize = 64 * 1024;
        let Self { stream, tls, came, .. } = self;
        if let Some(tls) = tls {
            if tls.read_tls(stream)? == 0 {
                return Ok(false);
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let before = came.len();
            came.resize(before + state.plaintext_bytes_to_read(), 0);
            if let Some(fresh) = came.get_mut(before..) {
                tls.reader().read_exact(fresh)?;
            }
            return Ok(true);
        }
        let before = came.len();
        came.resize(before + ONCE, 0);
        let read = stream.read(came.get_mut(before..).unwrap_or_default());
        came.truncate(before + read.as_ref().copied().unwrap_or(0));
        Ok(read? > 0)
    }

    /// Takes in all that has come, without blocking: each read is given to `take`, which says how much of
    /// what isn't used it used.
    pub(crate) fn drain(
        &mut self,
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let used = take(&self.came, &mut self.out)?;
            self.came.drain(..used);
        }
    }

    /// Keeps no more memory than what it holds needs: for those of whom there are many.
    pub(crate) fn shrink(&mut self) {
        self.came.shrink_to_fit();
        self.out.shrink_to_fit();
    }

    /// Sends as much as the system takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Self { stream, tls, out, .. } = self;
        let sent = match tls {
            Some(tls) => {
                tls.writer().write_all(out)?;
                out.clear();
                let mut sent = Ok(());
                while tls.wants_write() && sent.is_ok() {
                    sent = tls.write_tls(stream).map(|_| ());
                }
                sent
            }
            None => {
                let mut sent = Ok(());
                while !out.is_empty() && sent.is_ok() {
                    sent = stream.write(out).map(|size| drop(out.drain(..size)));
                }
                sent
            }
        };
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Blocking(stream) => stream.read(buffer),
            Self::Registered(stream) => stream.read(buffer),
            Self::Closed => Ok(0),
        }
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Blocking(stream) => stream.write(bytes),
            Self::Registered(stream) => stream.write(bytes),
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
