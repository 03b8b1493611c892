//! The program `helpline` as somebody sits before it: what is typed, what is shown, and what the checker has
//! to know of both.

use std::collections::VecDeque;

use helpline_proto::{
    ids::{CallId, Side},
    json::{self, Reader},
    message::Message,
};
use serde_json::json;

use crate::{
    Client, ClientSetup, Event,
    checker::{Checker, PartyId, ScreenId},
};

/// A caller or an operator with `--json`, in one process or in several, one after another.
#[derive(Debug)]
pub struct Person {
    side: Side,
    name: String,
    /// The program; none between two processes.
    pub client: Option<Client>,
    party: PartyId,
    screen: ScreenId,
    /// How many lines of its output were looked at.
    seen: usize,
    typed: usize,
    /// Lines typed of which nothing is known.
    unknown: VecDeque<String>,
    /// The call it is in.
    pub call: Option<CallId>,
    /// Its call, of which the end wasn't shown yet.
    pub unfinished: Option<CallId>,
    /// Lines of others that were shown.
    pub heard: usize,
    /// The link's own state, as it was told last.
    pub link: Link,
}

/// Whether there is a connection, as far as its user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing was told yet.
    None,
    /// There is.
    Up,
    /// It is being made again.
    Reconnecting,
    /// There will be none.
    Lost,
}

impl Person {
    /// Sits down before a program that starts now.
    #[must_use]
    pub fn sit_down(side: Side, name: &str, setup: ClientSetup, checker: &mut Checker) -> Self {
        let party = checker.party(side);
        Self {
            side,
            name: name.to_owned(),
            client: Some(setup.start()),
            party,
            screen: checker.screen_opened(party, None),
            seen: 0,
            typed: 0,
            unknown: VecDeque::new(),
            call: None,
            unfinished: None,
            heard: 0,
            link: Link::None,
        }
    }

    /// Under which name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines it typed of which nobody has said yet whether they are said.
    #[must_use]
    pub fn unknown(&self) -> &VecDeque<String> {
        &self.unknown
    }

    /// How many lines it has typed.
    #[must_use]
    pub fn typed(&self) -> usize {
        self.typed
    }

    /// Goes on numbering lines where an earlier call of the same person was, so that each is unique.
    pub fn goes_on_counting(&mut self, earlier: &Self) {
        self.typed = earlier.typed;
    }

    /// Kills the program, after a last look at its screen. Lines that it may not even have read are excused, but
    /// for those that it `keeps`.
    pub fn kill(&mut self, checker: &mut Checker, keeps: impl Fn(&str) -> bool) {
        let Some(client) = &mut self.client else { return };
        client.kill();
        self.leave(checker);
        for line in self.unknown.iter().filter(|line| !keeps(line)) {
            checker.kept_unsaid(line);
        }
        self.unknown.retain(|line| keeps(line));
    }

    /// Takes a last look at the screen of a program that has ended, or is about to. Returns its exit code.
    pub fn leave(&mut self, checker: &mut Checker) -> Option<i32> {
        let code = self.client.as_mut()?.wait().code;
        self.look(checker);
        self.client = None;
        checker.screen_closed(self.screen);
        Some(code)
    }

    /// Whether its program runs.
    pub fn is_here(&mut self) -> bool {
        self.client.as_mut().is_some_and(|client| client.is_running())
    }

    /// Starts the program again: a new screen, the same person.
    pub fn start_again(&mut self, setup: ClientSetup, checker: &mut Checker) {
        self.screen = checker.screen_opened(self.party, Some(self.screen));
        (self.seen, self.call, self.link) = (0, None, Link::None);
        self.client = Some(setup.start());
    }

    /// Types a line into the call it is in.
    pub fn type_line(&mut self, checker: &mut Checker, filler: usize) {
        let (Some(call), Some(client)) = (self.call, &mut self.client) else { return };
        self.typed += 1;
        let text = format!("{} types {} {}.", self.name, self.typed, "x".repeat(filler));
        checker.typed(self.screen, call, &text);
        let body = json!({"call": call.to_hex(), "text": text});
        client.command(&json!({"kind": "say", "body": body}));
        self.unknown.push_back(text);
    }

    /// Gives a command.
    pub fn command(&mut self, kind: &str) {
        if let Some(client) = &mut self.client {
            client.command(&json!({"kind": kind}));
        }
    }

    /// Looks at what its screen shows since it last did. Returns all of it that isn't an entry.
    pub fn look(&mut self, checker: &mut Checker) -> Vec<Event> {
        let Some(client) = &self.client else { return Vec::new() };
        let lines = client.stdout_from(self.seen);
        self.seen += lines.len();
        let mut events = Vec::new();
        for line in lines {
            // A process that is killed may have written half a line.
            let Some(event) = Event::try_read(&line) else { continue };
            if !self.entry(&line, &event, checker) {
                self.takes(&event, checker);
                events.push(event);
            }
        }
        events
    }

    fn entry(&mut self, line: &str, event: &Event, checker: &mut Checker) -> bool {
        if !["said", "joined", "left", "ended"].contains(&event.kind.as_str()) {
            return false;
        }
        let (_, message) = json::decode(line, Reader::Client)
            .unwrap_or_else(|error| panic!("not an entry: {error}: {line}"));
        checker.shown(self.screen, &message);
        match &message {
            Message::Said(said) if said.from == self.side => {
                self.unknown.retain(|unknown| *unknown != said.text.as_str());
            }
            Message::Said(_) => self.heard += 1,
            Message::Ended(_) => (self.call, self.unfinished) = (None, None),
            _ => {}
        }
        true
    }

    fn takes(&mut self, event: &Event, checker: &mut Checker) {
        match event.kind.as_str() {
            "place" | "connected" => {
                let call = event.body["call"].as_str().unwrap_or_default();
                self.call = Some(CallId::from_hex(call).unwrap());
                self.unfinished = self.call;
                self.link = Link::Up;
            }
            "link.resumed" | "welcome" => self.link = Link::Up,
            "link.reconnecting" => self.link = Link::Reconnecting,
            "link.lost" => self.link = Link::Lost,
            "link.not_said" => {
                let text = event.body["text"].as_str().unwrap_or_default();
                checker.not_said(text, true);
                self.unknown.retain(|unknown| unknown != text);
            }
            _ => {}
        }
    }

    /// Its side of calls.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }
}
