//! The operator's part: what follows from an event or something entered.
//!
//! ```text
//!              Admitted       Connected
//! SigningOn ─────────────► On ◄────────► in calls
//!                          │     Ended
//!                          └── ^D, ^C, end of input ──► SigningOff ── Goodbye ──►
//! ```

use std::collections::BTreeMap;

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::Code,
    ids::{Answering, CallId, Nonce, Side},
    message::{
        Admitted, Answer, Connected, Message, Next, Offer, Pause, Ready, Ref, SignOff, Withdrawn,
    },
    session::{ClientEvent, Lost},
    text::Text,
};

use crate::json::{self, Local};

use super::{
    act::{Act, Entered, Listens, Mode, Part, Show, note, problem},
    caller::{entry_said, not_said, refusal},
    failure,
    input::{self, Ask, Asked, ByeWord, Refused},
    words,
};

/// Where an operator sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A desk of one's own: leaving it is signing off.
    Desk,
    /// The console of the server, which ends with the server.
    Console,
}

/// What is said about a desk from outside.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) mode: Mode,
    pub(crate) seat: Seat,
    pub(crate) answering: Answering,
    /// What was dialled, for messages.
    pub(crate) server: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    SigningOn,
    On,
    SigningOff,
    Over,
}

/// A call that isn't over.
#[derive(Debug)]
struct Talk {
    /// The caller's name, as it is shown.
    peer: String,
    /// The operator's side of the call before this nonce was somebody else.
    own_from: Nonce,
    hung_up: bool,
    /// ^C was pressed once.
    warned: bool,
}

/// The operator's part.
#[derive(Debug)]
pub(crate) struct Operator {
    manner: Manner,
    stage: Stage,
    talks: BTreeMap<CallId, Talk>,
    offer: Option<CallId>,
    on_break: bool,
    input_ended: bool,
    /// Lines lost with the connection.
    lost: usize,
    end: Result<Exit, Failure>,
}

