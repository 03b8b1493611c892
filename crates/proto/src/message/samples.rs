//! At least one example of every message: what is kept as golden bytes, cut short, garbled, and
//! held against a second implementation.

use super::{
    Admitted, Answer, Away, Back, Ban, Banned, Board, Busy, Closed, Connected, EndSeen, Ended,
    Error, Goodbye, HangUp, Hello, Invite, Invited, IsTyping, Join, Joined, Left, Limits, Listed,
    Next, Offer, Pause, Ping, Place, Pong, PutBack, Ready, Resume, Resumed, Said, Say, Shown,
    SignOff, SignOn, Talk, Typing, WaitSeconds, Waiter, Welcome, Withdrawn,
};
use crate::{
    code::{Code, Why},
    ids::{Answering, By, CallId, Nonce, Resumable, Seq, Side, Ticket, Uses},
    limits,
    text::{Agent, Detail, LineName, Name, Secret, Text},
    time::UnixMillis,
    version::{Version, Versions},
};

/// A message whose examples are kept. Typical ones come first, then the edges.
pub(crate) trait Samples: Sized {
    fn samples() -> Vec<Self>;
}

pub(crate) const CALL: CallId = CallId(*b"one call of many");

const OTHER_CALL: CallId =
    CallId([0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff]);

/// 2026-01-02 03:04:05.678 UTC
const AT: UnixMillis = UnixMillis(1_767_323_045_678);

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub(crate) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

pub(crate) fn ticket() -> Ticket {
    Ticket(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()))
}

fn line(line: &str) -> LineName {
    LineName::new(line).unwrap()
}

fn longest_name() -> Name {
    name(&"ŵ".repeat(limits::NAME / 2))
}

fn agent(agent: &str) -> Agent {
    Agent::new(agent).unwrap()
}

impl Samples for Hello {
    fn samples() -> Vec<Self> {
        let versions = Versions { lowest: Version(1), highest: Version(1) };
        vec![
            Self { versions, features: 0, agent: agent("helpline/0.1.0") },
            Self {
                versions: Versions { lowest: Version(2), highest: Version(u16::MAX) },
                features: 0x8000_0001,
                agent: agent(""),
            },
        ]
    }
}

impl Samples for Welcome {
    fn samples() -> Vec<Self> {
        vec![
            Self {
                version: Version(1),
                features: 0,
                limits: Limits { frame: 65_536, text: 16_384 },
                keepalive_ms: 15_000,
            },
            Self {
                version: Version(258),
                features: u32::MAX,
                limits: Limits { frame: 0, text: 1 },
                keepalive_ms: 0x0102_0304,
            },
        ]
    }
}

impl Samples for Goodbye {
    fn samples() -> Vec<Self> {
        let retry_after_s = Some(30);
        vec![
            Self {
                code: Code::DONE,
                detail: Detail::cut(""),
                retry_after_s: None,
                resumable: Resumable::No,
            },
            Self {
                code: Code::STOPPING,
                detail: Detail::cut("back in a minute"),
                retry_after_s,
                resumable: Resumable::Yes,
            },
        ]
    }
}

impl Samples for Error {
    fn samples() -> Vec<Self> {
        vec![
            Self { code: Code::NONCE, detail: Detail::cut("the next nonce is 8") },
            Self { code: Code(999), detail: Detail::cut("ein späterer Fehler \u{1b}[2J\0") },
        ]
    }
}

impl Samples for Ping {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for Pong {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for Join {
    fn samples() -> Vec<Self> {
        vec![
            Self { ticket: ticket(), line: None, name: name("Wei"), invite: None },
            Self {
                ticket: Ticket([0xff; 32]),
                line: Some(line("night-desk_2.eu")),
                name: longest_name(),
                invite: Some(Secret::new("!open~sesame").unwrap()),
            },
        ]
    }
}

impl Samples for Say {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, nonce: Nonce(7), text: text("hello") },
            Self {
                call: OTHER_CALL, nonce: Nonce(u32::MAX), text: text("你好 👩‍🔧 नमस्ते")
            },
            Self { call: CALL, nonce: Nonce(0), text: text("\0\t\r\n\u{1b}[2J\"\\") },
            Self { call: CALL, nonce: Nonce::FIRST, text: text("a line\nand\n\nanother ") },
        ]
    }
}

impl Samples for HangUp {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL }, Self { call: OTHER_CALL }]
    }
}

impl Samples for Typing {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL }]
    }
}

impl Samples for EndSeen {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL }]
    }
}

impl Samples for SignOn {
    fn samples() -> Vec<Self> {
        vec![
            Self { ticket: ticket(), name: name("Ada"), answering: Answering::ByHand, token: None },
            Self {
                ticket: Ticket([0; 32]),
                name: name("O'Neil-Smith"),
                answering: Answering::ByItself,
                token: Some(Secret::new("k").unwrap()),
            },
        ]
    }
}

impl Samples for Next {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for Answer {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL }]
    }
}

impl Samples for Ready {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for Pause {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for SignOff {
    fn samples() -> Vec<Self> {
        vec![Self {}]
    }
}

impl Samples for Admitted {
    fn samples() -> Vec<Self> {
        vec![
            Self {
                line: line("main"),
                name: name("Wei"),
                greeting: Some(text("Welcome. Somebody will be with you soon.")),
            },
            Self { line: line("A"), name: name("小文"), greeting: None },
        ]
    }
}

impl Samples for Place {
    fn samples() -> Vec<Self> {
        vec![
            Self {
                call: CALL,
                position: 3,
                waiting: 4,
                wait_s: Some(WaitSeconds(60, 180)),
                next_nonce: Nonce::FIRST,
            },
            Self {
                call: OTHER_CALL,
                position: u32::MAX,
                waiting: 0,
                wait_s: None,
                next_nonce: Nonce(256),
            },
        ]
    }
}

impl Samples for Connected {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, peer: name("Ada"), next_nonce: Nonce::FIRST },
            Self { call: OTHER_CALL, peer: longest_name(), next_nonce: Nonce(u32::MAX) },
        ]
    }
}

