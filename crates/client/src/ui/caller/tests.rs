use helpline_proto::{
    code::{Code, Why},
    error::{DecodeError, FrameError},
    ids::{Nonce, Resumable, Seq},
    message::{Busy, Connected, Goodbye, Joined, Listed, Place, Said},
    text::{Detail, LineName, Name},
    time::UnixMillis,
};

use super::*;

const CALL: CallId = CallId([1; 16]);

fn caller(mode: Mode) -> Caller {
    Caller::new(Manner {
        mode,
        bye: ByeWord::HangsUp,
        bye_at_end: false,
        server: "here:8001".to_owned(),
        beginning: Beginning::New,
        is_kept: true,
    })
}

impl Caller {
    /// Told while nothing is unsaid.
    fn told(&mut self, event: ClientEvent) -> Vec<Act> {
        Part::told(self, event, Standing::default())
    }

    /// Told while so many lines are unsaid, and this attempt is due.
    fn told_with(&mut self, event: ClientEvent, unsaid: usize, attempt: u32) -> Vec<Act> {
        Part::told(self, event, Standing { unsaid, attempt })
    }
}

fn admitted() -> ClientEvent {
    told(Admitted {
        line: LineName::new("main").unwrap(),
        name: Name::new("Ada").unwrap(),
        greeting: Some(Text::new("Welcome.").unwrap()),
    })
}

fn told(message: impl Into<Message>) -> ClientEvent {
    ClientEvent::Told(Ref::NONE, message.into())
}

fn place() -> ClientEvent {
    told(Place { call: CALL, position: 1, waiting: 1, wait_s: None, next_nonce: Nonce(1) })
}

fn connected() -> ClientEvent {
    let peer = Name::new("Wei").unwrap();
    told(Connected { call: CALL, peer, next_nonce: Nonce(1) })
}

fn said(from: Side, text: &str) -> ClientEvent {
    told(Said {
        call: CALL,
        seq: Seq(3),
        from,
        name: Name::new("Wei").unwrap(),
        at: UnixMillis(0),
        text: Text::new(text).unwrap(),
        nonce: Nonce(1),
    })
}

fn ended(by: By, why: Why) -> ClientEvent {
    told(Ended { call: CALL, seq: Seq(9), at: UnixMillis(0), by, why })
}

