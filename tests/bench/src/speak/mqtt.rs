//! MQTT 3.1.1: a topic for what each end hears.

use std::{io, net::SocketAddr};

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, Ready, TEXT, nonsense, symmetric};

/// How sure it is that a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mqtt {
    /// QoS 0: nothing is acknowledged.
    AtMostOnce,
    /// QoS 1: the server acknowledges to who says, who hears to the server.
    AtLeastOnce,
}

impl Mqtt {
    fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
        }
    }
}

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

/// The bits of a first byte that say what the packet is; the others are flags.
const KIND: u8 = 0xf0;

/// A string or a payload with its length before it.
fn counted(text: &[u8]) -> io::Result<Vec<u8>> {
    let size = u16::try_from(text.len()).map_err(io::Error::other)?;
    Ok([&size.to_be_bytes(), text].concat())
}

/// Puts a packet behind `out`. All that is sent here is short: its length takes one byte.
fn put(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) -> io::Result<()> {
    let size = parts.iter().map(|part| part.len()).sum::<usize>();
    let size = u8::try_from(size).ok().filter(|size| *size < 0x80);
    out.extend([first, size.ok_or_else(|| io::Error::other("a packet too long"))?]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

/// Cuts a packet off the front: its first byte, and what is behind its length. None if it isn't all there.
fn packet(bytes: &[u8]) -> io::Result<Option<(usize, u8, &[u8])>> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut size = 0;
    for (place, byte) in rest.iter().take(4).enumerate() {
        size |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let begin = 2 + place;
            return Ok(bytes.get(begin..begin + size).map(|body| (begin + size, *first, body)));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err(nonsense(rest.get(..4))) }
}

struct Talker {
    quality: Mqtt,
    /// The topic, counted, to which is said.
    topic: Vec<u8>,
    /// The number of what was said last; 0 is none.
    last: u16,
}

impl End for Talker {
    fn say(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let text = TEXT.as_bytes();
        match self.quality {
            Mqtt::AtMostOnce => put(out, PUBLISH, &[&self.topic, text]),
            Mqtt::AtLeastOnce => {
                self.last = self.last.checked_add(1).unwrap_or(1);
                let first = PUBLISH | self.quality.level() << 1;
                put(out, first, &[&self.topic, &self.last.to_be_bytes(), text])
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Heard)> {
        let (mut used, mut heard) = (0, Heard::default());
        while let Some((size, first, body)) = packet(bytes.get(used..).unwrap_or_default())? {
            match first & KIND {
                PUBLISH => {
                    heard.texts += 1;
                    if self.quality == Mqtt::AtLeastOnce {
                        put(out, PUBACK, &[number(body).ok_or_else(|| nonsense(body))?])?;
                    }
                }
                PUBACK => heard.acknowledged += 1,
                _ => return Err(nonsense((first, body))),
            }
            used += size;
        }
        Ok((used, heard))
    }
}

/// The number of what was published, which stands behind the topic.
fn number(body: &[u8]) -> Option<&[u8]> {
    let (size, rest) = body.split_first_chunk()?;
    let begin = usize::from(u16::from_be_bytes(*size));
    rest.get(begin..begin + 2)
}

/// Sends what was put out and waits for the packet that answers it, whose last byte has to be this one.
fn asked(wire: &mut Wire, answer: u8, last: u8) -> io::Result<()> {
    wire.ask(|bytes| match packet(bytes)? {
        None => Ok(None),
        Some((size, first, body)) if first == answer && body.last() == Some(&last) => {
            Ok(Some((size, ())))
        }
        Some((_, first, body)) => Err(nonsense((first, body))),
    })
}

fn end(at: SocketAddr, quality: Mqtt, own: &str, other: &str) -> io::Result<Ready> {
    const VERSION: u8 = 4;
    const CLEAN: u8 = 2;
    const ACCEPTED: u8 = 0;
    let own = counted(own.as_bytes())?;
    let mut wire = Wire::connect(at)?;
    // Nothing needs to be said to stay connected.
    let head = [counted(b"MQTT")?, vec![VERSION, CLEAN, 0, 0]].concat();
    put(&mut wire.out, CONNECT, &[&head, &own])?;
    asked(&mut wire, CONNACK, ACCEPTED)?;
    put(&mut wire.out, SUBSCRIBE, &[&1_u16.to_be_bytes(), &own, &[quality.level()]])?;
    asked(&mut wire, SUBACK, quality.level())?;
    let topic = counted(other.as_bytes())?;
    Ok((wire, Box::new(Talker { quality, topic, last: 0 })))
}

impl Protocol for Mqtt {
    fn acknowledges(&self) -> bool {
        *self == Self::AtLeastOnce
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        symmetric(count, |own, other| end(at, *self, own, other))
    }
}
