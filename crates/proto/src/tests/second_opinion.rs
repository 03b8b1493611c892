//! The bodies, as a second implementation of the same format writes and reads them: wincode in its
//! default configuration, over types that know nothing of this crate's.
//!
//! Together with the goldens this keeps the way out of bincode open: changing the crate is changing
//! `wire.rs`.

use proptest::prelude::*;
use wincode::{SchemaRead, SchemaWrite};

use crate::{
    ids::{self, Resumable},
    message::Message,
};

use super::{any, cases, framed, frames, whole};

/// A type without Helpline's newtypes, and how a message becomes one.
macro_rules! mirrors {
    ($($type:ident { $($field:ident: $mirror:ty = |$of:ident| $value:expr),* $(,)? })*) => {
        $(
            #[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
            struct $type { $($field: $mirror),* }
        )*

        /// The body as wincode writes it, after holding that wincode reads `body` to the same.
        fn second_opinion(message: &Message, body: &[u8]) -> Option<Vec<u8>> {
            match message {
                $(Message::$type(message) => {
                    let mirror = $type { $($field: { let $of = &message.$field; $value }),* };
                    assert_eq!(wincode::deserialize::<$type>(body).unwrap(), mirror);
                    Some(wincode::serialize(&mirror).unwrap())
                })*
                _ => None,
            }
        }
    };
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
enum Answering {
    ByHand,
    ByItself,
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
enum Side {
    Caller,
    Operator,
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
enum By {
    Caller,
    Operator,
    Server,
}

fn side(side: ids::Side) -> Side {
    match side {
        ids::Side::Caller => Side::Caller,
        ids::Side::Operator => Side::Operator,
    }
}

fn by(by: ids::By) -> By {
    match by {
        ids::By::Caller => By::Caller,
        ids::By::Operator => By::Operator,
        ids::By::Server => By::Server,
    }
}

fn answering(answering: ids::Answering) -> Answering {
    match answering {
        ids::Answering::ByHand => Answering::ByHand,
        ids::Answering::ByItself => Answering::ByItself,
    }
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
enum Uses {
    Once,
    Many,
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
struct Waiter {
    call: [u8; 16],
    name: String,
    since: i64,
}

#[derive(Debug, PartialEq, SchemaRead, SchemaWrite)]
struct Talk {
    call: [u8; 16],
    name: String,
    operator: String,
    since: i64,
}

mirrors! {
    Hello {
        versions: (u16, u16) = |it| (it.lowest.0, it.highest.0),
        features: u32 = |it| *it,
        agent: String = |it| it.to_string(),
    }
    Welcome {
        version: u16 = |it| it.0,
        features: u32 = |it| *it,
        limits: (u32, u32) = |it| (it.frame, it.text),
        keepalive_ms: u32 = |it| *it,
    }
    Goodbye {
        code: u16 = |it| it.0,
        detail: String = |it| it.to_string(),
        retry_after_s: Option<u32> = |it| *it,
        resumable: (u16, u16) = |it| (u16::from(*it == Resumable::Yes), 0),
    }
    Join {
        ticket: [u8; 32] = |it| it.0,
        line: Option<String> = |it| it.as_ref().map(ToString::to_string),
        name: String = |it| it.to_string(),
        invite: Option<String> = |it| it.as_ref().map(|secret| secret.as_str().into()),
    }
    SignOn {
        ticket: [u8; 32] = |it| it.0,
        name: String = |it| it.to_string(),
        answering: Answering = |it| answering(*it),
        token: Option<String> = |it| it.as_ref().map(|secret| secret.as_str().into()),
    }
    Ban {
        call: [u8; 16] = |it| it.0,
        for_s: u32 = |it| *it,
        reason: String = |it| it.to_string(),
    }
    Invite {
        uses: Uses = |it| match it {
            ids::Uses::Once => Uses::Once,
            ids::Uses::Many => Uses::Many,
        },
        until: Option<i64> = |it| it.map(|until| until.0),
    }
    Invited {
        code: String = |it| it.as_str().into(),
        until: Option<i64> = |it| it.map(|until| until.0),
    }
    Resume {
        ticket: [u8; 32] = |it| it.0,
        side: Side = |it| side(*it),
        shown: Vec<([u8; 16], u32)> = |it| it.iter().map(|it| (it.call.0, it.seq.0)).collect(),
    }
    Resumed {
        calls: Vec<([u8; 16], u32, u32)> = |it| {
            it.iter().map(|it| (it.call.0, it.next_nonce.0, it.last.0)).collect()
        },
    }
    Say {
        call: [u8; 16] = |it| it.0,
        nonce: u32 = |it| it.0,
        text: String = |it| it.to_string(),
    }
    Place {
        call: [u8; 16] = |it| it.0,
        position: u32 = |it| *it,
        waiting: u32 = |it| *it,
        wait_s: Option<(u32, u32)> = |it| it.map(|wait| (wait.0, wait.1)),
        next_nonce: u32 = |it| it.0,
    }
    Said {
        call: [u8; 16] = |it| it.0,
        seq: u32 = |it| it.0,
        from: Side = |it| side(*it),
        name: String = |it| it.to_string(),
        at: i64 = |it| it.0,
        text: String = |it| it.to_string(),
        nonce: u32 = |it| it.0,
    }
    Ended {
        call: [u8; 16] = |it| it.0,
        seq: u32 = |it| it.0,
        at: i64 = |it| it.0,
        by: By = |it| by(*it),
        why: u16 = |it| it.0,
    }
    Board {
        waiting: u32 = |it| *it,
        first: Vec<Waiter> = |it| {
            it.iter()
                .map(|it| Waiter { call: it.call.0, name: it.name.to_string(), since: it.since.0 })
                .collect()
        },
        talking: Vec<Talk> = |it| {
            it.iter()
                .map(|it| Talk {
                    call: it.call.0,
                    name: it.name.to_string(),
                    operator: it.operator.to_string(),
                    since: it.since.0,
                })
                .collect()
        },
    }
}

fn agrees(message: &Message) -> bool {
    let frame = message.to_frame(crate::message::Ref(1)).unwrap();
    let body = whole(&frame).body;
    let Some(theirs) = second_opinion(message, body) else { return false };
    assert_eq!(theirs, body, "{message:?}");
    let theirs = framed(message.kind().number, &theirs);
    assert_eq!(Message::decode(whole(&theirs)).as_ref(), Ok(message));
    true
}

#[test]
fn wincode_agrees_on_every_sample() {
    let agreed = frames().iter().filter(|(_, _, message, _)| agrees(message)).count();
    assert!(agreed >= 20, "only {agreed} were compared");
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn wincode_agrees_on_any_message(message in any::message()) {
        agrees(&message);
    }
}
