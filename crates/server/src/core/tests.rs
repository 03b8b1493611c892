use std::task::{Context, Poll, Waker};

use helpline_proto::{
    code::Code,
    frame,
    ids::{Answering, Nonce, Resumable, Seq, Side, Ticket},
    message::{Answer, EndSeen, Goodbye, HangUp, Join, Resume, Say, Shown, SignOn},
    text::{LineName, Name, Text},
    time::UnixMillis,
};

use super::*;
mod keeping_out;
mod matrix;

use crate::{
    outbox::{Outbox, outbox, tests::Wakes},
    store::memory::{Disk, Fault, MemoryStore},
};

const CALLER: ConnectionId = ConnectionId(1);
const OPERATOR: ConnectionId = ConnectionId(2);

struct Line {
    core: Core<MemoryStore>,
    disk: Disk,
    now: u64,
}

fn core(disk: &Disk, places: u32) -> Core<MemoryStore> {
    guarded(disk, places, Policy::default())
}

fn guarded(disk: &Disk, places: u32, policy: Policy) -> Core<MemoryStore> {
    let about = About { line: LineName::new("main").unwrap(), greeting: None };
    let mut last = u8::try_from(disk.calls().len()).unwrap();
    let fresh = move || {
        last += 1;
        [last; 16]
    };
    let rules = Rules { places, ..Rules::default() };
    let now = Now { moment: Moment(0), at: UnixMillis(0) };
    let host = Host { rules, about, policy, gate: Arc::default() };
    Core::open(host, MemoryStore::open(disk.clone()), Box::new(fresh), now).unwrap()
}

impl Line {
    fn open(places: u32) -> Self {
        let disk = Disk::default();
        Self { core: core(&disk, places), disk, now: 0 }
    }

    /// The process is killed, and another one goes on with what it left.
    fn restart(&mut self) {
        self.core = core(&self.disk, 4);
        self.now = 0;
    }

    fn now(&self) -> Now {
        Now { moment: Moment(self.now), at: UnixMillis(0) }
    }

    fn turn(&mut self, inbox: impl IntoIterator<Item = Inbox>) {
        self.core.turn(self.now(), inbox).unwrap();
    }

    fn commits(&self) -> usize {
        self.disk.writes().try_into().unwrap()
    }
}

fn join(id: ConnectionId, ticket: u8) -> (Inbox, Outbox) {
    let (sender, outbox) = outbox();
    let join = Join {
        ticket: Ticket([ticket; 32]),
        line: None,
        name: Name::new("Xiaowen").unwrap(),
        invite: None,
    };
    (Inbox::Arrived(id, Origin::Console, sender, ServerEvent::Join(Ref(9), join)), outbox)
}

fn sign_on(id: ConnectionId) -> (Inbox, Outbox) {
    let (sender, outbox) = outbox();
    let sign_on = SignOn {
        ticket: Ticket([200; 32]),
        name: Name::new("wei").unwrap(),
        answering: Answering::ByHand,
        token: None,
    };
    (Inbox::Arrived(id, Origin::Console, sender, ServerEvent::SignOn(Ref(1), sign_on)), outbox)
}

fn resume(id: ConnectionId, ticket: u8, side: Side, shown: &[(u8, u32)]) -> (Inbox, Outbox) {
    let (sender, outbox) = outbox();
    let shown = shown.iter().map(|(call, seq)| Shown { call: CallId([*call; 16]), seq: Seq(*seq) });
    let resume = Resume { ticket: Ticket([ticket; 32]), side, shown: shown.collect() };
    (Inbox::Arrived(id, Origin::Console, sender, ServerEvent::Resume(Ref(2), resume)), outbox)
}

fn say(id: ConnectionId, nonce: u32, text: &str) -> Inbox {
    let text = Text::new(text).unwrap();
    let say = Say { call: CallId([1; 16]), nonce: Nonce(nonce), text };
    Inbox::Asked(id, vec![ServerEvent::Say(Ref(nonce), say)])
}

/// The messages of frames one behind the other.
fn messages(mut frames: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(frame) = frame::split(frames, limits::FRAME).unwrap() {
        messages.push(Message::decode(frame).unwrap());
        frames = &frames[frame.size()..];
    }
    messages
}

