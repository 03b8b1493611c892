//! Why a program ended otherwise than wanted: the exit code, what happened, what to do.

use std::fmt;

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::{Code, Why},
    error::DecodeError,
    message::{Busy, Closed, Goodbye},
    session::Lost,
    version,
};

use crate::{Address, Fingerprint, dial::DialError, known::KnownError};

use super::words;

/// There is no connection.
pub(crate) fn dial(address: &Address, error: DialError) -> Failure {
    let server = address.to_string();
    let unreachable = format!("{server} can't be reached");
    match error {
        DialError::NoTls => Failure::new(Exit::Usage, "the link can't be followed")
            .because(DialError::NoTls)
            .hint("leave --plaintext away, or dial the host and port alone"),
        DialError::NoRandomness(_) => Failure::new(Exit::Other, "no call can begin").because(error),
        DialError::NoAddress(_) => {
            Failure::new(Exit::Unavailable, unreachable).because(error).hint("check the name")
        }
        DialError::Unreachable(_) | DialError::TimedOut => {
            Failure::new(Exit::Unavailable, unreachable)
                .because(error)
                .hint("check the address, and whether a helpline-server listens there")
        }
        DialError::Broken(error) => {
            Failure::new(Exit::Unavailable, format!("{server} ended the connection without a word"))
                .because(error)
                .hint("check whether that is a helpline-server")
        }
        DialError::NotTls(error) => Failure::new(
            Exit::Protocol,
            format!("{server} is not a Helpline server, or an old one that speaks no TLS"),
        )
        .because(error)
        .hint("check host and port"),
        DialError::OtherKey { expected, found } if address.fingerprint.is_some() => Failure::new(
            Exit::NoPermission,
            format!("{server} does not have the key that the link names"),
        )
        .because(DialError::OtherKey { expected, found })
        .hint(
            "somebody else may be answering in its place; \
                 ask whoever gave you the link whether it is still right",
        ),
        DialError::OtherKey { expected, found } => other_key(&server, expected, found),
        DialError::NotVouched(_) => Failure::new(
            Exit::NoPermission,
            format!("{server} can't show any more that it is what it was"),
        )
        .because(error)
        .hint(changed(&server)),
    }
}

