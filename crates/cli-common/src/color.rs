//! Whether to colour, and the few roles that are coloured.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
};

use crate::terminal;

/// The value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set or the terminal is a dumb one.
    #[default]
    Auto,
    /// Always, also into files and pipes.
    Always,
    /// Never.
    Never,
}

impl When {
    /// The palette for standard output.
    #[must_use]
    pub fn stdout(self) -> Palette {
        self.palette(io::stdout().is_terminal())
    }

    /// The palette for standard error.
    #[must_use]
    pub fn stderr(self) -> Palette {
        self.palette(io::stderr().is_terminal())
    }

    fn palette(self, is_terminal: bool) -> Palette {
        let no_color = env::var_os("NO_COLOR");
        Palette(self.decide(is_terminal, no_color.as_deref(), terminal::is_dumb()))
    }

    /// `NO_COLOR` counts when it isn't empty (<https://no-color.org>), and yields to `--color always`.
    fn decide(self, is_terminal: bool, no_color: Option<&OsStr>, is_dumb: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !is_dumb && no_color.is_none_or(OsStr::is_empty),
        }
    }
}

/// What a piece of text is, which decides how it is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A line of the program's own, not said by anybody: dim.
    Own,
    /// A name: bold.
    Name,
    /// Something that went wrong: red.
    Error,
}

impl Role {
    /// Selects the graphic rendition (ECMA-48, SGR).
    fn sgr(self) -> &'static str {
        match self {
            Self::Own => "\x1b[2m",
            Self::Name => "\x1b[1m",
            Self::Error => "\x1b[31m",
        }
    }
}

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette(bool);

impl Palette {
    /// Leaves all text as it is.
    pub const PLAIN: Self = Self(false);

    /// True if this palette paints.
    #[must_use]
    pub fn is_colored(self) -> bool {
        self.0
    }

    /// Paints `text`, which must already be clean, in one piece.
    #[must_use]
    pub fn paint(self, role: Role, text: &str) -> Cow<'_, str> {
        if self.0 {
            Cow::Owned(format!("{}{text}\x1b[0m", role.sgr()))
        } else {
            Cow::Borrowed(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_coloured_and_a_file_is_not() {
        assert!(When::Auto.decide(true, None, false));
        assert!(!When::Auto.decide(false, None, false));
        assert!(!When::Auto.decide(true, None, true));
    }

    #[test]
    fn no_color_is_honoured_unless_colour_is_asked_for() {
        let set = Some(OsStr::new("1"));
        assert!(!When::Auto.decide(true, set, false));
        assert!(When::Auto.decide(true, Some(OsStr::new("")), false));
        assert!(When::Always.decide(false, set, true));
        assert!(!When::Never.decide(true, None, false));
    }

    #[test]
    fn a_plain_palette_leaves_text_alone() {
        assert_eq!(Palette::PLAIN.paint(Role::Error, "no"), "no");
        assert_eq!(Palette(true).paint(Role::Error, "no"), "\x1b[31mno\x1b[0m");
    }
}
