//! The caller's part: what follows from an event or something entered.
//!
//! ```text
//!           Place             Connected
//! Joining ─────────► Waiting ◄─────────► Talking ─────► Over
//!    └──────────────────┴── Left, Place ────┴────────────┘
//!        Busy, Closed, Ended, or the connection is lost
//! ```

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    ids::{By, CallId, Side},
    limits,
    message::{Admitted, Ended, Message, Ref, Said},
    session::{ClientEvent, Lost},
    text::Text,
};

use crate::json::{self, Local};

use super::{
    act::{Act, Entered, Listens, Mode, Part, Show, note, problem},
    failure,
    input::{self, Ask, ByeWord, Refused},
    words,
};

/// More lines than this take longer than a second at the rate servers usually allow.
const MANY: usize = limits::SAYS_A_SECOND as usize;

/// What the command line says about a call.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) mode: Mode,
    pub(crate) bye: ByeWord,
    /// Hang up after the end of the input, once an operator has answered and all is said.
    pub(crate) bye_at_end: bool,
    /// What was dialled, for messages.
    pub(crate) server: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Waiting,
    Talking,
    Over,
}

/// The caller's part.
#[derive(Debug)]
pub(crate) struct Caller {
    manner: Manner,
    stage: Stage,
    call: Option<CallId>,
    /// The other side's name, as it is shown.
    peer: Option<String>,
    answered: bool,
    hung_up: bool,
    input_ended: bool,
    /// Lines under way.
    unsaid: usize,
    /// Lines lost with the connection.
    lost: usize,
    /// Some line will not be said.
    not_said: bool,
    end: Result<Exit, Failure>,
}

