//! What the program itself says, in English. Everything returned is clean.

use std::{borrow::Cow, time::Duration};

use helpline_cli_common::clean;
use helpline_proto::{
    code::{Code, Why},
    ids::{By, Side},
    message::{Ended, Error, Place, WaitSeconds},
    session::Lost,
    text::Name,
};

/// A name before a person's eyes. One that could be taken for somebody or something else is quoted,
/// and its side of the call stands behind it.
pub(crate) fn name(name: &Name, side: Side) -> String {
    let shown = clean::line(name.as_str());
    if is_mistakable(&shown) { format!("\"{shown}\" (the {})", self::side(side)) } else { shown }
}

fn is_mistakable(shown: &str) -> bool {
    // Letters that look like others can't all be known; this is about what the screen itself uses.
    let letters: String = shown.chars().filter(|c| c.is_alphanumeric()).collect();
    letters.is_empty()
        || letters.to_lowercase() == "you"
        || shown.contains([':', '"', '\u{ff1a}'])
        || shown
            .starts_with(['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}'])
        || shown.starts_with(['\u{2212}', '\u{ff0d}', '\u{fe63}'])
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Caller => "caller",
        Side::Operator => "operator",
    }
}

/// `position 2 of 4, about 3 to 8 minutes`
pub(crate) fn place(place: &Place) -> String {
    let waiting = place.waiting.max(place.position);
    match place.wait_s.map(wait) {
        Some(wait) => format!("position {} of {waiting}, {wait}", place.position),
        None => format!("position {} of {waiting}", place.position),
    }
}

/// A guess at a wait, no more precise than it is.
pub(crate) fn wait(WaitSeconds(low, high): WaitSeconds) -> Cow<'static, str> {
    let (low, high) = (low / 60, high.div_ceil(60).max(1));
    match (low, high) {
        (0, 1) => "less than a minute".into(),
        (0, high) => format!("up to {high} minutes").into(),
        (1, 1) => "about a minute".into(),
        (low, high) if low >= high => format!("about {low} minutes").into(),
        (low, high) => format!("about {low} to {high} minutes").into(),
    }
}

/// How a call ended, for the side `own` of it, whose other side is `peer`.
pub(crate) fn ended(ended: &Ended, own: Side, peer: Option<&str>) -> String {
    let who = match ended.by {
        By::Caller if own == Side::Caller => None,
        By::Operator if own == Side::Operator => None,
        By::Caller => Some(peer.unwrap_or("the caller")),
        By::Operator => Some(peer.unwrap_or("the operator")),
        By::Server => Some("the server"),
    };
    let how = match (ended.why, who) {
        (Why::BYE, None) => "you said bye".to_owned(),
        (Why::BYE, Some(who)) => format!("{who} said bye"),
        (Why::ABANDONED, None) => "you left before an answer".to_owned(),
        (Why::ABANDONED, Some(who)) => format!("{who} left before an answer"),
        // Whoever may have ended it, it is the caller who was away.
        (Why::TIMED_OUT, _) if own == Side::Caller => "you were away for too long".to_owned(),
        (Why::TIMED_OUT, _) => format!("{} did not come back", peer.unwrap_or("the caller")),
        (Why::STOPPING, _) => "the server stops".to_owned(),
        // That it was for good is between the operator and the server.
        (Why::BANNED, _) if own == Side::Caller => {
            format!("{} ended the call", peer.unwrap_or("the operator"))
        }
        (Why::BANNED, None) => "you banned the caller".to_owned(),
        (Why::BANNED, Some(_)) => "the caller was banned".to_owned(),
        (why, None) => format!("by you: {why}"),
        (why, Some(who)) => format!("by {who}: {why}"),
    };
    format!("the call has ended ({how})")
}

/// Why the server refused something.
pub(crate) fn error(error: &Error) -> String {
    match error.code {
        Code::NOBODY_WAITING => "nobody is waiting".to_owned(),
        Code::OCCUPIED => "you are in a call; bye ends it".to_owned(),
        Code::NOT_OFFERED => "that caller is not waiting for your answer".to_owned(),
        Code::CALL_ENDED => "the call has ended".to_owned(),
        Code::STOPPING => "the server stops".to_owned(),
        Code::NO_ADDRESS => "that caller has no address that could be banned".to_owned(),
        Code::UNANSWERED => "the connection broke before the answer came".to_owned(),
        code if error.detail.as_str().is_empty() => format!("refused: {code}"),
        _ => format!("refused: {}", clean::line(error.detail.as_str())),
    }
}

/// The connection broke, for a person: why, and what is being done.
pub(crate) fn reconnecting(lost: &Lost, unsaid: usize) -> String {
    let what = match lost {
        Lost::Goodbye(goodbye) => match goodbye.code {
            Code::STOPPING => "the server is stopping".into(),
            Code::DISK_FULL => "the server can record nothing at the moment".into(),
            Code::INTERNAL => "the server failed".into(),
            code if goodbye.detail.as_str().is_empty() => format!("the server hung up: {code}"),
            _ => format!("the server hung up: {}", clean::line(goodbye.detail.as_str())),
        },
        _ => "the connection broke".to_owned(),
    };
    match unsaid {
        0 => format!("{what}; reconnecting"),
        unsaid => format!("{what}; reconnecting ({} not said yet)", lines(unsaid)),
    }
}

