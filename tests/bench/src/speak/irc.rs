//! IRC: each end has a nick and says to the other's. Nothing is acknowledged.

use std::{io, net::SocketAddr};

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, Ready, TEXT, nonsense, symmetric};

/// When a server of IRC lets people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Irc {
    /// Each at once, as ngircd does; many that come together find its queue full.
    OneByOne,
    /// Once a second whoever came until then, as InspIRCd does.
    Together,
}

/// Cuts a line off the front, without its end; none if it isn't all there.
fn line(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes.get(..end)?;
    Some((end + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// What a line is, and the words behind that.
fn parts(line: &[u8]) -> (&[u8], &[u8]) {
    let split = |bytes| {
        let mut words = <[u8]>::splitn(bytes, 2, |byte| *byte == b' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    };
    let (first, rest) = split(line);
    if first.starts_with(b":") { split(rest) } else { (first, rest) }
}

struct Talker {
    said: Vec<u8>,
}

impl End for Talker {
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(&self.said);
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let (mut used, mut heard) = (0, Heard::default());
        while let Some((size, line)) = line(bytes.get(used..).unwrap_or_default()) {
            match parts(line) {
                (b"PRIVMSG", _) => heard.texts += 1,
                (b"PING", token) => {
                    out.extend_from_slice(b"PONG ");
                    out.extend_from_slice(token);
                    out.extend_from_slice(b"\r\n");
                }
                (b"NOTICE", _) => {}
                _ => return Err(nonsense(String::from_utf8_lossy(line))),
            }
            used += size;
        }
        Ok((used, heard))
    }
}

/// Whether somebody is let in by what came: the last line of the greeting is there.
fn greeted(bytes: &[u8]) -> io::Result<Option<(usize, ())>> {
    const END_OF_DAYS_MESSAGE: &[u8] = b"376";
    const NO_DAYS_MESSAGE: &[u8] = b"422";
    let mut used = 0;
    while let Some((size, line)) = line(bytes.get(used..).unwrap_or_default()) {
        used += size;
        match parts(line) {
            (END_OF_DAYS_MESSAGE | NO_DAYS_MESSAGE, _) => return Ok(Some((used, ()))),
            (b"ERROR" | [b'4', ..], _) => return Err(nonsense(String::from_utf8_lossy(line))),
            _ => {}
        }
    }
    Ok(None)
}

/// Introduces an end, without waiting for the greeting.
fn dial(at: SocketAddr, own: &str, other: &str) -> io::Result<Ready> {
    let mut wire = Wire::connect(at)?;
    wire.out = format!("NICK {own}\r\nUSER {own} 0 * :{own}\r\n").into_bytes();
    wire.flush()?;
    let said = format!("PRIVMSG {other} :{TEXT}\r\n").into_bytes();
    Ok((wire, Box::new(Talker { said })))
}

impl Protocol for Irc {
    fn acknowledges(&self) -> bool {
        false
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        let mut pairs = symmetric(count, |own, other| {
            let mut ready = dial(at, own, other)?;
            if *self == Self::OneByOne {
                ready.0.ask(greeted)?;
            }
            Ok(ready)
        })?;
        if *self == Self::Together {
            for Pair { speaker, hearer } in &mut pairs {
                for (wire, _) in [speaker].into_iter().chain(hearer) {
                    wire.ask(greeted)?;
                }
            }
        }
        Ok(pairs)
    }
}
