//! What a line that was entered means.

use helpline_proto::{
    ids::{CallId, Side, Uses},
    limits,
    message::Ref,
    text::{Detail, Text},
    time::UnixMillis,
};
use serde_json::{Map, Value};

use crate::json::Local;

use super::{act::Mode, span};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing: the line was empty.
    Nothing,
    /// To say this.
    Say(Text),
    /// To hang up, after the word that asks for it has been said.
    Bye(Text),
    /// To hang up.
    HangUp,
    /// To let the other side know that somebody types.
    Typing,
    /// To take the oldest waiting caller.
    Next,
    /// To take this one.
    Answer(CallId),
    /// To be given callers.
    Ready,
    /// To be given none.
    Pause,
    /// To ban the address of whoever is called by.
    Ban {
        /// For so many seconds.
        for_s: u32,
        /// Why.
        reason: Detail,
    },
    /// To have an invitation made.
    Invite(Uses, Until),
    /// To have the commands listed.
    Help,
}

/// For how long an invitation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// There is no end to it.
    EndOfTime,
    /// For so many seconds from now.
    Seconds(u32),
    /// Until then.
    Moment(UnixMillis),
}

/// For how long an address is banned if nobody says otherwise: a day.
const BAN_USUAL: u32 = 24 * 60 * 60;

/// What is asked for, about which call, and how the answer will be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) call: Option<CallId>,
    pub(crate) reference: Ref,
}

/// What can't be understood, or not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reference: Ref,
    pub(crate) code: Local,
    pub(crate) detail: String,
}

/// Whether `bye` alone on a line hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByeWord {
    HangsUp,
    IsText,
}

/// Reads a line.
pub(crate) fn read(line: &str, mode: Mode, side: Side, bye: ByeWord) -> Result<Asked, Refused> {
    let ask = match mode {
        Mode::Json if line.starts_with('{') => return command(line, side),
        Mode::Terminal | Mode::Plain if line.trim().is_empty() => Ask::Nothing,
        Mode::Terminal | Mode::Plain if line.starts_with('/') => slash(line, side)?,
        _ if line.is_empty() => Ask::Nothing,
        _ if bye == ByeWord::HangsUp && is_bye(line) => Ask::Bye(text(line.trim(), Ref::NONE)?),
        _ => Ask::Say(text(line, Ref::NONE)?),
    };
    Ok(Asked { ask, call: None, reference: Ref::NONE })
}

/// Whether a command is about the call that it was begun in, and about no other.
pub(crate) fn is_about_call(line: &str) -> bool {
    let command = line.split(char::is_whitespace).next().unwrap_or_default();
    matches!(command, "/say" | "/ban")
}

/// What is wrong with a line of which only the length is known.
pub(crate) fn too_long() -> Refused {
    let detail = format!("a text has at most {} bytes; this line has more", limits::TEXT);
    Refused { reference: Ref::NONE, code: Local::TooLong, detail }
}

/// The word alone: white space around it and its case don't matter.
fn is_bye(line: &str) -> bool {
    line.trim().eq_ignore_ascii_case("bye")
}

fn text(text: &str, reference: Ref) -> Result<Text, Refused> {
    Text::new(text).map_err(|_| match text.len() {
        0 => Refused { reference, code: Local::BadCommand, detail: "the text is empty".to_owned() },
        bytes => Refused {
            reference,
            code: Local::TooLong,
            detail: format!("a text has at most {} bytes; this one has {bytes}", limits::TEXT),
        },
    })
}

fn slash(line: &str, side: Side) -> Result<Ask, Refused> {
    let refused =
        |detail: String| Refused { reference: Ref::NONE, code: Local::BadCommand, detail };
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let ask = match (command, side) {
        ("/say", _) if rest.is_empty() => {
            return Err(refused("/say TEXT says the text as it is".to_owned()));
        }
        ("/say", _) => return text(rest, Ref::NONE).map(Ask::Say),
        ("/help", _) => Ask::Help,
        ("/next", Side::Operator) => Ask::Next,
        ("/ready", Side::Operator) => Ask::Ready,
        ("/pause", Side::Operator) => Ask::Pause,
        ("/ban", Side::Operator) => return slash_ban(rest.trim()).map_err(refused),
        ("/invite", Side::Operator) => return slash_invite(rest.trim()).map_err(refused),
        _ => {
            let what = format!("{command} is no command here, and nothing was said");
            return Err(refused(format!("{what}; /help lists the commands, /say says anything")));
        }
    };
    if rest.trim().is_empty() {
        Ok(ask)
    } else {
        Err(refused(format!("{command} stands alone; /say says anything")))
    }
}

