//! Conversations, many at once, as fast as the server lets them.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    process::Process,
    speak::{Heard, Pair, Ready},
    summary::Latencies,
};

/// How long a server may say nothing while something is under way.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server has to take in the last of those who have connected: one that hands on at once what is said would
/// lose what is said to somebody whom it doesn't see yet.
const TAKES_IN: Duration = Duration::from_millis(50);

/// How the ends talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// Messages of one speaker that may be under way.
    pub(crate) in_flight: u64,
    /// Whether the other end answers each, and the answer is waited for.
    pub(crate) answered: bool,
}

/// For how long they talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Before anything counts.
    pub(crate) warm: Duration,
    /// What counts.
    pub(crate) lasts: Duration,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Messages that arrived, and were acknowledged where the protocol does so.
    pub(crate) done: u64,
    pub(crate) took: Duration,
    /// Processor time of the server.
    pub(crate) cpu: Duration,
    pub(crate) latencies: Latencies,
}

struct Conversation {
    speaker: Ready,
    hearer: Option<Ready>,
    /// As many are said, and then no more.
    limit: u64,
    said: u64,
    acknowledged: u64,
    heard: u64,
    answered: u64,
    done: u64,
    /// When what isn't done was said, and how many at once.
    under_way: VecDeque<(Instant, u64)>,
}

impl Conversation {
    /// Takes in what has come for one of its ends.
    fn take(&mut self, is_speaker: bool, answers: bool) -> io::Result<()> {
        let end = if is_speaker { Some(&mut self.speaker) } else { self.hearer.as_mut() };
        let Some((wire, end)) = end else { return Ok(()) };
        let mut all = Heard::default();
        wire.drain(|bytes, out| {
            let (used, heard) = end.hear(bytes, out)?;
            all.acknowledged += heard.acknowledged;
            all.texts += heard.texts;
            if answers && !is_speaker {
                for _ in 0..heard.texts {
                    end.say(out)?;
                }
            }
            Ok(used)
        })?;
        if is_speaker {
            self.acknowledged += all.acknowledged;
            self.answered += all.texts;
        } else {
            self.heard += all.texts;
        }
        wire.flush()
    }

    /// Notes what is done by now; the speaker says as much again.
    fn go_on(
        &mut self,
        talk: Talk,
        acknowledges: bool,
        now: Instant,
        latencies: Option<&mut Latencies>,
    ) -> io::Result<u64> {
        let done = match (talk.answered, acknowledges) {
            (true, _) => self.answered,
            (false, true) => self.acknowledged.min(self.heard),
            (false, false) => self.heard,
        };
        let more = done.saturating_sub(self.done);
        self.done = done;
        self.note(more, now, latencies);
        let room = talk.in_flight.saturating_sub(self.said - done);
        let fresh = room.min(self.limit.saturating_sub(self.said));
        if fresh > 0 {
            let (wire, end) = &mut self.speaker;
            for _ in 0..fresh {
                end.say(&mut wire.out)?;
            }
            self.said += fresh;
            self.under_way.push_back((now, fresh));
            wire.flush()?;
        }
        Ok(more)
    }

    fn note(&mut self, mut more: u64, now: Instant, mut latencies: Option<&mut Latencies>) {
        while more > 0
            && let Some((since, count)) = self.under_way.front_mut()
        {
            let these = more.min(*count);
            if let Some(latencies) = &mut latencies {
                latencies.add(now.duration_since(*since), these);
            }
            *count -= these;
            more -= these;
            if *count == 0 {
                self.under_way.pop_front();
            }
        }
    }
}

/// Conversations that are under way.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    conversations: Vec<Conversation>,
    acknowledges: bool,
}

impl Load {
    /// Between these, of a protocol that acknowledges or doesn't.
    pub(crate) fn new(pairs: Vec<Pair>, acknowledges: bool) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut conversations = Vec::with_capacity(pairs.len());
        for (at, mut pair) in pairs.into_iter().enumerate() {
            pair.speaker.0.register(poll.registry(), Token(2 * at))?;
            if let Some((wire, _)) = &mut pair.hearer {
                wire.register(poll.registry(), Token(2 * at + 1))?;
            }
            conversations.push(Conversation {
                speaker: pair.speaker,
                hearer: pair.hearer,
                limit: 0,
                said: 0,
                acknowledged: 0,
                heard: 0,
                answered: 0,
                done: 0,
                under_way: VecDeque::new(),
            });
        }
        let events = Events::with_capacity(1024);
        let mut load = Self { poll, events, conversations, acknowledges };
        load.rest(TAKES_IN)?;
        Ok(load)
    }

    /// Lets them talk, and measures the server meanwhile.
    pub(crate) fn measure(
        &mut self,
        talk: Talk,
        span: Span,
        server: &Process,
    ) -> io::Result<Measured> {
        self.begin(talk, u64::MAX)?;
        let begun = Instant::now();
        while let left = span.warm.saturating_sub(begun.elapsed())
            && !left.is_zero()
        {
            self.turn(talk, left, None)?;
        }
        let (since, cpu) = (Instant::now(), server.cpu()?);
        let (mut done, mut latencies) = (0, Latencies::default());
        while let left = span.lasts.saturating_sub(since.elapsed())
            && !left.is_zero()
        {
            done += self.turn(talk, left, Some(&mut latencies))?;
        }
        let (took, cpu) = (since.elapsed(), server.cpu()?.saturating_sub(cpu));
        Ok(Measured { done, took, cpu, latencies })
    }

    /// Lets each speaker say so many more, until all of them are done.
    pub(crate) fn say_each(&mut self, talk: Talk, count: u64) -> io::Result<()> {
        let limit = self.conversations.first().map_or(0, |first| first.said) + count;
        self.begin(talk, limit)?;
        let mut since = Instant::now();
        while self.conversations.iter().any(|conversation| conversation.done < limit) {
            if self.turn(talk, PATIENCE, None)? > 0 {
                since = Instant::now();
            } else if since.elapsed() > PATIENCE {
                return Err(io::Error::other("the server says no more"));
            }
        }
        Ok(())
    }

    /// Lets them be silent for so long.
    pub(crate) fn rest(&mut self, lasts: Duration) -> io::Result<()> {
        let talk = Talk { in_flight: 0, answered: false };
        let begun = Instant::now();
        while let left = lasts.saturating_sub(begun.elapsed())
            && !left.is_zero()
        {
            self.turn(talk, left, None)?;
        }
        Ok(())
    }

    fn begin(&mut self, talk: Talk, limit: u64) -> io::Result<()> {
        let now = Instant::now();
        for conversation in &mut self.conversations {
            conversation.limit = limit;
            conversation.go_on(talk, self.acknowledges, now, None)?;
        }
        Ok(())
    }

    /// Takes in what comes within this time at most; how many are done by it.
    fn turn(
        &mut self,
        talk: Talk,
        at_most: Duration,
        mut latencies: Option<&mut Latencies>,
    ) -> io::Result<u64> {
        let mut done = 0;
        self.poll.poll(&mut self.events, Some(at_most))?;
        for event in &self.events {
            let at = event.token().0;
            let Some(conversation) = self.conversations.get_mut(at / 2) else { continue };
            conversation.take(at % 2 == 0, talk.answered)?;
            let latencies = latencies.as_deref_mut();
            done += conversation.go_on(talk, self.acknowledges, Instant::now(), latencies)?;
        }
        Ok(done)
    }
}
