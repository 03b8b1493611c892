//! What `--json` prints: one object a line, `{"kind":K,"ref":R,"body":{…}}`.
//!
//! The messages of the wire under their own names, but `admitted`, which is printed as `welcome`; and
//! what only this end knows, under names that begin with `link.`.

use helpline_cli_common::clean;
use helpline_proto::{
    code::Code,
    ids::CallId,
    json,
    message::{Admitted, Message, Ref},
    session::ClientEvent,
};
use serde::Serialize;

/// Why a line was not said, or a command was not done, where no [`Code`] of the wire says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    /// It isn't a command.
    BadCommand,
    /// The text has too many bytes.
    TooLong,
    /// It names no call, and there isn't exactly one.
    WhichCall,
    /// It names a call that isn't current.
    NoSuchCall,
    /// The call is over, or is being hung up.
    CallEnded,
    /// The connection was lost.
    Lost,
}

impl Local {
    /// The name in JSON; where the wire has the same reason, the same name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BadCommand => "bad_command",
            Self::TooLong => "too_long",
            Self::WhichCall => "which_call",
            Self::NoSuchCall => "no_such_call",
            Self::CallEnded => "call_ended",
            Self::Lost => "lost",
        }
    }
}

#[derive(Serialize)]
struct Line<'a, B> {
    kind: &'a str,
    #[serde(rename = "ref")]
    reference: u32,
    body: B,
}

#[derive(Serialize)]
struct NotSaid<'a> {
    call: Option<CallId>,
    text: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Standing {
    unsaid: usize,
    attempt: u32,
}

/// The line for an event; none for those that a reader hears of otherwise.
pub(crate) fn event(event: &ClientEvent) -> Option<String> {
    match event {
        ClientEvent::Told(reference, Message::Admitted(admitted)) => welcome(*reference, admitted),
        // Its news are `link.resumed` and the entries that follow.
        ClientEvent::Told(_, Message::Resumed(_)) => None,
        ClientEvent::Told(reference, message) => match json::encode(message, *reference) {
            Ok(line) => Some(clean::json_escape(&line)),
            Err(error) => {
                tracing::warn!("an event can't be printed: {error}");
                None
            }
        },
        ClientEvent::NotSaid { call, text, reference, why } => {
            let why =
                why.map_or_else(|| Local::Lost.name().to_owned(), |why: Code| why.to_string());
            not_said(*reference, Some(*call), text.as_str(), &why)
        }
        ClientEvent::Welcomed(_) | ClientEvent::Offline(_) | ClientEvent::Over(_) => None,
    }
}

fn welcome(reference: Ref, admitted: &Admitted) -> Option<String> {
    line("welcome", reference, admitted)
}

/// A line that will not be delivered.
pub(crate) fn not_said(
    reference: Ref,
    call: Option<CallId>,
    text: &str,
    why: &str,
) -> Option<String> {
    line("link.not_said", reference, NotSaid { call, text, why })
}

/// A request that was refused without asking the server.
pub(crate) fn error(reference: Ref, code: Local, detail: &str) -> Option<String> {
    line("error", reference, Error { code: code.name(), detail })
}

/// There is no connection; this attempt to make one comes next.
pub(crate) fn reconnecting(unsaid: usize, attempt: u32) -> Option<String> {
    line("link.reconnecting", Ref::NONE, Standing { unsaid, attempt })
}

/// There is a connection again, after so many attempts.
pub(crate) fn resumed(unsaid: usize, attempt: u32) -> Option<String> {
    line("link.resumed", Ref::NONE, Standing { unsaid, attempt })
}

/// The connection is lost, for good.
pub(crate) fn lost(unsaid: usize, attempt: u32) -> Option<String> {
    line("link.lost", Ref::NONE, Standing { unsaid, attempt })
}

fn line(kind: &str, reference: Ref, body: impl Serialize) -> Option<String> {
    let line = serde_json::to_string(&Line { kind, reference: reference.0, body });
    // Strings and numbers are always JSON.
    line.ok().map(|line| clean::json_escape(&line))
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        ids::{Nonce, Seq, Side},
        message::{Place, Said, WaitSeconds},
        text::{LineName, Name, Text},
        time::UnixMillis,
    };
    use insta::assert_snapshot;

    use super::*;

    const CALL: CallId = CallId([0xc5; 16]);

    fn told(message: impl Into<Message>) -> String {
        event(&ClientEvent::Told(Ref(0), message.into())).unwrap()
    }

    #[test]
    fn being_admitted_is_a_welcome() {
        let admitted = Admitted {
            line: LineName::new("main").unwrap(),
            name: Name::new("Ada").unwrap(),
            greeting: Some(Text::new("Hello.").unwrap()),
        };
        assert_snapshot!(
            told(admitted),
            @r#"{"kind":"welcome","ref":0,"body":{"line":"main","name":"Ada","greeting":"Hello."}}"#
        );
    }

    #[test]
    fn messages_are_printed_as_they_are_on_the_wire() {
        let place = Place {
            call: CALL,
            position: 2,
            waiting: 4,
            wait_s: Some(WaitSeconds(180, 480)),
            next_nonce: Nonce(1),
        };
        assert_snapshot!(
            told(place),
            @r#"{"kind":"place","ref":0,"body":{"call":"c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5","position":2,"waiting":4,"wait_s":[180,480],"next_nonce":1}}"#
        );
    }

    #[test]
    fn n32_nothing_in_a_line_can_be_obeyed_by_a_terminal() {
        let said = Said {
            call: CALL,
            seq: Seq(3),
            from: Side::Operator,
            name: Name::new("Wei").unwrap(),
            at: UnixMillis(1_700_000_000_000),
            text: Text::new("\u{1b}[2J\u{9b}\u{202e}\u{7f}\n小").unwrap(),
            nonce: Nonce(7),
        };
        let line = event(&ClientEvent::Told(Ref(9), said.into())).unwrap();
        assert_snapshot!(
            line,
            @r#"{"kind":"said","ref":9,"body":{"call":"c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5","seq":3,"from":"operator","name":"Wei","at":1700000000000,"text":"\u001b[2J\u009b\u202e\u007f\n小","nonce":7}}"#
        );
    }

    #[test]
    fn what_only_this_end_knows_has_names_of_its_own() {
        let text = Text::new("are you there?").unwrap();
        let not_said = |why| {
            event(&ClientEvent::NotSaid { call: CALL, text: text.clone(), reference: Ref(4), why })
        };
        assert_snapshot!(
            not_said(Some(Code::CALL_ENDED)).unwrap(),
            @r#"{"kind":"link.not_said","ref":4,"body":{"call":"c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5","text":"are you there?","why":"call_ended"}}"#
        );
        assert_snapshot!(
            not_said(None).unwrap(),
            @r#"{"kind":"link.not_said","ref":4,"body":{"call":"c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5","text":"are you there?","why":"lost"}}"#
        );
        assert_snapshot!(
            error(Ref(5), Local::BadCommand, "no command is named \"x\"").unwrap(),
            @r#"{"kind":"error","ref":5,"body":{"code":"bad_command","detail":"no command is named \"x\""}}"#
        );
        assert_snapshot!(
            lost(2, 7).unwrap(),
            @r#"{"kind":"link.lost","ref":0,"body":{"unsaid":2,"attempt":7}}"#
        );
    }
}