/// Everything in an outbox, as a connection would take it.
fn take(outbox: &mut Outbox) -> Vec<Message> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    while let Poll::Ready(Some(bytes)) = outbox.poll_next(&mut cx) {
        messages.extend(self::messages(&bytes));
    }
    messages
}

fn names(messages: &[Message]) -> Vec<&'static str> {
    messages.iter().map(|message| message.kind().name).collect()
}

fn seqs(messages: &[Message]) -> Vec<u32> {
    let seq = |message: &Message| match message {
        Message::Said(said) => Some(said.seq.0),
        Message::Joined(joined) => Some(joined.seq.0),
        Message::Ended(ended) => Some(ended.seq.0),
        _ => None,
    };
    messages.iter().filter_map(seq).collect()
}

#[test]
fn nothing_is_told_before_it_is_recorded() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = join(CALLER, 1);
    let mut turn = line.core.decide(line.now(), [arrival, say(CALLER, 1, "hello")]);
    assert!(!turn.writes().is_empty());
    assert_eq!(take(&mut outbox), []);
    line.core.commit(&mut turn).unwrap();
    line.core.committed(turn).unwrap();
    assert_eq!(names(&take(&mut outbox)), ["admitted", "place", "joined", "said"]);
}

#[test]
fn a_turn_wakes_a_connection_once() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = join(CALLER, 1);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(outbox.poll_next(&mut Context::from_waker(&waker)).is_pending());
    line.turn([arrival, say(CALLER, 1, "hello"), say(CALLER, 2, "anybody?")]);
    assert_eq!(wakes.count(), 1);
    assert_eq!(take(&mut outbox).len(), 5);
}

#[test]
fn a_commit_that_fails_tells_nobody() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = join(CALLER, 1);
    line.turn([arrival]);
    take(&mut outbox);
    line.disk.fail_next(Fault::LostError);
    assert!(line.core.turn(line.now(), [say(CALLER, 1, "hello")]).is_err());
    assert_eq!(take(&mut outbox), []);
}

#[test]
fn who_was_let_go_of_is_woken_though_others_cannot_be_told() {
    let mut line = Line::open(4);
    let (first, mut caller) = join(CALLER, 1);
    let (second, _other) = join(ConnectionId(3), 2);
    line.turn([first, second]);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    while caller.poll_next(&mut cx).is_ready() {}
    line.disk.fail_to_read();
    let (comes_back, _back) = resume(ConnectionId(4), 2, Side::Caller, &[]);
    let turn = [Inbox::Gone(CALLER), comes_back];
    assert!(line.core.turn(line.now(), turn).is_err());
    assert_eq!(wakes.count(), 1);
    assert_eq!(names(&take(&mut caller)), ["goodbye"]);
}

#[test]
fn one_turn_is_one_commit_and_a_turn_without_records_is_none() {
    let mut line = Line::open(4);
    let (arrival, _outbox) = join(CALLER, 1);
    line.turn([arrival]);
    line.turn((1..=50).map(|nonce| say(CALLER, nonce, "hello")));
    assert_eq!(line.commits(), 2);
    line.turn([say(CALLER, 7, "said already")]);
    assert_eq!(line.commits(), 2);
}

#[test]
fn busy_is_counted_without_a_sync_of_its_own() {
    let mut line = Line::open(1);
    let (arrival, _outbox) = join(CALLER, 1);
    line.turn([arrival]);
    let (arrival, mut refused) = join(ConnectionId(3), 3);
    line.turn([arrival]);
    assert_eq!(names(&take(&mut refused)), ["busy"]);
    assert_eq!(line.commits(), 1);
    line.now = 1000;
    assert_eq!(line.core.poll_timeout(), Some(Moment(1000)));
    line.turn([]);
    assert_eq!(line.commits(), 2);
    assert_eq!(line.core.poll_timeout(), None);
}

