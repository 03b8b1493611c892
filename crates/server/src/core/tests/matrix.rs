//! Who may do what: every message of the protocol, from everybody there can be, at every stage of a call.
//!
//! Two layers. [`may`] says by hand whose messages change anything or are heard by anybody; a message that isn't in
//! it doesn't compile. And a snapshot has every cell, so that whatever changes is seen in review.

use std::{collections::BTreeMap, fmt::Write as _};

use helpline_proto::{
    ids::{By, Uses},
    message::{
        Admitted, Away, Back, Ban, Banned, Board, Busy, Closed, Connected, Ended, Hello, Invite,
        Invited, IsTyping, Joined, KINDS, Kind, Left, Limits, Listed, Next, Offer, Pause, Ping,
        Place, Pong, PutBack, Ready, Resumed, Said, SignOff, Typing, Welcome, Withdrawn,
    },
    session::{ServerSession, Settings},
    text::{Agent, Detail, Secret},
    version,
};

use super::*;
use crate::access::{Account, Role as Rights, SecretHash};

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// Somebody who has said nothing.
    Stranger,
    /// Somebody who has said hello.
    Welcomed,
    /// The caller of the call.
    Caller,
    /// Another caller, who waits.
    OtherCaller,
    /// The operator of the call, or who could be.
    Operator,
    /// Another operator, who is free.
    OtherOperator,
    /// A free operator who may do more.
    Supervisor,
    /// The connection that the caller had before.
    SupersededCaller,
    /// The connection that the operator had before.
    SupersededOperator,
    /// An operator whose account was disabled.
    Disabled,
}

const EVERYBODY: [Who; 10] = [
    Who::Stranger,
    Who::Welcomed,
    Who::Caller,
    Who::OtherCaller,
    Who::Operator,
    Who::OtherOperator,
    Who::Supervisor,
    Who::SupersededCaller,
    Who::SupersededOperator,
    Who::Disabled,
];

/// How far the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Talking,
    /// It is over, and neither side has seen that.
    Ended,
    /// It is talked on while the line stops.
    Stopping,
}

const STAGES: [Stage; 4] = [Stage::Waiting, Stage::Talking, Stage::Ended, Stage::Stopping];

/// Which call a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// The call that all this is about.
    This,
    /// The one of the other caller.
    Other,
    /// None that there is.
    Nobodys,
}

impl Named {
    fn call(self) -> CallId {
        CallId(match self {
            Self::This => [1; 16],
            Self::Other => [2; 16],
            Self::Nobodys => [0x77; 16],
        })
    }
}

/// Whether a message may change anything, or be heard by anybody else. No wildcard: a new message needs its line.
fn may(who: Who, stage: Stage, named: Named, message: &Message) -> bool {
    use Stage::{Ended, Stopping, Talking, Waiting};
    let has_call = stage != Waiting;
    let is_operator = matches!(who, Who::Operator | Who::OtherOperator | Who::Supervisor);
    let is_free = matches!(who, Who::OtherOperator | Who::Supervisor)
        || (who == Who::Operator && stage == Waiting);
    let is_own = match who {
        Who::Caller => named == Named::This,
        Who::OtherCaller => named == Named::Other,
        Who::Operator => named == Named::This && has_call,
        _ => false,
    };
    // The other caller's call waits, whatever becomes of the one this is about.
    let is_open = named == Named::Other || stage != Ended;
    match message {
        Message::Hello(_) | Message::Welcome(_) | Message::Error(_) => false,
        Message::Ping(_) | Message::Pong(_) => false,
        // Whoever says it is away from then on. The other side hears that, and so do those to whom the first in line
        // stands offered.
        Message::Goodbye(_) => matches!(
            (who, stage),
            (Who::Caller, Waiting | Talking | Stopping)
                | (Who::Operator, Talking | Stopping)
                | (Who::OtherCaller, Talking | Ended)
        ),
        Message::Join(_) => who == Who::Welcomed && stage != Stopping,
        Message::SignOn(sign_on) => who == Who::Welcomed && sign_on.token.is_some(),
        // With a ticket that nobody has.
        Message::Resume(_) => false,
        Message::Say(_) | Message::HangUp(_) => is_own && is_open,
        Message::EndSeen(_) => is_own && !is_open,
        // Heard by the other side, where there is one.
        Message::Typing(_) => is_own && named == Named::This && matches!(stage, Talking | Stopping),
        Message::Next(_) => is_free && stage != Stopping,
        Message::Answer(_) => {
            let first = if stage == Waiting { Named::This } else { Named::Other };
            is_free && stage != Stopping && named == first
        }
        // They are available as it is.
        Message::Ready(_) => false,
        Message::Pause(_) | Message::SignOff(_) | Message::Invite(_) => is_operator,
        Message::Ban(_) => match who {
            Who::Operator => is_own,
            Who::Supervisor => named != Named::Nobodys && is_open,
            _ => false,
        },
        Message::Admitted(_)
        | Message::Place(_)
        | Message::Connected(_)
        | Message::Said(_)
        | Message::Joined(_)
        | Message::Left(_)
        | Message::Ended(_)
        | Message::IsTyping(_)
        | Message::Busy(_)
        | Message::Closed(_)
        | Message::Away(_)
        | Message::Back(_)
        | Message::Resumed(_)
        | Message::Offer(_)
        | Message::Withdrawn(_)
        | Message::Board(_)
        | Message::PutBack(_)
        | Message::Banned(_)
        | Message::Invited(_) => false,
    }
}

