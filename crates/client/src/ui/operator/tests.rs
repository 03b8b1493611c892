use helpline_proto::{
    code::Why,
    ids::{By, Resumable, Uses},
    message::{Away, Back, Ban, Banned, Ended, Goodbye, Invite, Invited, Listed, Said},
    text::{Detail, LineName, Name, Secret},
    time::UnixMillis,
};

use super::*;

const CALL: CallId = CallId([1; 16]);
const OTHER: CallId = CallId([2; 16]);

fn manner(mode: Mode, seat: Seat, answering: Answering, beginning: Beginning) -> Manner {
    let server = "here:8001".to_owned();
    let clock = || UnixMillis(1_000_000);
    Manner { mode, seat, answering, clock, server, beginning, is_kept: true }
}

impl Operator {
    /// Told while nothing is unsaid.
    fn told(&mut self, event: ClientEvent) -> Vec<Act> {
        Part::told(self, event, Standing::default())
    }
}

/// An operator who is signed on.
fn operator(mode: Mode, seat: Seat, answering: Answering) -> Operator {
    let mut operator = Operator::new(manner(mode, seat, answering, Beginning::New));
    operator.told(admitted());
    operator
}

fn desk(mode: Mode) -> Operator {
    operator(mode, Seat::Desk, Answering::ByHand)
}

fn told(message: impl Into<Message>) -> ClientEvent {
    ClientEvent::Told(Ref::NONE, message.into())
}

fn admitted() -> ClientEvent {
    told(Admitted {
        line: LineName::new("main").unwrap(),
        name: Name::new("Wei").unwrap(),
        greeting: None,
    })
}

fn connected(call: CallId) -> ClientEvent {
    told(Connected { call, peer: Name::new("Ada").unwrap(), next_nonce: Nonce(5) })
}

fn ended(call: CallId) -> ClientEvent {
    told(Ended { call, seq: Seq(9), at: UnixMillis(0), by: By::Caller, why: Why::BYE })
}

fn said(nonce: u32) -> ClientEvent {
    told(Said {
        call: CALL,
        seq: Seq(3),
        from: Side::Operator,
        name: Name::new("Li").unwrap(),
        at: UnixMillis(0),
        text: Text::new("hm").unwrap(),
        nonce: Nonce(nonce),
    })
}

fn goodbye(code: Code) -> ClientEvent {
    ClientEvent::Over(Lost::Goodbye(Goodbye {
        code,
        detail: Detail::cut(""),
        retry_after_s: None,
        resumable: Resumable::No,
    }))
}

fn line(text: &str) -> Entered {
    Entered::Line(text.to_owned())
}

fn say(text: &str) -> Act {
    Act::Say { call: CALL, text: Text::new(text).unwrap(), reference: Ref::NONE }
}

fn request(message: impl Into<Message>) -> Act {
    Act::Request(message.into(), Ref::NONE)
}

fn interrupt() -> Entered {
    Entered::Interrupt { draft: String::new() }
}

const HANG_UP: Act = Act::HangUp { call: CALL, reference: Ref::NONE };

