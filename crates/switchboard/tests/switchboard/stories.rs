//! Each rule, as a story.

use std::time::Duration;

use helpline_proto::{
    ids::{Answering, By, CallId, Nonce, Seq},
    limits,
    text::{Name, Text},
    time::{Moment, UnixMillis},
};
use helpline_switchboard::{
    Effect, Expulsion, Input, Item, Notice, Now, OperatorId, Party, QueueNumber, Record, Request,
    Rules, Snapshot, Switchboard, TicketHash, Wait,
};

/// A line whose people are known by name, and whose effects are read as short sentences.
pub(crate) struct Line {
    pub(crate) line: Switchboard,
    millis: u64,
}

/// A caller's call has the id of their name.
pub(crate) fn call(name: &str) -> CallId {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    CallId(bytes)
}

pub(crate) fn operator(name: &str) -> OperatorId {
    let mut bytes = [0; 8];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    OperatorId(u64::from_be_bytes(bytes))
}

fn named(bytes: &[u8]) -> String {
    String::from_utf8(bytes.iter().copied().filter(|byte| *byte > 0).collect()).unwrap()
}

pub(crate) fn caller_named(name: &str) -> Party {
    Party::Caller(call(name))
}

pub(crate) fn operator_named(name: &str) -> Party {
    Party::Operator(operator(name))
}

/// The ticket of whoever has this name.
pub(crate) fn ticket(name: &str) -> TicketHash {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    TicketHash(bytes)
}

fn spoken(wait: Option<Wait>) -> String {
    wait.map_or(String::new(), |wait| format!(" {}-{} s", wait.low, wait.high))
}

fn party(party: Party) -> String {
    match party {
        Party::Caller(id) => named(&id.0),
        Party::Operator(id) => named(&id.0.to_be_bytes()),
    }
}

fn sentence(effect: &Effect) -> String {
    let call = |id: &CallId| named(&id.0);
    let operator = |id: &OperatorId| party(Party::Operator(*id));
    match effect {
        Effect::Record(Record::Opened { call: id, number, .. }) => {
            format!("* opened {} #{}", call(id), number.0)
        }
        Effect::Record(Record::Answered { call: id, operator: by, .. }) => {
            format!("* answered {} by {}", call(id), operator(by))
        }
        Effect::Record(Record::PutBack { call: id }) => format!("* put back {}", call(id)),
        Effect::Record(Record::Closed { call: id, .. }) => format!("* closed {}", call(id)),
        Effect::Record(Record::SignedOn { operator: id, .. }) => format!("* on {}", operator(id)),
        Effect::Record(Record::SignedOff { operator: id, .. }) => format!("* off {}", operator(id)),
        Effect::Record(Record::Done { call: id, side }) => format!("* {side:?} done {}", call(id)),
        Effect::Record(Record::Chose { operator: id, presence }) => {
            format!("* {presence:?} {}", operator(id))
        }
        Effect::Record(Record::Refused) => "* refused".into(),
        Effect::Entry { call: id, entry, hearers } => {
            let item = match &entry.item {
                Item::Said { name, nonce, text, .. } => format!("{name} said {}: {text}", nonce.0),
                Item::Joined { name, .. } => format!("{name} joined"),
                Item::Left { name, .. } => format!("{name} left"),
                Item::Ended { by, why } => format!("ended by {by:?}, {why:?}"),
            };
            let heard = [hearers.caller.then(|| call(id)), hearers.operator.as_ref().map(operator)];
            let heard: Vec<String> = heard.into_iter().flatten().collect();
            format!("{} {}. {item} > {}", call(id), entry.seq.0, heard.join(" "))
        }
        Effect::Refuse(refusal) => format!("! {refusal:?}"),
        Effect::Dismiss { party: who, why } => format!("{} dismissed: {why:?}", party(*who)),
        Effect::Tell { to, notice } => {
            let notice = match notice {
                Notice::Admitted { name } => format!("admitted as {name}"),
                Notice::Place { position, waiting, wait, next_nonce, .. } => {
                    let wait = spoken(*wait);
                    format!("place {position} of {waiting}{wait}, nonce {}", next_nonce.0)
                }
                Notice::Connected { peer, next_nonce, .. } => {
                    format!("connected with {peer}, nonce {}", next_nonce.0)
                }
                Notice::Resumed { calls } => {
                    let listed = |l: &helpline_switchboard::Listed| {
                        format!("{} to {}, nonce {}", call(&l.call), l.last.0, l.next_nonce.0)
                    };
                    format!("resumed {:?}", calls.iter().map(listed).collect::<Vec<_>>())
                }
                Notice::Typing { from, .. } => format!("{from:?} types"),
                Notice::PutBack { .. } => "put back".to_owned(),
                Notice::Away { from, .. } => format!("{from:?} is away"),
                Notice::Back { from, .. } => format!("{from:?} is back"),
                Notice::Offer { name, waiting, .. } => format!("offer {name}, {waiting} waiting"),
                Notice::Withdrawn { name, waiting, .. } => {
                    format!("withdrawn {name}, {waiting} waiting")
                }
                Notice::Board(board) => {
                    let first: Vec<_> = board.first.iter().map(|w| w.name.to_string()).collect();
                    let talk =
                        |t: &helpline_switchboard::Talk| format!("{}-{}", t.name, t.operator);
                    let talking: Vec<_> = board.talking.iter().map(talk).collect();
                    format!("board {} {first:?} {talking:?}", board.waiting)
                }
            };
            format!("{} < {notice}", party(*to))
        }
    }
}