fn is_somebody(who: Who) -> bool {
    !matches!(who, Who::SupersededCaller | Who::SupersededOperator | Who::Disabled)
}

fn secret(secret: &str) -> Secret {
    Secret::new(secret).unwrap()
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// One of every message, about this call; two of those that carry secrets.
fn messages(call: CallId) -> Vec<Message> {
    let (seq, at, nonce) = (Seq(1), UnixMillis(0), Nonce(1));
    let (side, detail) = (Side::Operator, Detail::cut("x"));
    let text = Text::new("hello").unwrap();
    let line = LineName::new("main").unwrap();
    let (ticket, name) = (Ticket([0x55; 32]), name("Kim"));
    let answering = Answering::ByHand;
    let waiting = 1;
    let sign_on = SignOn { ticket: ticket.clone(), name: name.clone(), answering, token: None };
    vec![
        Hello { versions: version::SPOKEN, features: 0, agent: Agent::new("x").unwrap() }.into(),
        Welcome {
            version: version::CURRENT,
            features: 0,
            limits: Limits { frame: 1, text: 1 },
            keepalive_ms: 1,
        }
        .into(),
        tell::goodbye(Code::DONE, "x"),
        helpline_proto::message::Error { code: Code::DONE, detail: detail.clone() }.into(),
        Ping {}.into(),
        Pong {}.into(),
        Join { ticket: ticket.clone(), line: None, name: name.clone(), invite: None }.into(),
        Say { call, nonce, text: text.clone() }.into(),
        HangUp { call }.into(),
        Typing { call }.into(),
        EndSeen { call }.into(),
        Resume { ticket: ticket.clone(), side: Side::Caller, shown: vec![] }.into(),
        sign_on.clone().into(),
        SignOn { token: Some(secret("Kim's")), ..sign_on }.into(),
        Next {}.into(),
        Answer { call }.into(),
        Ready {}.into(),
        Pause {}.into(),
        SignOff {}.into(),
        Ban { call, for_s: 60, reason: detail }.into(),
        Invite { uses: Uses::Once, until: None }.into(),
        Admitted { line, name: name.clone(), greeting: None }.into(),
        Place { call, position: 1, waiting, wait_s: None, next_nonce: nonce }.into(),
        Connected { call, peer: name.clone(), next_nonce: nonce }.into(),
        Said { call, seq, from: side, name: name.clone(), at, text, nonce }.into(),
        Joined { call, seq, at, from: side, name: name.clone() }.into(),
        Left { call, seq, at, from: side, name: name.clone() }.into(),
        Ended { call, seq, at, by: By::Server, why: helpline_proto::code::Why::BYE }.into(),
        IsTyping { call, from: side }.into(),
        Busy { why: helpline_proto::code::Why::FULL, retry_after_s: 1, wait_s: None }.into(),
        Closed { why: helpline_proto::code::Why::FULL, retry_after_s: None, wait_s: None }.into(),
        Away { call, from: side }.into(),
        Back { call, from: side }.into(),
        Resumed { calls: vec![Listed { call, next_nonce: nonce, last: seq }] }.into(),
        Offer { call, name: name.clone(), waiting }.into(),
        Withdrawn { call, name, waiting }.into(),
        Board { waiting, first: vec![], talking: vec![] }.into(),
        PutBack { call }.into(),
        Banned { call, until: at }.into(),
        Invited { code: secret("x"), until: None }.into(),
    ]
}

/// Whether a message names a call.
fn names_a_call(kind: Kind) -> bool {
    ["say", "hang_up", "typing", "end_seen", "answer", "ban"].contains(&kind.name)
        && kind.direction.reaches_server()
}

/// A connection: its session, and what it has heard.
struct End {
    session: ServerSession,
    arrival: Option<OutboxSender>,
    outbox: Outbox,
    heard: Vec<Message>,
    origin: Origin,
}

/// A whole line, with the real core and the real sessions.
struct Scene {
    line: Line,
    ends: BTreeMap<u64, End>,
}

impl Scene {
    /// With the call at this stage, and everybody there.
    fn at(stage: Stage) -> Self {
        let disk = Disk::default();
        disk.administer(|access| {
            let account = |named: &str, role| Account {
                name: name(named),
                role,
                token: SecretHash::of(&secret(&format!("{named}'s"))),
                disabled: false,
            };
            access.accounts =
                ["Wei", "Bo", "Dan", "Kim"].map(|name| account(name, Rights::Operator)).into();
            access.accounts.push(account("Li", Rights::Supervisor));
        });
        let line = Line { core: guarded(&disk, 8, Policy::default()), disk, now: 0 };
        let mut scene = Self { line, ends: BTreeMap::new() };
        for who in EVERYBODY {
            scene.connects(who as u64);
        }
        scene.joins(Who::SupersededCaller, "Ada", 1);
        scene.joins(Who::OtherCaller, "Eve", 2);
        scene.signs_on(Who::SupersededOperator, "Wei", 3);
        scene.signs_on(Who::Disabled, "Dan", 4);
        if stage != Stage::Waiting {
            scene.says(Who::SupersededOperator as u64, Next {}.into());
        }
        scene.comes_back(Who::Caller, Side::Caller, 1);
        scene.comes_back(Who::Operator, Side::Operator, 3);
        scene.line.disk.administer(|access| access.accounts[2].disabled = true);
        scene.signs_on(Who::OtherOperator, "Bo", 5);
        scene.signs_on(Who::Supervisor, "Li", 6);
        let hello = messages(Named::This.call()).remove(0);
        scene.says(Who::Welcomed as u64, hello);
        match stage {
            Stage::Waiting | Stage::Talking => {}
            Stage::Ended => {
                scene.says(Who::Caller as u64, HangUp { call: Named::This.call() }.into());
            }
            Stage::Stopping => {
                scene.line.turn([Inbox::Stop]);
                scene.pump();
            }
        }
        for end in scene.ends.values_mut() {
            end.heard.clear();
        }
        scene
    }

    fn connects(&mut self, id: u64) {
        let (sender, outbox) = outbox();
        let settings = Settings { says_a_second: None };
        let session = ServerSession::new(settings, Moment(0));
        let origin =
            Origin::Address(std::net::Ipv4Addr::new(192, 0, 2, u8::try_from(id).unwrap()).into());
        let end = End { session, arrival: Some(sender), outbox, heard: Vec::new(), origin };
        self.ends.insert(id, end);
    }

    fn joins(&mut self, who: Who, named: &str, ticket: u8) {
        let (ticket, name) = (Ticket([ticket; 32]), name(named));
        let hello = messages(Named::This.call()).remove(0);
        self.says(who as u64, hello);
        self.says(who as u64, Join { ticket, line: None, name, invite: None }.into());
    }

    fn signs_on(&mut self, who: Who, named: &str, ticket: u8) {
        let (ticket, name) = (Ticket([ticket; 32]), name(named));
        let token = Some(secret(&format!("{named}'s")));
        let hello = messages(Named::This.call()).remove(0);
        self.says(who as u64, hello);
        let answering = Answering::ByHand;
        self.says(who as u64, SignOn { ticket, name, answering, token }.into());
    }

    fn comes_back(&mut self, who: Who, side: Side, ticket: u8) {
        let hello = messages(Named::This.call()).remove(0);
        self.says(who as u64, hello);
        let resume = Resume { ticket: Ticket([ticket; 32]), side, shown: vec![] };
        self.says(who as u64, resume.into());
    }

    /// A message comes on a connection, and the core takes its turn.
    fn says(&mut self, id: u64, message: Message) {
        let frame = message.to_frame(Ref(7)).unwrap();
        let frame = frame::split(&frame, limits::FRAME).unwrap().unwrap();
        let end = self.ends.get_mut(&id).unwrap();
        end.session.handle(frame, Moment(0));
        let mut events: Vec<_> = std::iter::from_fn(|| end.session.poll_event()).collect();
        let item = match end.arrival.take_if(|_| !events.is_empty()) {
            Some(outbox) => Inbox::Arrived(ConnectionId(id), end.origin, outbox, events.remove(0)),
            None => Inbox::Asked(ConnectionId(id), events),
        };
        self.line.turn([item]);
        if self.ends[&id].session.is_closing() {
            self.line.turn([Inbox::Gone(ConnectionId(id))]);
        }
        self.pump();
    }

    /// Everybody hears what there is for them.
    fn pump(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for end in self.ends.values_mut() {
            while let Poll::Ready(Some(frame)) = end.outbox.poll_next(&mut cx) {
                end.session.tell(frame);
            }
            while let Some(bytes) = end.session.poll_transmit() {
                end.heard.extend(super::messages(&bytes));
            }
        }
    }

    /// What everybody but this one has heard.
    fn others_heard(&self, id: u64) -> Vec<&'static str> {
        let others = self.ends.iter().filter(|(other, _)| **other != id);
        others.flat_map(|(_, end)| names(&end.heard)).collect()
    }
}

