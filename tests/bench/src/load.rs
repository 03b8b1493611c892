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

/// How the ends talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// Messages of one speaker that may be under way.
    pub(crate) in_flight: u64,
    /// Whether the other end answers each, and the answer is waited for.
    pub(crate) answered: bool,
    /// How long they talk before anything counts.
    pub(crate) warm: Duration,
    /// How long what counts takes.
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
        let fresh = talk.in_flight.saturating_sub(self.said - done);
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

/// Lets the pairs talk and measures the server meanwhile.
pub(crate) fn talk(
    pairs: Vec<Pair>,
    talk: Talk,
    acknowledges: bool,
    server: &Process,
) -> io::Result<Measured> {
    let mut poll = Poll::new()?;
    let mut conversations = Vec::with_capacity(pairs.len());
    for (at, mut pair) in pairs.into_iter().enumerate() {
        pair.speaker.0.register(poll.registry(), Token(2 * at))?;
        if let Some((wire, _)) = &mut pair.hearer {
            wire.register(poll.registry(), Token(2 * at + 1))?;
        }
        conversations.push(Conversation {
            speaker: pair.speaker,
            hearer: pair.hearer,
            said: 0,
            acknowledged: 0,
            heard: 0,
            answered: 0,
            done: 0,
            under_way: VecDeque::new(),
        });
    }
    let mut events = Events::with_capacity(1024);
    let begun = Instant::now();
    let mut counted: Option<(Instant, Duration)> = None;
    let mut latencies = Latencies::default();
    let mut done = 0;
    for conversation in &mut conversations {
        conversation.go_on(talk, acknowledges, begun, None)?;
    }
    loop {
        poll.poll(&mut events, Some(talk.lasts))?;
        for event in &events {
            let at = event.token().0;
            let Some(conversation) = conversations.get_mut(at / 2) else { continue };
            conversation.take(at % 2 == 0, talk.answered)?;
            let latencies = counted.is_some().then_some(&mut latencies);
            let more = conversation.go_on(talk, acknowledges, Instant::now(), latencies)?;
            if counted.is_some() {
                done += more;
            }
        }
        match counted {
            None if begun.elapsed() >= talk.warm => counted = Some((Instant::now(), server.cpu()?)),
            Some((since, cpu)) if since.elapsed() >= talk.lasts => {
                let took = since.elapsed();
                let cpu = server.cpu()?.saturating_sub(cpu);
                return Ok(Measured { done, took, cpu, latencies });
            }
            _ => {}
        }
    }
}