impl Line {
    /// A line that has had six callers.
    pub(crate) fn with_places(places: u32) -> Self {
        let snapshot = Snapshot { next_number: QueueNumber(7), ..Snapshot::default() };
        let now = Now { moment: Moment(0), at: UnixMillis(0) };
        let rules = Rules { places, ..Rules::default() };
        Self { line: Switchboard::restore(rules, &snapshot, now), millis: 0 }
    }

    pub(crate) fn open() -> Self {
        Self::with_places(4)
    }

    /// The same line after a restart.
    pub(crate) fn restarted(&self) -> Self {
        let (rules, snapshot) = (Rules::default(), self.line.snapshot());
        Self { line: Switchboard::restore(rules, &snapshot, self.now()), millis: self.millis }
    }

    fn now(&self) -> Now {
        Now { moment: Moment(self.millis), at: UnixMillis(0) }
    }

    pub(crate) fn does(&mut self, input: Input) -> Vec<String> {
        let mut effects = Vec::new();
        self.line.handle(self.now(), input, &mut effects);
        effects.iter().map(sentence).collect()
    }

    pub(crate) fn join(&mut self, name: &str) -> Vec<String> {
        let (call, ticket, name) = (call(name), ticket(name), Name::new(name).unwrap());
        self.does(Input::Join { call, ticket, name })
    }

    fn sign_on(&mut self, name: &str, answering: Answering) -> Vec<String> {
        let (operator, ticket, name) = (operator(name), ticket(name), Name::new(name).unwrap());
        self.does(Input::SignOn { operator, ticket, name, answering })
    }

    /// Signs on somebody who answers by hand.
    pub(crate) fn by_hand(&mut self, name: &str) -> Vec<String> {
        self.sign_on(name, Answering::ByHand)
    }

    /// Signs on somebody who answers by themselves.
    pub(crate) fn by_itself(&mut self, name: &str) -> Vec<String> {
        self.sign_on(name, Answering::ByItself)
    }

    pub(crate) fn ask(&mut self, from: Party, request: Request) -> Vec<String> {
        self.does(Input::Ask { from, request })
    }

    pub(crate) fn say(&mut self, from: Party, to: &str, nonce: u32, text: &str) -> Vec<String> {
        let text = Text::new(text).unwrap();
        self.ask(from, Request::Say { call: call(to), nonce: Nonce(nonce), text })
    }

    pub(crate) fn hang_up(&mut self, from: Party, name: &str) -> Vec<String> {
        self.ask(from, Request::HangUp { call: call(name) })
    }

    pub(crate) fn end_seen(&mut self, from: Party, name: &str) -> Vec<String> {
        self.ask(from, Request::EndSeen { call: call(name) })
    }

