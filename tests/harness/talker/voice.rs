//! One caller or operator.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use helpline_client::Link;
use helpline_proto::{
    code::Code,
    ids::{CallId, Side},
    message::{Message, Ref, SignOff},
    session::{ClientEvent as Event, Lost},
    text::{Name, Text},
};
use tokio::{sync::watch, time::sleep};

use super::{Manner, Shared, dial};
use crate::{
    checker::{PartyId, ScreenId},
    dice::Dice,
};

/// How long somebody waits who could not even ask, before calling again.
const CALL_AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Voice {
    side: Side,
    name: Name,
    address: SocketAddr,
    dice: Dice,
    manner: Manner,
    shared: Arc<Shared>,
    off: watch::Receiver<bool>,
    lines: usize,
}

/// What one is in the middle of.
struct Talk {
    party: PartyId,
    screen: ScreenId,
    admitted: bool,
    offline: Option<Instant>,
    call: Option<CallId>,
    /// The place in the queue.
    position: Option<u32>,
    to_say: usize,
    at_once: usize,
    hung_up: bool,
    wants_off: bool,
}

/// Whether there is more to come.
enum Goes {
    On,
    /// The call is over, and its end was shown.
    Over,
    /// It was never begun.
    Again,
}

impl Voice {
    pub(super) fn new(
        side: Side,
        name: Name,
        address: SocketAddr,
        dice: Dice,
        manner: Manner,
        shared: &Arc<Shared>,
        off: watch::Receiver<bool>,
    ) -> Self {
        Self { side, name, address, dice, manner, shared: Arc::clone(shared), off, lines: 0 }
    }

    /// Calls until it is enough.
    pub(super) async fn call_again_and_again(mut self) {
        while !self.shared.enough.load(SeqCst) {
            let Ok(link) =
                dial(self.side, self.address, self.name.clone(), &self.shared.security).await
            else {
                sleep(CALL_AGAIN).await;
                continue;
            };
            if matches!(self.talk(link).await, Goes::Over) {
                self.shared.calls.fetch_add(1, SeqCst);
            } else {
                sleep(CALL_AGAIN).await;
            }
        }
        self.does("finished".to_owned());
    }

    /// Answers until nobody calls any more.
    pub(super) async fn answer(mut self) {
        loop {
            if let Ok(link) =
                dial(self.side, self.address, self.name.clone(), &self.shared.security).await
                && matches!(self.talk(link).await, Goes::Over)
            {
                break;
            }
            sleep(CALL_AGAIN).await;
        }
        self.does("finished".to_owned());
    }

    fn does(&self, what: String) {
        self.shared.doing.lock().unwrap().insert(self.name.to_string(), (Instant::now(), what));
    }

    async fn talk(&mut self, mut link: Link) -> Goes {
        let mut talk = self.sit_down();
        let goes = loop {
            let mut off = self.off.clone();
            let event = tokio::select! {
                event = link.next() => event,
                _ = off.wait_for(|off| *off), if !talk.wants_off && talk.call.is_none() => {
                    talk.wants_off = true;
                    self.sign_off(&mut talk, &mut link);
                    continue;
                }
            };
            let Some(event) = event else { break Goes::Over };
            match self.takes(&mut talk, &mut link, event) {
                Goes::On => {}
                goes => break goes,
            }
            self.speak(&mut talk, &mut link);
            self.does(talk.describe(&link));
        };
        if talk.offline.take().is_some() {
            self.shared.offline.fetch_sub(1, SeqCst);
        }
        link.close().await;
        goes
    }

    fn sit_down(&mut self) -> Talk {
        let mut checker = self.shared.checker();
        let party = checker.party(self.side);
        let screen = checker.screen_opened(party, None);
        Talk {
            party,
            screen,
            admitted: false,
            offline: None,
            call: None,
            position: None,
            to_say: 0,
            at_once: 1 + self.dice.below(self.manner.at_once),
            hung_up: false,
            wants_off: false,
        }
    }

    fn sign_off(&self, talk: &mut Talk, link: &mut Link) {
        if self.side == Side::Operator {
            self.shared.checker().wants_off(talk.party);
            link.request(SignOff {}.into(), Ref::NONE);
        }
    }

    fn takes(&mut self, talk: &mut Talk, link: &mut Link, event: Event) -> Goes {
        match event {
            Event::Welcomed(_) => {}
            Event::Told(_, message) => return self.told(talk, link, &message),
            Event::NotSaid { text, why, .. } => {
                self.shared.checker().not_said(text.as_str(), why.is_some());
            }
            Event::Offline(_) => {
                // There is one more for each attempt that fails.
                if talk.offline.is_none() {
                    talk.offline = Some(Instant::now());
                    self.shared.offline.fetch_add(1, SeqCst);
                }
            }
            // Who was never let in has nothing to lose.
            Event::Over(_) if !talk.admitted => return Goes::Again,
            Event::Over(Lost::Goodbye(goodbye))
                if talk.wants_off && [Code::DONE, Code::NO_SUCH_TICKET].contains(&goodbye.code) =>
            {
                return Goes::Over;
            }
            Event::Over(lost) => {
                let call = talk.call;
                self.shared.found(format!("{}, in {call:?}, lost it for good: {lost}", self.name));
                return Goes::Over;
            }
        }
        Goes::On
    }

