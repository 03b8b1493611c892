//! Questions that are asked before anything else, on a terminal.

use std::io;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use super::screen::Screen;

/// What somebody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Nobody answers: the terminal is gone, or ^D was pressed.
    Nothing,
}

/// What Enter alone answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usual {
    Yes,
    No,
}

/// Asks until there is an answer.
///
/// Only before the screen begins to read. A reader that is left alone stays behind, so that afterwards
/// nothing else may be read.
pub(crate) async fn ask(screen: &mut Screen, question: &str, usual: Usual) -> Answer {
    let choice = match usual {
        Usual::Yes => "[Y/n]",
        Usual::No => "[y/N]",
    };
    loop {
        screen.ask(&format!("{question} {choice} "));
        screen.flush().await;
        match line().await {
            Some(line) => {
                if let Some(answer) = read(&line, usual) {
                    return answer;
                }
            }
            None => return Answer::Nothing,
        }
    }
}

/// Asks for a secret, which isn't shown while it is typed; none if nobody answers.
///
/// As for [`ask`], only before the screen begins to read.
pub(crate) async fn ask_hidden(screen: &mut Screen, question: &str) -> Option<String> {
    // Before the question stands there: whoever sees it may begin to type.
    let _until_answered = Hidden::begin()
        .inspect_err(|error| tracing::debug!("what is typed can't be hidden: {error}"))
        .ok()?;
    screen.ask(question);
    screen.flush().await;
    line().await
}

async fn line() -> Option<String> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let bytes = io::stdin().read_line(&mut line).unwrap_or(0);
        (bytes > 0).then_some(line)
    });
    line.await.ok().flatten()
}

/// The terminal doesn't show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // Enter is seen nevertheless.
        hidden.local_modes.insert(LocalModes::ECHONL);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _gone = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn read(line: &str, usual: Usual) -> Option<Answer> {
    match (line.trim().to_ascii_lowercase().as_str(), usual) {
        ("", Usual::Yes) | ("y" | "yes", _) => Some(Answer::Yes),
        ("", Usual::No) | ("n" | "no", _) => Some(Answer::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_is_the_usual_answer_and_anything_odd_is_asked_again() {
        assert_eq!(read("\n", Usual::Yes), Some(Answer::Yes));
        assert_eq!(read("\n", Usual::No), Some(Answer::No));
        for usual in [Usual::Yes, Usual::No] {
            for yes in ["y\n", " Yes \n"] {
                assert_eq!(read(yes, usual), Some(Answer::Yes), "{yes:?}");
            }
            for no in ["n\n", "NO\n"] {
                assert_eq!(read(no, usual), Some(Answer::No), "{no:?}");
            }
            assert_eq!(read("hello?\n", usual), None);
        }
    }
}