impl Caller {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            stage: Stage::Joining,
            call: None,
            peer: None,
            answered: false,
            hung_up: false,
            input_ended: false,
            unsaid: 0,
            lost: 0,
            not_said: false,
            end: Ok(Exit::Interrupted),
        }
    }

    fn is_json(&self) -> bool {
        self.manner.mode == Mode::Json
    }

    fn message(&mut self, message: &Message) -> Vec<Act> {
        match message {
            Message::Admitted(admitted) => greeting(admitted),
            Message::Place(place) => {
                self.stage = Stage::Waiting;
                self.call = Some(place.call);
                vec![note(words::place(place))]
            }
            Message::Connected(connected) => {
                let peer = words::name(&connected.peer, Side::Operator);
                let line = format!("on the line with {peer}");
                self.stage = Stage::Talking;
                self.call = Some(connected.call);
                self.peer = Some(peer);
                self.answered = true;
                vec![note(line)]
            }
            Message::Said(said) => {
                let is_own = said.from == Side::Caller;
                if is_own {
                    self.unsaid = self.unsaid.saturating_sub(1);
                }
                entry_said(self.manner.mode, said, is_own)
            }
            Message::Joined(joined) => vec![Act::Shown(joined.call, joined.seq)],
            Message::Left(left) => {
                let mut acts = Vec::new();
                if left.from == Side::Operator {
                    self.stage = Stage::Waiting;
                    let who = words::name(&left.name, left.from);
                    acts.push(note(format!("{who} left; you wait again")));
                }
                acts.push(Act::Shown(left.call, left.seq));
                acts
            }
            Message::Ended(ended) => self.ended(ended),
            Message::Busy(busy) => self.over(Err(failure::busy(busy))),
            Message::Closed(closed) => self.over(Err(failure::closed(closed))),
            Message::Error(error) => vec![problem(words::error(error))],
            _ => Vec::new(),
        }
    }

    fn ended(&mut self, ended: &Ended) -> Vec<Act> {
        let shown = words::ended(ended, Side::Caller, self.peer.as_deref());
        let end = match (ended.by, self.stage) {
            (By::Server, Stage::Talking) => Err(failure::stopped_in_call()),
            (By::Server, _) => Err(failure::stopped_while_waiting()),
            (By::Caller | By::Operator, _) if self.answered => Ok(Exit::Ok),
            (By::Caller | By::Operator, _) => Ok(Exit::Interrupted),
        };
        let mut acts = vec![note(shown), Act::Shown(ended.call, ended.seq)];
        acts.extend(self.over(end));
        acts
    }

    fn over(&mut self, end: Result<Exit, Failure>) -> Vec<Act> {
        self.stage = Stage::Over;
        self.end = end;
        vec![Act::Leave]
    }

    fn lost(&mut self, lost: &Lost) -> Vec<Act> {
        let was_in = self.stage != Stage::Joining;
        let mut acts = Vec::new();
        if was_in && self.is_json() {
            acts.extend(json::lost(self.lost).map(|line| Act::Show(Show::Json(line))));
        }
        let end = if was_in {
            failure::lost(&self.manner.server, lost)
        } else {
            failure::not_let_in(&self.manner.server, lost)
        };
        acts.extend(self.over(Err(end)));
        acts
    }

    fn line(&mut self, line: &str) -> Vec<Act> {
        let (mode, bye) = (self.manner.mode, self.manner.bye);
        match input::read(line, mode, Side::Caller, bye) {
            Ok(asked) => match asked.ask {
                Ask::Say(text) => self.say(text, asked.call, asked.reference),
                Ask::Bye(word) => {
                    let mut acts = self.say(word, asked.call, asked.reference);
                    acts.extend(self.hang_up(Ref::NONE));
                    acts
                }
                Ask::HangUp if !self.is_current(asked.call) => {
                    self.refused(&no_such_call(asked.reference))
                }
                Ask::HangUp => self.hang_up(asked.reference),
                Ask::Typing if !self.is_current(asked.call) => {
                    self.refused(&no_such_call(asked.reference))
                }
                Ask::Typing => self.talks_in().map(Act::Typing).into_iter().collect(),
                Ask::Help => vec![note(words::CALLER_HELP)],
                // Operators' requests are not read for a caller.
                Ask::Nothing | Ask::Next | Ask::Answer(_) | Ask::Ready | Ask::Pause => Vec::new(),
            },
            Err(refused) => self.refused(&refused),
        }
    }

    fn is_current(&self, call: Option<CallId>) -> bool {
        call.is_none() || call == self.call
    }

    fn say(&mut self, text: Text, call: Option<CallId>, reference: Ref) -> Vec<Act> {
        let current = self.call.filter(|_| self.stage != Stage::Over);
        let Some(current) = current.filter(|_| self.is_current(call)) else {
            let why = if self.is_current(call) { Local::CallEnded } else { Local::NoSuchCall };
            self.not_said = true;
            return not_said(self.manner.mode, call.or(self.call), &text, reference, why);
        };
        self.unsaid += 1;
        vec![Act::Say { call: current, text, reference }]
    }

    fn hang_up(&mut self, reference: Ref) -> Vec<Act> {
        let Some(call) = self.call.filter(|_| self.stage != Stage::Over) else {
            return Vec::new();
        };
        self.hung_up = true;
        vec![Act::HangUp { call, reference }]
    }

    fn refused(&mut self, refused: &Refused) -> Vec<Act> {
        if self.manner.mode == Mode::Pipe {
            // There is nobody to correct it.
            self.not_said = true;
        }
        refusal(self.manner.mode, refused)
    }

    fn interrupted(&mut self, draft: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        if !draft.trim().is_empty() {
            acts.push(note(words::not_said(draft)));
        }
        if self.call.is_none() || self.hung_up || self.stage == Stage::Over {
            // Nothing to hang up, or the server takes its time: the connection's end says it too.
            self.end = Ok(Exit::Interrupted);
            acts.push(Act::Leave);
        } else {
            if self.unsaid > MANY {
                let lines = self.unsaid;
                acts.push(note(format!("{lines} lines are said first; ^C again leaves without")));
            }
            acts.extend(self.hang_up(Ref::NONE));
        }
        acts
    }

    /// Hangs up if nothing keeps this call open any more.
    fn hang_up_if_done(&mut self) -> Vec<Act> {
        let is_done = self.manner.bye_at_end
            && !self.manner.mode.is_person()
            && self.input_ended
            && self.answered
            && self.unsaid == 0
            && !self.hung_up;
        if is_done { self.hang_up(Ref::NONE) } else { Vec::new() }
    }
}

impl Part for Caller {
    fn told(&mut self, event: ClientEvent) -> Vec<Act> {
        let json = self.is_json().then(|| json::event(&event)).flatten();
        let mut acts: Vec<Act> = json.map(|line| Act::Show(Show::Json(line))).into_iter().collect();
        match event {
            ClientEvent::Welcomed(welcome) => {
                tracing::debug!("the server speaks version {}", welcome.version.0);
            }
            ClientEvent::Told(_, message) => acts.extend(self.message(&message)),
            ClientEvent::NotSaid { text, why, .. } => {
                self.unsaid = self.unsaid.saturating_sub(1);
                self.lost += usize::from(why.is_none());
                self.not_said = true;
                acts.push(problem(words::unsaid(text.as_str(), why)));
            }
            ClientEvent::Over(lost) => acts.extend(self.lost(&lost)),
        }
        acts.extend(self.hang_up_if_done());
        acts
    }