impl Operator {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            stage: Stage::SigningOn,
            talks: BTreeMap::new(),
            offer: None,
            on_break: false,
            input_ended: false,
            lost: 0,
            end: Ok(Exit::Interrupted),
        }
    }

    fn is_json(&self) -> bool {
        self.manner.mode == Mode::Json
    }

    fn message(&mut self, message: &Message) -> Vec<Act> {
        match message {
            Message::Admitted(admitted) => {
                self.stage = Stage::On;
                self.signed_on(admitted)
            }
            Message::Connected(connected) => self.connected(connected),
            Message::Said(said) => {
                let talk = self.talks.get(&said.call);
                let is_own = said.from == Side::Operator
                    && talk.is_some_and(|talk| said.nonce >= talk.own_from);
                entry_said(self.manner.mode, said, is_own)
            }
            Message::Joined(joined) => vec![Act::Shown(joined.call, joined.seq)],
            // One's own leaving is no news.
            Message::Left(left) if self.stage == Stage::SigningOff => {
                vec![Act::Shown(left.call, left.seq)]
            }
            Message::Left(left) => {
                let who = words::name(&left.name, left.from);
                vec![note(format!("{who} left")), Act::Shown(left.call, left.seq)]
            }
            Message::Ended(ended) => {
                let talk = self.talks.remove(&ended.call);
                let peer = talk.as_ref().map(|talk| talk.peer.as_str());
                let shown = words::ended(ended, Side::Operator, peer);
                let mut acts = vec![note(shown), Act::Shown(ended.call, ended.seq)];
                if self.input_ended {
                    acts.extend(self.sign_off_if_free());
                }
                acts
            }
            Message::Offer(offer) => self.offered(offer),
            Message::Withdrawn(withdrawn) => self.withdrawn(withdrawn),
            Message::Error(error) => vec![problem(words::error(error))],
            _ => Vec::new(),
        }
    }

    fn signed_on(&self, Admitted { line, name, greeting }: &Admitted) -> Vec<Act> {
        let Manner { mode, seat, answering, .. } = self.manner;
        let by_itself = answering == Answering::ByItself;
        if seat == Seat::Console {
            return vec![note("callers are connected one after another; /help lists the commands")];
        }
        let mut acts = vec![note(format!("signed on to line {line} as {name}"))];
        acts.extend(greeting.iter().map(|greeting| note(greeting.as_str())));
        match mode {
            Mode::Terminal | Mode::Plain => acts.push(note(if by_itself {
                "callers are connected one after another; /help lists the commands"
            } else {
                "/next answers a caller; /help lists the commands"
            })),
            Mode::Pipe if !by_itself => acts.push(problem(
                "no caller can be answered here: add --auto to be given callers, or --json to ask for them",
            )),
            Mode::Pipe | Mode::Json => {}
        }
        acts
    }

    fn connected(&mut self, connected: &Connected) -> Vec<Act> {
        let peer = words::name(&connected.peer, Side::Caller);
        let line = format!("on the line with {peer}");
        self.offer = self.offer.filter(|call| *call != connected.call);
        let own_from = connected.next_nonce;
        let talk = Talk { peer, own_from, hung_up: false, warned: false };
        self.talks.insert(connected.call, talk);
        vec![note(line)]
    }

    fn offered(&mut self, offer: &Offer) -> Vec<Act> {
        self.offer = Some(offer.call);
        let who = words::name(&offer.name, Side::Caller);
        let line = format!("{who} is waiting ({} waiting)", offer.waiting);
        if self.manner.mode.is_person() {
            vec![Act::Show(Show::Ring(format!("{line}; /next answers")))]
        } else {
            vec![note(line)]
        }
    }

    fn withdrawn(&mut self, withdrawn: &Withdrawn) -> Vec<Act> {
        if self.offer != Some(withdrawn.call) {
            return Vec::new();
        }
        self.offer = None;
        if self.on_break {
            // The caller waits on; it is the operator who doesn't.
            return Vec::new();
        }
        let who = words::name(&withdrawn.name, Side::Caller);
        vec![note(format!("{who} is no longer waiting ({} waiting)", withdrawn.waiting))]
    }

    fn over(&mut self, lost: &Lost) -> Vec<Act> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let server = self.manner.server.as_str();
        let mut acts = Vec::new();
        self.end = match (stage, lost) {
            (Stage::SigningOff, Lost::Goodbye(goodbye)) if goodbye.code == Code::DONE => {
                Ok(Exit::Ok)
            }
            // It ends with its server, which says why.
            (_, Lost::Goodbye(_) | Lost::Broken) if self.manner.seat == Seat::Console => {
                Ok(Exit::Ok)
            }
            (Stage::SigningOn, lost) => Err(failure::not_let_in(server, lost)),
            (_, lost) => Err(failure::lost(server, lost)),
        };
        if self.end.is_err() && stage != Stage::SigningOn && self.is_json() {
            acts.extend(json::lost(self.lost).map(|line| Act::Show(Show::Json(line))));
        }
        acts.push(Act::Leave);
        acts
    }

    fn line(&mut self, line: &str) -> Vec<Act> {
        match input::read(line, self.manner.mode, Side::Operator, ByeWord::HangsUp) {
            Ok(asked) => self.asked(asked),
            Err(refused) => refusal(self.manner.mode, &refused),
        }
    }

    fn asked(&mut self, asked: Asked) -> Vec<Act> {
        let Asked { ask, call, reference } = asked;
        match ask {
            Ask::Nothing => Vec::new(),
            Ask::Say(text) => self.say(text, call, reference),
            Ask::Bye(word) => {
                if self.is_json() || !self.talks.is_empty() {
                    let mut acts = self.say(word, call, reference);
                    if let Ok(call) = self.which(call) {
                        acts.extend(self.hang_up(call, Ref::NONE));
                    }
                    return acts;
                }
                vec![problem(match self.manner.seat {
                    Seat::Desk => "nobody is on the line; ^D signs off",
                    Seat::Console => "nobody is on the line; ^C ends the server",
                })]
            }
            Ask::HangUp => match self.which(call) {
                Ok(call) => self.hang_up(call, reference),
                Err(why) => self.refused(reference, why),
            },
            Ask::Typing => match self.which(call) {
                Ok(call) => vec![Act::Typing(call)],
                Err(why) => self.refused(reference, why),
            },
            Ask::Answer(call) => vec![Act::Request(Answer { call }.into(), reference)],
            // These are about no call; one that is named must at least be current.
            Ask::Next | Ask::Ready | Ask::Pause if call.is_some() && self.which(call).is_err() => {
                self.refused(reference, Local::NoSuchCall)
            }
            Ask::Next => vec![Act::Request(Next {}.into(), reference)],
            Ask::Ready => {
                self.on_break = false;
                vec![Act::Request(Ready {}.into(), reference), note("ready for callers")]
            }
            Ask::Pause => {
                self.on_break = true;
                vec![
                    Act::Request(Pause {}.into(), reference),
                    note("a break: no callers come until /ready"),
                ]
            }
            Ask::Help => vec![note(match self.manner.seat {
                Seat::Desk => words::OPERATOR_HELP,
                Seat::Console => words::CONSOLE_HELP,
            })],
        }
    }

    /// The call that is meant: the one named, or the only one there is.
    fn which(&self, call: Option<CallId>) -> Result<CallId, Local> {
        let mut calls = self.talks.keys().copied();
        match call {
            Some(call) if self.talks.contains_key(&call) => Ok(call),
            Some(_) => Err(Local::NoSuchCall),
            None => match (calls.next(), calls.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Local::WhichCall),
            },
        }
    }

    fn refused(&self, reference: Ref, code: Local) -> Vec<Act> {
        let detail = match code {
            Local::WhichCall => "name a call: there isn't exactly one",
            _ => "that call is not current",
        };
        refusal(self.manner.mode, &Refused { reference, code, detail: detail.to_owned() })
    }

    fn say(&mut self, text: Text, call: Option<CallId>, reference: Ref) -> Vec<Act> {
        let meant = match self.which(call) {
            Ok(meant) => meant,
            Err(why) => {
                let mut acts = not_said(self.manner.mode, call, &text, reference, why);
                if self.manner.mode.is_person() {
                    acts.push(note("nobody is on the line"));
                }
                return acts;
            }
        };
        vec![Act::Say { call: meant, text, reference }]
    }

    fn hang_up(&mut self, call: CallId, reference: Ref) -> Vec<Act> {
        if let Some(talk) = self.talks.get_mut(&call) {
            talk.hung_up = true;
        }
        vec![Act::HangUp { call, reference }]
    }

    /// ^D on an empty line: the current call ends, or the desk is left.
    fn end_of_line(&mut self) -> Vec<Act> {
        let open = self.talks.iter().find(|(_, talk)| !talk.hung_up).map(|(call, _)| *call);
        match (open, self.manner.seat) {
            (Some(call), _) => self.hang_up(call, Ref::NONE),
            // The end of the last call is under way.
            (None, _) if !self.talks.is_empty() => Vec::new(),
            (None, Seat::Console) => vec![note("nobody is on the line; ^C ends the server")],
            (None, Seat::Desk) => self.sign_off(),
        }
    }

    fn interrupted(&mut self, draft: &str) -> Vec<Act> {
        let mut acts = Vec::new();
        if !draft.trim().is_empty() {
            acts.push(note(words::not_said(draft)));
        }
        let unwarned = self.talks.values_mut().find(|talk| !talk.warned && !talk.hung_up);
        match (self.stage, unwarned) {
            (Stage::SigningOn | Stage::SigningOff | Stage::Over, _) => acts.push(Act::Leave),
            (Stage::On, Some(talk)) => {
                talk.warned = true;
                acts.push(Act::Show(Show::Warning(format!(
                    "on the line with {}: ^C again lets them wait for somebody else, and signs off",
                    talk.peer
                ))));
            }
            (Stage::On, None) => acts.extend(self.sign_off()),
        }
        acts
    }

    fn sign_off(&mut self) -> Vec<Act> {
        if self.stage != Stage::On {
            return Vec::new();
        }
        self.stage = Stage::SigningOff;
        vec![Act::Request(SignOff {}.into(), Ref::NONE)]
    }

    fn sign_off_if_free(&mut self) -> Vec<Act> {
        if self.talks.is_empty() { self.sign_off() } else { Vec::new() }
    }
}

