//! Redis: a channel an end (publish and subscribe), or a stream a pair (XADD and XREAD).

use std::{io, net::SocketAddr};

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, Ready, TEXT, nonsense, symmetric};

/// Publish and subscribe.
pub(crate) struct PubSub;

/// Streams.
pub(crate) struct Streams;

fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the server says: the reply to a command, or a push, which none asked for.
#[derive(Debug)]
enum Reply<'a> {
    Line,
    Bulk(&'a [u8]),
    None,
    List(Vec<Reply<'a>>),
    Push(Vec<Reply<'a>>),
}

/// Cuts a reply off the front; none if it isn't all there.
fn reply(bytes: &[u8]) -> io::Result<Option<(usize, Reply<'_>)>> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = bytes.get(..end).unwrap_or_default();
    let (kind, rest) = line.split_first().ok_or_else(|| nonsense("nothing"))?;
    let mut used = end + 2;
    let number = || -> io::Result<i64> {
        let text = std::str::from_utf8(rest).map_err(io::Error::other)?;
        text.parse().map_err(io::Error::other)
    };
    Ok(Some(match kind {
        b'+' | b':' => (used, Reply::Line),
        b'$' | b'*' if number()? < 0 => (used, Reply::None),
        b'$' => {
            let size = usize::try_from(number()?).map_err(io::Error::other)?;
            let Some(text) = bytes.get(used..used + size) else { return Ok(None) };
            if bytes.len() < used + size + 2 {
                return Ok(None);
            }
            (used + size + 2, Reply::Bulk(text))
        }
        b'*' | b'>' | b'%' => {
            let mut list = Vec::new();
            // A map is a list of keys, each with its value behind it.
            let size = if *kind == b'%' { 2 * number()? } else { number()? };
            for _ in 0..size {
                let Some(bytes) = bytes.get(used..) else { return Ok(None) };
                let Some((size, one)) = reply(bytes)? else { return Ok(None) };
                used += size;
                list.push(one);
            }
            (used, if *kind == b'>' { Reply::Push(list) } else { Reply::List(list) })
        }
        _ => return Err(nonsense(String::from_utf8_lossy(line))),
    }))
}

/// Who says, by PUBLISH or XADD, each of whose replies acknowledges one; and hears what is pushed.
struct Talker {
    said: Vec<u8>,
}

impl End for Talker {
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(&self.said);
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let (mut used, mut heard) = (0, Heard::default());
        while let Some((size, reply)) = reply(bytes.get(used..).unwrap_or_default())? {
            match reply {
                Reply::Line | Reply::Bulk(_) => heard.acknowledged += 1,
                Reply::Push(parts)
                    if matches!(parts.as_slice(), [Reply::Bulk(b"message"), _, Reply::Bulk(_)]) =>
                {
                    heard.texts += 1;
                }
                other => return Err(nonsense(other)),
            }
            used += size;
        }
        Ok((used, heard))
    }
}

/// Who reads a stream, and asks for more behind every answer.
struct Reader {
    stream: Vec<u8>,
}

impl Reader {
    fn read(&self, after: &[u8], out: &mut Vec<u8>) {
        command(out, &[b"XREAD", b"BLOCK", b"0", b"STREAMS", &self.stream, after]);
    }
}

impl End for Reader {
    fn say(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let Some((used, reply)) = reply(bytes)? else { return Ok((0, Heard::default())) };
        let Reply::List(streams) = &reply else { return Err(nonsense(reply)) };
        let Some(Reply::List(stream)) = streams.first() else { return Err(nonsense(reply)) };
        let Some(Reply::List(entries)) = stream.get(1) else { return Err(nonsense(reply)) };
        let Some(Reply::List(last)) = entries.last() else { return Err(nonsense(reply)) };
        let Some(Reply::Bulk(id)) = last.first() else { return Err(nonsense(reply)) };
        self.read(id, out);
        Ok((used, Heard { acknowledged: 0, texts: u64::try_from(entries.len()).unwrap_or(0) }))
    }
}

/// An end that is subscribed to its own channel and publishes to the other's. Only the third version of the
/// protocol lets one connection do both.
fn end(at: SocketAddr, own: &str, other: &str) -> io::Result<Ready> {
    let mut wire = Wire::connect(at)?;
    command(&mut wire.out, &[b"HELLO", b"3"]);
    command(&mut wire.out, &[b"SUBSCRIBE", own.as_bytes()]);
    for _ in 0..2 {
        wire.ask(|bytes| Ok(reply(bytes)?.map(|(used, _)| (used, ()))))?;
    }
    let mut said = Vec::new();
    command(&mut said, &[b"PUBLISH", other.as_bytes(), TEXT.as_bytes()]);
    Ok((wire, Box::new(Talker { said })))
}

impl Protocol for PubSub {
    fn acknowledges(&self) -> bool {
        true
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        symmetric(count, |own, other| end(at, own, other))
    }
}

impl Protocol for Streams {
    fn acknowledges(&self) -> bool {
        true
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        let pair = |number| {
            let stream = format!("pair{number}").into_bytes();
            let mut said = Vec::new();
            command(&mut said, &[b"XADD", &stream, b"*", b"text", TEXT.as_bytes()]);
            let speaker: Ready = (Wire::connect(at)?, Box::new(Talker { said }));
            let reader = Reader { stream };
            let mut wire = Wire::connect(at)?;
            reader.read(b"0", &mut wire.out);
            wire.flush()?;
            Ok(Pair { speaker, hearer: Some((wire, Box::new(reader))) })
        };
        (0..count).map(pair).collect()
    }
}
