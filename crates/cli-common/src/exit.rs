//! Exit codes, and the one way a program says why it failed.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use crate::clean;

/// How a program ended, as its exit code says it (`sysexits.h`, and 128 + the signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, nothing is left.
    Ok = 0,
    /// Anything else.
    Other = 1,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// Unreachable, lost, or already taken (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Reading or writing failed (`EX_IOERR`).
    IoError = 74,
    /// Not now, try later: busy, closed or timed out (`EX_TEMPFAIL`).
    TempFail = 75,
    /// The other side doesn't speak our protocol (`EX_PROTOCOL`).
    Protocol = 76,
    /// Refused (`EX_NOPERM`).
    NoPermission = 77,
    /// Something is configured wrong or not at all (`EX_CONFIG`).
    Config = 78,
    /// The terminal went away (SIGHUP).
    Hangup = 129,
    /// The person left (SIGINT, ^C, ^D).
    Interrupted = 130,
    /// Asked to end (SIGTERM).
    Terminated = 143,
}

impl Exit {
    /// The number the calling program sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a program ended with something else than what was wanted: what happened, why, and what to do.
///
/// The parts may contain text from elsewhere; [`report`] cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, as the beginning of a sentence without a full stop.
    pub what: String,
    /// Why, in the words of whoever knows.
    pub cause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// What happened.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), cause: None, hint: None }
    }

    /// Adds why.
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// Adds what to do.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

/// Says on stderr why the program ends, and returns its exit code. For `main`, once.
pub fn report(program: &str, failure: &Failure) -> ExitCode {
    let _stderr_is_gone = io::stderr().write_all(text(program, failure).as_bytes());
    failure.exit.into()
}

/// `PROGRAM: WHAT: CAUSE`, then what to do; everything after the first line is indented by two spaces.
fn text(program: &str, failure: &Failure) -> String {
    let mut text = format!("{program}: ");
    let message = failure.to_string();
    let hint = failure.hint.as_deref().unwrap_or_default();
    for (n, line) in clean::lines(&message).chain(clean::lines(hint)).enumerate() {
        text.push_str(if n == 0 { "" } else { "  " });
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Parses the command line: the arguments, or the exit code after `--help`, `--version` (0, on
/// stdout) or a wrong one (64, on stderr) has been answered.
///
/// # Errors
/// The exit code to end with; everything has been said.
pub fn parse<P: clap::Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        let _output_is_gone = error.print();
        usage(&error).into()
    })
}

/// What clap's error means for the exit code; its own code is 2.
fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_failure_says_what_happened_then_what_to_do() {
        let failure = Failure::new(Exit::NoPermission, "the key of example.org has changed")
            .because("sha256:ab is not sha256:cd")
            .hint("if that is right: helpline forget example.org");
        assert_eq!(
            text("helpline", &failure),
            "helpline: the key of example.org has changed: sha256:ab is not sha256:cd\n  \
             if that is right: helpline forget example.org\n"
        );
    }

    #[test]
    fn a_failure_without_a_hint_is_one_line() {
        assert_eq!(text("helpline", &Failure::new(Exit::Other, "no")), "helpline: no\n");
    }

    #[test]
    fn what_others_said_is_cleaned_and_indented() {
        let failure = Failure::new(Exit::Protocol, "odd").because("a\x1b[2J\nb");
        assert_eq!(text("helpline", &failure), "helpline: odd: a^[[2J\n  b\n");
    }

    #[derive(Parser)]
    #[command(version = "1")]
    struct Arguments {
        #[arg(long)]
        places: u16,
    }

    #[test]
    fn a_wrong_command_line_exits_with_64_and_help_with_0() {
        let exit = |arguments: &[&str]| match Arguments::try_parse_from(arguments) {
            Ok(arguments) => panic!("parsed: {}", arguments.places),
            Err(error) => usage(&error),
        };
        assert_eq!(exit(&["p", "--places", "many"]), Exit::Usage);
        assert_eq!(exit(&["p"]), Exit::Usage);
        assert_eq!(exit(&["p", "--nonsense"]), Exit::Usage);
        assert_eq!(exit(&["p", "--help"]), Exit::Ok);
        assert_eq!(exit(&["p", "--version"]), Exit::Ok);
    }
}
