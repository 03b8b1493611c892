//! A question that is asked before anything else, on a terminal.

use std::io;

use super::screen::Screen;

/// What somebody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Nobody answers: the terminal is gone, or ^D was pressed.
    Nothing,
}

/// Asks until there is an answer. Enter alone is a yes.
///
/// Only before the screen begins to read. A reader that is left alone stays behind, so that afterwards
/// nothing else may be read.
pub(crate) async fn ask(screen: &mut Screen, question: &str) -> Answer {
    loop {
        screen.ask(&format!("{question} [Y/n] "));
        screen.flush().await;
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            let bytes = io::stdin().read_line(&mut line).unwrap_or(0);
            (bytes > 0).then_some(line)
        });
        match line.await {
            Ok(Some(line)) => {
                if let Some(answer) = read(&line) {
                    return answer;
                }
            }
            Ok(None) | Err(_) => return Answer::Nothing,
        }
    }
}

fn read(line: &str) -> Option<Answer> {
    match line.trim().to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Some(Answer::Yes),
        "n" | "no" => Some(Answer::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_is_a_yes_and_anything_odd_is_asked_again() {
        for yes in ["\n", "y\n", " Yes \n"] {
            assert_eq!(read(yes), Some(Answer::Yes), "{yes:?}");
        }
        for no in ["n\n", "NO\n"] {
            assert_eq!(read(no), Some(Answer::No), "{no:?}");
        }
        assert_eq!(read("hello?\n"), None);
    }
}
