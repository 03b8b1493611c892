//! The limits of the machine: servers that do the least that can be done, and the pair that it all began with.
//!
//! The first connection only asks whether somebody answers; of all others each second one talks with the one
//! before it.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener as Listener, TcpStream},
};

fn other(of: usize) -> usize {
    if of % 2 == 1 { of + 1 } else { of.saturating_sub(1) }
}

const LISTENER: Token = Token(usize::MAX);

/// Bytes read at once.
const READ: usize = 64 * 1024;

struct Peers {
    poll: Poll,
    listener: Listener,
    peers: Vec<Option<Peer>>,
}

struct Peer {
    stream: TcpStream,
    /// What the system did not take.
    waits: Vec<u8>,
}

impl Peers {
    fn listen(at: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = Listener::bind(at)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, peers: Vec::new() })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.peers.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, both)?;
            self.peers.push(Some(Peer { stream, waits: Vec::new() }));
        }
    }

    /// Waits, then gives `take` all that has come, with whose it is.
    fn wait(
        &mut self,
        events: &mut Events,
        buffer: &mut [u8],
        mut take: impl FnMut(&mut Self, usize, &[u8]),
    ) -> io::Result<()> {
        self.poll.poll(events, None)?;
        for event in events.iter() {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let at = event.token().0;
            self.send(at, &[]);
            while let Some(Some(peer)) = self.peers.get_mut(at) {
                match peer.stream.read(buffer) {
                    Ok(0) => {
                        self.hang_up(at);
                        break;
                    }
                    Ok(size) => {
                        take(self, at, buffer.get(..size).unwrap_or_default());
                        // A socket that gives less than it was asked for has no more.
                        if size < buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        self.hang_up(at);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn hang_up(&mut self, at: usize) {
        if let Some(peer) = self.peers.get_mut(at) {
            *peer = None;
        }
    }

    /// Sends what waits, and this behind it.
    fn send(&mut self, to: usize, bytes: &[u8]) {
        let Some(Some(peer)) = self.peers.get_mut(to) else { return };
        if !peer.waits.is_empty() {
            peer.waits.extend_from_slice(bytes);
            match peer.stream.write(&peer.waits) {
                Ok(size) => drop(peer.waits.drain(..size)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.hang_up(to),
            }
            return;
        }
        if bytes.is_empty() {
            return;
        }
        match peer.stream.write(bytes) {
            Ok(size) => peer.waits.extend_from_slice(bytes.get(size..).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                peer.waits.extend_from_slice(bytes);
            }
            Err(_) => self.hang_up(to),
        }
    }
}

/// L1: copies what one says to the other, and records nothing.
pub(crate) fn relay(at: SocketAddr) -> io::Result<()> {
    let mut peers = Peers::listen(at)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ];
    loop {
        peers
            .wait(&mut events, &mut buffer, |peers, from, bytes| peers.send(other(from), bytes))?;
    }
}

/// L5: appends what has come to a file and syncs it, then sends it to the other, and back as the
/// acknowledgement.
pub(crate) fn log(at: SocketAddr, file: &Path) -> io::Result<()> {
    let mut peers = Peers::listen(at)?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ];
    let mut file = File::options().create(true).append(true).open(file)?;
    let (mut batch, mut said) = (Vec::new(), Vec::new());
    loop {
        peers.wait(&mut events, &mut buffer, |_, from, bytes| {
            let begin = batch.len();
            batch.extend_from_slice(bytes);
            said.push((from, begin..batch.len()));
        })?;
        if batch.is_empty() {
            continue;
        }
        file.write_all(&batch)?;
        file.sync_data()?;
        for (from, range) in said.drain(..) {
            let bytes = batch.get(range).unwrap_or_default();
            peers.send(other(from), bytes);
            peers.send(from, bytes);
        }
        batch.clear();
    }
}

/// The teaching pair's server: one caller at a time, in turns, in reads of 1,024 bytes, until somebody says
/// `bye`. Its operator answers at once, with the same words.
pub(crate) fn naive(at: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(at)?;
    loop {
        let (mut caller, _) = listener.accept()?;
        let mut said = [0; 1024];
        loop {
            let size = caller.read(&mut said).unwrap_or(0);
            let said = said.get(..size).unwrap_or_default();
            if said.is_empty() || said.starts_with(b"bye") || caller.write_all(said).is_err() {
                break;
            }
        }
    }
}