/// `/ban [DURATION] [REASON]`
fn slash_ban(rest: &str) -> Result<Ask, String> {
    let (first, others) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (for_s, reason) = match span::read(first) {
        Some(for_s) => (for_s, others),
        // Better asked again than banned for another time than was meant.
        None if span::is_like_one(first) => {
            return Err("/ban is followed by how long, as in 30m, 2h or 1d, and why".to_owned());
        }
        None => (BAN_USUAL, rest),
    };
    Ok(Ask::Ban { for_s, reason: detail(reason)? })
}

/// `/invite [once|DURATION]`
fn slash_invite(rest: &str) -> Result<Ask, String> {
    match (rest, span::read(rest)) {
        ("" | "once", _) => Ok(Ask::Invite(Uses::Once, Until::EndOfTime)),
        (_, Some(seconds)) => Ok(Ask::Invite(Uses::Many, Until::Seconds(seconds))),
        (_, None) => Err("/invite is followed by once, or by how long: 30m, 2h or 1d".to_owned()),
    }
}

fn detail(reason: &str) -> Result<Detail, String> {
    Detail::new(reason.trim()).map_err(|_| format!("a reason has at most {} bytes", limits::DETAIL))
}

/// Reads a command: `{"kind":K,"ref":R,"body":{…}}`, of which only `kind` has to be there.
fn command(line: &str, side: Side) -> Result<Asked, Refused> {
    let refused =
        |reference, detail: String| Refused { reference, code: Local::BadCommand, detail };
    let bad = |detail: &str| refused(Ref::NONE, detail.to_owned());
    let mut object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(bad("a command is a JSON object")),
        Err(error) => return Err(bad(&format!("not JSON: {error}"))),
    };
    let reference = match object.remove("ref") {
        None | Some(Value::Null) => Ref::NONE,
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            Ref(number.ok_or_else(|| bad("ref is a whole number from 0 to 4294967295"))?)
        }
    };
    let bad = |detail: &str| refused(reference, detail.to_owned());
    let Some(Value::String(kind)) = object.remove("kind") else {
        return Err(bad("kind, a string, is missing"));
    };
    let mut body = match object.remove("body") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(body)) => body,
        Some(_) => return Err(bad("body is an object")),
    };
    if let Some(field) = object.keys().next() {
        return Err(bad(&format!("only kind, ref and body stand here, not {field:?}")));
    }
    let call = match body.remove("call") {
        None | Some(Value::Null) => None,
        Some(Value::String(call)) => {
            Some(CallId::from_hex(&call).map_err(|_| bad("call is not the name of a call"))?)
        }
        Some(_) => return Err(bad("call is a string")),
    };
    let ask = match (kind.as_str(), side) {
        ("say", _) => match body.remove("text") {
            Some(Value::String(said)) => Ask::Say(text(&said, reference)?),
            _ => return Err(bad("text, a string, is missing in the body")),
        },
        ("hang_up", _) => Ask::HangUp,
        ("typing", _) => Ask::Typing,
        ("next", Side::Operator) => Ask::Next,
        ("answer", Side::Operator) => match call {
            Some(call) => Ask::Answer(call),
            None => return Err(bad("call, a string, is missing in the body")),
        },
        ("ready", Side::Operator) => Ask::Ready,
        ("pause", Side::Operator) => Ask::Pause,
        ("ban", Side::Operator) => {
            let for_s = match body.remove("for_s") {
                None | Some(Value::Null) => Some(BAN_USUAL),
                Some(value) => value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()),
            };
            let for_s = for_s.filter(|seconds| *seconds > 0);
            let for_s = for_s.ok_or_else(|| bad("for_s is a number of seconds, from 1 on"))?;
            let reason = match body.remove("reason") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(reason)) => reason,
                Some(_) => return Err(bad("reason is a string")),
            };
            Ask::Ban { for_s, reason: detail(&reason).map_err(|detail| bad(&detail))? }
        }
        ("invite", Side::Operator) => {
            let uses = match body.remove("uses").as_ref().map(Value::as_str) {
                None | Some(Some("once")) => Uses::Once,
                Some(Some("many")) => Uses::Many,
                Some(_) => return Err(bad("uses is \"once\" or \"many\"")),
            };
            let until = match body.remove("until") {
                None | Some(Value::Null) => Until::EndOfTime,
                Some(value) => {
                    let until = value.as_i64().filter(|until| *until >= 0);
                    let bad = || bad("until is a time in milliseconds since 1970, or null");
                    Until::Moment(UnixMillis(until.ok_or_else(bad)?))
                }
            };
            Ask::Invite(uses, until)
        }
        ("next" | "answer" | "ready" | "pause" | "ban" | "invite", Side::Caller) => {
            return Err(bad(&format!("{kind} is for operators")));
        }
        _ => return Err(bad(&format!("no command is named {kind:?}"))),
    };
    if let Some(field) = body.keys().next() {
        return Err(bad(&format!("{kind} has no field {field:?}")));
    }
    Ok(Asked { ask, call, reference })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(line: &str, mode: Mode) -> Ask {
        read(line, mode, Side::Operator, ByeWord::HangsUp).unwrap().ask
    }

    fn said(text: &str) -> Ask {
        Ask::Say(Text::new(text).unwrap())
    }

    #[test]
    fn n14_bye_alone_hangs_up_and_other_words_are_text() {
        for mode in [Mode::Terminal, Mode::Plain, Mode::Pipe, Mode::Json] {
            for bye in ["bye", "bye ", " bye", "Bye", "BYE", "bye\r", "bye\n", "\tbYe\u{a0}"] {
                let word = Text::new(bye.trim()).unwrap();
                assert_eq!(entered(bye, mode), Ask::Bye(word), "{bye:?} {mode:?}");
            }
            for text in ["bye!", "goodbye", "bye for now", "bye\0", "bye.", "by e", "byebye", "b"] {
                assert_eq!(entered(text, mode), said(text), "{text:?} {mode:?}");
            }
            let no_bye = read("bye", mode, Side::Caller, ByeWord::IsText);
            assert_eq!(no_bye.unwrap().ask, said("bye"));
        }
        assert_eq!(entered("/say bye", Mode::Terminal), said("bye"));
        assert_eq!(entered(r#"{"kind":"say","body":{"text":"bye"}}"#, Mode::Json), said("bye"));
    }

    #[test]
    fn n07_an_empty_line_is_nothing() {
        for mode in [Mode::Terminal, Mode::Plain, Mode::Pipe, Mode::Json] {
            assert_eq!(entered("", mode), Ask::Nothing);
        }
        assert_eq!(entered(" \t", Mode::Terminal), Ask::Nothing);
        assert_eq!(entered("  ", Mode::Pipe), said("  "), "a program's white space is its own");
    }

    #[test]
    fn n02_a_text_may_have_16384_bytes_and_not_one_more() {
        let full = "é".repeat(limits::TEXT / 2);
        assert_eq!(entered(&full, Mode::Pipe), said(&full));
        let refused = |line: &str, mode| read(line, mode, Side::Caller, ByeWord::HangsUp);
        let over = refused(&(full.clone() + "x"), Mode::Terminal).unwrap_err();
        assert_eq!(over.code, Local::TooLong);
        assert_eq!(over.detail, "a text has at most 16384 bytes; this one has 16385");
        let command = format!(r#"{{"kind":"say","ref":3,"body":{{"text":"{full}x"}}}}"#);
        let over = refused(&command, Mode::Json).unwrap_err();
        assert_eq!((over.code, over.reference), (Local::TooLong, Ref(3)));
    }

    #[test]
    fn slash_commands_are_for_people() {
        assert_eq!(entered("/next", Mode::Terminal), Ask::Next);
        assert_eq!(entered("/ready ", Mode::Plain), Ask::Ready);
        assert_eq!(entered("/pause", Mode::Terminal), Ask::Pause);
        assert_eq!(entered("/help", Mode::Terminal), Ask::Help);
        assert_eq!(entered("/say /next", Mode::Terminal), said("/next"));
        assert_eq!(entered("/say  two\nlines ", Mode::Terminal), said(" two\nlines "));
        assert_eq!(entered("/next", Mode::Pipe), said("/next"));
        assert_eq!(entered("/next", Mode::Json), said("/next"));
        let caller = |line| read(line, Mode::Terminal, Side::Caller, ByeWord::HangsUp);
        for unknown in ["/next", "/quit", "/", "/etc/passwd is missing", "/help me", "/say"] {
            assert_eq!(caller(unknown).unwrap_err().code, Local::BadCommand, "{unknown}");
        }
    }

    fn ban(for_s: u32, reason: &str) -> Ask {
        Ask::Ban { for_s, reason: Detail::new(reason).unwrap() }
    }

    #[test]
    fn a_ban_takes_a_day_and_no_reason_unless_told_otherwise() {
        for (line, wanted) in [
            ("/ban", ban(86_400, "")),
            ("/ban 2h", ban(7_200, "")),
            ("/ban  30m  only noise ", ban(1_800, "only noise")),
            ("/ban only noise", ban(86_400, "only noise")),
        ] {
            assert_eq!(entered(line, Mode::Terminal), wanted, "{line}");
        }
        let refused = |line: &str, side| read(line, Mode::Terminal, side, ByeWord::HangsUp);
        for unclear in ["/ban 2hours", "/ban 0h", "/ban 3 strikes", "/ban 99999999d"] {
            let refused = refused(unclear, Side::Operator).unwrap_err();
            assert_eq!(refused.code, Local::BadCommand, "{unclear}");
        }
        assert!(
            refused(&format!("/ban {}", "x".repeat(limits::DETAIL + 1)), Side::Operator).is_err()
        );
        assert!(refused("/ban", Side::Caller).is_err());
        assert_eq!(entered("/ban", Mode::Pipe), said("/ban"));
    }

    #[test]
    fn an_invitation_is_for_once_or_for_a_time() {
        let once = Ask::Invite(Uses::Once, Until::EndOfTime);
        assert_eq!(entered("/invite", Mode::Terminal), once);
        assert_eq!(entered("/invite once", Mode::Plain), once);
        let day = Ask::Invite(Uses::Many, Until::Seconds(86_400));
        assert_eq!(entered("/invite 1d", Mode::Terminal), day);
        for unclear in ["/invite many", "/invite 1d 2d", "/invite 0d"] {
            assert!(read(unclear, Mode::Terminal, Side::Operator, ByeWord::HangsUp).is_err());
        }
    }

    #[test]
    fn what_is_about_a_call_is_known_by_its_first_word() {
        for about in ["/ban", "/ban 1d", "/say\thello"] {
            assert!(is_about_call(about), "{about}");
        }
        for other in ["/next", "/banana", "/invite", "hello"] {
            assert!(!is_about_call(other), "{other}");
        }
    }

    #[test]
    fn commands_are_json_objects() {
        let call = CallId([0xab; 16]);
        let hex = call.to_hex();
        let ask = |line: &str| read(line, Mode::Json, Side::Operator, ByeWord::HangsUp);
        let full = format!(r#"{{"kind":"say","ref":7,"body":{{"text":"a\nb","call":"{hex}"}}}}"#);
        assert_eq!(
            ask(&full),
            Ok(Asked { ask: said("a\nb"), call: Some(call), reference: Ref(7) })
        );
        for (line, wanted) in [
            (r#"{"kind":"hang_up"}"#.to_owned(), Ask::HangUp),
            (r#"{"kind":"hang_up","ref":null,"body":{}}"#.to_owned(), Ask::HangUp),
            (r#"{"kind":"typing","body":null}"#.to_owned(), Ask::Typing),
            (r#"{"kind":"next"}"#.to_owned(), Ask::Next),
            (format!(r#"{{"kind":"answer","body":{{"call":"{hex}"}}}}"#), Ask::Answer(call)),
            (r#"{"kind":"ready"}"#.to_owned(), Ask::Ready),
            (r#"{"kind":"pause"}"#.to_owned(), Ask::Pause),
            (r#"{"kind":"ban"}"#.to_owned(), ban(86_400, "")),
            (
                format!(r#"{{"kind":"ban","body":{{"call":"{hex}","for_s":60,"reason":"x"}}}}"#),
                ban(60, "x"),
            ),
            (
                r#"{"kind":"invite","body":{"uses":"once","until":null}}"#.to_owned(),
                Ask::Invite(Uses::Once, Until::EndOfTime),
            ),
            (
                r#"{"kind":"invite","body":{"uses":"many","until":1700000000000}}"#.to_owned(),
                Ask::Invite(Uses::Many, Until::Moment(UnixMillis(1_700_000_000_000))),
            ),
        ] {
            assert_eq!(ask(&line).map(|asked| asked.ask), Ok(wanted), "{line}");
        }
        assert_eq!(ask(" {\"kind\":\"next\"}").unwrap().ask, said(" {\"kind\":\"next\"}"));
    }

    #[test]
    fn a_bad_command_says_what_is_wrong_with_it() {
        for (line, reference, detail) in [
            ("{", 0, "not JSON: EOF while parsing an object at line 1 column 1"),
            ("{}", 0, "kind, a string, is missing"),
            (r#"{"ref":4}"#, 4, "kind, a string, is missing"),
            (r#"{"kind":"say","ref":-1}"#, 0, "ref is a whole number from 0 to 4294967295"),
            (r#"{"kind":"say","ref":5}"#, 5, "text, a string, is missing in the body"),
            (r#"{"kind":"say","body":{"text":""}}"#, 0, "the text is empty"),
            (r#"{"kind":"say","text":"x"}"#, 0, "only kind, ref and body stand here, not \"text\""),
            (r#"{"kind":"hang_up","body":{"x":1}}"#, 0, "hang_up has no field \"x\""),
            (r#"{"kind":"hang_up","body":[]}"#, 0, "body is an object"),
            (r#"{"kind":"hang_up","body":{"call":"x"}}"#, 0, "call is not the name of a call"),
            (r#"{"kind":"dance"}"#, 0, "no command is named \"dance\""),
            (r#"{"kind":"next"}"#, 0, "next is for operators"),
            (r#"{"kind":"ban","body":{"for_s":60}}"#, 0, "ban is for operators"),
        ] {
            let refused = read(line, Mode::Json, Side::Caller, ByeWord::HangsUp).unwrap_err();
            assert_eq!(
                refused,
                Refused {
                    reference: Ref(reference),
                    code: Local::BadCommand,
                    detail: detail.to_owned()
                },
                "{line}"
            );
        }
        for (line, detail) in [
            (r#"{"kind":"ban","body":{"for_s":0}}"#, "for_s is a number of seconds, from 1 on"),
            (r#"{"kind":"ban","body":{"for_s":1.5}}"#, "for_s is a number of seconds, from 1 on"),
            (r#"{"kind":"ban","body":{"reason":7}}"#, "reason is a string"),
            (r#"{"kind":"invite","body":{"uses":"twice"}}"#, "uses is \"once\" or \"many\""),
            (
                r#"{"kind":"invite","body":{"until":"soon"}}"#,
                "until is a time in milliseconds since 1970, or null",
            ),
        ] {
            let refused = read(line, Mode::Json, Side::Operator, ByeWord::HangsUp).unwrap_err();
            assert_eq!(refused.detail, detail, "{line}");
        }
        let deep = format!("{{\"kind\":{}", "[".repeat(100_000));
        assert!(read(&deep, Mode::Json, Side::Caller, ByeWord::HangsUp).is_err());
    }
}
