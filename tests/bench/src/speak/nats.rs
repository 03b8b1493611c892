//! NATS: a subject for what each end hears; with JetStream, a stream that records it, and a consumer.

use std::{io, net::SocketAddr};

use serde_json::{Value, json};

use crate::wire::Wire;

use super::{End, Heard, Pair, Protocol, Ready, TEXT, nonsense, symmetric};

/// Which part of NATS is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nats {
    /// Subjects alone: nothing is recorded or acknowledged.
    Core,
    /// Streams: what is said is recorded, acknowledged and handed on.
    JetStream,
}

/// The subscription to what is said to this end.
const TEXTS: &str = "1";
/// The subscription to what the server itself answers.
const ANSWERS: &str = "2";

/// What the server says.
#[derive(Debug)]
enum Op<'a> {
    /// What it is.
    Info,
    Ping,
    Pong,
    Message {
        subscription: &'a [u8],
        payload: &'a [u8],
    },
}

/// Cuts what the server says off the front; none if it isn't all there.
fn op(bytes: &[u8]) -> io::Result<Option<(usize, Op<'_>)>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes.get(..end).unwrap_or_default().trim_ascii_end();
    let used = end + 1;
    let mut words = line.split(|byte| *byte == b' ');
    match words.next() {
        Some(b"MSG") => {
            let wrong = || nonsense(String::from_utf8_lossy(line));
            let subscription = words.nth(1).ok_or_else(wrong)?;
            let size = words.next_back().and_then(|size| std::str::from_utf8(size).ok());
            let size: usize = size.and_then(|size| size.parse().ok()).ok_or_else(wrong)?;
            let whole = bytes.get(used..).and_then(|rest| rest.get(..size + 2));
            let payload = whole.and_then(|whole| whole.get(..size));
            Ok(payload.map(|payload| (used + size + 2, Op::Message { subscription, payload })))
        }
        Some(b"PING") => Ok(Some((used, Op::Ping))),
        Some(b"PONG") => Ok(Some((used, Op::Pong))),
        Some(b"INFO") => Ok(Some((used, Op::Info))),
        _ => Err(nonsense(String::from_utf8_lossy(line))),
    }
}

/// `to` is a subject, and behind it the one for the answer, if one is wanted.
fn publish(out: &mut Vec<u8>, to: &str, payload: &str) {
    let line = format!("PUB {to} {}\r\n{payload}\r\n", payload.len());
    out.extend_from_slice(line.as_bytes());
}

fn subscribe(out: &mut Vec<u8>, subject: &str, subscription: &str) {
    out.extend_from_slice(format!("SUB {subject} {subscription}\r\n").as_bytes());
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
        while let Some((size, op)) = op(bytes.get(used..).unwrap_or_default())? {
            match op {
                Op::Message { subscription, .. } if subscription == TEXTS.as_bytes() => {
                    heard.texts += 1;
                }
                Op::Message { payload, .. } if payload.starts_with(b"{\"stream\":") => {
                    heard.acknowledged += 1;
                }
                Op::Message { payload, .. } => {
                    return Err(nonsense(String::from_utf8_lossy(payload)));
                }
                Op::Ping => out.extend_from_slice(b"PONG\r\n"),
                Op::Info | Op::Pong => {}
            }
            used += size;
        }
        Ok((used, heard))
    }
}

/// Connects, and knows that the server has taken in what was said so far.
fn dial(at: SocketAddr, subscriptions: &[(&str, &str)]) -> io::Result<Wire> {
    let mut wire = Wire::connect(at)?;
    let connect = json!({ "verbose": false, "pedantic": false, "protocol": 1 });
    wire.out.extend_from_slice(format!("CONNECT {connect}\r\n").as_bytes());
    for (subject, subscription) in subscriptions {
        subscribe(&mut wire.out, subject, subscription);
    }
    wire.out.extend_from_slice(b"PING\r\n");
    wire.ask(|bytes| {
        let mut used = 0;
        while let Some((size, op)) = op(bytes.get(used..).unwrap_or_default())? {
            used += size;
            if matches!(op, Op::Pong) {
                return Ok(Some((used, ())));
            }
        }
        Ok(None)
    })?;
    Ok(wire)
}

/// Asks JetStream for something and waits for its answer.
fn asked(wire: &mut Wire, what: &str, inbox: &str, body: &Value) -> io::Result<()> {
    publish(&mut wire.out, &format!("$JS.API.{what} {inbox}"), &body.to_string());
    let mut answered = Vec::new();
    wire.ask(|bytes| {
        let mut used = 0;
        answered.clear();
        while let Some((size, op)) = op(bytes.get(used..).unwrap_or_default())? {
            used += size;
            match op {
                Op::Message { payload, .. } => {
                    let answer: Value = serde_json::from_slice(payload)?;
                    let failed = answer.get("error").is_some();
                    return if failed { Err(nonsense(answer)) } else { Ok(Some((used, ()))) };
                }
                Op::Ping => answered.extend_from_slice(b"PONG\r\n"),
                Op::Info | Op::Pong => {}
            }
        }
        Ok(None)
    })?;
    // They go out with what is asked or said next.
    wire.out.append(&mut answered);
    Ok(())
}

fn core(at: SocketAddr, own: &str, other: &str) -> io::Result<Ready> {
    let wire = dial(at, &[(own, TEXTS)])?;
    let mut said = Vec::new();
    publish(&mut said, other, TEXT);
    Ok((wire, Box::new(Talker { said })))
}

/// Who hears has a stream of its own, which is recorded in files, and is sent what is recorded there
/// without having to say that it came; how far that went is not recorded.
///
/// One stream for everybody costs the server twice as much: it asks each consumer about each message.
fn jetstream(at: SocketAddr, own: &str, other: &str) -> io::Result<Ready> {
    let (inbox, delivered) = (format!("inbox.{own}"), format!("delivered.{own}"));
    let mut wire = dial(at, &[(&inbox, ANSWERS), (&delivered, TEXTS)])?;
    let stream = json!({ "name": own, "subjects": [own], "storage": "file", "num_replicas": 1 });
    asked(&mut wire, &format!("STREAM.CREATE.{own}"), &inbox, &stream)?;
    let consumer = json!({
        "stream_name": own,
        "config": {
            "deliver_subject": delivered,
            "deliver_policy": "all",
            "ack_policy": "none",
            "mem_storage": true,
        },
    });
    asked(&mut wire, &format!("CONSUMER.CREATE.{own}"), &inbox, &consumer)?;
    let mut said = Vec::new();
    publish(&mut said, &format!("{other} {inbox}"), TEXT);
    Ok((wire, Box::new(Talker { said })))
}

impl Protocol for Nats {
    fn acknowledges(&self) -> bool {
        *self == Self::JetStream
    }

    fn pairs(&self, at: SocketAddr, count: usize) -> io::Result<Vec<Pair>> {
        symmetric(count, |own, other| match self {
            Self::Core => core(at, own, other),
            Self::JetStream => jetstream(at, own, other),
        })
    }
}