    fn entered(&mut self, entered: Entered) -> Vec<Act> {
        match entered {
            Entered::Line(line) => self.line(&line),
            Entered::TooLong => self.refused(&input::too_long()),
            Entered::Interrupt { draft } => self.interrupted(&draft),
            Entered::Closed => self.interrupted(""),
            Entered::End if self.manner.mode.is_person() => {
                if self.hung_up {
                    Vec::new()
                } else {
                    self.hang_up(Ref::NONE)
                }
            }
            Entered::End => {
                self.input_ended = true;
                self.hang_up_if_done()
            }
        }
    }

    fn listens(&self) -> Listens {
        let is_done = self.input_ended || (self.hung_up && self.manner.mode == Mode::Pipe);
        if self.call.is_none() || is_done { Listens::No } else { Listens::Yes }
    }

    fn talks_in(&self) -> Option<CallId> {
        self.call.filter(|_| self.stage == Stage::Talking)
    }

    fn end(self) -> Result<Exit, Failure> {
        match self.end {
            Ok(Exit::Ok) if self.not_said => Ok(Exit::Other),
            end => end,
        }
    }
}

fn greeting(admitted: &Admitted) -> Vec<Act> {
    admitted.greeting.iter().map(|greeting| note(greeting.as_str())).collect()
}

fn no_such_call(reference: Ref) -> Refused {
    let detail = "that call is not current".to_owned();
    Refused { reference, code: Local::NoSuchCall, detail }
}

/// Shows what was said. An own line stands on an edited terminal only once it is said, in its place
/// among the others; a terminal without editing shows it as it was typed, and programs know it.
pub(super) fn entry_said(mode: Mode, said: &Said, is_own: bool) -> Vec<Act> {
    let (name, text) = (said.name.clone(), said.text.clone());
    let show = match (is_own, mode) {
        (false, _) => Some(Show::Said { name, from: said.from, text }),
        (true, Mode::Terminal) => Some(Show::Own(text)),
        (true, _) => None,
    };
    let shown = Act::Shown(said.call, said.seq);
    show.map(Act::Show).into_iter().chain([shown]).collect()
}

/// Shows what can't be understood or done.
pub(super) fn refusal(mode: Mode, refused: &Refused) -> Vec<Act> {
    let Refused { reference, code, detail } = refused;
    if mode == Mode::Json {
        let line = json::error(*reference, *code, detail);
        return line.map(|line| Act::Show(Show::Json(line))).into_iter().collect();
    }
    let not_said = if *code == Local::TooLong { "not said: " } else { "" };
    vec![problem(format!("{not_said}{detail}"))]
}

/// Shows a line that can't be said.
pub(super) fn not_said(
    mode: Mode,
    call: Option<CallId>,
    text: &Text,
    reference: Ref,
    why: Local,
) -> Vec<Act> {
    if mode != Mode::Json {
        return vec![problem(words::not_said(text.as_str()))];
    }
    let detail = match why {
        Local::WhichCall => "name a call: there isn't exactly one",
        Local::CallEnded => "the call has ended",
        _ => "that call is not current",
    };
    let error = json::error(reference, why, detail);
    let not_said = json::not_said(reference, call, text.as_str(), why.name());
    error.into_iter().chain(not_said).map(|line| Act::Show(Show::Json(line))).collect()
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        code::{Code, Why},
        error::{DecodeError, FrameError},
        ids::{Nonce, Resumable, Seq},
        message::{Busy, Connected, Goodbye, Left, Place, Said},
        text::{Detail, Name},
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
            (vec![goodbye(Code::NO_SUCH_LINE)], Exit::NoPermission),
            (vec![goodbye(Code::NO_COMMON_VERSION)], Exit::Protocol),
            (vec![goodbye(Code::STOPPING)], Exit::TempFail),
            (vec![place(), goodbye(Code::SILENT)], Exit::Unavailable),
            (vec![ClientEvent::Over(Lost::NoAnswer)], Exit::Unavailable),
            (vec![place(), ClientEvent::Over(Lost::Broken)], Exit::Unavailable),
            (
                vec![ClientEvent::Over(Lost::NotHelpline(DecodeError::Frame(
                    FrameError::TooShort { length: 1 },
                )))],
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
    fn a_lost_connection_counts_the_lines_of_unknown_fate() {
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
        assert_eq!(caller.told(connected()), [note("on the line with Wei")]);
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
        assert!(
            matches!(&lines[..], [Act::Show(Show::Json(error)), Act::Show(Show::Json(not_said))]
            if error.contains("no_such_call") && not_said.contains("link.not_said"))
        );
        assert_eq!(caller.listens(), Listens::Yes);
    }
}
