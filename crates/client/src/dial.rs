//! The first connection: tried once, over every address the name has.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

use crate::Address;

/// For the whole of it, the look-up of the name included.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long one address may keep the next one waiting (RFC 8305 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address demands a key to be checked, which takes TLS.
    #[error("this version speaks no TLS, so it can't check the key that the link names")]
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
    /// The system has no random bytes for the ticket.
    #[error("the system has no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// Connects.
///
/// # Errors
/// As [`DialError`] says. A fingerprint in the address is refused, not ignored.
pub async fn dial(address: &Address) -> Result<TcpStream, DialError> {
    if address.fingerprint.is_some() {
        return Err(DialError::NoTls);
    }
    let stream = match timeout(PATIENCE, connect(address)).await {
        Ok(connected) => connected?,
        Err(_elapsed) => return Err(DialError::TimedOut),
    };
    // Lines are short and people wait for them. A system that refuses this still works.
    let _only_slower = stream.set_nodelay(true);
    Ok(stream)
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

#[cfg(test)]
mod tests {
    use helpline_proto::address::Fingerprint;
    use tokio::net::TcpListener;

    use super::*;

    fn at(listener: &TcpListener) -> Address {
        listener.local_addr().unwrap().to_string().parse().unwrap()
    }

    #[tokio::test]
    async fn a_listener_is_reached_and_a_closed_port_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = at(&listener);
        assert!(dial(&address).await.is_ok());
        drop(listener);
        assert!(matches!(dial(&address).await, Err(DialError::Unreachable(_))));
    }

    #[tokio::test]
    async fn a_name_with_several_addresses_is_reached_over_any() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address { host: "localhost".to_owned(), ..at(&listener) };
        assert!(dial(&address).await.is_ok());
    }

    #[tokio::test]
    async fn a_fingerprint_is_refused_not_ignored() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address { fingerprint: Some(Fingerprint([0; 32])), ..at(&listener) };
        assert!(matches!(dial(&address).await, Err(DialError::NoTls)));
    }
}