    pub(crate) fn next(&mut self, name: &str) -> Vec<String> {
        self.ask(operator_named(name), Request::Next)
    }

    pub(crate) fn away(&mut self, party: Party) -> Vec<String> {
        self.does(Input::Away(party))
    }

    pub(crate) fn back(&mut self, party: Party) -> Vec<String> {
        self.does(Input::Back(party))
    }

    /// Lets so much time pass; boards are left out of what follows.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<String> {
        let until = self.millis + u64::try_from(time.as_millis()).unwrap();
        let mut told = Vec::new();
        while self.line.poll_timeout().is_some_and(|at| at.0 <= until) {
            self.millis = self.line.poll_timeout().unwrap().0.max(self.millis);
            let mut effects = Vec::new();
            self.line.handle_timeout(self.now(), &mut effects);
            told.extend(effects.iter().map(sentence).filter(|told| !told.contains(" < board ")));
        }
        self.millis = until;
        told
    }

    /// Lets time pass, to the very moment the line asked for.
    pub(crate) fn wait(&mut self) -> Vec<String> {
        self.millis = self.line.poll_timeout().unwrap().0;
        let mut effects = Vec::new();
        self.line.handle_timeout(self.now(), &mut effects);
        effects.iter().map(sentence).collect()
    }

    pub(crate) fn resumed(&self, party: Party) -> Vec<String> {
        let mut effects = Vec::new();
        self.line.resumed(party, &mut effects);
        effects.iter().map(sentence).collect()
    }

    pub(crate) fn restated(&self, party: Party) -> Vec<String> {
        let mut effects = Vec::new();
        self.line.restate(party, &mut effects);
        effects.iter().map(sentence).collect()
    }

    /// Who is on the other side of Ada's talk with Wei.
    pub(crate) fn other(&self, party: Party) -> Party {
        if party == caller_named("ada") { operator_named("wei") } else { caller_named("ada") }
    }

    /// Ada talks with Wei, who answers by hand.
    pub(crate) fn talk() -> Self {
        let mut line = Self::open();
        line.by_hand("wei");
        line.join("ada");
        line.next("wei");
        assert_eq!(line.line.talking(), 1);
        line
    }
}

#[test]
fn a_caller_waits_in_line_and_is_told_the_place() {
    let mut line = Line::open();
    assert_eq!(
        line.join("ada"),
        [
            "* opened ada #7",
            "ada < admitted as ada",
            "ada < place 1 of 1, nonce 1",
            "ada 1. ada joined > ada"
        ]
    );
    assert_eq!(
        line.join("bob"),
        [
            "* opened bob #8",
            "bob < admitted as bob",
            "bob < place 2 of 2, nonce 1",
            "bob 1. bob joined > bob"
        ]
    );
    assert_eq!(line.line.waiting(), 2);
}

#[test]
fn a_caller_is_answered_at_once_by_whoever_answers_by_themselves() {
    let mut line = Line::open();
    line.by_itself("wei");
    assert_eq!(
        line.join("ada"),
        [
            "* opened ada #7",
            "ada < admitted as ada",
            "* answered ada by wei",
            "ada < connected with wei, nonce 1",
            "wei < connected with ada, nonce 1",
            "ada 1. ada joined > ada wei",
            "ada 2. wei joined > ada wei",
        ]
    );
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
    assert_eq!(line.line.last_seq(call("ada")), Some(Seq(2)));
}

#[test]
fn the_one_who_finds_every_place_taken_hears_busy() {
    let mut line = Line::with_places(2);
    line.join("ada");
    line.join("bob");
    assert_eq!(line.join("eve"), ["* refused", "! Busy { wait: None }"]);
    line.by_hand("wei");
    line.next("wei");
    assert_eq!(line.join("eve")[0], "* opened eve #9", "a number isn't spent on a refusal");
}

#[test]
fn a_line_without_places_is_always_busy() {
    let mut line = Line::with_places(0);
    line.by_itself("wei");
    assert_eq!(line.join("ada"), ["* refused", "! Busy { wait: None }"]);
}

