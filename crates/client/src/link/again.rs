//! When a lost connection is tried again, and for how long. No I/O, and time is passed in.

use std::time::Duration;

use helpline_proto::{ids::Side, limits, session::Lost, time::Moment};

/// For how long a waiting caller tries: after that the place is gone, unless the server is.
const WAITING: Duration = limits::WAITING_GRACE;

/// For how long anybody tries who talks, or answers: as long as a call is kept. An operator's caller is kept
/// waiting for less; but a server that comes back after longer has kept both.
const IN_CALL: Duration = limits::CALL_GRACE;

/// The tries after one that succeeded, and the pauses between them.
#[derive(Debug)]
pub(super) struct Again {
    /// Whether there is a call, or nobody knows that there is none.
    in_call: bool,
    loss: Option<Loss>,
    attempt: u32,
    /// How often in a row the pause has been doubled.
    doubled: u32,
    let_in: Option<Moment>,
}

/// What is to be made good.
#[derive(Debug)]
struct Loss {
    since: Moment,
    why: Lost,
}

impl Again {
    /// `side` is known to be only waiting if it has asked for a place just now.
    pub(super) fn new(side: Side, joins: bool) -> Self {
        let in_call = side == Side::Operator || !joins;
        Self { in_call, loss: None, attempt: 0, doubled: 0, let_in: None }
    }

    /// The call was answered.
    pub(super) fn answered(&mut self) {
        self.in_call = true;
    }

    /// The server lets this client in (again).
    pub(super) fn let_in(&mut self, now: Moment) {
        self.loss = None;
        self.attempt = 0;
        self.let_in = Some(now);
    }

    /// Whether there is a connection on which the server has let this client in.
    pub(super) fn is_let_in(&self) -> bool {
        self.let_in.is_some()
    }

    /// The connection was lost, or an attempt to make one failed. Says when the next one is due; `random` is
    /// from 0 to 1.
    pub(super) fn lost(&mut self, why: &Lost, now: Moment, random: f64) -> Moment {
        let lasted = self.let_in.take().map(|let_in| now.since(let_in));
        if lasted.is_some_and(|lasted| lasted >= limits::RECONNECT_LATEST) {
            // One that breaks at once again and again is no better than none.
            self.doubled = 0;
        }
        self.loss.get_or_insert_with(|| Loss { since: now, why: why.clone() });
        self.attempt = self.attempt.saturating_add(1);
        let pause = pause(self.doubled, random);
        self.doubled = self.doubled.saturating_add(1);
        let least = match why {
            Lost::Goodbye(goodbye) => goodbye.retry_after_s.unwrap_or(0).into(),
            _ => 0,
        };
        now + pause.max(Duration::from_secs(least))
    }

    /// When there is no more use in trying.
    pub(super) fn gives_up(&self) -> Option<Moment> {
        let patience = if self.in_call { IN_CALL } else { WAITING };
        self.loss.as_ref().map(|loss| loss.since + patience)
    }

    /// Why the connection was lost, in the first place.
    pub(super) fn why(&self) -> Lost {
        self.loss.as_ref().map_or(Lost::Broken, |loss| loss.why.clone())
    }

    /// The number of the attempt that is due or under way, from 1; 0 while there is nothing to make good.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// About [`limits::RECONNECT_SOONEST`], twice as long each time, never more than
/// [`limits::RECONNECT_LATEST`]. Give or take a half, so that those who lost the same server don't all come
/// back at the same moment.
fn pause(doubled: u32, random: f64) -> Duration {
    let about = limits::RECONNECT_SOONEST.saturating_mul(1 << doubled.min(16));
    let low = about.min(limits::RECONNECT_LATEST) / 2;
    let high = (about + about / 2).min(limits::RECONNECT_LATEST);
    low + (high - low).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use helpline_proto::{code::Code, ids::Resumable, message::Goodbye, text::Detail};

    use super::*;

    fn goodbye(retry_after_s: Option<u32>) -> Lost {
        let (code, detail) = (Code::STOPPING, Detail::cut(""));
        Lost::Goodbye(Goodbye { code, detail, retry_after_s, resumable: Resumable::Yes })
    }

    /// The pauses of so many attempts in a row.
    fn pauses(again: &mut Again, random: f64, tries: usize) -> Vec<u64> {
        let mut now = Moment(1_000);
        (0..tries)
            .map(|_| {
                let due = again.lost(&Lost::Broken, now, random);
                let pause = due.0 - now.0;
                now = due;
                pause
            })
            .collect()
    }

    #[test]
    fn pauses_grow_from_a_fifth_of_a_second_to_two() {
        let at = |random| pauses(&mut Again::new(Side::Caller, true), random, 6);
        assert_eq!(at(0.0), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(at(0.5), [200, 400, 800, 1400, 1500, 1500]);
        assert_eq!(at(1.0), [300, 600, 1200, 2000, 2000, 2000]);
        let many = pauses(&mut Again::new(Side::Caller, true), 1.0, 100);
        assert!(many.iter().all(|pause| *pause <= 2000));
    }

    #[test]
    fn a_connection_that_lasted_makes_the_next_pause_short_again() {
        let mut again = Again::new(Side::Caller, true);
        assert_eq!(pauses(&mut again, 1.0, 4).last(), Some(&2000));
        again.let_in(Moment(50_000));
        let due = again.lost(&Lost::Broken, Moment(50_500), 1.0);
        assert_eq!(due, Moment(52_500), "that wasn't long");
        again.let_in(Moment(60_000));
        let due = again.lost(&Lost::Broken, Moment(62_000), 1.0);
        assert_eq!((due, again.attempt()), (Moment(62_300), 1));
    }

    #[test]
    fn the_server_may_ask_for_a_longer_pause() {
        let mut again = Again::new(Side::Caller, true);
        assert_eq!(again.lost(&goodbye(Some(5)), Moment(0), 0.0), Moment(5_000));
        assert_eq!(again.lost(&goodbye(Some(0)), Moment(5_000), 0.0), Moment(5_200));
        assert_eq!(again.lost(&goodbye(None), Moment(6_000), 0.0), Moment(6_400));
        again.lost(&goodbye(Some(u32::MAX)), Moment(7_000), 0.0);
        assert_eq!(again.gives_up(), Some(Moment(120_000)), "but not for ever");
    }

    #[test]
    fn it_is_tried_for_as_long_as_something_is_kept() {
        let gives_up = |mut again: Again| {
            again.lost(&Lost::Silent, Moment(1_000), 0.5);
            again.lost(&Lost::Broken, Moment(9_000), 0.5);
            assert_eq!((again.why(), again.attempt()), (Lost::Silent, 2));
            again.gives_up().unwrap().0 - 1_000
        };
        assert_eq!(gives_up(Again::new(Side::Caller, true)), 120_000);
        assert_eq!(gives_up(Again::new(Side::Caller, false)), 600_000);
        assert_eq!(gives_up(Again::new(Side::Operator, true)), 600_000);
        let mut answered = Again::new(Side::Caller, true);
        answered.answered();
        assert_eq!(gives_up(answered), 600_000);
        let mut back = Again::new(Side::Caller, true);
        back.lost(&Lost::Silent, Moment(1_000), 0.5);
        back.let_in(Moment(2_000));
        assert_eq!((back.gives_up(), back.attempt()), (None, 0));
    }
}
