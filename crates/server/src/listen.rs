//! Addresses to answer on, and the connections that come to them.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    conn::{self, Means},
    core::{ConnectionId, Inbox},
};

/// The port of a line, unless said otherwise.
pub const PORT: u16 = 8001;

/// Connections the kernel may hold until they are accepted, which takes no time: a storm of them
/// is the only thing that fills it.
const BACKLOG: u32 = 1024;

/// After a failed accept, usually for want of descriptors: trying again at once would spin.
const BREATH: Duration = Duration::from_millis(100);

/// An address to answer on, as given: `host:port`, `host`, `:port` or a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port: PORT }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let default = Self::default();
        let port = |port: &str| {
            port.parse().map_err(|_| format!("{port:?} is not a port: a number from 0 to 65535"))
        };
        if given.is_empty() {
            return Err("it is empty".into());
        }
        if let Ok(port) = given.parse() {
            return Ok(Self { port, ..default });
        }
        if given.bytes().all(|byte| byte.is_ascii_digit()) {
            return port(given).map(|port| Self { port, ..default });
        }
        let unwrapped = given.strip_prefix('[').and_then(|given| given.strip_suffix(']'));
        if let Ok(address) = unwrapped.unwrap_or(given).parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), ..default });
        }
        match given.rsplit_once(':') {
            None => Ok(Self { host: host(given)?, ..default }),
            Some(("", given)) => Ok(Self { port: port(given)?, ..default }),
            Some((name, given)) => {
                let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
                if bare.is_none() && name.contains(':') {
                    return Err("an IPv6 address with a port is written [ADDRESS]:PORT".into());
                }
                Ok(Self { host: host(bare.unwrap_or(name))?, port: port(given)? })
            }
        }
    }
}

fn host(given: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']');
    if given.is_empty() || given.contains(is_odd) {
        return Err(format!("{given:?} is not a host"));
    }
    Ok(given.into())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why an address isn't answered on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It is no address of this machine.
    #[error("cannot find the address {0}: {1}")]
    Unknown(Address, #[source] io::Error),
    /// It can be reached from elsewhere.
    #[error("{0} can be reached from other machines, and this version does not encrypt")]
    NotLoopback(SocketAddr),
    /// Somebody else answers there.
    #[error("something already answers on {0}")]
    Taken(SocketAddr),
    /// It can't be had.
    #[error("cannot listen on {0}: {1}")]
    Refused(SocketAddr, #[source] io::Error),
}

/// Begins to listen on every address that the given ones stand for, before anything is accepted.
///
/// # Errors
/// One of them can't be listened on.
pub fn bind(addresses: &[Address]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let found = (address.host.as_str(), address.port).to_socket_addrs();
        let found = found.map_err(|error| ListenError::Unknown(address.clone(), error))?;
        let mut port = address.port;
        for mut socket_address in found {
            if !socket_address.ip().to_canonical().is_loopback() {
                return Err(ListenError::NotLoopback(socket_address));
            }
            // One name with several addresses gets one port, also when any will do.
            socket_address.set_port(port);
            let listener = bind_one(socket_address).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => ListenError::Taken(socket_address),
                _ => ListenError::Refused(socket_address, error),
            })?;
            port = listener.local_addr().map_or(port, |address| address.port());
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last conversation's sockets to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Gives out connection ids.
#[derive(Debug, Default)]
pub struct Ids(AtomicU64);

impl Ids {
    /// One that was never given out before.
    pub fn next(&self) -> ConnectionId {
        ConnectionId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where connections come from.
pub trait Source {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // It fails for a peer that has gone again, which its own task will notice.
        let _only_slower = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Connections that are there already.
pub(crate) struct Attached<S>(pub(crate) mpsc::Receiver<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Source for Attached<S> {
    type Stream = S;

    async fn accept(&mut self) -> io::Result<S> {
        match self.0.recv().await {
            Some(stream) => Ok(stream),
            None => std::future::pending().await,
        }
    }
}

/// Accepts and serves connections until told to stop, then until the last has ended. Whatever
/// becomes of a connection's task, the core hears that the connection is gone.
pub async fn serve(
    mut source: impl Source,
    ids: Arc<Ids>,
    means: Arc<Means>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut who = HashMap::new();
    loop {
        tokio::select! {
            biased;
            ended = connections.join_next_with_id(), if !connections.is_empty() => {
                let task = match ended {
                    Some(Ok((task, result))) => {
                        if let Err::<(), io::Error>(error) = result {
                            tracing::debug!(%error, "a connection broke");
                        }
                        task
                    }
                    Some(Err(error)) => {
                        tracing::error!(%error, "a connection's task failed");
                        error.id()
                    }
                    None => continue,
                };
                if let Some(id) = who.remove(&task) {
                    let _ = means.inbox.send(Inbox::Gone(id)).await;
                }
            }
            _ = stop.changed() => break,
            accepted = source.accept() => match accepted {
                Ok(stream) => {
                    let id = ids.next();
                    let task = connections.spawn(conn::run(stream, id, Arc::clone(&means)));
                    who.insert(task.id(), id);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            },
        }
    }
    drop(source);
    while connections.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_an_address_is_understood() {
        for (given, meant) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("localhost", "localhost:8001"),
            ("localhost:0", "localhost:0"),
            (":9000", "127.0.0.1:9000"),
            ("9000", "127.0.0.1:9000"),
            ("::1", "[::1]:8001"),
            ("[::1]", "[::1]:8001"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(
                given.parse::<Address>().map(|address| address.to_string()),
                Ok(meant.into())
            );
        }
        for wrong in
            ["", "localhost:x", "70000", "::1:9000:x", "host:70000", ":", "[", "[]:1", "[a", "a b"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_for_an_address_reads_back(
            given in "\\PC{0,12}|[\\[\\]:%.a-f0-9]{0,20}|[a-f0-9:.\\[\\]]{0,12}:[0-9]{1,5}"
        ) {
            if let Ok(address) = given.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }

    #[tokio::test]
    async fn one_name_has_one_port() {
        let listeners = bind(&["localhost:0".parse().unwrap()]).unwrap();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }

    #[tokio::test]
    async fn only_this_machine_is_served_without_encryption() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let error = bind(&[address.parse().unwrap()]).unwrap_err();
            assert!(matches!(error, ListenError::NotLoopback(_)), "{address}: {error}");
        }
    }
}