#[test]
fn who_waits_may_speak_and_the_answerer_counts_on() {
    let mut line = Line::open();
    line.join("ada");
    assert_eq!(
        line.say(caller_named("ada"), "ada", 1, "hello?"),
        ["ada 2. ada said 1: hello? > ada"]
    );
    line.by_hand("wei");
    assert_eq!(
        line.next("wei"),
        [
            "* answered ada by wei",
            "ada < connected with wei, nonce 2",
            "wei < connected with ada, nonce 1",
            "ada 3. wei joined > ada wei",
        ]
    );
    assert_eq!(
        line.say(operator_named("wei"), "ada", 1, "hi"),
        ["ada 4. wei said 1: hi > ada wei"]
    );
}

#[test]
fn a_resent_line_is_recorded_once() {
    let mut line = Line::talk();
    assert_eq!(line.say(caller_named("ada"), "ada", 1, "so"), ["ada 3. ada said 1: so > ada wei"]);
    assert_eq!(line.say(caller_named("ada"), "ada", 1, "so"), ["! Nonce { next: Nonce(2) }"]);
    assert_eq!(line.say(caller_named("ada"), "ada", 3, "so"), ["! Nonce { next: Nonce(2) }"]);
    assert_eq!(line.say(operator_named("wei"), "ada", 2, "so"), ["! Nonce { next: Nonce(1) }"]);
}

#[test]
fn anothers_call_looks_like_none() {
    let mut line = Line::talk();
    line.join("bob");
    for from in [caller_named("ada"), operator_named("wei")] {
        for name in ["bob", "nobody"] {
            assert_eq!(line.say(from, name, 1, "x"), ["! NoSuchCall"]);
            assert_eq!(line.hang_up(from, name), ["! NoSuchCall"]);
            assert_eq!(line.end_seen(from, name), ["! NoSuchCall"]);
            assert_eq!(line.ask(from, Request::Typing { call: call(name) }), ["! NoSuchCall"]);
        }
    }
}

#[test]
fn either_side_hangs_up_and_both_hear_it() {
    for from in [caller_named("ada"), operator_named("wei")] {
        let mut line = Line::talk();
        let side = if from == caller_named("ada") { "Caller" } else { "Operator" };
        let ended = format!("ada 3. ended by {side}, Bye > ada wei");
        assert_eq!(line.hang_up(from, "ada"), ["* closed ada", &ended]);
        assert_eq!(line.hang_up(from, "ada"), ["! CallEnded"]);
        assert_eq!(line.say(from, "ada", 1, "x"), ["! CallEnded"]);
        assert!(line.ask(from, Request::Typing { call: call("ada") }).is_empty());
    }
}

#[test]
fn hanging_up_in_line_moves_those_behind() {
    let mut line = Line::open();
    for name in ["ada", "bob", "eve"] {
        line.join(name);
    }
    assert_eq!(
        line.hang_up(caller_named("bob"), "bob"),
        ["* closed bob", "bob 2. ended by Caller, Abandoned > bob", "eve < place 2 of 2, nonce 1"]
    );
    assert_eq!(
        line.end_seen(caller_named("bob"), "bob"),
        ["* Caller done bob", "bob dismissed: Done"]
    );
    assert!(line.end_seen(caller_named("bob"), "bob").is_empty(), "it crossed the dismissal");
}

#[test]
fn typing_is_told_to_the_other_side_only() {
    let mut line = Line::open();
    line.join("ada");
    let typing = || Request::Typing { call: call("ada") };
    assert!(line.ask(caller_named("ada"), typing()).is_empty(), "nobody listens yet");
    line.by_hand("wei");
    line.next("wei");
    assert_eq!(line.ask(caller_named("ada"), typing()), ["wei < Caller types"]);
    assert_eq!(line.ask(operator_named("wei"), typing()), ["ada < Operator types"]);
}

