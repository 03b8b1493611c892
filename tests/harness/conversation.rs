//! One short conversation, always the same: the caller asks twice, has two answers and hangs up; then the
//! operator signs off.

use std::{net::SocketAddr, path::Path, sync::Mutex, time::Duration};

use helpline_client::{Link, Security};
use helpline_proto::{
    code::Code,
    ids::{CallId, Side},
    message::{Message, Ref, SignOff},
    session::{ClientEvent as Event, Lost},
    text::{Name, Text},
};
use tokio::time::{sleep, timeout};

use crate::{
    PATIENCE, Transcripts,
    checker::{Checker, ScreenId},
    talker::dial,
};

/// Questions, and answers to them.
const LINES: usize = 2;

/// How long somebody waits who could not even ask, before trying again.
const AGAIN: Duration = Duration::from_millis(20);

/// Has it between a caller and an operator who reach the server there, with nobody else on the line, and judges
/// it by what the database keeps.
///
/// # Errors
/// What may not be.
pub async fn converse(
    caller: SocketAddr,
    operator: SocketAddr,
    file: &Path,
    security: &Security,
) -> Result<(), String> {
    let checker = Mutex::new(Checker::new());
    let part = |side, address| Part::new(side, address, security, &checker);
    let (caller, operator) = (part(Side::Caller, caller), part(Side::Operator, operator));
    let both = async { tokio::join!(caller.play(), operator.play()) };
    let (call, other) =
        timeout(PATIENCE, both).await.map_err(|_| "they don't come to an end".to_owned())?;
    let (call, other) = (call?, other?);
    if call != other {
        return Err(format!("one was in {call:?}, the other in {other:?}"));
    }
    let call = call.ok_or("there was no call")?;
    let kept = Transcripts::of(file, call).map_err(|error| error.to_string())?;
    if kept.said() != 2 * LINES {
        return Err(format!("{kept:?}"));
    }
    let mut checker = checker.into_inner().map_err(|error| error.to_string())?;
    kept.tell(&mut checker);
    checker.finish().map_err(|violation| violation.to_string())
}

struct Part<'a> {
    side: Side,
    address: SocketAddr,
    security: &'a Security,
    checker: &'a Mutex<Checker>,
    admitted: bool,
    call: Option<CallId>,
    /// Lines said.
    said: usize,
    /// Lines heard.
    heard: usize,
    /// The end was shown.
    over: bool,
}

impl<'a> Part<'a> {
    fn new(
        side: Side,
        address: SocketAddr,
        security: &'a Security,
        checker: &'a Mutex<Checker>,
    ) -> Self {
        let (admitted, call, said, heard, over) = (false, None, 0, 0, false);
        Self { side, address, security, checker, admitted, call, said, heard, over }
    }

    /// Plays this part. Returns the call it was in.
    async fn play(mut self) -> Result<Option<CallId>, String> {
        let name = Name::new(if self.side == Side::Caller { "Ada" } else { "Wei" });
        let name = name.map_err(|error| error.to_string())?;
        loop {
            if let Ok(mut link) = dial(self.side, self.address, name.clone(), self.security).await {
                let screen = {
                    let mut checker = self.checker.lock().unwrap();
                    let party = checker.party(self.side);
                    checker.screen_opened(party, None)
                };
                while let Some(event) = link.next().await {
                    if self.takes(&mut link, screen, event)? {
                        link.close().await;
                        return Ok(self.call);
                    }
                }
            }
            // Whoever was never let in begins anew.
            sleep(AGAIN).await;
        }
    }

    /// True when its part is over.
    fn takes(&mut self, link: &mut Link, screen: ScreenId, event: Event) -> Result<bool, String> {
        match event {
            Event::Told(_, message) => {
                self.checker.lock().unwrap().shown(screen, &message);
                self.told(link, screen, &message)?;
                Ok(self.over && self.side == Side::Caller)
            }
            Event::NotSaid { text, .. } => Err(format!("not said: {text:?}")),
            Event::Over(Lost::Goodbye(goodbye))
                if self.over && [Code::DONE, Code::NO_SUCH_TICKET].contains(&goodbye.code) =>
            {
                Ok(true)
            }
            Event::Over(lost) if self.admitted => Err(format!("{:?} lost it: {lost}", self.side)),
            Event::Over(_) | Event::Offline(_) | Event::Welcomed(_) => Ok(false),
        }
    }

    fn told(&mut self, link: &mut Link, screen: ScreenId, message: &Message) -> Result<(), String> {
        match message {
            Message::Admitted(_) => self.admitted = true,
            Message::Resumed(_) if self.over => link.request(SignOff {}.into(), Ref::NONE),
            Message::Connected(connected) => {
                let is_first = self.call.replace(connected.call).is_none();
                let questions = if is_first && self.side == Side::Caller { LINES } else { 0 };
                for _ in 0..questions {
                    self.say(link, screen, connected.call)?;
                }
            }
            Message::Said(said) if said.from != self.side => {
                self.heard += 1;
                if self.side == Side::Operator {
                    self.say(link, screen, said.call)?;
                } else if self.heard == LINES {
                    link.hang_up(said.call, Ref::NONE).map_err(|error| error.to_string())?;
                }
            }
            Message::Ended(ended) => {
                link.shown(ended.call, ended.seq);
                self.over = true;
                if self.side == Side::Operator {
                    link.request(SignOff {}.into(), Ref::NONE);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, link: &mut Link, screen: ScreenId, call: CallId) -> Result<(), String> {
        self.said += 1;
        let text = format!("{:?} {}", self.side, self.said);
        let line = Text::new(text.as_str()).map_err(|error| error.to_string())?;
        link.say(call, line, Ref::NONE).map_err(|error| error.to_string())?;
        self.checker.lock().unwrap().typed(screen, call, &text);
        Ok(())
    }
}
