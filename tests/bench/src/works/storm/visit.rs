//! What visitors say: enough to be let in, then one message, and nothing once they know that it arrived.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use helpline_proto::{
    ids::Side,
    message::{Message, Say},
    text::Text,
};

use crate::{
    speak::{TEXT, helpline, nonsense},
    works::Who,
};

/// Somebody who visits.
pub(super) trait Visit {
    /// Takes what came, says how much of it, and what is left to do; puts what is to be said behind `out`.
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Then)>;
}

/// What a visitor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Waits,
    Leaves,
}

/// Somebody new, whose first words are put behind `out`.
pub(super) fn of(who: Who, out: &mut Vec<u8>) -> io::Result<Box<dyn Visit>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut steps = match who.name() {
        "Helpline" | "Helpline, TLS" => {
            helpline::greet(out, helpline::join()?)?;
            return Ok(Box::new(Caller));
        }
        name if matches!(who, Who::Bare | Who::BareTls) => echoed(name),
        name if name.starts_with("Redis") => redis(name, number),
        "NATS" => nats(),
        "InspIRCd" | "ngircd" => irc(number),
        "mosquitto, QoS 0" => mqtt(number, 0),
        "mosquitto, QoS 1" => mqtt(number, 1),
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "it isn't visited")),
    };
    out.append(
        &mut steps.front_mut().map(|step| std::mem::take(&mut step.says)).unwrap_or_default(),
    );
    Ok(Box::new(Steps(steps)))
}

/// A caller who gets a place and says something.
struct Caller;

impl Visit for Caller {
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Then)> {
        let found = helpline::find(bytes, |message| match message {
            Message::Place(place) => Some(Some(place)),
            Message::Said(said) if said.from == Side::Caller => Some(None),
            _ => None,
        })?;
        match found {
            None => Ok((0, Then::Waits)),
            Some((used, None)) => Ok((used, Then::Leaves)),
            Some((used, Some(place))) => {
                let text = Text::new(TEXT).map_err(io::Error::other)?;
                helpline::put(out, Say { call: place.call, nonce: place.next_nonce, text })?;
                Ok((used, Then::Waits))
            }
        }
    }
}

/// Something said, and what is waited for then.
struct Step {
    says: Vec<u8>,
    hears: Hears,
}

enum Hears {
    /// So many bytes.
    Bytes(usize),
    /// These, with anything before and behind them.
    These(Vec<u8>),
}

struct Steps(VecDeque<Step>);

impl Visit for Steps {
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Then)> {
        let Self(steps) = self;
        let now = steps.front().ok_or_else(|| nonsense("nothing is waited for"))?;
        let is_heard = match &now.hears {
            Hears::Bytes(count) => bytes.len() >= *count,
            Hears::These(these) => bytes.windows(these.len()).any(|some| some == these),
        };
        if !is_heard {
            return Ok((0, Then::Waits));
        }
        steps.pop_front();
        match steps.front_mut() {
            Some(next) => {
                out.append(&mut next.says);
                Ok((bytes.len(), Then::Waits))
            }
            None => Ok((bytes.len(), Then::Leaves)),
        }
    }
}

fn steps<const N: usize>(steps: [(Vec<u8>, Hears); N]) -> VecDeque<Step> {
    steps.into_iter().map(|(says, hears)| Step { says, hears }).collect()
}

fn these(text: &str) -> Hears {
    Hears::These(text.as_bytes().to_vec())
}

/// As long as what a caller says of itself, and a message; each comes back.
fn echoed(name: &str) -> VecDeque<Step> {
    let greeting = format!("{name:122}").into_bytes();
    let long = greeting.len();
    steps([(greeting, Hears::Bytes(long)), (TEXT.into(), Hears::Bytes(TEXT.len()))])
}

fn redis(name: &str, number: u64) -> VecDeque<Step> {
    let said = if name.contains("Streams") {
        format!("*5\r\n$4\r\nXADD\r\n$4\r\npair\r\n$1\r\n*\r\n$4\r\ntext\r\n$64\r\n{TEXT}\r\n")
    } else {
        let channel = number.to_string();
        format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n$64\r\n{TEXT}\r\n", channel.len())
    };
    steps([("PING\r\n".into(), these("+PONG\r\n")), (said.into(), these("\r\n"))])
}

fn nats() -> VecDeque<Step> {
    let greeting = "CONNECT {\"verbose\":false}\r\nPING\r\n";
    let said = format!("PUB pair 64\r\n{TEXT}\r\nPING\r\n");
    steps([(greeting.into(), these("PONG\r\n")), (said.into(), these("PONG\r\n"))])
}

/// Says it to itself: nothing else tells that it arrived.
fn irc(number: u64) -> VecDeque<Step> {
    let greeting = format!("NICK v{number}\r\nUSER v 0 * :v\r\n");
    let said = format!("PRIVMSG v{number} :{TEXT}\r\n");
    steps([(greeting.into(), these(" 001 ")), (said.into(), these(TEXT))])
}

fn mqtt(number: u64, level: u8) -> VecDeque<Step> {
    let id = format!("v{number:08}");
    let mut greeting = vec![0x10, 21, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 9];
    greeting.extend_from_slice(id.as_bytes());
    let topic = [0, 4, b'p', b'a', b'i', b'r'];
    let (mut said, hears) = if level == 0 {
        (vec![0x30, 70], Hears::Bytes(2))
    } else {
        (vec![0x32, 72], Hears::Bytes(4))
    };
    said.extend_from_slice(&topic);
    if level > 0 {
        said.extend([0, 1]);
    }
    said.extend_from_slice(TEXT.as_bytes());
    if level == 0 {
        // Only this is answered.
        said.extend([0xc0, 0]);
    }
    steps([(greeting, Hears::Bytes(4)), (said, hears)])
}