#[test]
fn an_operator_is_free_only_when_the_end_is_seen() {
    let mut line = Line::open();
    line.by_itself("wei");
    line.join("ada");
    line.join("bob");
    assert_eq!(line.hang_up(caller_named("ada"), "ada").len(), 2);
    assert_eq!(line.next("wei"), ["! Occupied"]);
    assert_eq!(
        line.end_seen(operator_named("wei"), "ada"),
        [
            "* Operator done ada",
            "* answered bob by wei",
            "bob < connected with wei, nonce 1",
            "wei < connected with bob, nonce 1",
            "bob 2. wei joined > bob wei",
        ]
    );
}

#[test]
fn who_does_not_see_the_end_in_time_is_cut_and_then_away() {
    let mut line = Line::talk();
    line.hang_up(caller_named("ada"), "ada");
    let almost = limits::END_SEEN - Duration::from_millis(1);
    assert!(line.pass(almost).is_empty());
    assert_eq!(
        line.pass(Duration::from_millis(1)),
        ["ada dismissed: EndNotSeen", "wei dismissed: EndNotSeen"]
    );
    assert!(line.end_seen(operator_named("wei"), "ada").is_empty(), "it crossed the dismissal");
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
    assert!(line.pass(limits::OPERATOR_GRACE - Duration::from_millis(1)).is_empty());
    assert_eq!(
        line.pass(Duration::from_millis(1)),
        ["* Operator done ada", "* off wei", "wei dismissed: Done"]
    );
    assert_eq!(
        line.pass(limits::CALL_GRACE - limits::OPERATOR_GRACE),
        ["* Caller done ada", "ada dismissed: Done"]
    );
    assert_eq!((line.line.calls(), line.line.operators()), (0, 0));
    assert_eq!(line.line.poll_timeout(), None);
}