fn goodbye(code: Code) -> ClientEvent {
    ClientEvent::Over(Lost::Goodbye(Goodbye {
        code,
        detail: Detail::cut("lines here: main, night"),
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

const HANG_UP: Act = Act::HangUp { call: CALL, reference: Ref::NONE };

/// The exit code after these events.
fn exit(mode: Mode, events: Vec<ClientEvent>) -> Exit {
    let mut caller = caller(mode);
    let mut acts = Vec::new();
    for event in events {
        acts = caller.told(event);
    }
    assert_eq!(acts.last(), Some(&Act::Leave));
    caller.end().unwrap_or_else(|failure| failure.exit)
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let bye = |by| ended(by, Why::BYE);
    let cases = [
        (vec![place(), connected(), bye(By::Operator)], Exit::Ok),
        (vec![connected(), bye(By::Caller)], Exit::Ok),
        (vec![place(), ended(By::Caller, Why::ABANDONED)], Exit::Interrupted),
        (vec![place(), ended(By::Server, Why::STOPPING)], Exit::TempFail),
        (vec![place(), connected(), ended(By::Server, Why::STOPPING)], Exit::Unavailable),
        (vec![told(Busy { why: Why::FULL, retry_after_s: 30, wait_s: None })], Exit::TempFail),
        (vec![told(Busy { why: Why::TOO_MANY, retry_after_s: 9, wait_s: None })], Exit::TempFail),
        (vec![goodbye(Code::NO_SUCH_LINE)], Exit::NoPermission),
        (vec![goodbye(Code::NOT_ENCRYPTED)], Exit::NoPermission),
        (vec![goodbye(Code::INVITATION)], Exit::NoPermission),
        (vec![goodbye(Code::BANNED)], Exit::NoPermission),
        (vec![goodbye(Code::TOO_MANY)], Exit::TempFail),
        (vec![place(), connected(), ended(By::Operator, Why::BANNED)], Exit::NoPermission),
        (vec![admitted(), place(), connected(), goodbye(Code::BANNED)], Exit::NoPermission),
        (vec![admitted(), place(), goodbye(Code::TOO_MANY)], Exit::TempFail),
        (vec![goodbye(Code::NO_COMMON_VERSION)], Exit::Protocol),
        (vec![goodbye(Code::STOPPING)], Exit::TempFail),
        (vec![admitted(), place(), goodbye(Code::SILENT)], Exit::Unavailable),
        (vec![admitted(), place(), goodbye(Code::SUPERSEDED)], Exit::Unavailable),
        (vec![admitted(), place(), goodbye(Code::NO_SUCH_TICKET)], Exit::TempFail),
        (vec![admitted(), place(), connected(), goodbye(Code::NO_SUCH_TICKET)], Exit::Unavailable),
        (vec![place(), ended(By::Server, Why::TIMED_OUT)], Exit::TempFail),
        (vec![connected(), ended(By::Caller, Why::TIMED_OUT)], Exit::TempFail),
        // It was answered while this client was away.
        (vec![place(), offline(), resumed(5), joined(4), ended(By::Operator, Why::BYE)], Exit::Ok),
        (vec![ClientEvent::Over(Lost::NoAnswer)], Exit::Unavailable),
        (vec![admitted(), place(), ClientEvent::Over(Lost::Broken)], Exit::Unavailable),
        (
            vec![ClientEvent::Over(Lost::NotHelpline(DecodeError::Frame(FrameError::TooShort {
                length: 1,
            })))],
            Exit::Protocol,
        ),
    ];
    for (events, wanted) in cases {
        for mode in [Mode::Terminal, Mode::Plain, Mode::Pipe, Mode::Json] {
            assert_eq!(exit(mode, events.clone()), wanted, "{events:?}");
        }
    }
}

#[test]
fn a_caller_put_back_is_waiting_but_was_answered() {
    let left = || {
        let name = Name::new("Wei").unwrap();
        told(Left { call: CALL, seq: Seq(4), at: UnixMillis(0), from: Side::Operator, name })
    };
    let before = || vec![place(), connected(), left(), place()];
    let with = |event| before().into_iter().chain([event]).collect::<Vec<_>>();
    assert_eq!(exit(Mode::Pipe, with(ended(By::Server, Why::STOPPING))), Exit::TempFail);
    assert_eq!(exit(Mode::Pipe, with(ended(By::Caller, Why::ABANDONED))), Exit::Ok);
}

#[test]
fn a_line_that_was_not_said_shows_in_the_exit_code() {
    let not_said = ClientEvent::NotSaid {
        call: CALL,
        text: Text::new("late").unwrap(),
        reference: Ref::NONE,
        why: Some(Code::CALL_ENDED),
    };
    let events = vec![connected(), not_said.clone(), ended(By::Operator, Why::BYE)];
    assert_eq!(exit(Mode::Pipe, events), Exit::Other);
    let events = vec![connected(), not_said, ended(By::Server, Why::STOPPING)];
    assert_eq!(exit(Mode::Pipe, events), Exit::Unavailable);
    let mut over = caller(Mode::Pipe);
    over.told(connected());
    over.told(ended(By::Operator, Why::BYE));
    assert_eq!(over.entered(line("too late")), [problem("not said: too late")]);
    assert_eq!(over.end(), Ok(Exit::Other));
}

#[test]
fn a_connection_lost_for_good_counts_the_lines_of_unknown_fate() {
    let unsaid = ClientEvent::NotSaid {
        call: CALL,
        text: Text::new("there?").unwrap(),
        reference: Ref(2),
        why: None,
    };
    let mut pipe = caller(Mode::Pipe);
    pipe.told(connected());
    assert_eq!(pipe.told(unsaid.clone()), [problem("maybe not said: there?")]);
    let mut json = caller(Mode::Json);
    json.told(admitted());
    json.told(connected());
    json.told(unsaid);
    let lost = r#"{"kind":"link.lost","ref":0,"body":{"unsaid":1,"attempt":0}}"#;
    let acts = json.told(ClientEvent::Over(Lost::Silent));
    assert_eq!(acts, [Act::Show(Show::Json(lost.to_owned())), Act::Leave]);
    let mut joining = caller(Mode::Json);
    assert_eq!(joining.told(ClientEvent::Over(Lost::Broken)), [Act::Leave]);
}

#[test]
fn nothing_is_read_before_there_is_a_call() {
    let mut caller = caller(Mode::Pipe);
    assert_eq!(caller.listens(), Listens::No);
    caller.told(place());
    assert_eq!(caller.listens(), Listens::Yes);
    assert_eq!(caller.entered(line("hi")), [say("hi")]);
}

#[test]
fn bye_is_said_and_then_hangs_up() {
    let mut pipe = caller(Mode::Pipe);
    pipe.told(connected());
    assert_eq!(pipe.entered(line(" BYE ")), [say("BYE"), HANG_UP]);
    assert_eq!(pipe.listens(), Listens::No, "nothing is read after that");
    let mut terminal = caller(Mode::Terminal);
    terminal.told(connected());
    assert_eq!(terminal.entered(line("bye")), [say("bye"), HANG_UP]);
}

#[test]
fn an_own_line_stands_on_the_terminal_once_it_is_said() {
    let mut terminal = caller(Mode::Terminal);
    terminal.told(connected());
    assert_eq!(terminal.entered(line("hi")), [say("hi")]);
    let own = Act::Show(Show::Own(Text::new("hi").unwrap()));
    assert_eq!(terminal.told(said(Side::Caller, "hi")), [own, Act::Shown(CALL, Seq(3))]);
    let mut plain = caller(Mode::Plain);
    plain.told(connected());
    assert_eq!(plain.told(said(Side::Caller, "hi")), [Act::Shown(CALL, Seq(3))]);
}

#[test]
fn n26_the_end_of_the_input_hangs_up_on_a_terminal_only() {
    let mut terminal = caller(Mode::Terminal);
    terminal.told(place());
    assert_eq!(terminal.entered(Entered::End), [HANG_UP]);
    assert_eq!(terminal.entered(Entered::End), []);
    let mut pipe = caller(Mode::Pipe);
    pipe.told(connected());
    assert_eq!(pipe.entered(Entered::End), []);
    assert_eq!(pipe.listens(), Listens::No);
}

#[test]
fn bye_at_the_end_waits_for_an_answer_and_for_everything_to_be_said() {
    let mut caller = caller(Mode::Pipe);
    caller.manner.bye_at_end = true;
    caller.told(place());
    caller.entered(line("one"));
    assert_eq!(caller.entered(Entered::End), []);
    assert_eq!(caller.told_with(connected(), 1, 0), [note("on the line with Wei")]);
    let acts = caller.told(said(Side::Caller, "one"));
    assert_eq!(acts, [Act::Shown(CALL, Seq(3)), HANG_UP]);
    assert!(!caller.told(said(Side::Operator, "hm")).contains(&HANG_UP), "once is enough");
}

#[test]
fn n25_an_interrupt_hangs_up_and_a_second_one_does_not_wait() {
    let mut waiting = caller(Mode::Terminal);
    waiting.told(place());
    let draft = "half a li".to_owned();
    assert_eq!(
        waiting.entered(Entered::Interrupt { draft }),
        [note("not said: half a li"), HANG_UP]
    );
    assert_eq!(waiting.entered(Entered::Interrupt { draft: String::new() }), [Act::Leave]);
    assert_eq!(waiting.end(), Ok(Exit::Interrupted));
    let mut joining = caller(Mode::Pipe);
    assert_eq!(joining.entered(Entered::Interrupt { draft: String::new() }), [Act::Leave]);
    assert_eq!(joining.end(), Ok(Exit::Interrupted));
}

#[test]
fn a_bad_command_is_an_error_and_the_program_goes_on() {
    let mut caller = caller(Mode::Json);
    caller.told(connected());
    let acts = caller.entered(line(r#"{"kind":"next","ref":6}"#));
    let error = r#"{"kind":"error","ref":6,"body":{"code":"bad_command","detail":"next is for operators"}}"#;
    assert_eq!(acts, [Act::Show(Show::Json(error.to_owned()))]);
    let other = CallId([2; 16]).to_hex();
    let command = format!(r#"{{"kind":"say","body":{{"call":"{other}","text":"x"}}}}"#);
    let lines = caller.entered(line(&command));
    assert!(matches!(&lines[..], [Act::Show(Show::Json(error)), Act::Show(Show::Json(not_said))]
        if error.contains("no_such_call") && not_said.contains("link.not_said")));
    assert_eq!(caller.listens(), Listens::Yes);
}

fn offline() -> ClientEvent {
    ClientEvent::Offline(Lost::Broken)
}

fn resumed(last: u32) -> ClientEvent {
    let listed = Listed { call: CALL, next_nonce: Nonce(1), last: Seq(last) };
    told(Resumed { calls: vec![listed] })
}

fn joined(seq: u32) -> ClientEvent {
    let (from, name) = (Side::Operator, Name::new("Wei").unwrap());
    told(Joined { call: CALL, seq: Seq(seq), at: UnixMillis(0), from, name })
}

fn left(seq: u32) -> ClientEvent {
    let (from, name) = (Side::Operator, Name::new("Wei").unwrap());
    told(Left { call: CALL, seq: Seq(seq), at: UnixMillis(0), from, name })
}

fn gone_on_with(mode: Mode) -> Caller {
    let manner = Manner { beginning: Beginning::Resumed, ..caller(mode).manner };
    Caller::new(manner)
}

/// What is shown, as text.
fn shown(acts: Vec<Act>) -> Vec<String> {
    let shown = acts.into_iter().filter_map(|act| match act {
        Act::Show(Show::Said { name, text, .. }) => Some(format!("{name}: {text}")),
        Act::Show(Show::Own(text)) => Some(format!("you: {text}")),
        Act::Show(
            Show::Note(text) | Show::Problem(text) | Show::Warning(text) | Show::Json(text),
        ) => Some(text),
        Act::Show(Show::Ring(text)) => Some(text),
        _ => None,
    });
    shown.collect()
}

fn interrupt() -> Entered {
    Entered::Interrupt { draft: String::new() }
}

#[test]
fn a_break_is_told_once_and_the_screen_goes_on_where_it_was() {
    let mut caller = caller(Mode::Terminal);
    caller.told(admitted());
    caller.told(place());
    caller.told(connected());
    assert_eq!(
        shown(caller.told_with(offline(), 2, 1)),
        ["the connection broke; reconnecting (2 lines not said yet)"]
    );
    assert_eq!(shown(caller.told_with(offline(), 2, 2)), [""; 0]);
    assert_eq!(caller.entered(line("still typing")), [say("still typing")]);
    assert_eq!(shown(caller.told(admitted())), [""; 0], "no second greeting");
    assert_eq!(shown(caller.told(resumed(4))), ["connected again"]);
    assert_eq!(shown(caller.told(connected())), [""; 0]);
    assert_eq!(shown(caller.told(said(Side::Operator, "hm"))), ["Wei: hm"]);
    assert_eq!(
        shown(caller.told(connected())),
        ["on the line with Wei"],
        "news, without a break before it"
    );
}

#[test]
fn a_place_that_has_changed_meanwhile_is_told() {
    let mut caller = caller(Mode::Plain);
    caller.told(admitted());
    caller.told(place());
    for (position, wanted) in [(1, vec![]), (2, vec!["position 2 of 2"])] {
        caller.told_with(offline(), 0, 1);
        caller.told(admitted());
        caller.told(resumed(0));
        let (waiting, wait_s, next_nonce) = (position, None, Nonce(1));
        let place = Place { call: CALL, position, waiting, wait_s, next_nonce };
        assert_eq!(shown(caller.told(told(place))), wanted);
    }
    caller.told_with(offline(), 0, 1);
    caller.told(resumed(5));
    assert_eq!(shown(caller.told(connected())), ["on the line with Wei"]);
    assert_eq!(shown(caller.told(left(5))), ["Wei left"], "it is past");
    assert_eq!(shown(caller.told(left(6))), ["Wei left; you wait again"]);
}

#[test]
fn a_server_that_stops_is_named() {
    let stopping = || {
        ClientEvent::Offline(Lost::Goodbye(Goodbye {
            code: Code::STOPPING,
            detail: Detail::cut(""),
            retry_after_s: None,
            resumable: Resumable::Yes,
        }))
    };
    let mut caller = caller(Mode::Terminal);
    caller.told(place());
    assert_eq!(shown(caller.told(stopping())), ["the server is stopping; reconnecting"]);
}

#[test]
fn a_program_hears_of_every_attempt() {
    let mut json = caller(Mode::Json);
    json.told(admitted());
    json.told(connected());
    let event = |kind: &str, unsaid: u32, attempt: u32| {
        format!(r#"{{"kind":"{kind}","ref":0,"body":{{"unsaid":{unsaid},"attempt":{attempt}}}}}"#)
    };
    let json_only = |acts: Vec<Act>| -> Vec<String> {
        let is_json = |act: &Act| matches!(act, Act::Show(Show::Json(_)));
        shown(acts.into_iter().filter(is_json).collect())
    };
    for attempt in 1..=2 {
        let acts = json.told_with(offline(), 3, attempt);
        assert_eq!(json_only(acts), [event("link.reconnecting", 3, attempt)]);
    }
    assert_eq!(json_only(json.told_with(admitted(), 3, 0)), [""; 0]);
    assert_eq!(json_only(json.told_with(resumed(2), 1, 0)), [event("link.resumed", 1, 2)]);
    assert_eq!(json_only(json.told(connected())), [""; 0], "it would greet twice");
    json.told_with(offline(), 1, 1);
    json.told_with(offline(), 1, 2);
    let acts = json.told_with(ClientEvent::Over(Lost::Broken), 1, 2);
    assert_eq!(json_only(acts), [event("link.lost", 1, 2)]);
    assert!(json.keeps());
    let mut new = gone_on_with(Mode::Json);
    assert!(json_only(new.told(admitted()))[0].contains("welcome"));
    assert_eq!(json_only(new.told_with(resumed(3), 1, 0)), [event("link.resumed", 1, 0)]);
}

#[test]
fn a_new_process_shows_what_was_said_before_and_then_where_it_is() {
    let conversation = |caller: &mut Caller| {
        let mut acts = caller.told(admitted());
        acts.extend(caller.told(resumed(3)));
        acts.extend(caller.told(connected()));
        let away = told(Away { call: CALL, from: Side::Operator });
        acts.extend(caller.told(away));
        acts.extend(caller.told(joined(1)));
        let mut first = said(Side::Caller, "hello");
        if let ClientEvent::Told(_, Message::Said(said)) = &mut first {
            said.seq = Seq(2);
            said.name = Name::new("Ada").unwrap();
        }
        acts.extend(caller.told(first));
        acts.extend(caller.told(said(Side::Operator, "hm")));
        acts.extend(caller.told(told(Back { call: CALL, from: Side::Operator })));
        shown(acts)
    };
    for mode in [Mode::Terminal, Mode::Plain] {
        assert_eq!(
            conversation(&mut gone_on_with(mode)),
            [
                "Welcome.",
                "earlier in this call:",
                "you: hello",
                "Wei: hm",
                "you are back on the line with Wei",
                "Wei's connection broke; they may come back",
                "Wei is back",
            ]
        );
    }
    let piped = conversation(&mut gone_on_with(Mode::Pipe));
    assert_eq!(piped[2], "Ada: hello", "a program is told everything");
}

#[test]
fn a_new_process_with_nothing_said_before_says_at_once_where_it_is() {
    let mut talking = gone_on_with(Mode::Terminal);
    talking.told(resumed(0));
    assert_eq!(shown(talking.told(connected())), ["you are back on the line with Wei"]);
    let mut waiting = gone_on_with(Mode::Terminal);
    waiting.told(resumed(0));
    assert_eq!(shown(waiting.told(place())), ["position 1 of 1"]);
    assert_eq!(shown(waiting.told(connected())), ["on the line with Wei"]);
    assert_eq!(waiting.listens(), Listens::Yes);
}

#[test]
fn hanging_up_without_a_connection_waits_for_one_or_keeps_the_call() {
    for begins in [Entered::End, interrupt(), line("bye")] {
        let mut caller = caller(Mode::Terminal);
        caller.told(admitted());
        caller.told(place());
        caller.told_with(offline(), 0, 1);
        let acts = caller.entered(begins);
        assert!(acts.contains(&HANG_UP));
        assert_eq!(shown(acts), ["it hangs up as soon as there is a connection; ^C leaves now"]);
        caller.told_with(offline(), 2, 2);
        let acts = caller.entered(interrupt());
        assert_eq!(acts.last(), Some(&Act::Leave));
        assert_eq!(
            shown(acts),
            ["your place is kept for 2 minutes, and 2 lines not said yet; \
              to go on: helpline call here:8001"]
        );
        assert!(caller.keeps());
        assert_eq!(caller.end(), Ok(Exit::Interrupted));
    }
}

#[test]
fn what_hung_up_meanwhile_is_hung_up() {
    for (answered, code) in [(true, Exit::Ok), (false, Exit::Interrupted)] {
        let mut caller = caller(Mode::Terminal);
        caller.told(admitted());
        caller.told(place());
        if answered {
            caller.told(connected());
        }
        caller.told_with(offline(), 0, 1);
        caller.entered(interrupt());
        caller.told(goodbye(Code::NO_SUCH_TICKET));
        assert!(!caller.keeps());
        assert_eq!(caller.end(), Ok(code));
    }
}

#[test]
fn a_file_is_kept_only_while_somebody_may_go_on() {
    let mut caller = caller(Mode::Pipe);
    assert!(!caller.keeps(), "not let in yet");
    caller.told(admitted());
    caller.told(place());
    assert!(caller.keeps());
    caller.told_with(ClientEvent::Over(Lost::Silent), 0, 9);
    assert!(caller.keeps(), "lost, but maybe not for the server");
    let failure = caller.end().unwrap_err();
    let hint = "your place is kept for 2 minutes; to go on: helpline call here:8001 --resume";
    assert_eq!(failure.hint.as_deref(), Some(hint));
    for last in [
        ended(By::Operator, Why::BYE),
        goodbye(Code::SUPERSEDED),
        goodbye(Code::NO_SUCH_TICKET),
        told(Busy { why: Why::FULL, retry_after_s: 30, wait_s: None }),
    ] {
        let mut caller = self::caller(Mode::Pipe);
        caller.told(admitted());
        caller.told(place());
        caller.told(last.clone());
        assert!(!caller.keeps(), "{last:?}");
    }
    let mut resumed = gone_on_with(Mode::Pipe);
    assert!(resumed.keeps());
    resumed.entered(interrupt());
    assert!(resumed.keeps(), "nothing was asked for");
    let mut gone = gone_on_with(Mode::Pipe);
    gone.told(goodbye(Code::NO_SUCH_TICKET));
    assert!(!gone.keeps());
    let failure = gone.end().unwrap_err();
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::Unavailable, "the call is over"));
}

#[test]
fn a_call_that_the_server_does_not_list_is_over() {
    let mut caller = caller(Mode::Terminal);
    caller.told(admitted());
    caller.told(connected());
    caller.told_with(offline(), 0, 1);
    let acts = caller.told(told(Resumed { calls: Vec::new() }));
    assert_eq!(acts.last(), Some(&Act::Leave));
    assert!(!caller.keeps());
}