    fn told(&mut self, talk: &mut Talk, link: &mut Link, message: &Message) -> Goes {
        let own = self.entry(talk, message);
        match message {
            Message::Busy(_) | Message::Closed(_) => {}
            // Somebody who resumes is told which calls go on before it is on the line.
            Message::Admitted(_) if !talk.admitted => {
                talk.admitted = true;
                self.is_back(talk);
            }
            Message::Resumed(resumed) => {
                self.is_back(talk);
                let lost = talk
                    .call
                    .is_some_and(|call| !resumed.calls.iter().any(|listed| listed.call == call));
                if lost {
                    self.shared.found(format!("{} has lost {:?}", self.name, talk.call));
                }
                if talk.wants_off {
                    self.sign_off(talk, link);
                }
            }
            Message::Place(place) => {
                if talk.position.is_some_and(|last| last < place.position) {
                    let what = format!("{:?} was its place before {place:?}", talk.position);
                    self.shared.found(what);
                }
                talk.position = Some(place.position);
                self.opened(talk, place.call);
            }
            Message::Connected(connected) => {
                talk.position = None;
                self.opened(talk, connected.call);
            }
            Message::Said(_) if own => {
                self.shared.said.fetch_add(1, SeqCst);
            }
            Message::Said(said) if self.side == Side::Operator => {
                talk.to_say += usize::from(self.dice.chance(60));
                if self.dice.below(10 * self.manner.lines) == 0 {
                    let _ = link.hang_up(said.call, Ref::NONE);
                }
            }
            Message::Ended(ended) => {
                link.shown(ended.call, ended.seq);
                talk.call = None;
                if self.side == Side::Caller {
                    return Goes::Over;
                }
            }
            Message::PutBack(put_back) => {
                self.shared.found(format!("{put_back:?}, though nobody was away for long"));
            }
            _ => {}
        }
        Goes::On
    }

    /// Shows an entry. True if this side said it.
    fn entry(&self, talk: &Talk, message: &Message) -> bool {
        let entry = matches!(
            message,
            Message::Said(_) | Message::Joined(_) | Message::Left(_) | Message::Ended(_)
        );
        if entry {
            self.shared.shown.fetch_add(1, SeqCst);
            self.shared.checker().shown(talk.screen, message);
        }
        matches!(message, Message::Said(said) if said.from == self.side)
    }

    fn is_back(&self, talk: &mut Talk) {
        if let Some(since) = talk.offline.take() {
            self.shared.offline.fetch_sub(1, SeqCst);
            self.shared.resumed.lock().unwrap().push((since, Instant::now()));
        }
    }

    fn opened(&mut self, talk: &mut Talk, call: CallId) {
        if talk.call == Some(call) {
            return;
        }
        if let Some(other) = talk.call.replace(call) {
            self.shared.found(format!("{} is in {other}, and in {call}", self.name));
        }
        talk.hung_up = false;
        let lines = self.manner.lines;
        talk.to_say = match self.side {
            Side::Caller => lines.div_ceil(10) + self.dice.below(lines),
            Side::Operator => 0,
        };
    }

    fn speak(&mut self, talk: &mut Talk, link: &mut Link) {
        let Some(call) = talk.call.filter(|_| !talk.hung_up) else { return };
        let enough = self.shared.enough.load(SeqCst) && self.side == Side::Caller;
        while talk.to_say > 0 && link.unsaid() < talk.at_once && !enough {
            talk.to_say -= 1;
            self.lines += 1;
            let filler = if self.dice.chance(3) { 2000 } else { 60 };
            let filler = "x".repeat(self.dice.below(filler));
            let text = format!("{} says {} {filler}.", self.name, self.lines);
            let mut checker = self.shared.checker();
            if link.say(call, Text::new(text.as_str()).unwrap(), Ref::NONE).is_err() {
                talk.to_say = 0;
                break;
            }
            checker.typed(talk.screen, call, &text);
        }
        // Some hang up as soon as all is typed, and some once they know it is said.
        let done = talk.to_say == 0 || enough;
        if self.side == Side::Caller && done && (link.unsaid() == 0 || self.dice.chance(10)) {
            talk.hung_up = true;
            let _ = link.hang_up(call, Ref::NONE);
        }
    }
}

impl Talk {
    fn describe(&self, link: &Link) -> String {
        format!(
            "{link:?}, call {:?}, place {:?}, offline {:?}, {} to say, {} unsaid, hung up {}, wants off {}",
            self.call,
            self.position,
            self.offline.map(|since| since.elapsed()),
            self.to_say,
            link.unsaid(),
            self.hung_up,
            self.wants_off,
        )
    }
}