#[test]
fn who_is_back_after_the_end_has_the_full_time_to_see_it() {
    for party in [caller_named("ada"), operator_named("wei")] {
        let mut line = Line::talk();
        line.away(party);
        line.hang_up(line.other(party), "ada");
        line.end_seen(line.other(party), "ada");
        line.pass(Duration::from_secs(30));
        assert!(line.back(party).is_empty());
        let [_, resumed] = &line.resumed(party)[..] else { panic!("two notices") };
        assert!(resumed.ends_with(r#"resumed ["ada to 3, nonce 1"]"#), "{resumed}");
        line.pass(Duration::from_secs(9));
        assert!(line.back(party).is_empty(), "yet another connection");
        line.pass(Duration::from_secs(9));
        assert!(line.pass(Duration::from_secs(1))[0].ends_with("dismissed: EndNotSeen"));
        line.back(party);
        line.end_seen(party, "ada");
        assert_eq!(line.line.calls(), 0);
    }
}

#[test]
fn an_end_seen_by_both_is_forgotten() {
    let mut line = Line::talk();
    line.hang_up(operator_named("wei"), "ada");
    assert_eq!(line.end_seen(operator_named("wei"), "ada"), ["* Operator done ada"]);
    assert_eq!(line.line.last_seq(call("ada")), Some(Seq(3)));
    assert_eq!(
        line.end_seen(caller_named("ada"), "ada"),
        ["* Caller done ada", "ada dismissed: Done"]
    );
    assert_eq!(line.line.last_seq(call("ada")), None);
    assert_eq!(line.line.holder(ticket("ada")), None);
    line.wait();
    assert_eq!(line.line.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn there_is_no_end_to_see_before_it() {
    let mut line = Line::talk();
    assert!(line.end_seen(caller_named("ada"), "ada").is_empty());
    assert!(line.end_seen(operator_named("wei"), "ada").is_empty());
    assert_eq!(line.line.talking(), 1);
}

#[test]
fn a_call_is_put_back_under_its_first_number_and_keeps_counting() {
    let mut line = Line::with_places(3);
    line.by_hand("wei");
    line.join("ada");
    line.next("wei");
    line.say(caller_named("ada"), "ada", 1, "a");
    line.say(operator_named("wei"), "ada", 1, "b");
    for name in ["bob", "cy", "dee"] {
        line.join(name);
    }
    assert_eq!(
        line.ask(operator_named("wei"), Request::SignOff),
        [
            "ada 5. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 4, nonce 2",
            "bob < place 2 of 4, nonce 1",
            "cy < place 3 of 4, nonce 1",
            "dee < place 4 of 4, nonce 1",
            "* off wei",
            "wei dismissed: Done",
        ]
    );
    assert_eq!(
        line.join("eve"),
        ["* refused", "! Busy { wait: None }"],
        "over the bound, not past it"
    );
    line.by_hand("zoe");
    assert_eq!(
        line.next("zoe")[..4],
        [
            "* answered ada by zoe",
            "ada < connected with zoe, nonce 2",
            "zoe < connected with ada, nonce 2",
            "ada 6. zoe joined > ada zoe",
        ]
    );
}

#[test]
fn a_call_that_is_put_back_goes_to_whoever_is_free_and_answers_by_themselves() {
    let mut line = Line::talk();
    line.by_itself("zoe");
    assert_eq!(
        line.ask(operator_named("wei"), Request::SignOff),
        [
            "ada 3. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 1, nonce 1",
            "* off wei",
            "wei dismissed: Done",
            "* answered ada by zoe",
            "ada < connected with zoe, nonce 1",
            "zoe < connected with ada, nonce 1",
            "ada 4. zoe joined > ada zoe",
        ]
    );
}

#[test]
fn the_first_in_line_is_offered_to_all_who_answer_by_hand() {
    let mut line = Line::open();
    line.join("ada");
    line.join("bob");
    let board = r#"wei < board 2 ["ada", "bob"] []"#;
    assert_eq!(
        line.by_hand("wei"),
        ["* on wei", "wei < admitted as wei", board, "wei < offer ada, 2 waiting"]
    );
    line.by_hand("zoe");
    assert_eq!(
        line.ask(operator_named("zoe"), Request::Answer { call: call("bob") }),
        ["! NotOffered"]
    );
    assert_eq!(
        line.ask(operator_named("zoe"), Request::Answer { call: call("ada") })[4..],
        [
            "bob < place 1 of 1, nonce 1",
            "wei < withdrawn ada, 1 waiting",
            "wei < offer bob, 1 waiting"
        ],
        "zoe is told by being connected"
    );
    assert_eq!(
        line.ask(operator_named("wei"), Request::Pause),
        ["* Break wei", "wei < withdrawn bob, 1 waiting"]
    );
    assert_eq!(
        line.ask(operator_named("wei"), Request::Answer { call: call("bob") }),
        ["! NotOffered"]
    );
    assert!(line.ask(operator_named("wei"), Request::Pause).is_empty());
    assert_eq!(
        line.ask(operator_named("wei"), Request::Ready),
        ["* Available wei", "wei < offer bob, 1 waiting"]
    );
    assert!(line.ask(operator_named("wei"), Request::Ready).is_empty());
    assert_eq!(
        line.ask(operator_named("zoe"), Request::Answer { call: call("bob") }),
        ["! Occupied"]
    );
}

#[test]
fn on_a_break_one_may_still_ask_for_the_next() {
    let mut line = Line::open();
    line.by_itself("wei");
    line.ask(operator_named("wei"), Request::Pause);
    assert_eq!(line.next("wei"), ["! NobodyWaiting"]);
    assert_eq!(line.join("ada")[2], "ada < place 1 of 1, nonce 1");
    assert_eq!(line.next("wei")[0], "* answered ada by wei");
    line.join("bob");
    line.hang_up(operator_named("wei"), "ada");
    assert_eq!(
        line.end_seen(operator_named("wei"), "ada"),
        ["* Operator done ada"],
        "still on a break"
    );
    assert_eq!(line.ask(operator_named("wei"), Request::Ready)[1], "* answered bob by wei");
}

#[test]
fn a_caller_goes_to_whoever_has_been_free_the_longest() {
    let mut line = Line::open();
    line.by_itself("ann");
    line.by_itself("wei");
    line.by_itself("zoe");
    line.ask(operator_named("wei"), Request::Ready);
    line.ask(operator_named("ann"), Request::Pause);
    line.ask(operator_named("ann"), Request::Ready);
    assert_eq!(line.join("ada")[2], "* answered ada by wei");
    line.hang_up(operator_named("wei"), "ada");
    line.end_seen(operator_named("wei"), "ada");
    assert_eq!(line.join("bob")[2], "* answered bob by zoe");
    assert_eq!(line.join("cy")[2], "* answered cy by ann");
    assert_eq!(line.join("dee")[2], "* answered dee by wei");
}

#[test]
fn callers_may_not_do_what_operators_do() {
    let mut line = Line::open();
    line.join("ada");
    let requests = [
        Request::Next,
        Request::Ready,
        Request::Pause,
        Request::SignOff,
        Request::Answer { call: call("ada") },
    ];
    for request in requests {
        assert_eq!(line.ask(caller_named("ada"), request), ["! NotAllowed"]);
    }
}

#[test]
fn a_board_is_told_at_most_once_a_second_and_then_as_it_is() {
    let mut line = Line::open();
    assert_eq!(line.line.poll_timeout(), None);
    line.by_hand("wei");
    line.by_itself("zoe");
    assert_eq!(line.line.poll_timeout(), None, "both know it");
    line.join("ada");
    line.join("bob");
    line.join("cy");
    assert_eq!(line.line.poll_timeout(), Some(Moment(1000)));
    let board = |name| format!(r#"{name} < board 2 ["bob", "cy"] ["ada-zoe"]"#);
    assert_eq!(line.wait(), [board("wei"), board("zoe")]);
    assert_eq!(line.line.poll_timeout(), None);
    line.millis += 1000;
    let told = line.join("dee");
    assert!(
        told.last().unwrap().starts_with("zoe < board 3"),
        "after a pause it is told at once: {told:?}"
    );
}

#[test]
fn a_wait_is_told_once_three_calls_have_ended_and_while_somebody_is_there() {
    let mut line = Line::open();
    line.by_itself("wei");
    for name in ["a", "b", "c"] {
        line.join(name);
        line.millis += 60_000;
        line.hang_up(operator_named("wei"), name);
        line.end_seen(operator_named("wei"), name);
    }
    line.join("ada");
    assert_eq!(line.join("bob")[2], "bob < place 1 of 1 0-60 s, nonce 1");
    assert_eq!(line.join("cy")[2], "cy < place 2 of 2 60-120 s, nonce 1");
    line.join("dee");
    line.join("eve");
    assert_eq!(
        line.join("fay"),
        ["* refused", "! Busy { wait: Some(Wait { low: 240, high: 300 }) }"]
    );
    line.ask(operator_named("wei"), Request::SignOff);
    assert_eq!(line.restated(caller_named("bob")), ["bob < place 2 of 5, nonce 1"]);
}

#[test]
fn on_a_stopping_line_nobody_is_connected_and_those_who_talk_go_on() {
    let mut line = Line::talk();
    line.by_hand("zoe");
    line.join("bob");
    line.join("cy");
    assert_eq!(line.does(Input::Stop), ["zoe < withdrawn bob, 2 waiting"]);
    assert_eq!((line.line.waiting(), line.line.finishing()), (2, 1));
    assert_eq!(line.join("dee"), ["! Closed"]);
    assert_eq!(line.next("zoe"), ["! Closed"]);
    assert_eq!(
        line.ask(operator_named("zoe"), Request::Answer { call: call("bob") }),
        ["! Closed"]
    );
    assert_eq!(line.next("wei"), ["! Occupied"]);
    assert_eq!(line.by_itself("ann").len(), 3, "signing on is allowed");
    assert_eq!(
        line.say(caller_named("ada"), "ada", 1, "go on"),
        ["ada 3. ada said 1: go on > ada wei"]
    );
    assert!(line.does(Input::Stop).is_empty());
    assert_eq!(
        line.ask(operator_named("wei"), Request::SignOff),
        [
            "ada 4. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 3, nonce 2",
            "bob < place 2 of 3, nonce 1",
            "cy < place 3 of 3, nonce 1",
            "* off wei",
            "wei dismissed: Done",
        ]
    );
    assert_eq!((line.line.waiting(), line.line.finishing()), (3, 0));
}

#[test]
fn a_stopping_line_waits_only_for_those_who_are_there() {
    for party in [caller_named("ada"), operator_named("wei")] {
        let mut line = Line::talk();
        line.does(Input::Stop);
        line.away(party);
        assert_eq!((line.line.talking(), line.line.finishing()), (1, 0));
        assert_eq!(line.back(party).len(), 1);
        assert_eq!(line.line.finishing(), 1);
    }
}

#[test]
fn on_a_stopping_line_nobody_is_let_go_of() {
    let mut line = Line::open();
    line.by_itself("wei");
    line.join("ada");
    line.join("bob");
    line.does(Input::Stop);
    line.away(caller_named("ada"));
    assert!(line.pass(limits::LET_GO_BY_ITSELF * 2).is_empty());
    assert_eq!(line.next("wei"), ["! Closed"]);
    assert_eq!(line.line.call_of(operator("wei")), Some(call("ada")));
}

#[test]
fn at_the_end_everybody_is_sent_away_and_everything_is_kept() {
    let mut line = Line::talk();
    line.by_hand("zoe");
    line.by_hand("ann");
    line.join("bob");
    line.join("cy");
    line.hang_up(caller_named("cy"), "cy");
    line.away(operator_named("ann"));
    let kept = line.line.snapshot();
    assert_eq!(
        line.does(Input::End),
        [
            "ada dismissed: Stopped",
            "bob dismissed: Stopped",
            "cy dismissed: Stopped",
            "wei dismissed: Stopped",
            "zoe dismissed: Stopped",
        ]
    );
    assert_eq!(line.line.snapshot(), kept);
    assert_eq!(line.line.poll_timeout(), None);
    assert!(line.does(Input::End).is_empty());
}

#[test]
fn a_party_is_told_its_state_again() {
    let mut line = Line::open();
    line.by_hand("wei");
    line.join("ada");
    line.say(caller_named("ada"), "ada", 1, "hello?");
    let board = r#"wei < board 1 ["ada"] []"#;
    assert_eq!(line.restated(operator_named("wei")), ["wei < offer ada, 1 waiting", board]);
    assert_eq!(line.restated(caller_named("ada")), ["ada < place 1 of 1, nonce 2"]);
    line.next("wei");
    assert_eq!(line.restated(caller_named("ada")), ["ada < connected with wei, nonce 2"]);
    let board = r#"wei < board 0 [] ["ada-wei"]"#;
    assert_eq!(line.restated(operator_named("wei")), ["wei < connected with ada, nonce 1", board]);
    line.hang_up(caller_named("ada"), "ada");
    assert!(line.restated(caller_named("ada")).is_empty(), "the entry of the end says it");
    assert!(line.restated(caller_named("nobody")).is_empty());
}

#[test]
fn a_caller_who_is_shut_out_has_a_call_that_ends_like_any_other() {
    let mut line = Line::talk();
    line.join("bob");
    let bar = |name: &str, by| Input::Bar { call: call(name), by };
    assert_eq!(
        line.does(bar("ada", By::Operator)),
        ["* closed ada", "ada 3. ended by Operator, Banned > ada wei"]
    );
    assert!(line.does(bar("ada", By::Operator)).is_empty(), "it ends once");
    assert_eq!(line.say(caller_named("ada"), "ada", 1, "wait"), ["! CallEnded"]);
    line.away(caller_named("bob"));
    assert_eq!(
        line.does(bar("bob", By::Server)),
        ["* closed bob", "bob 2. ended by Server, Banned > bob"]
    );
    assert!(line.does(bar("nobody", By::Server)).is_empty());
}

#[test]
fn an_operator_who_is_expelled_leaves_the_call_to_others() {
    let mut line = Line::talk();
    assert_eq!(
        line.does(Input::Expel(operator("wei"), Expulsion::Account)),
        [
            "ada 3. wei left > ada wei",
            "* put back ada",
            "ada < place 1 of 1, nonce 1",
            "* off wei",
            "wei dismissed: Expelled(Account)",
        ]
    );
    assert_eq!(line.line.holder(ticket("wei")), None);
    assert!(line.does(Input::Expel(operator("wei"), Expulsion::Account)).is_empty());
}
