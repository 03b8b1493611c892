//! Tokens and invitations, as they are handed in: in a file, in the environment or at a prompt, and never as an
//! argument, which everybody on the machine can read.

use std::{env, ffi::OsStr, io, io::Read as _, path::Path};

use helpline_proto::text::Secret;

/// What is read of a file at most: more than any secret has.
const MOST: u64 = 4 * 1024;

/// The digits of a token.
const TOKEN: usize = 64;

/// That can't be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a token has 64 hexadecimal digits in lower case")]
    Token,
    #[error("an invitation is one word of letters, digits and signs")]
    Invitation,
}

/// Reads a token. White space around it doesn't matter.
pub(crate) fn token(written: &str) -> Result<Secret, Malformed> {
    let written = written.trim();
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if written.len() != TOKEN || !written.chars().all(is_digit) {
        return Err(Malformed::Token);
    }
    Secret::new(written).map_err(|_| Malformed::Token)
}

/// Reads an invitation. White space around it doesn't matter.
pub(crate) fn invitation(written: &str) -> Result<Secret, Malformed> {
    Secret::new(written.trim()).map_err(|_| Malformed::Invitation)
}

/// What a file holds. It may be a pipe.
pub(crate) fn in_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// What a variable of the environment holds; none if it is empty. What isn't text is no secret either.
pub(crate) fn in_environment(variable: &str) -> Option<String> {
    let given = env::var_os(variable);
    given.as_deref().map(OsStr::to_string_lossy).filter(|text| !text.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_64_digits_whatever_white_space_stands_around_them() {
        let digits = "0123456789abcdef".repeat(4);
        let read = token(&format!(" {digits}\r\n")).unwrap();
        assert_eq!(read.as_str(), digits);
        assert_eq!(format!("{read:?}"), "Secret(…)");
        for bad in [
            "",
            &digits.replacen('0', "", 1),
            &digits.to_uppercase(),
            &(digits.clone() + "0"),
            &"é".repeat(32),
        ] {
            assert_eq!(token(bad), Err(Malformed::Token), "{bad}");
        }
    }

    #[test]
    fn an_invitation_is_a_word() {
        assert_eq!(invitation("k7-Qm\n").unwrap().as_str(), "k7-Qm");
        for bad in ["", "two words", "\n", "caf\u{e9}"] {
            assert_eq!(invitation(bad), Err(Malformed::Invitation), "{bad}");
        }
    }
}