#[test]
fn a_known_ticket_resumes_and_supersedes() {
    let mut line = Line::open(4);
    let (arrival, mut first) = join(CALLER, 1);
    line.turn([arrival, say(CALLER, 1, "hello")]);
    let joined = take(&mut first);
    let (arrival, mut second) = join(ConnectionId(3), 1);
    line.turn([say(CALLER, 2, "still me"), arrival, say(CALLER, 3, "not any more")]);
    let told = take(&mut second);
    assert_eq!(names(&told), ["admitted", "resumed", "place", "joined", "said", "said"]);
    assert_eq!(told[3..5], joined[2..], "the same entries, the same words");
    let parted = take(&mut first);
    assert_eq!(names(&parted), ["goodbye"]);
    assert!(matches!(&parted[..], [Message::Goodbye(goodbye)] if goodbye.code == Code::SUPERSEDED));
    line.turn([Inbox::Gone(CALLER)]);
    line.turn([say(ConnectionId(3), 3, "here")]);
    assert_eq!(seqs(&take(&mut second)), [4], "the older connection's end is nobody's");
}

#[test]
fn who_resumes_is_told_what_was_not_shown_and_which_nonce_is_next() {
    let mut line = Line::open(4);
    let (arrival, _outbox) = join(CALLER, 1);
    line.turn([arrival, say(CALLER, 1, "one"), say(CALLER, 2, "two"), Inbox::Gone(CALLER)]);
    for restarted in [false, true] {
        if restarted {
            line.restart();
        }
        let (arrival, mut outbox) = resume(ConnectionId(7), 1, Side::Caller, &[(1, 2)]);
        line.turn([arrival]);
        let told = take(&mut outbox);
        assert_eq!(names(&told), ["admitted", "resumed", "place", "said"]);
        let Message::Resumed(resumed) = &told[1] else { panic!("{told:?}") };
        let [listed] = &resumed.calls[..] else { panic!("{resumed:?}") };
        assert_eq!((listed.next_nonce, listed.last), (Nonce(3), Seq(3)));
        assert_eq!(seqs(&told), [3]);
        line.turn([Inbox::Gone(ConnectionId(7))]);
    }
}

#[test]
fn who_resumes_while_others_leave_is_told_its_last_place_last() {
    let mut line = Line::open(4);
    let joined = [1, 2, 3].map(|ticket| join(ConnectionId(ticket.into()), ticket));
    let (arrivals, _outboxes): (Vec<_>, Vec<_>) = joined.into_iter().unzip();
    line.turn(arrivals);
    let (arrival, mut outbox) = resume(ConnectionId(7), 3, Side::Caller, &[]);
    let hang_up = |id: u8| {
        let hang_up = HangUp { call: CallId([id; 16]) };
        Inbox::Asked(ConnectionId(id.into()), vec![ServerEvent::HangUp(Ref(1), hang_up)])
    };
    line.turn([arrival, hang_up(1), hang_up(2)]);
    let told = take(&mut outbox);
    let places: Vec<u32> = told
        .iter()
        .filter_map(|message| match message {
            Message::Place(place) => Some(place.position),
            _ => None,
        })
        .collect();
    assert_eq!(places, [1], "{told:?}");
}