/// What came of one message.
#[derive(Debug, PartialEq)]
struct Came {
    /// What its sender heard.
    heard: Vec<Message>,
    /// What was written.
    writes: u64,
    /// What everybody else heard.
    others: Vec<&'static str>,
}

fn comes_of(who: Who, stage: Stage, message: Message) -> Came {
    let mut scene = Scene::at(stage);
    let before = scene.line.disk.writes();
    let id = who as u64;
    scene.says(id, message);
    let writes = scene.line.disk.writes() - before;
    let heard = std::mem::take(&mut scene.ends.get_mut(&id).unwrap().heard);
    Came { heard, writes, others: scene.others_heard(id) }
}

fn told(heard: &[Message]) -> String {
    let words = heard.iter().map(|message| match message {
        Message::Error(error) => format!("!{}", error.code),
        Message::Goodbye(goodbye) => format!("!!{}", goodbye.code),
        message => message.kind().name.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn only_who_may_changes_anything_or_is_heard() {
    let (mut table, mut cells) = (String::new(), 0);
    for stage in STAGES {
        for named in [Named::This, Named::Other, Named::Nobodys] {
            for message in messages(named.call()) {
                let kind = message.kind();
                if named != Named::This && !names_a_call(kind) {
                    continue;
                }
                for who in EVERYBODY {
                    let came = comes_of(who, stage, message.clone());
                    let allowed = may(who, stage, named, &message);
                    let changed = came.writes > 0 || !came.others.is_empty();
                    let cell = format!("{stage:?}: {who:?} sends {} ({named:?})", kind.name);
                    assert_eq!(changed, allowed, "{cell}: {came:?}");
                    if !is_somebody(who) {
                        assert_eq!(came.heard, [], "{cell}: nobody hears any more");
                    }
                    let others = came.others.join(" ");
                    let heard = told(&came.heard);
                    writeln!(table, "{cell}: {heard} | {} | {others}", came.writes).unwrap();
                    cells += 1;
                }
            }
        }
    }
    let kinds: std::collections::BTreeSet<u16> =
        messages(Named::This.call()).iter().map(|message| message.kind().number).collect();
    assert!(kinds.iter().eq(KINDS.iter().map(|kind| &kind.number)), "every kind has its rows");
    assert!(cells > 2000, "{cells}");
    let table: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    insta::assert_snapshot!(table);
}

#[test]
fn a_foreign_call_and_no_call_are_answered_with_the_same_bytes() {
    for stage in STAGES {
        for who in
            [Who::Caller, Who::OtherCaller, Who::Operator, Who::OtherOperator, Who::Supervisor]
        {
            let foreign = match who {
                Who::Caller => Named::Other,
                Who::Operator if stage != Stage::Waiting => Named::Other,
                _ => Named::This,
            };
            let pairs = messages(foreign.call()).into_iter().zip(messages(Named::Nobodys.call()));
            for (foreign_one, unknown) in pairs.filter(|(one, _)| names_a_call(one.kind())) {
                // The one that is offered, and what a supervisor may do.
                if may(who, stage, foreign, &foreign_one) {
                    continue;
                }
                let name = foreign_one.kind().name;
                let answers = [foreign_one, unknown].map(|message| comes_of(who, stage, message));
                assert_eq!(answers[0], answers[1], "{stage:?}, {who:?}, {name}");
                assert_eq!(answers[0].writes, 0);
            }
        }
    }
}

#[test]
fn what_only_servers_say_is_as_unknown_as_what_nobody_says() {
    for who in EVERYBODY {
        let nobody_says = |reference| {
            let mut scene = Scene::at(Stage::Talking);
            let end = scene.ends.get_mut(&(who as u64)).unwrap();
            let header = frame::header(999, Ref(reference), 0).unwrap();
            let unknown = frame::split(&header, limits::FRAME).unwrap().unwrap();
            end.session.handle(unknown, Moment(0));
            scene.pump();
            told(&scene.ends[&(who as u64)].heard)
        };
        let unknown = nobody_says(7);
        for message in messages(Named::This.call()) {
            if !message.kind().direction.reaches_server() {
                let name = message.kind().name;
                let came = comes_of(who, Stage::Talking, message);
                assert_eq!(told(&came.heard), unknown, "{who:?} sends {name}");
            }
        }
    }
}
