//! What an entry says, in 16 bytes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use helpline_proto::{
    code::Why,
    ids::{By, CallId, Nonce, Seq, Side},
    message::Message,
};

/// What an entry says, without its number: enough to tell it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub(super) what: What,
    pub(super) print: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Said(Side, Nonce),
    Joined(Side),
    Left(Side),
    Ended(By, Why),
}

impl Item {
    /// The call, number and content of an entry; none for any other message.
    #[must_use]
    pub fn of(message: &Message) -> Option<(CallId, Seq, Self)> {
        let rest = |at: &_, name: Option<&_>| {
            let mut hasher = DefaultHasher::new();
            (at, name.map(ToString::to_string)).hash(&mut hasher);
            hasher.finish()
        };
        Some(match message {
            Message::Said(it) => {
                let print = print(it.text.as_str());
                (it.call, it.seq, Self { what: What::Said(it.from, it.nonce), print })
            }
            Message::Joined(it) => {
                let print = rest(&it.at, Some(&it.name));
                (it.call, it.seq, Self { what: What::Joined(it.from), print })
            }
            Message::Left(it) => {
                let print = rest(&it.at, Some(&it.name));
                (it.call, it.seq, Self { what: What::Left(it.from), print })
            }
            Message::Ended(it) => {
                let print = rest(&it.at, None);
                (it.call, it.seq, Self { what: What::Ended(it.by, it.why), print })
            }
            _ => return None,
        })
    }
}

pub(super) fn print(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
