//! Why a program ended otherwise than wanted: the exit code, what happened, what to do.

use helpline_cli_common::exit::{Exit, Failure};
use helpline_proto::{
    code::{Code, Why},
    error::DecodeError,
    message::{Busy, Closed, Goodbye},
    session::Lost,
    version,
};

use crate::{Address, dial::DialError};

use super::words;

/// There is no connection.
pub(crate) fn dial(address: &Address, error: DialError) -> Failure {
    match error {
        DialError::NoTls => Failure::new(Exit::Config, "the link can't be followed")
            .because(DialError::NoTls)
            .hint("to connect unencrypted anyway, dial the host and port alone"),
        DialError::NoRandomness(_) => Failure::new(Exit::Other, "no call can begin").because(error),
        DialError::NoAddress(_) => {
            Failure::new(Exit::Unavailable, format!("{address} can't be reached"))
                .because(error)
                .hint("check the name")
        }
        DialError::Unreachable(_) | DialError::TimedOut => {
            Failure::new(Exit::Unavailable, format!("{address} can't be reached"))
                .because(error)
                .hint("check the address, and whether a helpline-server listens there")
        }
    }
}

/// Every place is taken.
pub(crate) fn busy(busy: &Busy) -> Failure {
    let why = match busy.why {
        Why::FULL => "every place is taken".to_owned(),
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
    let hint = match closed.retry_after_s {
        Some(after) => format!("try again in {}", seconds(after)),
        None => "try again later".to_owned(),
    };
    Failure::new(Exit::TempFail, "the line is closed").because(why).hint(hint)
}

fn seconds(seconds: u32) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
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
        .because("it was away for too long")
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

/// The connection is lost.
pub(crate) fn lost(server: &str, lost: &Lost) -> Failure {
    match lost {
        Lost::NotHelpline(error) => not_helpline(server, error),
        Lost::Goodbye(goodbye) if goodbye.code == Code::STOPPING => {
            Failure::new(Exit::Unavailable, "the server stopped")
        }
        _ => Failure::new(Exit::Unavailable, format!("the connection to {server} was lost"))
            .because(lost),
    }
}
