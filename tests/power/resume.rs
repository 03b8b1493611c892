//! The server's own start on what a power cut has left, and everybody coming back to it.

use std::{path::Path, time::Duration};

use bytes::BytesMut;
use helpline_proto::{
    frame,
    ids::{CallId, Seq, Side},
    limits,
    message::{Hello, Message, Ref, Resume, Resumed, Shown},
    text::{Agent, LineName},
    version,
};
use helpline_server::{
    server::{Server, Settings},
    store::reading::State,
};
use helpline_switchboard::Rules;
use helpline_tests::{Transcript, Transcripts, dice::Dice};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::Builder,
    sync::mpsc,
    time::timeout,
};

use crate::told::{Finding, Party, Told};

/// How long somebody may take to come back, in this process and with a disk in memory.
const SOON: Duration = Duration::from_secs(20);

/// Bytes on the way to somebody who comes back.
const WIRE: usize = 1024 * 1024;

/// Starts a server on a data directory and has everybody resume who had something to come back to. Returns how
/// many these were.
pub(crate) fn all(
    data: &Path,
    kept: &Transcripts,
    told: &Told,
    before: usize,
    dice: &mut Dice,
) -> Result<usize, Finding> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = Settings {
            rules: Rules { places: 100, ..Rules::default() },
            says_a_second: None,
            ..Settings::new(data.to_owned(), LineName::new("main").unwrap())
        };
        let mut server = Server::start(settings)
            .await
            .map_err(|error| Finding::Unusable(format!("{error:?}")))?;
        let streams = server.attach();
        let mut count = 0;
        // Operators last: one who is back takes the next caller.
        for side in [Side::Caller, Side::Operator] {
            for party in told.parties.iter().filter(|party| party.side == side) {
                if party.is_owed(before) {
                    count += 1;
                    let back = Back { party, before, kept };
                    let back = timeout(SOON, back.resume(&streams, dice)).await;
                    back.unwrap_or_else(|_| Err(lost(party, "it hears nothing")))?;
                }
            }
        }
        server.end().await;
        server.ended().await.map_err(|error| Finding::Unusable(error.to_string()))?;
        Ok(count)
    })
}

fn lost(party: &Party, what: &str) -> Finding {
    Finding::Lost(format!("{:?} comes back with {:?}: {what}", party.side, party.ticket))
}

/// Somebody who comes back.
struct Back<'a> {
    party: &'a Party,
    before: usize,
    kept: &'a Transcripts,
}

impl Back<'_> {
    async fn resume(
        &self,
        streams: &mpsc::Sender<DuplexStream>,
        dice: &mut Dice,
    ) -> Result<(), Finding> {
        let (near, far) = duplex(WIRE);
        streams.send(far).await.unwrap();
        // Any entry up to the last one that it was told may be the last on its screen.
        let calls = self.party.calls_owed(self.before);
        let shown = calls.map(|call| {
            let most = usize::try_from(self.party.shown(call, self.before).0).unwrap();
            Shown { call, seq: Seq(u32::try_from(dice.below(most + 1)).unwrap()) }
        });
        let shown: Vec<Shown> = shown.filter(|shown| shown.seq > Seq(0)).collect();
        let mut wire = Wire { stream: near, buffer: BytesMut::new() };
        let agent = Agent::new("a proof").unwrap();
        wire.send(Hello { versions: version::SPOKEN, features: 0, agent }.into()).await;
        let (ticket, side) = (self.party.ticket.clone(), self.party.side);
        wire.send(Resume { ticket, side, shown: shown.clone() }.into()).await;
        let resumed = self.listed(&mut wire).await?;
        for call in self.party.calls_owed(self.before) {
            let listed = resumed.calls.iter().find(|listed| listed.call == call);
            let listed = listed.ok_or_else(|| self.lost(&format!("{call} isn't its own")))?;
            let kept = self.transcript(call)?;
            let said = kept.entries.iter().filter(
                |entry| matches!(entry, Message::Said(said) if said.from == self.party.side),
            );
            let as_kept = (said.count() + 1, kept.entries.len());
            let number = |number: u32| usize::try_from(number).unwrap();
            let as_told = (number(listed.next_nonce.0), number(listed.last.0));
            if as_told != as_kept {
                let what = format!("next nonce and last entry {as_told:?} of {as_kept:?}");
                return Err(Finding::Impossible(what));
            }
            let from = shown.iter().find(|shown| shown.call == call);
            let from = from.map_or(0, |shown| number(shown.seq.0));
            self.replay(&mut wire, kept, from).await?;
        }
        Ok(())
    }

    async fn listed(&self, wire: &mut Wire) -> Result<Resumed, Finding> {
        loop {
            match wire.next().await {
                Some(Message::Resumed(resumed)) => return Ok(resumed),
                Some(Message::Welcome(_) | Message::Admitted(_)) => {}
                other => return Err(self.lost(&format!("{other:?}"))),
            }
        }
    }

    /// What stands in a call, and all entries that aren't shown yet.
    async fn replay(&self, wire: &mut Wire, kept: &Transcript, from: usize) -> Result<(), Finding> {
        let mut missing = kept.entries.iter().skip(from).peekable();
        let mut stands = kept.state == State::Ended;
        while !stands || missing.peek().is_some() {
            let Some(message) = wire.next().await else { return Err(self.lost("no replay")) };
            match message {
                Message::Place(place) if place.call == kept.call => {
                    stands = true;
                    let position = self.position(kept);
                    if kept.state != State::Waiting || place.position != position {
                        let what = format!("{place:?} of {:?}, place {position}", kept.state);
                        return Err(Finding::Impossible(what));
                    }
                }
                Message::Connected(connected) if connected.call == kept.call => {
                    stands = true;
                    if kept.state != State::Connected {
                        let what = format!("{connected:?}, but it is {:?}", kept.state);
                        return Err(Finding::Impossible(what));
                    }
                }
                Message::Said(_) | Message::Joined(_) | Message::Left(_) | Message::Ended(_) => {
                    let is_next = missing.next() == Some(&message);
                    if !is_next {
                        let what = format!("behind entry {from}, {message:?} of {kept:?}");
                        return Err(Finding::Impossible(what));
                    }
                }
                Message::Goodbye(goodbye) => return Err(self.lost(&format!("{goodbye:?}"))),
                _ => {}
            }
        }
        Ok(())
    }

    /// The place of a waiting call.
    fn position(&self, of: &Transcript) -> u32 {
        let before = self.kept.calls.iter().take_while(|kept| kept.call != of.call);
        let waiting = before.filter(|kept| kept.state == State::Waiting).count();
        u32::try_from(waiting + 1).unwrap()
    }

    fn transcript(&self, call: CallId) -> Result<&Transcript, Finding> {
        let found = self.kept.calls.iter().find(|kept| kept.call == call);
        found.ok_or_else(|| self.lost(&format!("{call} isn't kept")))
    }

    fn lost(&self, what: &str) -> Finding {
        lost(self.party, what)
    }
}

/// A connection within this process.
struct Wire {
    stream: DuplexStream,
    buffer: BytesMut,
}

impl Wire {
    async fn send(&mut self, message: Message) {
        // Who was sent away already finds out by reading.
        let _ = self.stream.write_all(&message.to_frame(Ref::NONE).unwrap()).await;
    }

    /// The next message; none at the end.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = frame::split(&self.buffer, limits::FRAME).unwrap() {
                let message = Message::decode(frame).unwrap();
                let size = frame.size();
                let _ = self.buffer.split_to(size);
                return Some(message);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}
