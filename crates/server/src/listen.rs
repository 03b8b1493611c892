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

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    conn::{self, Accepted, Means},
    core::{ConnectionId, Inbox, Origin},
    door,
    socket::Socket,
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
        if let Ok(address) = given.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), ..default });
        }
        match given.rsplit_once(':') {
            None => Ok(Self { host: given.into(), ..default }),
            Some(("", given)) => Ok(Self { port: port(given)?, ..default }),
            Some((host, given)) => {
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                if bare.is_none() && host.contains(':') {
                    return Err("an IPv6 address with a port is written [ADDRESS]:PORT".into());
                }
                Ok(Self { host: bare.unwrap_or(host).into(), port: port(given)? })
            }
        }
    }
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
    let mut found = Vec::new();
    for address in addresses {
        let all = (address.host.as_str(), address.port).to_socket_addrs();
        let all = all.map_err(|error| ListenError::Unknown(address.clone(), error))?;
        found.push((address.port, all.collect::<Vec<_>>()));
    }
    let all: Vec<SocketAddr> = found.iter().flat_map(|(_, found)| found).copied().collect();
    let mut listeners = Vec::new();
    for (mut port, found) in found {
        for mut socket_address in found {
            let families = families(socket_address, &all);
            // One name with several addresses gets one port, also when any will do.
            socket_address.set_port(port);
            let listener =
                bind_one(socket_address, families).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => ListenError::Taken(socket_address),
                    _ => ListenError::Refused(socket_address, error),
                })?;
            port = listener.local_addr().map_or(port, |address| address.port());
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// Whom an IPv6 address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    Both,
    Its,
}

/// `[::]` answers IPv4 too, whatever the system's habit is, unless an IPv4 address is given for the same port.
fn families(address: SocketAddr, all: &[SocketAddr]) -> Families {
    let is_taken = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    let is_for_everybody = address.is_ipv6() && address.ip().is_unspecified();
    // An IPv4 address written as one of IPv6 can be had no other way.
    let is_written_as_ipv6 = address.is_ipv6() && address.ip().to_canonical().is_ipv4();
    if is_written_as_ipv6 || is_for_everybody && !all.iter().any(is_taken) {
        Families::Both
    } else {
        Families::Its
    }
}

fn bind_one(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, families == Families::Its)?;
    }
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
pub(crate) trait Source {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, and where it comes from. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Origin)>> + Send;

    /// Serves one until it ends.
    fn talk(
        stream: Self::Stream,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Origin)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // It fails for a peer that has gone again, which its own task will notice.
        let _only_slower = stream.set_nodelay(true);
        Ok((stream, Origin::Address(peer.ip().to_canonical())))
    }

    fn talk(
        stream: TcpStream,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        door::open(stream, accepted, means)
    }
}

/// Connections that are there already.
pub(crate) struct Attached<S>(pub(crate) mpsc::Receiver<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Source for Attached<S> {
    type Stream = S;

    async fn accept(&mut self) -> io::Result<(S, Origin)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, Origin::Console)),
            None => std::future::pending().await,
        }
    }

    fn talk(
        stream: S,
        accepted: Accepted,
        means: Arc<Means>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        conn::run(Socket::new(stream), accepted, None, means)
    }
}

/// Accepts and serves connections until told to stop, then until the last has ended. Whatever
/// becomes of a connection's task, the core hears that the connection is gone.
pub(crate) async fn serve<S: Source>(
    mut source: S,
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
                Ok((stream, origin)) => {
                    let id = ids.next();
                    let accepted = Accepted { id, origin, at: means.clock.moment() };
                    let task = connections.spawn(S::talk(stream, accepted, Arc::clone(&means)));
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
        for wrong in ["", "localhost:x", "70000", "::1:9000:x", "host:70000", ":"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
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
    async fn other_machines_are_answered_in_both_families() {
        let listeners = bind(&["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()]);
        let Ok(listeners) = listeners else { return };
        assert!(
            listeners.iter().all(|listener| listener.local_addr().unwrap().ip().is_unspecified())
        );
    }

    #[test]
    fn an_address_for_everybody_leaves_ipv4_to_one_that_is_given_for_it() {
        let everybody: SocketAddr = "[::]:8001".parse().unwrap();
        let with = |other: &str| families(everybody, &[everybody, other.parse().unwrap()]);
        assert_eq!(with("[::1]:8001"), Families::Both);
        assert_eq!(with("127.0.0.1:9000"), Families::Both);
        assert_eq!(with("0.0.0.0:8001"), Families::Its);
        assert_eq!(families("[::1]:8001".parse().unwrap(), &[]), Families::Its);
        assert_eq!(families("[::ffff:127.0.0.1]:8001".parse().unwrap(), &[]), Families::Both);
    }
}