fn shown_json(acts: &[Act]) -> Vec<&str> {
    acts.iter()
        .filter_map(|act| match act {
            Act::Show(Show::Json(line)) => Some(line.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn an_offer_rings_and_names_the_caller() {
    let offer = || {
        let name = Name::new("Xiaowen").unwrap();
        told(Offer { call: CALL, name, waiting: 1 })
    };
    let ring = Show::Ring("Xiaowen is waiting (1 waiting); /next answers".to_owned());
    assert_eq!(desk(Mode::Terminal).told(offer()), [Act::Show(ring)]);
    assert_eq!(desk(Mode::Pipe).told(offer()), [note("Xiaowen is waiting (1 waiting)")]);
}

#[test]
fn next_takes_the_oldest_and_says_so() {
    let mut desk = desk(Mode::Terminal);
    assert_eq!(desk.entered(line("/next")), [request(Next {})]);
    assert_eq!(desk.told(connected(CALL)), [note("on the line with Ada")]);
}

#[test]
fn what_an_earlier_operator_said_is_shown_and_what_was_said_here_is_not() {
    let mut desk = desk(Mode::Pipe);
    desk.told(connected(CALL));
    assert_eq!(desk.told(said(5)), [Act::Shown(CALL, Seq(3))]);
    assert_eq!(desk.told(said(4)).len(), 2);
}

#[test]
fn the_end_of_a_line_ends_the_call_and_then_the_desk() {
    let mut desk = desk(Mode::Terminal);
    desk.told(connected(CALL));
    assert_eq!(desk.entered(Entered::End), [HANG_UP]);
    assert_eq!(desk.entered(Entered::End), [], "the end of the call is under way");
    desk.told(ended(CALL));
    assert_eq!(desk.entered(Entered::End), [request(SignOff {})]);
    assert_eq!(desk.told(goodbye(Code::DONE)), [Act::Leave]);
    assert_eq!(desk.end(), Ok(Exit::Ok));
}

#[test]
fn a_console_is_not_left_but_ends_with_its_server() {
    let mut console = operator(Mode::Terminal, Seat::Console, Answering::ByItself);
    let hint = [note("nobody is on the line; ^C ends the server")];
    assert_eq!(console.entered(Entered::End), hint);
    console.told(connected(CALL));
    assert_eq!(console.entered(Entered::End), [HANG_UP]);
}

#[test]
fn an_interrupt_in_a_call_warns_once_a_call() {
    let mut desk = desk(Mode::Terminal);
    desk.told(connected(CALL));
    assert!(matches!(&desk.entered(interrupt())[..], [Act::Show(Show::Warning(_))]));
    desk.told(ended(CALL));
    desk.told(connected(OTHER));
    assert!(matches!(&desk.entered(interrupt())[..], [Act::Show(Show::Warning(_))]));
    assert_eq!(desk.entered(interrupt()), [request(SignOff {})]);
    assert_eq!(desk.entered(interrupt()), [Act::Leave], "it doesn't wait for ever");
}

#[test]
fn an_interrupt_without_a_call_signs_off() {
    assert_eq!(desk(Mode::Pipe).entered(interrupt()), [request(SignOff {})]);
}

#[test]
fn nobody_to_read_the_output_signs_off_at_once() {
    let mut desk = desk(Mode::Pipe);
    desk.told(connected(CALL));
    assert_eq!(desk.entered(Entered::Closed), [request(SignOff {})]);
}

#[test]
fn piped_lines_are_for_callers_and_held_back_between_them() {
    let mut desk = operator(Mode::Pipe, Seat::Desk, Answering::ByItself);
    assert_eq!(desk.listens(), Listens::ForTheEnd);
    desk.told(connected(CALL));
    assert_eq!(desk.listens(), Listens::Yes);
    assert_eq!(desk.entered(line("hello")), [say("hello")]);
    assert_eq!(desk.entered(line("bye")), [say("bye"), HANG_UP]);
    assert_eq!(desk.listens(), Listens::ForTheEnd, "what follows is for the next caller");
}

#[test]
fn the_end_of_piped_input_lets_the_call_end_first() {
    let mut busy = operator(Mode::Pipe, Seat::Desk, Answering::ByItself);
    busy.told(connected(CALL));
    assert_eq!(busy.entered(Entered::End), [request(Pause {})]);
    assert_eq!(busy.told(ended(CALL)).last(), Some(&request(SignOff {})));
    let mut free = operator(Mode::Json, Seat::Desk, Answering::ByHand);
    assert_eq!(free.entered(Entered::End), [request(Pause {}), request(SignOff {})]);
}

#[test]
fn a_piped_desk_that_can_take_nobody_says_so() {
    let problems = |answering, mode| {
        let manner = manner(mode, Seat::Desk, answering, Beginning::New);
        let acts = Operator::new(manner).told(admitted());
        acts.iter().filter(|act| matches!(act, Act::Show(Show::Problem(_)))).count()
    };
    assert_eq!(problems(Answering::ByHand, Mode::Pipe), 1);
    assert_eq!(problems(Answering::ByItself, Mode::Pipe), 0);
    assert_eq!(problems(Answering::ByHand, Mode::Json), 0);
    assert_eq!(problems(Answering::ByHand, Mode::Terminal), 0);
}

#[test]
fn text_without_exactly_one_call_is_refused_and_not_said() {
    let mut desk = desk(Mode::Json);
    let acts = desk.entered(line("hello?"));
    assert_eq!(
        shown_json(&acts),
        [
            r#"{"kind":"error","ref":0,"body":{"code":"which_call","detail":"name a call: there isn't exactly one"}}"#,
            r#"{"kind":"link.not_said","ref":0,"body":{"call":null,"text":"hello?","why":"which_call"}}"#
        ]
    );
    let acts = desk.entered(line(r#"{"kind":"hang_up","ref":3}"#));
    assert!(shown_json(&acts)[0].contains(r#""ref":3,"body":{"code":"which_call""#));
    desk.told(connected(CALL));
    assert_eq!(desk.entered(line("hello?")), [say("hello?")]);
    let command = format!(r#"{{"kind":"say","ref":8,"body":{{"text":"x","call":"{OTHER}"}}}}"#);
    let acts = desk.entered(line(&command));
    assert!(shown_json(&acts)[0].contains("no_such_call"));
    desk.told(connected(OTHER));
    assert!(shown_json(&desk.entered(line("hello?")))[0].contains("which_call"));
    let acts = desk.entered(line(&command));
    let text = Text::new("x").unwrap();
    assert_eq!(acts, [Act::Say { call: OTHER, text, reference: Ref(8) }]);
}

#[test]
fn a_desk_that_loses_its_server_says_so() {
    let exit = |event| {
        let mut desk = desk(Mode::Pipe);
        desk.told(event);
        desk.end().unwrap_or_else(|failure| failure.exit)
    };
    assert_eq!(exit(goodbye(Code::STOPPING)), Exit::Unavailable);
    assert_eq!(exit(ClientEvent::Over(Lost::Broken)), Exit::Unavailable);
    assert_eq!(exit(goodbye(Code::DONE)), Exit::Unavailable, "nobody asked for it");
}

fn offline() -> ClientEvent {
    ClientEvent::Offline(Lost::Broken)
}

fn resumed(calls: &[(CallId, u32)]) -> ClientEvent {
    let listed = |(call, last): &(CallId, u32)| Listed {
        call: *call,
        next_nonce: Nonce(5),
        last: Seq(*last),
    };
    told(Resumed { calls: calls.iter().map(listed).collect() })
}

fn gone_on_with(mode: Mode) -> Operator {
    Operator::new(manner(mode, Seat::Desk, Answering::ByHand, Beginning::Resumed))
}

fn exit(operator: Operator) -> Exit {
    operator.end().unwrap_or_else(|failure| failure.exit)
}

#[test]
fn a_call_outlives_a_break_without_a_word() {
    let mut desk = desk(Mode::Terminal);
    desk.told(connected(CALL));
    let broke = note("the connection broke; reconnecting");
    assert_eq!(desk.told(offline()), [broke]);
    assert_eq!(desk.told(admitted()), []);
    assert_eq!(desk.told(resumed(&[(CALL, 3)])), [note("connected again")]);
    assert_eq!(desk.told(connected(CALL)), []);
    let own = Act::Show(Show::Own(Text::new("hm").unwrap()));
    assert_eq!(desk.told(said(5)), [own, Act::Shown(CALL, Seq(3))]);
    assert_eq!(desk.entered(line("hello")), [say("hello")]);
}

#[test]
fn a_call_that_went_on_without_this_desk_is_no_longer_its_own() {
    let mut desk = desk(Mode::Terminal);
    desk.told(connected(CALL));
    desk.told(offline());
    let gone = note("you are no longer on the line with Ada");
    assert_eq!(desk.told(resumed(&[])), [note("connected again"), gone]);
    assert_eq!(desk.talks_in(), None);
    desk.told(connected(OTHER));
    let put_back = || told(PutBack { call: OTHER });
    assert_eq!(desk.told(put_back()), [note("Ada went back to the queue")]);
    assert_eq!(desk.talks_in(), None);
    let mut ending = operator(Mode::Pipe, Seat::Desk, Answering::ByItself);
    ending.told(connected(OTHER));
    ending.entered(Entered::End);
    assert_eq!(ending.told(put_back()).last(), Some(&request(SignOff {})));
}

#[test]
fn the_other_sides_connection_is_told_about() {
    let mut desk = desk(Mode::Terminal);
    desk.told(connected(CALL));
    let away = |from| told(Away { call: CALL, from });
    let broke = note("Ada's connection broke; they may come back");
    assert_eq!(desk.told(away(Side::Caller)), [broke]);
    let back = told(Back { call: CALL, from: Side::Caller });
    assert_eq!(desk.told(back), [note("Ada is back")]);
    assert_eq!(desk.told(away(Side::Operator)), []);
}

#[test]
fn a_new_process_shows_what_was_said_before_and_then_who_is_on_the_line() {
    let mut desk = gone_on_with(Mode::Plain);
    desk.told(admitted());
    assert_eq!(desk.told(resumed(&[(CALL, 3)])), []);
    assert_eq!(desk.told(connected(CALL)), []);
    let said_before = Act::Show(Show::Said {
        name: Name::new("Li").unwrap(),
        from: Side::Operator,
        text: Text::new("hm").unwrap(),
    });
    assert_eq!(
        desk.told(said(4)),
        [
            note("earlier in this call:"),
            said_before,
            Act::Shown(CALL, Seq(3)),
            note("you are back on the line with Ada"),
        ]
    );
    let mut free = gone_on_with(Mode::Plain);
    free.told(admitted());
    free.told(resumed(&[]));
    assert_eq!(free.told(connected(CALL)), [note("on the line with Ada")]);
}

#[test]
fn a_console_with_a_kept_ticket_is_back_in_its_call() {
    let seat = Seat::Console;
    let mut console = operator(Mode::Terminal, seat, Answering::ByItself);
    console.told(resumed(&[(CALL, 3)]));
    assert_eq!(console.told(connected(CALL)), []);
    assert_eq!(console.told(said(4)).len(), 4);
    let mut new = operator(Mode::Terminal, seat, Answering::ByItself);
    new.told(connected(CALL));
    new.told(said(5));
    new.told(offline());
    new.told(resumed(&[(CALL, 3)]));
    new.told(connected(CALL));
    assert_eq!(new.told(said(4)).len(), 2, "it is the same screen");
}

#[test]
fn what_was_asked_for_and_may_be_unheard_is_asked_for_again_or_told() {
    let mut desk = desk(Mode::Terminal);
    desk.entered(line("/next"));
    assert_eq!(desk.told(offline()).len(), 2, "about /next");
    assert!(matches!(&desk.entered(line("/next"))[..], [Act::Show(Show::Problem(_))]));
    assert!(matches!(&desk.entered(line("/pause"))[..], [Act::Show(Show::Problem(_))]));
    assert_eq!(desk.told(resumed(&[])), [note("connected again")]);
    desk.entered(line("/pause"));
    desk.told(offline());
    assert_eq!(desk.told(resumed(&[])), [note("connected again"), request(Pause {})]);
}

#[test]
fn signing_off_outlives_a_break() {
    let mut before = desk(Mode::Terminal);
    before.entered(Entered::End);
    before.told(offline());
    assert_eq!(before.told(resumed(&[])).last(), Some(&request(SignOff {})));
    before.told(goodbye(Code::DONE));
    assert!(!before.keeps());
    assert_eq!(exit(before), Exit::Ok);

    let mut during = desk(Mode::Terminal);
    during.told(offline());
    let waits = note("it signs off as soon as there is a connection; ^C leaves now");
    assert_eq!(during.entered(interrupt()), [waits]);
    during.told(goodbye(Code::NO_SUCH_TICKET));
    assert_eq!(exit(during), Exit::Ok, "so it has been signed off");

    let mut hurried = desk(Mode::Terminal);
    hurried.told(offline());
    hurried.entered(interrupt());
    let kept = "the desk is kept for 1 minute; to go on: helpline desk here:8001";
    let kept = Act::Show(Show::Warning(kept.to_owned()));
    assert_eq!(hurried.entered(interrupt()), [kept, Act::Leave]);
    assert!(hurried.keeps());

    let mut piped = operator(Mode::Pipe, Seat::Desk, Answering::ByItself);
    piped.told(connected(CALL));
    piped.told(offline());
    assert_eq!(piped.entered(Entered::End), []);
    let acts = piped.told(resumed(&[(CALL, 0)]));
    assert_eq!(acts.last(), Some(&request(Pause {})));
    piped.told(offline());
    assert_eq!(piped.told(resumed(&[])).last(), Some(&request(SignOff {})));
}

#[test]
fn a_desk_that_is_no_longer_signed_on_says_what_to_do() {
    for (code, what) in [
        (Code::NO_SUCH_TICKET, "the server has signed this desk off"),
        (Code::SUPERSEDED, "taken over by another window"),
    ] {
        let mut desk = desk(Mode::Terminal);
        desk.told(offline());
        desk.told(goodbye(code));
        assert!(!desk.keeps());
        let failure = desk.end().unwrap_err();
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::Unavailable, what));
    }
}

#[test]
fn a_console_ends_with_its_server_and_outlives_a_full_disk() {
    let parted = |code| {
        let resumable = Resumable::Yes;
        let detail = Detail::cut("");
        ClientEvent::Offline(Lost::Goodbye(Goodbye {
            code,
            detail,
            retry_after_s: None,
            resumable,
        }))
    };
    let mut console = operator(Mode::Terminal, Seat::Console, Answering::ByItself);
    let full = note("the server can record nothing at the moment; reconnecting");
    assert_eq!(console.told(parted(Code::DISK_FULL)), [full]);
    console.told(resumed(&[]));
    assert_eq!(console.told(parted(Code::STOPPING)), [Act::Leave]);
    assert_eq!(exit(console), Exit::Ok);
    let mut gone = operator(Mode::Terminal, Seat::Console, Answering::ByItself);
    gone.told(offline());
    gone.told(ClientEvent::Over(Lost::Broken));
    assert_eq!(exit(gone), Exit::Ok);
}

fn banned() -> ClientEvent {
    told(Banned { call: CALL, until: UnixMillis(7) })
}

#[test]
fn a_ban_is_about_the_call_one_is_in_and_told_when_it_holds() {
    let mut desk = desk(Mode::Terminal);
    assert_eq!(desk.entered(line("/ban")), [problem("nobody is on the line")]);
    desk.told(connected(CALL));
    let reason = Detail::new("only noise").unwrap();
    let asked = request(Ban { call: CALL, for_s: 7_200, reason });
    assert_eq!(desk.entered(line("/ban 2h only noise")), [asked]);
    let ended = told(Ended {
        call: CALL,
        seq: Seq(9),
        at: UnixMillis(0),
        by: By::Operator,
        why: Why::BANNED,
    });
    assert_eq!(
        desk.told(ended),
        [note("the call has ended (you banned the caller)"), Act::Shown(CALL, Seq(9))]
    );
    assert_eq!(desk.told(banned()), [note("Ada's address is banned for 2 hours")]);
    assert_eq!(desk.told(banned()), [note("the caller's address is banned")]);
    let no_address = helpline_proto::message::Error {
        code: Code::NO_ADDRESS,
        detail: Detail::cut("hidden by a proxy"),
    };
    assert_eq!(
        desk.told(told(no_address)),
        [problem("that caller has no address that could be banned")]
    );
}

#[test]
fn an_invitation_stands_on_a_line_of_its_own() {
    let mut desk = desk(Mode::Terminal);
    let invited = |until| {
        let code = Secret::new("k7Qm-2fXw").unwrap();
        told(Invited { code, until })
    };
    let once = request(Invite { uses: Uses::Once, until: None });
    assert_eq!(desk.entered(line("/invite")), [once]);
    assert_eq!(desk.told(invited(None)), [note("invitation: k7Qm-2fXw (once)")]);
    let until = Some(UnixMillis(1_000_000 + 7_200_000));
    let many = request(Invite { uses: Uses::Many, until });
    assert_eq!(desk.entered(line("/invite 2h")), [many]);
    assert_eq!(desk.told(invited(until)), [note("invitation: k7Qm-2fXw (for 2 hours)")]);
}

#[test]
fn programs_ban_and_invite_by_commands_and_read_the_answers() {
    let mut desk = desk(Mode::Json);
    let other = OTHER.to_hex();
    let ban = format!(r#"{{"kind":"ban","ref":4,"body":{{"call":"{other}","for_s":60}}}}"#);
    let asked = Ban { call: OTHER, for_s: 60, reason: Detail::cut("") };
    assert_eq!(desk.entered(line(&ban)), [Act::Request(asked.into(), Ref(4))]);
    let acts = desk.entered(line(r#"{"kind":"ban","ref":5}"#));
    assert!(shown_json(&acts)[0].contains("which_call"), "{acts:?}");
    let invite = r#"{"kind":"invite","ref":6,"body":{"uses":"many","until":99}}"#;
    let asked = Invite { uses: Uses::Many, until: Some(UnixMillis(99)) };
    assert_eq!(desk.entered(line(invite)), [Act::Request(asked.into(), Ref(6))]);
    let code = Secret::new("k7Qm").unwrap();
    let invited = Invited { code, until: Some(UnixMillis(99)) };
    let acts = desk.told(ClientEvent::Told(Ref(6), invited.into()));
    assert_eq!(
        shown_json(&acts),
        [r#"{"kind":"invited","ref":6,"body":{"code":"k7Qm","until":99}}"#]
    );
    let acts = desk.told(banned());
    let call = CALL.to_hex();
    let line = format!(r#"{{"kind":"banned","ref":0,"body":{{"call":"{call}","until":7}}}}"#);
    assert_eq!(shown_json(&acts), [line.as_str()]);
}

#[test]
fn whoever_has_no_account_any_more_is_sent_away() {
    for code in [Code::DISABLED, Code::NOT_RECOGNISED, Code::NOT_ENCRYPTED] {
        let mut new =
            Operator::new(manner(Mode::Pipe, Seat::Desk, Answering::ByHand, Beginning::New));
        new.told(goodbye(code));
        let mut signed_on = desk(Mode::Pipe);
        signed_on.told(goodbye(code));
        for operator in [new, signed_on] {
            assert!(!operator.keeps());
            assert_eq!(operator.end().unwrap_err().exit, Exit::NoPermission, "{code}");
        }
    }
    let mut desk = desk(Mode::Pipe);
    desk.told(goodbye(Code::TOO_MANY));
    assert_eq!(desk.end().unwrap_err().exit, Exit::TempFail);
}
