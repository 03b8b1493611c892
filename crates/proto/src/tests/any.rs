//! Any message there can be, for property tests.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    code::{Code, Why},
    ids::{Answering, By, CallId, Nonce, Resumable, Seq, Side, Ticket, Uses},
    limits,
    message::{
        Admitted, Answer, Away, Back, Ban, Banned, Board, Busy, Closed, Connected, EndSeen, Ended,
        Error, Goodbye, HangUp, Hello, Invite, Invited, IsTyping, Join, Joined, KINDS, Left,
        Limits, Listed, Message, Next, Offer, Pause, Ping, Place, Pong, PutBack, Ready, Resume,
        Resumed, Said, Say, Shown, SignOff, SignOn, Talk, Typing, WaitSeconds, Waiter, Welcome,
        Withdrawn,
    },
    text::{Agent, Detail, LineName, Name, Secret, Text},
    time::UnixMillis,
    version::{Version, Versions},
};

/// Up to `most` bytes of whatever characters, control characters and the rest of Unicode included.
fn string(most: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![4 => any::<char>(), 1 => proptest::char::range('\0', '\u{9f}')];
    vec(character, 0..=most.min(40)).prop_map(move |characters| {
        let mut string = String::new();
        for character in characters {
            if string.len() + character.len_utf8() <= most {
                string.push(character);
            }
        }
        string
    })
}

fn chosen(from: &'static str, most: usize) -> impl Strategy<Value = String> {
    let characters: Vec<char> = from.chars().collect();
    vec(select(characters), 1..=most).prop_map(String::from_iter)
}

pub(super) fn text() -> impl Strategy<Value = Text> {
    let longest = any::<char>()
        .prop_map(|character| character.to_string().repeat(limits::TEXT / character.len_utf8()));
    let texts = prop_oneof![20 => string(200), 1 => longest];
    texts.prop_filter_map("empty", |string| Text::new(string).ok())
}

pub(super) fn name() -> impl Strategy<Value = Name> {
    let letters = chosen("abcXYZ'- éüßżאبनमस्ते小文👩🔧\u{200d}", 12);
    prop_oneof![letters, string(limits::NAME)]
        .prop_filter_map("no name", |string| Name::typed(&string).ok())
}

fn line() -> impl Strategy<Value = LineName> {
    chosen("azAZ09-_.", 64).prop_filter_map("no line", |string| LineName::new(string).ok())
}

fn secret() -> impl Strategy<Value = Secret> {
    chosen("!~azAZ09+/=", limits::SECRET).prop_map(|string| Secret::new(string).unwrap())
}

fn detail() -> impl Strategy<Value = Detail> {
    string(limits::DETAIL).prop_map(|string| Detail::cut(&string))
}

fn agent() -> impl Strategy<Value = Agent> {
    string(limits::AGENT).prop_map(|string| Agent::new(string).unwrap())
}

fn call() -> impl Strategy<Value = CallId> {
    any::<[u8; 16]>().prop_map(CallId)
}

fn ticket() -> impl Strategy<Value = Ticket> {
    any::<[u8; 32]>().prop_map(Ticket)
}

fn nonce() -> impl Strategy<Value = Nonce> {
    any::<u32>().prop_map(Nonce)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u32>().prop_map(Seq)
}

fn at() -> impl Strategy<Value = UnixMillis> {
    any::<i64>().prop_map(UnixMillis)
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Caller, Side::Operator])
}

fn code() -> impl Strategy<Value = Code> {
    any::<u16>().prop_map(Code)
}

fn why() -> impl Strategy<Value = Why> {
    any::<u16>().prop_map(Why)
}

fn wait_s() -> impl Strategy<Value = Option<WaitSeconds>> {
    option::of(any::<(u32, u32)>().prop_map(|(low, high)| WaitSeconds(low, high)))
}

/// Made of its fields, in order.
macro_rules! of {
    ($type:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        ($($strategy,)*).prop_map(|($($field,)*)| Message::from($type { $($field),* })).boxed()
    };
}

