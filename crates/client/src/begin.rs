//! How a call or a sign-on begins, or is gone on with: the connection, the ticket, and the file they are kept in.

use std::time::{SystemTime, UNIX_EPOCH};

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::Code,
    ids::{Answering, Side, Ticket},
    session::{Lost, Opening},
    text::{LineName, Name},
    time::UnixMillis,
};
use tokio::{net::TcpStream, signal::unix::Signal};

use crate::{
    Address, Event,
    dial::{DialError, dial},
    json,
    kept::{Begun, Directory, Kept},
    link::{self, Link},
    ui::{
        act::{Mode, Show},
        ask::{self, Answer},
        failure,
        screen::Screen,
        words,
    },
};

/// What a program leaves with before anything has begun.
pub(crate) type End = Result<Exit, Failure>;

/// Everything that is needed to begin something.
pub(crate) struct Beginner<'a> {
    pub(crate) address: &'a Address,
    pub(crate) screen: Screen,
    pub(crate) interrupts: &'a mut Signal,
    directory: Option<Directory>,
}

impl<'a> Beginner<'a> {
    pub(crate) fn new(
        address: &'a Address,
        mut screen: Screen,
        interrupts: &'a mut Signal,
    ) -> Self {
        let directory = match Directory::of_user() {
            Ok(directory) => Some(directory),
            Err(error) => {
                screen.warn(&not_kept(&error));
                None
            }
        };
        if let Some(directory) = &directory {
            directory.tidy();
        }
        Self { address, screen, interrupts, directory }
    }

    /// What an earlier process has begun at this address.
    fn unfinished(&self, side: Side, name: Option<&Name>) -> Option<Kept> {
        let address = self.address.to_string();
        self.directory.as_ref()?.unfinished(|begun| {
            let is_there = begun.side == side && begun.address == address;
            is_there && name.is_none_or(|name| *name == begun.name)
        })
    }

    /// The call that is to be gone on with, if there is one and that is wanted.
    pub(crate) async fn call_to_resume(&mut self, is_wanted: bool) -> Result<Option<Kept>, End> {
        let kept = self.unfinished(Side::Caller, None);
        let Some(kept) = kept else {
            return if is_wanted {
                Err(self.leave(Err(self.nothing_kept())).await)
            } else {
                Ok(None)
            };
        };
        if is_wanted {
            return Ok(Some(kept));
        }
        let about = unfinished(&kept, now());
        if !self.screen.mode().is_person() {
            self.screen.warn(&format!("{about} is kept; --resume takes it up"));
            return Ok(None);
        }
        self.screen.show(&Show::Note(about));
        let answer = tokio::select! {
            answer = ask::ask(&mut self.screen, "Resume?") => answer,
            _ = self.interrupts.recv() => Answer::Nothing,
        };
        match answer {
            Answer::Yes => Ok(Some(kept)),
            Answer::No => {
                self.not_said(&kept);
                let note = "the earlier call is left alone: it ends by itself in a few minutes";
                self.screen.show(&Show::Note(note.to_owned()));
                kept.remove();
                Ok(None)
            }
            Answer::Nothing => Err(self.leave(Ok(Exit::Interrupted)).await),
        }
    }

    fn not_said(&mut self, kept: &Kept) {
        for line in kept.lines() {
            // They may have been sent.
            self.screen.show(&Show::Problem(words::unsaid(line.text.as_str(), None)));
        }
    }

    fn nothing_kept(&self) -> Failure {
        Failure::new(Exit::Other, format!("no unfinished call to {} is kept here", self.address))
            .hint("one that another helpline still has open is none; without --resume a new call begins")
    }

