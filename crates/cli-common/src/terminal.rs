//! What the terminal is, how it was, and who sits there.

use std::{
    env,
    io::{self, IsTerminal},
};

use rustix::termios::{self, OptionalActions, Termios};

/// Columns assumed where nobody says how many there are.
const DEFAULT_WIDTH: u16 = 80;

/// True if stdin *and* stdout are terminals and this process is in the foreground, so that a person
/// can be asked something.
///
/// A terminal that isn't the controlling one has no foreground; it counts as interactive.
#[must_use]
pub fn is_interactive() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal()
        && io::stdout().is_terminal()
        && termios::tcgetpgrp(&stdin)
            .map_or(true, |foreground| foreground == rustix::process::getpgrp())
}

/// True if `TERM` names a terminal that can't edit lines: use [`crate::plain`] there.
///
/// The list is rustyline's.
#[must_use]
pub fn is_dumb() -> bool {
    env::var("TERM").is_ok_and(|term| {
        ["dumb", "cons25", "emacs"].iter().any(|dumb| dumb.eq_ignore_ascii_case(&term))
    })
}

/// How many columns standard output has; 80 if it isn't a terminal or doesn't know.
#[must_use]
pub fn width() -> usize {
    let columns = termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    usize::from(if columns == 0 { DEFAULT_WIDTH } else { columns })
}

/// The login name, for a default name of the operator; `operator` if the environment has none.
///
/// It is returned as it is, so it may be no valid name.
#[must_use]
pub fn login_name() -> String {
    login_name_from(|variable| env::var(variable).ok())
}

fn login_name_from(variable: impl Fn(&str) -> Option<String>) -> String {
    ["LOGNAME", "USER", "USERNAME"]
        .into_iter()
        .filter_map(variable)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "operator".to_owned())
}

/// True if this process was started with SIGHUP ignored, as by `nohup`: then it should not be handled.
///
/// Only Linux tells; elsewhere it is false.
#[must_use]
pub fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        // Signal 1 is the lowest bit.
        .is_some_and(|mask| mask & 1 == 1)
}

/// The modes a terminal had, to give them back whatever happened since.
#[derive(Clone, Debug)]
pub struct Modes(Termios);

impl Modes {
    /// Remembers the modes of the terminal on stdin.
    ///
    /// # Errors
    /// Stdin isn't a terminal, or it is gone.
    pub fn save() -> io::Result<Self> {
        Ok(Self(termios::tcgetattr(io::stdin())?))
    }

    /// Gives the terminal its modes back, and turns off what a line editor turned on in the terminal
    /// itself: bracketed paste and synchronized output.
    ///
    /// Works while another thread still sits in the line editor, and may be called more than once.
    /// Failures are ignored: the terminal may be gone.
    pub fn restore(&self) {
        // The terminal first: once echo is on again, what is typed must not arrive as a paste.
        let _gone = write_raw("\x1b[?2026l\x1b[?2004l");
        let _gone = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Writes to standard output past its buffer, as the line editor does.
pub(crate) fn write_raw(text: &str) -> io::Result<()> {
    let mut bytes = text.as_bytes();
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_name_is_the_first_that_is_set_and_not_empty() {
        let environment = |variable: &str| match variable {
            "LOGNAME" => Some(String::new()),
            "USER" => Some("wei".to_owned()),
            _ => Some("other".to_owned()),
        };
        assert_eq!(login_name_from(environment), "wei");
        assert_eq!(login_name_from(|_| None), "operator");
    }
}