impl Part for Operator {
    fn told(&mut self, event: ClientEvent) -> Vec<Act> {
        let json = self.is_json().then(|| json::event(&event)).flatten();
        let mut acts: Vec<Act> = json.map(|line| Act::Show(Show::Json(line))).into_iter().collect();
        match event {
            ClientEvent::Welcomed(welcome) => {
                tracing::debug!("the server speaks version {}", welcome.version.0);
            }
            ClientEvent::Told(_, message) => acts.extend(self.message(&message)),
            ClientEvent::NotSaid { text, why, .. } => {
                self.lost += usize::from(why.is_none());
                acts.push(problem(words::unsaid(text.as_str(), why)));
            }
            ClientEvent::Over(lost) => acts.extend(self.over(&lost)),
        }
        acts
    }

    fn entered(&mut self, entered: Entered) -> Vec<Act> {
        match entered {
            Entered::Line(line) => self.line(&line),
            Entered::TooLong => refusal(self.manner.mode, &input::too_long()),
            Entered::Interrupt { draft } => self.interrupted(&draft),
            Entered::Closed => match self.stage {
                Stage::On => self.sign_off(),
                Stage::SigningOn | Stage::SigningOff | Stage::Over => vec![Act::Leave],
            },
            Entered::End if self.manner.mode.is_person() => self.end_of_line(),
            Entered::End => {
                self.input_ended = true;
                let mut acts = vec![Act::Request(Pause {}.into(), Ref::NONE)];
                acts.extend(self.sign_off_if_free());
                acts
            }
        }
    }