    /// Connects. The first time it is worth a word.
    pub(crate) async fn connect(&mut self) -> Result<TcpStream, End> {
        self.screen.show(&Show::Note(format!("connecting to {}", self.address)));
        let stream = self.dial().await?;
        if !stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()) {
            self.screen.warn("this connection is not encrypted");
        }
        Ok(stream)
    }

    async fn dial(&mut self) -> Result<TcpStream, End> {
        self.screen.flush().await;
        let end = tokio::select! {
            dialled = dial(self.address) => match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => Err(failure::dial(self.address, error)),
            },
            _ = self.interrupts.recv() => Ok(Exit::Interrupted),
        };
        Err(self.leave(end).await)
    }

    /// Begins something new, kept on disk before the server hears of it.
    pub(crate) fn begin(
        &mut self,
        stream: TcpStream,
        side: Side,
        name: Name,
        line: Option<LineName>,
        answering: Answering,
    ) -> Result<Link, End> {
        let ticket: Ticket = link::ticket()
            .map_err(|error| Err(failure::dial(self.address, DialError::NoRandomness(error))))?;
        let begun = Begun {
            side,
            address: self.address.to_string(),
            name: name.clone(),
            line: line.clone(),
            answering: (side == Side::Operator).then_some(answering),
            ticket: ticket.clone(),
            at: now(),
        };
        let kept = self.directory.as_ref().and_then(|directory| {
            directory.create(begun).inspect_err(|error| self.screen.warn(&not_kept(error))).ok()
        });
        let opening = match side {
            Side::Caller => link::join(ticket, line, name),
            Side::Operator => link::sign_on(ticket, name, answering),
        };
        let link = Link::over(stream, opening).dialling(self.address);
        Ok(match kept {
            Some(kept) => link.keeping(kept),
            None => link,
        })
    }

    /// Goes on with what an earlier process has begun.
    pub(crate) fn resume(&self, stream: TcpStream, kept: Kept) -> Link {
        let Begun { side, ticket, .. } = kept.begun();
        let opening = Opening::Resume(*side, ticket.clone());
        Link::over(stream, opening).dialling(self.address).keeping(kept)
    }

    /// Signs on again where an earlier process of this name was; `None` if there was none, or the server
    /// has signed it off.
    pub(crate) async fn desk_to_resume(
        &mut self,
        name: &Name,
    ) -> Result<Option<(Link, Begun)>, End> {
        let Some(kept) = self.unfinished(Side::Operator, Some(name)) else { return Ok(None) };
        let begun = kept.begun().clone();
        let stream = self.connect().await?;
        let mut link = self.resume(stream, kept);
        self.screen.flush().await;
        let let_in = tokio::select! {
            let_in = link.let_in() => let_in,
            _ = self.interrupts.recv() => return Err(self.leave(Ok(Exit::Interrupted)).await),
        };
        match let_in {
            Err(Lost::Goodbye(goodbye)) if goodbye.code == Code::NO_SUCH_TICKET => {}
            // What else there is to say is said to the operator's part.
            _ => return Ok(Some((link, begun))),
        }
        while let Some(event) = link.next().await {
            let Event::NotSaid { text, why, .. } = &event else { continue };
            self.screen.show(&match json::event(&event) {
                Some(line) if self.screen.mode() == Mode::Json => Show::Json(line),
                _ => Show::Problem(words::unsaid(text.as_str(), *why)),
            });
        }
        link.forget();
        Ok(None)
    }

    async fn leave(&mut self, end: End) -> End {
        self.screen.flush().await;
        end
    }
}

/// What is lost without a file.
fn not_kept(error: &crate::kept::KeptError) -> String {
    format!("once this program has ended, nobody can go on where it was: {error}")
}

/// What is known about an unfinished call.
fn unfinished(kept: &Kept, now: UnixMillis) -> String {
    let Begun { address, name, side, at, .. } = kept.begun();
    let ago = std::time::Duration::from_millis(u64::try_from(now.0 - at.0).unwrap_or(0));
    let ago = match ago.as_secs() {
        0..60 => "just now".to_owned(),
        _ => format!("{} ago", words::minutes(ago)),
    };
    let lines = match kept.lines().len() {
        0 => String::new(),
        lines => format!(", {} not said yet", words::lines(lines)),
    };
    let name = words::name(name, *side);
    format!("an unfinished call to {address} (as {name}, begun {ago}{lines})")
}

/// What this machine's clock says.
fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
