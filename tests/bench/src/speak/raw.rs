//! Bytes as they are: for the raw servers and the naive pair.

use std::{io, net::SocketAddr};

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, TEXT};

/// The raw relay.
pub(crate) struct Relay;

/// The raw synced log, whose acknowledgement is the message itself.
pub(crate) struct Log;

/// The naive pair, which talks with one caller at a time.
pub(crate) struct Naive;

struct Bytes {
    acknowledged: bool,
    count: u64,
}

impl End for Bytes {
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(TEXT.as_bytes());
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let count = bytes.len() / TEXT.len();
        let these = u64::try_from(count).unwrap_or(u64::MAX);
        self.count += these;
        let heard = if self.acknowledged {
            Heard { acknowledged: these, texts: 0 }
        } else {
            Heard { acknowledged: 0, texts: these }
        };
        Ok((count * TEXT.len(), heard))
    }
}

fn end(at: SocketAddr, acknowledged: bool) -> io::Result<(Wire, Box<dyn End>)> {
    Ok((Wire::connect(at)?, Box::new(Bytes { acknowledged, count: 0 })))
}

impl Protocol for Relay {
    fn acknowledges(&self) -> bool {
        false
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        let pair = || Ok(Pair { speaker: end(at, false)?, hearer: Some(end(at, false)?) });
        (0..count).map(|_| pair()).collect()
    }
}

impl Protocol for Log {
    fn acknowledges(&self) -> bool {
        true
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        let pair = || Ok(Pair { speaker: end(at, true)?, hearer: Some(end(at, false)?) });
        (0..count).map(|_| pair()).collect()
    }
}

impl Protocol for Naive {
    fn acknowledges(&self) -> bool {
        false
    }

    fn pairs(&self, at: SocketAddr, _: usize) -> io::Result<Vec<Pair>> {
        Ok(vec![Pair { speaker: end(at, false)?, hearer: None }])
    }
}