/// A strategy for every kind, by rising number.
pub(super) fn by_kind() -> Vec<BoxedStrategy<Message>> {
    let versions = any::<(u16, u16)>().prop_map(|(lowest, highest)| Versions {
        lowest: Version(lowest),
        highest: Version(highest),
    });
    let version = any::<u16>().prop_map(Version);
    let limits = any::<(u32, u32)>().prop_map(|(frame, text)| Limits { frame, text });
    let resumable = select(vec![Resumable::No, Resumable::Yes]);
    let answering = select(vec![Answering::ByHand, Answering::ByItself]);
    let uses = select(vec![Uses::Once, Uses::Many]);
    let by = select(vec![By::Caller, By::Operator, By::Server]);
    let first = (call(), name(), at()).prop_map(|(call, name, since)| Waiter { call, name, since });
    let talking = (call(), name(), name(), at()).prop_map(|(call, name, operator, since)| Talk {
        call,
        name,
        operator,
        since,
    });
    let shown = (call(), seq()).prop_map(|(call, seq)| Shown { call, seq });
    let listed = (call(), nonce(), seq()).prop_map(|(call, next_nonce, last)| Listed {
        call,
        next_nonce,
        last,
    });
    vec![
        of!(Hello { versions: versions, features: any::<u32>(), agent: agent() }),
        of!(Welcome {
            version: version,
            features: any::<u32>(),
            limits: limits,
            keepalive_ms: any::<u32>()
        }),
        of!(Goodbye {
            code: code(),
            detail: detail(),
            retry_after_s: any::<Option<u32>>(),
            resumable: resumable,
        }),
        of!(Error { code: code(), detail: detail() }),
        Just(Message::from(Ping {})).boxed(),
        Just(Message::from(Pong {})).boxed(),
        of!(Join {
            ticket: ticket(),
            line: option::of(line()),
            name: name(),
            invite: option::of(secret()),
        }),
        of!(Say { call: call(), nonce: nonce(), text: text() }),
        of!(HangUp { call: call() }),
        of!(Typing { call: call() }),
        of!(EndSeen { call: call() }),
        of!(Resume { ticket: ticket(), side: side(), shown: vec(shown, 0..4) }),
        of!(SignOn {
            ticket: ticket(),
            name: name(),
            answering: answering,
            token: option::of(secret()),
        }),
        Just(Message::from(Next {})).boxed(),
        of!(Answer { call: call() }),
        Just(Message::from(Ready {})).boxed(),
        Just(Message::from(Pause {})).boxed(),
        Just(Message::from(SignOff {})).boxed(),
        of!(Ban { call: call(), for_s: any::<u32>(), reason: detail() }),
        of!(Invite { uses: uses, until: option::of(at()) }),
        of!(Admitted { line: line(), name: name(), greeting: option::of(text()) }),
        of!(Place {
            call: call(),
            position: any::<u32>(),
            waiting: any::<u32>(),
            wait_s: wait_s(),
            next_nonce: nonce(),
        }),
        of!(Connected { call: call(), peer: name(), next_nonce: nonce() }),
        of!(Said {
            call: call(),
            seq: seq(),
            from: side(),
            name: name(),
            at: at(),
            text: text(),
            nonce: nonce(),
        }),
        of!(Joined { call: call(), seq: seq(), at: at(), from: side(), name: name() }),
        of!(Left { call: call(), seq: seq(), at: at(), from: side(), name: name() }),
        of!(Ended { call: call(), seq: seq(), at: at(), by: by, why: why() }),
        of!(IsTyping { call: call(), from: side() }),
        of!(Busy { why: why(), retry_after_s: any::<u32>(), wait_s: wait_s() }),
        of!(Closed { why: why(), retry_after_s: any::<Option<u32>>(), wait_s: wait_s() }),
        of!(Away { call: call(), from: side() }),
        of!(Back { call: call(), from: side() }),
        of!(Resumed { calls: vec(listed, 0..4) }),
        of!(Offer { call: call(), name: name(), waiting: any::<u32>() }),
        of!(Withdrawn { call: call(), name: name(), waiting: any::<u32>() }),
        of!(Board { waiting: any::<u32>(), first: vec(first, 0..4), talking: vec(talking, 0..4) }),
        of!(PutBack { call: call() }),
        of!(Banned { call: call(), until: at() }),
        of!(Invited { code: secret(), until: option::of(at()) }),
    ]
}

/// Any message.
pub(super) fn message() -> impl Strategy<Value = Message> {
    proptest::strategy::Union::new(by_kind())
}

#[test]
fn every_kind_has_a_strategy() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let numbers = by_kind().into_iter().map(|strategy| {
        use proptest::strategy::ValueTree as _;
        strategy.new_tree(&mut runner).unwrap().current().kind().number
    });
    assert!(numbers.eq(KINDS.iter().map(|kind| kind.number)));
}