#[test]
fn a_ticket_resumes_only_what_it_stands_for() {
    let mut line = Line::open(4);
    let (arrival, _outbox) = join(CALLER, 1);
    line.turn([arrival]);
    for (ticket, side, code) in [
        (9, Side::Caller, Code::NO_SUCH_TICKET),
        (9, Side::Operator, Code::NO_SUCH_TICKET),
        (1, Side::Operator, Code::TICKET_IN_USE),
    ] {
        let (arrival, mut outbox) = resume(ConnectionId(7), ticket, side, &[]);
        line.turn([arrival]);
        let told = take(&mut outbox);
        let [Message::Goodbye(goodbye)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((goodbye.code, goodbye.resumable), (code, Resumable::No));
    }
}

#[test]
fn a_join_that_comes_when_its_call_is_over_opens_none() {
    let mut line = Line::open(4);
    let (arrival, _outbox) = join(CALLER, 1);
    line.turn([arrival]);
    let call = CallId([1; 16]);
    let events =
        vec![ServerEvent::HangUp(Ref(1), HangUp { call }), ServerEvent::EndSeen(EndSeen { call })];
    line.turn([Inbox::Asked(CALLER, events)]);
    let (late, mut outbox) = join(ConnectionId(3), 1);
    line.turn([late]);
    let told = take(&mut outbox);
    let [Message::Goodbye(goodbye)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((goodbye.code, goodbye.resumable), (Code::NO_SUCH_TICKET, Resumable::No));
    assert_eq!(line.core.switchboard().calls(), 0);
}

#[test]
fn an_end_that_was_not_seen_is_told_after_a_restart() {
    let mut line = Line::open(4);
    let (arrival, _caller) = join(CALLER, 1);
    line.turn([arrival]);
    let (arrival, _operator) = sign_on(OPERATOR);
    line.turn([arrival, Inbox::Asked(OPERATOR, vec![ServerEvent::Next(Ref(5))])]);
    let hang_up = HangUp { call: CallId([1; 16]) };
    line.turn([Inbox::Asked(CALLER, vec![ServerEvent::HangUp(Ref(1), hang_up)])]);
    line.restart();
    let (arrival, mut operator) = resume(OPERATOR, 200, Side::Operator, &[(1, 2)]);
    line.turn([arrival]);
    assert_eq!(names(&take(&mut operator)), ["admitted", "resumed", "board", "ended"]);
    let seen = || vec![ServerEvent::EndSeen(EndSeen { call: CallId([1; 16]) })];
    line.turn([Inbox::Asked(OPERATOR, seen())]);
    let (arrival, mut caller) = resume(CALLER, 1, Side::Caller, &[]);
    line.turn([arrival]);
    let told = take(&mut caller);
    assert_eq!(names(&told), ["admitted", "resumed", "joined", "joined", "ended"]);
    line.turn([Inbox::Asked(CALLER, seen())]);
    assert_eq!(names(&take(&mut caller)), ["goodbye"]);
    assert_eq!(line.core.switchboard().calls(), 0);
}

#[test]
fn a_full_disk_is_told_and_the_line_goes_back_to_what_is_recorded() {
    let mut line = Line::open(4);
    let (arrival, mut caller) = join(CALLER, 1);
    line.turn([arrival]);
    take(&mut caller);
    line.disk.fail_next(Fault::Full);
    let (newcomer, mut refused) = join(ConnectionId(3), 3);
    line.turn([say(CALLER, 1, "lost"), newcomer]);
    let told = take(&mut caller);
    let [Message::Error(error), Message::Goodbye(goodbye)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((error.code, goodbye.resumable), (Code::DISK_FULL, Resumable::Yes));
    let told = take(&mut refused);
    assert!(
        matches!(&told[..], [Message::Goodbye(Goodbye { resumable: Resumable::No, .. })]),
        "{told:?}"
    );
    let (arrival, mut caller) = resume(ConnectionId(4), 1, Side::Caller, &[(1, 1)]);
    line.turn([arrival, say(ConnectionId(4), 1, "again")]);
    assert_eq!(names(&take(&mut caller)), ["admitted", "resumed", "place", "said"]);
}

#[test]
fn the_core_answers_only_whom_it_knows() {
    let mut line = Line::open(4);
    line.turn([say(CALLER, 1, "who am I"), Inbox::Emptied(OPERATOR), Inbox::Gone(OPERATOR)]);
    assert_eq!(line.commits(), 0);
}

#[test]
fn an_operator_hears_what_was_said_before_page_by_page() {
    let mut line = Line::open(4);
    let (arrival, mut caller) = join(CALLER, 1);
    line.turn([arrival]);
    let long = "x".repeat(limits::TEXT);
    for nonce in 1..=100 {
        line.turn([say(CALLER, nonce, &long)]);
        take(&mut caller);
        if caller.core_waits() {
            line.turn([Inbox::Emptied(CALLER)]);
        }
    }
    let (arrival, mut operator) = sign_on(OPERATOR);
    line.turn([arrival]);
    let answer = Answer { call: CallId([1; 16]) };
    line.turn([Inbox::Asked(OPERATOR, vec![ServerEvent::Answer(Ref(5), answer)])]);
    let mut heard = take(&mut operator);
    assert_eq!(names(&heard)[..4], ["admitted", "board", "offer", "connected"]);
    // Something is said while the operator is still behind: it comes in its order.
    line.turn([say(CALLER, 101, "are you there?")]);
    while operator.core_waits() {
        line.turn([Inbox::Emptied(OPERATOR)]);
        let page = take(&mut operator);
        let size: usize = page.len() * limits::TEXT;
        assert!(size <= limits::PAGE + 2 * limits::TEXT, "a page of {size} bytes");
        heard.extend(page);
    }
    assert_eq!(seqs(&heard), (1..=103).collect::<Vec<_>>());
    line.turn([say(CALLER, 102, "live")]);
    assert_eq!(seqs(&take(&mut operator)), [104]);
}

#[test]
fn who_is_behind_is_answered_all_the_same() {
    let mut line = Line::open(4);
    let (arrival, mut caller) = join(CALLER, 1);
    line.turn([arrival]);
    let long = "x".repeat(limits::TEXT);
    for nonce in 1..=20 {
        line.turn([say(CALLER, nonce, &long)]);
        take(&mut caller);
    }
    let (arrival, mut operator) = sign_on(OPERATOR);
    let next = || Inbox::Asked(OPERATOR, vec![ServerEvent::Next(Ref(5))]);
    line.turn([arrival, next()]);
    assert!(seqs(&take(&mut operator)).len() < 20, "the first page only");
    line.turn([next()]);
    assert_eq!(names(&take(&mut operator)), ["error"]);
}

#[test]
fn who_falls_behind_is_told_everything_from_the_store_and_its_state_again() {
    let mut line = Line::open(4);
    let (arrival, mut caller) = join(CALLER, 1);
    line.turn([arrival]);
    let mut heard = take(&mut caller);
    let long = "x".repeat(limits::TEXT);
    // The caller reads nothing: 800 KiB don't fit its outbox.
    line.turn((1..=50).map(|nonce| say(CALLER, nonce, &long)));
    let (arrival, mut operator) = sign_on(OPERATOR);
    line.turn([arrival]);
    line.turn([Inbox::Asked(OPERATOR, vec![ServerEvent::Next(Ref(5))])]);
    loop {
        heard.extend(take(&mut caller));
        if !caller.core_waits() {
            break;
        }
        line.turn([Inbox::Emptied(CALLER)]);
    }
    assert_eq!(seqs(&heard), (1..=52).collect::<Vec<_>>());
    let connected = names(&heard).iter().filter(|name| **name == "connected").count();
    assert_eq!(connected, 1, "{:?}", names(&heard));
    take(&mut operator);
}

#[test]
fn an_answer_carries_the_reference_of_its_question() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = sign_on(OPERATOR);
    line.turn([arrival, Inbox::Asked(OPERATOR, vec![ServerEvent::Next(Ref(77))])]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut references = Vec::new();
    while let Poll::Ready(Some(bytes)) = outbox.poll_next(&mut cx) {
        let frame = frame::split(&bytes, limits::FRAME).unwrap().unwrap();
        references.push((frame.reference.0, Message::decode(frame).unwrap().kind().name));
    }
    assert_eq!(references, [(1, "admitted"), (0, "board"), (77, "error")]);
}

#[test]
fn who_only_stops_sending_hears_the_rest_and_keeps_the_place() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = join(CALLER, 1);
    line.turn([arrival]);
    line.turn([say(CALLER, 1, "wait for me"), Inbox::Gone(CALLER)]);
    let told = take(&mut outbox);
    assert_eq!(names(&told), ["admitted", "place", "joined", "said", "goodbye"]);
    assert!(matches!(&told[4], Message::Goodbye(goodbye) if goodbye.resumable == Resumable::Yes));
    assert_eq!(line.core.switchboard().waiting(), 1);
}

#[test]
fn the_end_is_told_before_the_goodbye() {
    let mut line = Line::open(4);
    let (arrival, mut outbox) = join(CALLER, 1);
    line.turn([arrival]);
    let call = CallId([1; 16]);
    let events =
        vec![ServerEvent::HangUp(Ref(1), HangUp { call }), ServerEvent::EndSeen(EndSeen { call })];
    line.turn([Inbox::Asked(CALLER, events)]);
    let told = take(&mut outbox);
    assert_eq!(names(&told), ["admitted", "place", "joined", "ended", "goodbye"]);
    assert!(matches!(told[3], Message::Ended(ref ended) if ended.seq == Seq(2)));
}