/// The other side's connection broke.
pub(crate) fn away(peer: &str) -> String {
    format!("{peer}'s connection broke; they may come back")
}

/// The other side has a connection again.
pub(crate) fn back(peer: &str) -> String {
    format!("{peer} is back")
}

/// `1 minute`, `10 minutes`
pub(crate) fn minutes(duration: Duration) -> String {
    match duration.as_secs().div_ceil(60) {
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

/// `1 line`, `2 lines`
pub(crate) fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// A line that will not reach anybody.
pub(crate) fn not_said(text: &str) -> String {
    format!("not said: {text}")
}

/// The same, from the server or because the connection was lost: then nobody here knows.
pub(crate) fn unsaid(text: &str, why: Option<Code>) -> String {
    match why {
        Some(_) => not_said(text),
        None => format!("maybe {}", not_said(text)),
    }
}

/// The commands of a caller at a terminal.
pub(crate) const CALLER_HELP: &str = "\
bye         hang up (as ^D on an empty line, and ^C)
/say TEXT   say the text as it is, bye too
/help       this";

/// The commands of an operator at a terminal.
pub(crate) const OPERATOR_HELP: &str = "\
/next       answer the caller who has waited longest
/pause      take a break: no callers are offered or given
/ready      end the break
bye         end the call (as ^D on an empty line)
/ban        end the call, and take none from the caller's address for a day;
            or for how long, and why: /ban 2h only noise
/invite     make an invitation for one call; or for all of a time: /invite 2h
/say TEXT   say the text as it is, bye too
/help       this
^D with nobody on the line signs off";

/// The commands at a server's console.
pub(crate) const CONSOLE_HELP: &str = "\
bye         end the call (as ^D on an empty line); the next caller is connected
/pause      take a break: no callers are given
/ready      end the break
/next       answer the caller who has waited longest, in a break too
/ban        end the call, and take none from the caller's address for a day;
            or for how long, and why: /ban 2h only noise
/invite     make an invitation for one call; or for all of a time: /invite 2h
/say TEXT   say the text as it is, bye too
/help       this
^C ends the server";

#[cfg(test)]
mod tests {
    use helpline_proto::{
        ids::{CallId, Nonce, Seq},
        time::UnixMillis,
    };

    use super::*;

    #[test]
    fn a_name_can_not_pass_for_the_screen_itself() {
        let shown = |text: &str| name(&Name::new(text).unwrap(), Side::Operator);
        assert_eq!(shown("Xiaowen"), "Xiaowen");
        assert_eq!(shown("小文"), "小文");
        for bad in ["you", "You", "YOU", "y\u{ad}ou", "you.", "wei: hi", "\"", "— the call", "…"]
        {
            let cleaned = clean::line(bad);
            assert_eq!(shown(bad), format!("\"{cleaned}\" (the operator)"), "{bad}");
        }
    }

    #[test]
    fn a_place_tells_how_long_it_may_take() {
        let shown = |wait_s| {
            place(&Place {
                call: CallId([0; 16]),
                position: 2,
                waiting: 4,
                wait_s,
                next_nonce: Nonce(1),
            })
        };
        assert_eq!(shown(None), "position 2 of 4");
        let guess = |low, high| shown(Some(WaitSeconds(low, high)));
        assert_eq!(guess(180, 480), "position 2 of 4, about 3 to 8 minutes");
        assert_eq!(guess(0, 20), "position 2 of 4, less than a minute");
        assert_eq!(guess(20, 100), "position 2 of 4, up to 2 minutes");
        assert_eq!(guess(60, 60), "position 2 of 4, about a minute");
        assert_eq!(guess(179, 180), "position 2 of 4, about 2 to 3 minutes");
        assert_eq!(guess(300, 300), "position 2 of 4, about 5 minutes");
    }

    #[test]
    fn the_end_says_who_and_how() {
        let shown = |by, why, own, peer| {
            let entry = Ended { call: CallId([0; 16]), seq: Seq(1), at: UnixMillis(0), by, why };
            ended(&entry, own, peer)
        };
        let caller = |by, why| shown(by, why, Side::Caller, Some("Wei"));
        assert_eq!(caller(By::Operator, Why::BYE), "the call has ended (Wei said bye)");
        assert_eq!(caller(By::Caller, Why::BYE), "the call has ended (you said bye)");
        assert_eq!(
            caller(By::Caller, Why::ABANDONED),
            "the call has ended (you left before an answer)"
        );
        assert_eq!(caller(By::Server, Why::STOPPING), "the call has ended (the server stops)");
        assert_eq!(
            shown(By::Server, Why::TIMED_OUT, Side::Operator, Some("Ada")),
            "the call has ended (Ada did not come back)"
        );
        assert_eq!(
            caller(By::Caller, Why::TIMED_OUT),
            "the call has ended (you were away for too long)"
        );
        for by in [By::Operator, By::Server] {
            assert_eq!(caller(by, Why::BANNED), "the call has ended (Wei ended the call)");
        }
        let operator = |by| shown(by, Why::BANNED, Side::Operator, Some("Ada"));
        assert_eq!(operator(By::Operator), "the call has ended (you banned the caller)");
        assert_eq!(operator(By::Server), "the call has ended (the caller was banned)");
        assert_eq!(caller(By::Server, Why(77)), "the call has ended (by the server: why_77)");
    }
}
