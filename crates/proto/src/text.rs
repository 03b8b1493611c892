//! Strings that are valid because they exist: what is said, names, and the short notes of the protocol.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::limits;

/// Why a string is not what it should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// It has more bytes than the protocol allows.
    #[error("it has {bytes} bytes, at most {limit} are allowed")]
    TooLong {
        /// How many bytes it has in UTF-8.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// White space stands before or after it.
    #[error("white space stands around it")]
    NotTrimmed,
    /// It begins with `-`, as the programs' own lines do.
    #[error("it begins with '-'")]
    LeadingDash,
    /// A control, line-breaking, invisible or text-direction character is in it.
    #[error("U+{:04X} is not allowed in it", u32::from(*.0))]
    Character(char),
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $type:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes the string as it is.
            ///
            /// # Errors
            /// Says which of the type's rules it breaks.
            pub fn new(string: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, TextError> {
                let check: fn(&str) -> Result<(), TextError> = $check;
                check(string.as_ref())?;
                Ok(Self(string.into()))
            }

            /// The string itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                /// Checks the string where it stands, and copies it only then.
                struct Checked;

                impl Visitor<'_> for Checked {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: de::Error>(self, string: &str) -> Result<$type, E> {
                        $type::new(string).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Checked)
            }
        }

        #[cfg(feature = "arbitrary")]
        impl<'a> arbitrary::Arbitrary<'a> for $type {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                Self::new(<&str>::arbitrary(u)?).map_err(|_| arbitrary::Error::IncorrectFormat)
            }
        }
    };
}

macro_rules! shown_string {
    ($type:ident) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_string! {
    /// One thing said: 1 to [`limits::TEXT`] bytes of UTF-8, any characters, kept verbatim.
    ///
    /// It may hold control characters and whole paragraphs: whoever shows it cleans it.
    Text, |string| length(string, limits::TEXT)
}
shown_string!(Text);

checked_string! {
    /// What a person is called: 1 to [`limits::NAME`] bytes on one line, trimmed, without control,
    /// invisible or text-direction characters, and not beginning with `-`.
    Name, |string| {
        length(string, limits::NAME)?;
        if string.trim() != string {
            return Err(TextError::NotTrimmed);
        }
        if string.starts_with('-') {
            return Err(TextError::LeadingDash);
        }
        string.chars().find(|c| misleading(*c)).map_or(Ok(()), |c| Err(TextError::Character(c)))
    }
}
shown_string!(Name);

impl Name {
    /// Takes what a person typed as a name: white space around it is dropped.
    ///
    /// # Errors
    /// Says which rule the rest breaks.
    pub fn typed(string: &str) -> Result<Self, TextError> {
        Self::new(string.trim())
    }
}

checked_string! {
    /// The name of a line, as dialled: 1 to [`limits::NAME`] of `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`,
    /// not beginning with `-` or `.`, so that it fits a link and a file name.
    LineName, |string| {
        length(string, limits::NAME)?;
        if string.starts_with('-') {
            return Err(TextError::LeadingDash);
        }
        let fits = |(at, c): (usize, char)| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || (c == '.' && at > 0)
        };
        string
            .char_indices()
            .find(|place| !fits(*place))
            .map_or(Ok(()), |(_, c)| Err(TextError::Character(c)))
    }
}
shown_string!(LineName);

checked_string! {
    /// A short remark for people and logs beside a code: at most [`limits::DETAIL`] bytes, maybe none.
    Detail, |string| at_most(string, limits::DETAIL)
}
shown_string!(Detail);

impl Detail {
    /// Takes as much of a remark as fits, whole characters only.
    #[must_use]
    pub fn cut(remark: &str) -> Self {
        let mut end = remark.len().min(limits::DETAIL);
        while !remark.is_char_boundary(end) {
            end -= 1;
        }
        Self(remark.get(..end).unwrap_or_default().into())
    }
}

checked_string! {
    /// Which program speaks, for the other side's logs: at most [`limits::AGENT`] bytes, maybe none.
    Agent, |string| at_most(string, limits::AGENT)
}
shown_string!(Agent);

checked_string! {
    /// A token or an invitation: 1 to [`limits::SECRET`] bytes of visible ASCII. `Debug` hides it.
    Secret, |string| {
        length(string, limits::SECRET)?;
        string
            .chars()
            .find(|c| !c.is_ascii_graphic())
            .map_or(Ok(()), |c| Err(TextError::Character(c)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn at_most(string: &str, limit: usize) -> Result<(), TextError> {
    if string.len() > limit {
        return Err(TextError::TooLong { bytes: string.len(), limit });
    }
    Ok(())
}

fn length(string: &str, limit: usize) -> Result<(), TextError> {
    if string.is_empty() {
        return Err(TextError::Empty);
    }
    at_most(string, limit)
}

/// Characters that have no place in a name: they break lines, hide, or turn the text around them.
fn misleading(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_byte_to_sixteen_kibibytes() {
        assert_eq!(Text::new(""), Err(TextError::Empty));
        assert!(Text::new("x".repeat(limits::TEXT)).is_ok());
        let over = Text::new("é".repeat(limits::TEXT / 2) + "x");
        assert_eq!(over, Err(TextError::TooLong { bytes: limits::TEXT + 1, limit: limits::TEXT }));
        assert!(Text::new("\u{1b}[2J\0\n").is_ok(), "kept verbatim");
    }

    #[test]
    fn a_name_cannot_mislead() {
        for good in ["Wei", "小文", "O'Neil-Smith", "नमस्ते", "👩‍🔧"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " wei",
            "wei ",
            "-- wei",
            "a\nb",
            "a\u{202e}b",
            "a\u{9b}b",
            "\u{200b}",
            "a\u{2028}b",
        ] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Name::typed("  wei\n").map(|name| name.to_string()), Ok("wei".into()));
        assert!(Name::new("x".repeat(65)).is_err());
    }

    #[test]
    fn a_line_name_fits_a_link() {
        assert!(LineName::new("main").is_ok());
        assert!(LineName::new("night-desk_2.eu").is_ok());
        for bad in ["", "-x", ".x", "a/b", "a b", "ü", "a#b"] {
            assert!(LineName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_detail_is_cut_between_characters() {
        let detail = Detail::cut(&"é".repeat(limits::DETAIL));
        assert_eq!(detail.as_str().len(), limits::DETAIL);
        assert_eq!(
            Detail::cut(&format!("x{}", "é".repeat(limits::DETAIL))).as_str().len(),
            limits::DETAIL - 1
        );
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(Secret::new("hunter2").map(|s| format!("{s:?}")), Ok("Secret(…)".into()));
    }
}