/// Another key was remembered.
pub(crate) fn other_key(
    server: &str,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Failure {
    Failure::new(Exit::NoPermission, format!("the key of {server} has changed"))
        .because(format!("expected {expected}, but it has {found}"))
        .hint(changed(server))
}

fn changed(server: &str) -> String {
    format!(
        "somebody else may be answering in its place. Ask whoever runs it; if it has changed: helpline forget {server}"
    )
}

/// The file with the servers that were met before is of no use.
pub(crate) fn known(error: &KnownError) -> Failure {
    let (what, hint) = match error {
        KnownError::Damaged { server, .. } => (
            "it can't be told which servers were met before",
            format!("correct the line, or remove it with: helpline forget {server}"),
        ),
        KnownError::Unreadable(..) => (
            "it can't be told which servers were met before",
            "make that a file that you can read, or remove it".to_owned(),
        ),
        KnownError::Another(_) | KnownError::NotKept(_) => (
            "known servers can't be written",
            "make that a file and a directory of your own that you can write".to_owned(),
        ),
    };
    Failure::new(Exit::Config, what).because(error).hint(hint)
}

/// A server that nobody knows yet is not told an operator's secrets.
pub(crate) fn not_confirmed(address: &Address, key: Fingerprint) -> Failure {
    Failure::new(
        Exit::NoPermission,
        format!("{address} was never met before, so it is not told your token"),
    )
    .because(format!("its key is {key}"))
    .hint(format!(
        "if whoever runs it says that this is right: helpline desk helpline://{address}/#{key}"
    ))
}

/// An operator's secrets don't travel unencrypted.
pub(crate) fn never_unencrypted(address: &Address) -> Failure {
    Failure::new(Exit::NoPermission, format!("no token is sent to {address} unencrypted"))
        .hint("leave --plaintext away; it is for servers on this machine")
}

/// There is no token, and nobody to be asked for it.
pub(crate) fn no_token(address: &Address, name: &str) -> Failure {
    Failure::new(Exit::NoPermission, format!("there is no token for {name} at {address}")).hint(
        "it comes from --token-file, the variable HELPLINE_TOKEN or a prompt on a terminal; \
         whoever runs the server gives it out",
    )
}

/// There is nobody to be asked for an invitation.
pub(crate) fn no_invitation() -> Failure {
    Failure::new(Exit::NoPermission, "an invitation can only be asked for on a terminal")
        .hint("without one it comes from --invite-file or the variable HELPLINE_INVITE")
}

/// What was handed in from somewhere is no token, or no invitation.
pub(crate) fn bad_secret(place: &str, error: impl fmt::Display) -> Failure {
    Failure::new(Exit::Config, format!("{place} can't be used")).because(error)
}

/// Every place is taken.
pub(crate) fn busy(busy: &Busy) -> Failure {
    let why = match busy.why {
        Why::FULL => "every place is taken".to_owned(),
        Why::TOO_MANY => "too many callers from your address wait already".to_owned(),
        why => why.to_string(),
    };
    let wait = busy.wait_s.map(|wait| format!("the wait would have been {}; ", words::wait(wait)));
    let hint = format!("{}try again in {}", wait.unwrap_or_default(), seconds(busy.retry_after_s));
    Failure::new(Exit::TempFail, "the line is busy").because(why).hint(hint)
}

/// The line takes no callers.
pub(crate) fn closed(closed: &Closed) -> Failure {
    let why = match closed.why {
        Why::STOPPING => "the server stops".to_owned(),
        why => why.to_string(),
    };
    Failure::new(Exit::TempFail, "the line is closed")
        .because(why)
        .hint(again_in(closed.retry_after_s))
}

fn again_in(retry_after_s: Option<u32>) -> String {
    match retry_after_s {
        Some(after) => format!("try again in {}", seconds(after)),
        None => "try again later".to_owned(),
    }
}

fn seconds(seconds: u32) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// The operator has banned the caller, who need not be told so in these words.
pub(crate) fn banned() -> Failure {
    Failure::new(Exit::NoPermission, "the operator ended the call")
}

/// The server stopped before anybody answered, or while the caller waited again.
pub(crate) fn stopped_while_waiting() -> Failure {
    Failure::new(Exit::TempFail, "the server stopped").hint("try again later")
}

/// The server stopped during the call.
pub(crate) fn stopped_in_call() -> Failure {
    Failure::new(Exit::Unavailable, "the server stopped during the call")
}

/// The caller was away for longer than the call was kept.
pub(crate) fn timed_out(again: &str) -> Failure {
    Failure::new(Exit::TempFail, "the call was not kept for any longer")
        .hint(format!("to call again: {again}"))
}

/// The server doesn't know the ticket of a call any more.
pub(crate) fn gone(again: &str, was_never_answered: bool) -> Failure {
    let hint = format!("to call again: {again}");
    if was_never_answered {
        return Failure::new(Exit::TempFail, "your place was not kept for any longer").hint(hint);
    }
    let cause = "it has ended, or was not kept for any longer";
    Failure::new(Exit::Unavailable, "the call is over").because(cause).hint(hint)
}

/// The server doesn't know the ticket of a sign-on any more.
pub(crate) fn signed_off(again: &str) -> Failure {
    Failure::new(Exit::Unavailable, "the server has signed this desk off")
        .because("it was away for too long, or its account may not sign on any more")
        .hint(format!("to sign on again: {again}"))
}

/// Another process has come with the same ticket.
pub(crate) fn superseded() -> Failure {
    Failure::new(Exit::Unavailable, "taken over by another window")
}

/// The connection ended before the server had let anybody in.
pub(crate) fn not_let_in(server: &str, lost: &Lost) -> Failure {
    match lost {
        Lost::Goodbye(goodbye) => refused(server, goodbye),
        Lost::NoAnswer => Failure::new(
            Exit::Unavailable,
            format!("{server} accepts connections, but does not answer"),
        )
        .hint("check whether that is a helpline-server"),
        Lost::NotHelpline(error) => not_helpline(server, error),
        Lost::Silent | Lost::Broken | Lost::Gap(_) => {
            Failure::new(Exit::Unavailable, format!("{server} ended the connection without a word"))
                .hint("check whether that is a helpline-server")
        }
    }
}

fn refused(server: &str, goodbye: &Goodbye) -> Failure {
    let detail = goodbye.detail.as_str();
    match goodbye.code {
        Code::NO_SUCH_LINE => {
            Failure::new(Exit::NoPermission, format!("{server} has no such line")).because(detail)
        }
        Code::NO_COMMON_VERSION => {
            let (lowest, highest) = (version::SPOKEN.lowest.0, version::SPOKEN.highest.0);
            let own = if lowest == highest {
                format!("version {highest}")
            } else {
                format!("versions {lowest} to {highest}")
            };
            Failure::new(Exit::Protocol, format!("{server} speaks another version"))
                .because(detail)
                .hint(format!("this program speaks {own}; update one of the two"))
        }
        Code::STOPPING => stopped_while_waiting(),
        Code::NOT_ENCRYPTED => {
            Failure::new(Exit::NoPermission, format!("{server} takes this only over TLS"))
                .hint("leave --plaintext away")
        }
        Code::NOT_RECOGNISED => Failure::new(
            Exit::NoPermission,
            format!("{server} has no account with this name and token"),
        )
        .hint(
            "the name is the account's (--name); the token comes from --token-file, HELPLINE_TOKEN \
             or a prompt, and whoever runs the server gives it out",
        ),
        Code::DISABLED => Failure::new(
            Exit::NoPermission,
            format!("{server} has disabled or removed the account, or given it another token"),
        )
        .hint("ask whoever runs the server"),
        Code::INVITATION => {
            Failure::new(Exit::NoPermission, format!("{server} asks for an invitation that holds"))
                .hint(
                    "--invite asks for it; it can also come from --invite-file or HELPLINE_INVITE",
                )
        }
        Code::BANNED => Failure::new(
            Exit::NoPermission,
            format!("{server} takes nothing from your address at the moment"),
        )
        .hint(again_in(goodbye.retry_after_s)),
        Code::TOO_MANY => {
            Failure::new(Exit::TempFail, format!("{server} has too much from your address already"))
                .hint(again_in(goodbye.retry_after_s))
        }
        Code::NOT_ALLOWED | Code::TICKET_IN_USE => {
            Failure::new(Exit::NoPermission, format!("{server} refused")).because(detail)
        }
        code => {
            let detail = if detail.is_empty() { code.to_string() } else { detail.to_owned() };
            Failure::new(Exit::Unavailable, format!("{server} said goodbye")).because(detail)
        }
    }
}

fn not_helpline(server: &str, error: &DecodeError) -> Failure {
    Failure::new(Exit::Protocol, format!("{server} is not a Helpline server, or a broken one"))
        .because(error)
        .hint("check host and port")
}

/// Whoever was let in may hear of these later, too.
const SENT_AWAY: [Code; 5] =
    [Code::NOT_ENCRYPTED, Code::NOT_RECOGNISED, Code::DISABLED, Code::INVITATION, Code::TOO_MANY];

/// The connection is lost.
pub(crate) fn lost(server: &str, lost: &Lost) -> Failure {
    match lost {
        Lost::NotHelpline(error) => not_helpline(server, error),
        Lost::Goodbye(goodbye) if goodbye.code == Code::STOPPING => {
            Failure::new(Exit::Unavailable, "the server stopped")
        }
        Lost::Goodbye(goodbye) if goodbye.code == Code::BANNED => banned(),
        Lost::Goodbye(goodbye) if SENT_AWAY.contains(&goodbye.code) => refused(server, goodbye),
        _ => Failure::new(Exit::Unavailable, format!("the connection to {server} was lost"))
            .because(lost),
    }
}

#[cfg(test)]
mod tests {
    use helpline_proto::{ids::Resumable, text::Detail};
    use insta::assert_snapshot;

    use super::*;

    fn shown(failure: &Failure) -> String {
        format!("{}: {failure}\n{}", failure.exit.code(), failure.hint.as_deref().unwrap_or("-"))
    }

    #[test]
    fn who_is_sent_away_reads_why_and_what_to_do() {
        let goodbye = |code, retry_after_s| {
            let (detail, resumable) = (Detail::cut(""), Resumable::No);
            let goodbye = Goodbye { code, detail, retry_after_s, resumable };
            shown(&not_let_in("here:8001", &Lost::Goodbye(goodbye)))
        };
        let all: Vec<String> = [
            (Code::NOT_ENCRYPTED, None),
            (Code::NOT_RECOGNISED, None),
            (Code::DISABLED, None),
            (Code::INVITATION, None),
            (Code::BANNED, Some(7_200)),
            (Code::TOO_MANY, Some(30)),
        ]
        .into_iter()
        .map(|(code, after)| goodbye(code, after))
        .collect();
        assert_snapshot!(all.join("\n"), @r"
        77: here:8001 takes this only over TLS
        leave --plaintext away
        77: here:8001 has no account with this name and token
        the name is the account's (--name); the token comes from --token-file, HELPLINE_TOKEN or a prompt, and whoever runs the server gives it out
        77: here:8001 has disabled or removed the account, or given it another token
        ask whoever runs the server
        77: here:8001 asks for an invitation that holds
        --invite asks for it; it can also come from --invite-file or HELPLINE_INVITE
        77: here:8001 takes nothing from your address at the moment
        try again in 120 minutes
        75: here:8001 has too much from your address already
        try again in 30 seconds
        ");
        let busy = busy(&Busy { why: Why::TOO_MANY, retry_after_s: 60, wait_s: None });
        assert_snapshot!(shown(&busy), @r"
        75: the line is busy: too many callers from your address wait already
        try again in 60 seconds
        ");
    }

    #[test]
    fn a_server_that_is_not_the_same_is_named_with_both_keys() {
        let address: Address = "here".parse().unwrap();
        let (expected, found) = (Fingerprint([0xab; 32]), Fingerprint([0xcd; 32]));
        let other = || DialError::OtherKey { expected, found };
        assert_snapshot!(shown(&dial(&address, other())), @r"
        77: the key of here:8001 has changed: expected sha256:abababababababababababababababababababababababababababababababab, but it has sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        somebody else may be answering in its place. Ask whoever runs it; if it has changed: helpline forget here:8001
        ");
        let link: Address = format!("helpline://here/#{expected}").parse().unwrap();
        assert_snapshot!(shown(&dial(&link, other())), @r"
        77: here:8001 does not have the key that the link names: expected sha256:abababababababababababababababababababababababababababababababab, but it has sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        somebody else may be answering in its place; ask whoever gave you the link whether it is still right
        ");
        let why = "UnknownIssuer".to_owned();
        assert_snapshot!(shown(&dial(&address, DialError::NotVouched(why))), @r"
        77: here:8001 can't show any more that it is what it was: no public root vouches for it: UnknownIssuer
        somebody else may be answering in its place. Ask whoever runs it; if it has changed: helpline forget here:8001
        ");
        assert_snapshot!(shown(&not_confirmed(&address, found)), @r"
        77: here:8001 was never met before, so it is not told your token: its key is sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        if whoever runs it says that this is right: helpline desk helpline://here:8001/#sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        ");
    }
}