impl Samples for Said {
    fn samples() -> Vec<Self> {
        vec![
            Self {
                call: CALL,
                seq: Seq(12),
                from: Side::Caller,
                name: name("Wei"),
                at: AT,
                text: text("hello"),
                nonce: Nonce(7),
            },
            Self {
                call: OTHER_CALL,
                seq: Seq(u32::MAX),
                from: Side::Operator,
                name: name("नमस्ते"),
                at: UnixMillis(-1),
                text: text("\u{1}é"),
                nonce: Nonce(0x0102_0304),
            },
        ]
    }
}

impl Samples for Joined {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, seq: Seq(1), at: AT, from: Side::Caller, name: name("Wei") },
            Self {
                call: CALL,
                seq: Seq(5),
                at: UnixMillis(i64::MAX),
                from: Side::Operator,
                name: name("Ada"),
            },
        ]
    }
}

impl Samples for Left {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, seq: Seq(9), at: AT, from: Side::Operator, name: name("Ada") },
            Self {
                call: CALL,
                seq: Seq(0),
                at: UnixMillis(i64::MIN),
                from: Side::Caller,
                name: longest_name(),
            },
        ]
    }
}

impl Samples for Ended {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, seq: Seq(13), at: AT, by: By::Caller, why: Why::BYE },
            Self { call: CALL, seq: Seq(14), at: AT, by: By::Operator, why: Why::LOST },
            Self {
                call: OTHER_CALL,
                seq: Seq(2),
                at: UnixMillis(0),
                by: By::Server,
                why: Why(0xabcd),
            },
        ]
    }
}

impl Samples for IsTyping {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, from: Side::Operator },
            Self { call: OTHER_CALL, from: Side::Caller },
        ]
    }
}

impl Samples for Busy {
    fn samples() -> Vec<Self> {
        vec![
            Self { why: Why::FULL, retry_after_s: 90, wait_s: Some(WaitSeconds(600, 900)) },
            Self { why: Why(6), retry_after_s: 0, wait_s: None },
        ]
    }
}

impl Samples for Closed {
    fn samples() -> Vec<Self> {
        vec![
            Self { why: Why::STOPPING, retry_after_s: None, wait_s: None },
            Self {
                why: Why(65_535),
                retry_after_s: Some(3_600),
                wait_s: Some(WaitSeconds(0, u32::MAX)),
            },
        ]
    }
}

impl Samples for Offer {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL, name: name("Wei"), waiting: 4 }]
    }
}

impl Samples for Withdrawn {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL, name: name("Wei"), waiting: 0 }]
    }
}

impl Samples for Board {
    fn samples() -> Vec<Self> {
        let waiter = |called: &str| Waiter { call: CALL, name: name(called), since: AT };
        vec![
            Self { waiting: 0, first: vec![], talking: vec![] },
            Self {
                waiting: 21,
                first: vec![waiter("Wei"), waiter("小文")],
                talking: vec![Talk {
                    call: OTHER_CALL,
                    name: longest_name(),
                    operator: name("Ada"),
                    since: UnixMillis(-62_135_596_800_000),
                }],
            },
        ]
    }
}

impl Samples for Resume {
    fn samples() -> Vec<Self> {
        let shown = |call, seq| Shown { call, seq: Seq(seq) };
        vec![
            Self { ticket: ticket(), side: Side::Caller, shown: vec![shown(CALL, 12)] },
            Self { ticket: ticket(), side: Side::Operator, shown: vec![] },
            Self {
                ticket: Ticket([0xff; 32]),
                side: Side::Operator,
                shown: (0..limits::RESUMED_CALLS)
                    .map(|n| shown(CallId([u8::try_from(n).unwrap(); 16]), u32::MAX))
                    .collect(),
            },
        ]
    }
}

impl Samples for Resumed {
    fn samples() -> Vec<Self> {
        let listed = |call, nonce, last| Listed { call, next_nonce: Nonce(nonce), last: Seq(last) };
        vec![
            Self { calls: vec![listed(CALL, 5, 12)] },
            Self { calls: vec![] },
            Self { calls: vec![listed(CALL, 1, 0), listed(OTHER_CALL, u32::MAX, u32::MAX)] },
        ]
    }
}

impl Samples for Away {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, from: Side::Caller },
            Self { call: OTHER_CALL, from: Side::Operator },
        ]
    }
}

impl Samples for Back {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, from: Side::Operator },
            Self { call: OTHER_CALL, from: Side::Caller },
        ]
    }
}

impl Samples for PutBack {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL }]
    }
}

impl Samples for Ban {
    fn samples() -> Vec<Self> {
        vec![
            Self { call: CALL, for_s: 86_400, reason: Detail::cut("threats") },
            Self { call: OTHER_CALL, for_s: u32::MAX, reason: Detail::cut("") },
        ]
    }
}

impl Samples for Invite {
    fn samples() -> Vec<Self> {
        vec![Self { uses: Uses::Once, until: None }, Self { uses: Uses::Many, until: Some(AT) }]
    }
}

impl Samples for Banned {
    fn samples() -> Vec<Self> {
        vec![Self { call: CALL, until: AT }]
    }
}

impl Samples for Invited {
    fn samples() -> Vec<Self> {
        let code = |code: &str| Secret::new(code).unwrap();
        vec![
            Self { code: code("k7m2-9qfd-x4hn-3tbw"), until: None },
            Self { code: code("~"), until: Some(AT) },
        ]
    }
}