    fn listens(&self) -> Listens {
        let takes_lines = match self.manner.mode {
            Mode::Terminal | Mode::Plain | Mode::Json => true,
            Mode::Pipe => self.talks.values().any(|talk| !talk.hung_up),
        };
        match (self.stage, self.input_ended, takes_lines) {
            (Stage::On, false, true) => Listens::Yes,
            (Stage::On, false, false) => Listens::ForTheEnd,
            _ => Listens::No,
        }
    }

    fn talks_in(&self) -> Option<CallId> {
        self.which(None).ok()
    }

    fn end(self) -> Result<Exit, Failure> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        code::Why,
        ids::{By, Resumable, Seq},
        message::{Ended, Goodbye, Said},
        text::{Detail, LineName, Name},
        time::UnixMillis,
    };

    use super::*;

    const CALL: CallId = CallId([1; 16]);
    const OTHER: CallId = CallId([2; 16]);

    /// An operator who is signed on.
    fn operator(mode: Mode, seat: Seat, answering: Answering) -> Operator {
        let server = "here:8001".to_owned();
        let mut operator = Operator::new(Manner { mode, seat, answering, server });
        let admitted = Admitted {
            line: LineName::new("main").unwrap(),
            name: Name::new("Wei").unwrap(),
            greeting: None,
        };
        operator.told(told(admitted));
        operator
    }

    fn desk(mode: Mode) -> Operator {
        operator(mode, Seat::Desk, Answering::ByHand)
    }

    fn told(message: impl Into<Message>) -> ClientEvent {
        ClientEvent::Told(Ref::NONE, message.into())
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
        let admitted = || {
            told(Admitted {
                line: LineName::new("main").unwrap(),
                name: Name::new("Wei").unwrap(),
                greeting: None,
            })
        };
        let problems = |answering, mode| {
            let server = "here:8001".to_owned();
            let manner = Manner { mode, seat: Seat::Desk, answering, server };
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
}
