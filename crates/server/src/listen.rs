//! Addresses to answer on, and the connections that come to them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
};

use crate::{
    conn::{self, Accepted, Means},
    core::{ConnectionId, Inbox, Origin},
    crowd::Displaced,
    door,
    socket::Socket,
};

use self::unaccepted::{Famine, TurnedAway};

#[cfg(test)]
mod tests;
mod unaccepted;

/// The port of a line, unless said otherwise.
pub const PORT: u16 = 8001;

/// Connections the kernel may hold until they are accepted, which takes no time: a storm of them
/// is the only thing that fills it.
const BACKLOG: u32 = 1024;

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
    // Those who are accepted inherit it.
    socket.set_nodelay(true)?;
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

/// Accepts connections, and begins to serve them, until told to stop.
pub(crate) async fn serve<S: Source>(
    mut source: S,
    ids: Arc<Ids>,
    means: Arc<Means>,
    mut stop: watch::Receiver<bool>,
) {
    let mut turned_away = TurnedAway::default();
    let mut famine = Famine::default();
    loop {
        let breath = famine.breath();
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            () = turned_away.log() => {}
            () = famine.log() => {}
            () = breath => famine.may_be_over(),
            accepted = source.accept(), if !famine.is_on() => {
                let (stream, origin) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        famine.begins(error);
                        continue;
                    }
                };
                let id = ids.next();
                let place = match means.crowd.place(id, origin) {
                    Ok(place) => place,
                    Err(full) => {
                        turned_away.count(full);
                        continue;
                    }
                };
                let displaced = place.displaced();
                let accepted = Accepted { origin, at: means.clock.moment(), place };
                let task = tokio::spawn(S::talk(stream, accepted, Arc::clone(&means)));
                means.crowd.begun(id, task.abort_handle());
                if displaced == Displaced::Somebody {
                    // Let them be gone, and their descriptor free, before the next one is accepted.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Tells the core whose connections have ended, whatever has become of them, until nobody comes any more and
/// everybody has gone.
pub(crate) async fn see_out(means: Arc<Means>) {
    while let Some(gone) = means.crowd.gone().await {
        for id in gone {
            means.inbox.send(Inbox::Gone(id)).await;
        }
    }
}
