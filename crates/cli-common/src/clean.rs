//! Text from elsewhere, made harmless for a terminal and visible in JSON.
//!
//! Everything a peer, a file or the environment wrote goes through [`line()`] or [`lines`] before it
//! reaches a terminal. Afterwards no control character is left, so the text can't do anything: it can
//! only take up room. What happens to each character:
//!
//! | character | becomes |
//! |---|---|
//! | C0 (U+0000–U+001F), DEL | caret notation: `^[`, `^?`; in [`lines`] `\n` and `\r\n` split instead |
//! | tab | four spaces |
//! | C1 (U+0080–U+009F) | as `cat -v` shows them: `M-^[` for U+009B |
//! | U+2028, U+2029 (line and paragraph separator) | `<U+2028>`, `<U+2029>` |
//! | bidi embeddings, overrides, isolates (U+202A–U+202E, U+2066–U+2069) | kept, balanced: what is open at the end of a line is closed there, a closer that closes nothing is dropped |
//! | bidi marks (U+061C, U+200E, U+200F) | kept |
//! | zero-width joiner and non-joiner, variation selectors | kept (emoji, Indic scripts) |
//! | tag characters | kept in a well-formed emoji flag, else dropped |
//! | other characters that show nothing (U+00AD, U+200B, U+2060, U+FEFF, …) | dropped |
//! | combining and other zero-width characters | at most eight in a row, the rest dropped |
//! | noncharacters | U+FFFD |
//! | private use, unassigned | kept |
//!
//! Cleaning clean text changes nothing.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// How many characters without a width may follow each other. Real words need four; stacks of
/// hundreds paint over the lines above.
const MOST_MARKS: usize = 8;

/// What a tab becomes: a real one would make a line's width depend on where it starts.
const TAB: &str = "    ";

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Cleans one line. A line break in it is shown as `^J`.
#[must_use]
pub fn line(text: &str) -> String {
    let mut out = Cleaner::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == BLACK_FLAG
            && let Some(tags) = flag_tags(rest.as_str())
        {
            // Kept whole, past the limit for marks: Scotland's flag has six tags.
            out.text.push_str(tags);
            rest = rest.as_str().strip_prefix(tags).unwrap_or_default().chars();
        }
    }
    out.finish()
}

/// Cleans text line by line; `\n` and `\r\n` end a line, nothing else does.
///
/// As with [`str::lines`], a line break at the very end doesn't begin another line.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(line)
}

/// The text of bytes that should be UTF-8; each invalid sequence becomes U+FFFD.
///
/// Not cleaned: that is for whoever shows it.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Escapes, in JSON that is already valid, everything that a reader or a terminal would not see or
/// would obey: DEL, C1, line and paragraph separators, bidi controls and marks, characters that show
/// nothing, and noncharacters. The joiners and variation selectors stay: emoji are unreadable without.
///
/// These characters are valid in JSON only within strings, so the value remains the same.
#[must_use]
pub fn json_escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let escape = match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => true,
            c => is_bidi(c) || is_unseen(c) || is_tag(c) || is_noncharacter(c),
        };
        if escape {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// One line on its way to being clean.
struct Cleaner {
    text: String,
    /// What is open, so that it can be closed.
    open: Vec<Open>,
    /// Characters without a width since the last one that had one.
    marks: usize,
}

/// A bidi control that waits for its closer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// An embedding or override, closed by PDF.
    Embedding,
    /// An isolate, closed by PDI.
    Isolate,
}

/// Pop directional formatting.
const PDF: char = '\u{202c}';
/// Pop directional isolate.
const PDI: char = '\u{2069}';

impl Open {
    fn closer(self) -> char {
        match self {
            Self::Embedding => PDF,
            Self::Isolate => PDI,
        }
    }
}

impl Cleaner {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), open: Vec::new(), marks: 0 }
    }

    fn push(&mut self, c: char) {
        match c {
            ' '..='~' => self.visible(c),
            '\t' => TAB.chars().for_each(|space| self.visible(space)),
            '\0'..='\x1f' | '\x7f' => self.caret(c),
            '\u{80}'..='\u{9f}' => {
                self.visible('M');
                self.visible('-');
                // The C1 characters mirror the C0 ones, 0x80 further up.
                self.caret(char::from_u32(u32::from(c) - 0x80).unwrap_or(REPLACEMENT));
            }
            '\u{2028}' | '\u{2029}' => {
                format!("<U+{:04X}>", u32::from(c)).chars().for_each(|c| self.visible(c));
            }
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => self.open(c, Open::Embedding),
            '\u{2066}'..='\u{2068}' => self.open(c, Open::Isolate),
            PDF => {
                // Within an isolate it can't close what was opened outside.
                if self.open.last() == Some(&Open::Embedding) {
                    self.close();
                }
            }
            PDI => {
                // It also closes the embeddings opened within its isolate.
                if let Some(isolate) = self.open.iter().rposition(|open| *open == Open::Isolate) {
                    while self.open.len() > isolate {
                        self.close();
                    }
                }
            }
            c if is_bidi(c) => self.mark(c),
            c if is_unseen(c) || is_tag(c) => {}
            c if is_noncharacter(c) => self.visible(REPLACEMENT),
            c if c.width() == Some(0) => self.mark(c),
            c => self.visible(c),
        }
    }

    fn visible(&mut self, c: char) {
        self.marks = 0;
        self.text.push(c);
    }

    fn mark(&mut self, c: char) {
        if self.marks < MOST_MARKS {
            self.marks += 1;
            self.text.push(c);
        }
    }

    /// `^[` for ESC, `^?` for DEL: the character with bit 6 turned over.
    fn caret(&mut self, c: char) {
        self.visible('^');
        self.visible(char::from_u32(u32::from(c) ^ 0x40).unwrap_or(REPLACEMENT));
    }

    fn open(&mut self, c: char, open: Open) {
        self.open.push(open);
        self.text.push(c);
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.text.push(open.closer());
        }
    }

    fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }
}

/// Waving black flag, which begins the flags of England, Scotland and Wales.
const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';

/// The tags that make a flag of the [`BLACK_FLAG`] before `text`: letters and digits, then the end.
fn flag_tags(text: &str) -> Option<&str> {
    /// A country and a subdivision, as in `gbsct`.
    const MOST_TAGS: usize = 6;
    let end = text.char_indices().take(MOST_TAGS + 1).find(|(_, c)| *c == CANCEL_TAG)?.0;
    let (tags, _) = text.split_at_checked(end + CANCEL_TAG.len_utf8())?;
    let name = tags.strip_suffix(CANCEL_TAG)?;
    let is_name = |c| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    (!name.is_empty() && name.chars().all(is_name)).then_some(tags)
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

fn is_bidi(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Shows nothing and changes nothing that a terminal shows: format characters and fillers that are
/// ignorable by default, and the code points reserved for more of them.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'
            | '\u{e0002}'..='\u{e001f}'
            | '\u{e0080}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(line("\x1b[2J\x1b]0;title\x07\x7f\x00"), "^[[2J^[]0;title^G^?^@");
        assert_eq!(line("\u{9b}2J\u{80}\u{9f}\u{85}"), "M-^[2JM-^@M-^_M-^E");
    }

    #[test]
    fn only_line_feeds_begin_a_new_line() {
        let text = "a\r\nb\u{2028}c\u{2029}d\u{85}e\x0bf\x0cg\rh\n\ni\n";
        assert_eq!(
            lines(text).collect::<Vec<_>>(),
            ["a", "b<U+2028>c<U+2029>dM-^Ee^Kf^Lg^Mh", "", "i"]
        );
        assert_eq!(line("a\nb"), "a^Jb");
    }

    #[test]
    fn a_tab_is_four_spaces() {
        assert_eq!(line("\ta\tb"), "    a    b");
    }

    #[test]
    fn what_bidi_opens_is_closed_on_the_same_line() {
        assert_eq!(line("a\u{202e}b"), "a\u{202e}b\u{202c}");
        assert_eq!(line("\u{2067}a\u{202b}b\u{2069}c"), "\u{2067}a\u{202b}b\u{202c}\u{2069}c");
        assert_eq!(line("a\u{202c}b\u{2069}"), "ab");
        assert_eq!(line("\u{202e}\u{2066}a\u{202c}b"), "\u{202e}\u{2066}ab\u{2069}\u{202c}");
        assert_eq!(line("\u{200f}a\u{200e}\u{61c}"), "\u{200f}a\u{200e}\u{61c}");
        assert_eq!(
            lines("\u{202e}a\nb").collect::<Vec<_>>(),
            ["\u{202e}a\u{202c}".to_owned(), "b".to_owned()]
        );
    }

    #[test]
    fn joiners_and_selectors_stay_and_what_shows_nothing_goes() {
        let kept = "👩‍❤️‍💋‍👨 👨‍👩‍👧‍👦 नमस्ते क्‍ष می‌خواهم";
        assert_eq!(line(kept), kept);
        assert_eq!(line("a\u{200b}b\u{2060}c\u{feff}d\u{ad}e\u{180e}f\u{2063}"), "abcdef");
    }

    #[test]
    fn tags_stay_in_flags_only() {
        let scotland = "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
        assert_eq!(line(scotland), scotland);
        assert_eq!(line("a\u{e0068}\u{e0069}"), "a");
        assert_eq!(line("🏴\u{e0067}\u{e0062}!"), "🏴!");
        assert_eq!(line("🏴\u{e007f}"), "🏴");
    }

    #[test]
    fn no_more_than_eight_marks_stand_on_one_character() {
        let stack = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(line(&stack), format!("a{}b", "\u{301}".repeat(8)));
    }

    #[test]
    fn noncharacters_are_replaced_and_private_ones_kept() {
        assert_eq!(line("\u{fdd0}\u{fffe}\u{10ffff}\u{e000}"), "\u{fffd}\u{fffd}\u{fffd}\u{e000}");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(bytes(b"a\xffb\xe9"), "a\u{fffd}b\u{fffd}");
        assert_eq!(bytes("é".as_bytes()), "é");
    }

    #[test]
    fn json_shows_what_can_not_be_seen() {
        let json = "\"a\u{7f}\u{9b}\u{202e}\u{2028}\u{200b}\u{200f}\u{e0067}‍é\"";
        assert_eq!(json_escape(json), r#""a\u007f\u009b\u202e\u2028\u200b\u200f\udb40\udc67‍é""#);
    }

    /// Notices everything a terminal does besides showing characters.
    #[derive(Default)]
    struct Noticed(Vec<String>);

    impl vt100::Callbacks for Noticed {
        fn audible_bell(&mut self, _: &mut vt100::Screen) {
            self.0.push("bell".to_owned());
        }
        fn visual_bell(&mut self, _: &mut vt100::Screen) {
            self.0.push("flash".to_owned());
        }
        fn resize(&mut self, _: &mut vt100::Screen, _: (u16, u16)) {
            self.0.push("resize".to_owned());
        }
        fn set_window_icon_name(&mut self, _: &mut vt100::Screen, _: &[u8]) {
            self.0.push("icon".to_owned());
        }
        fn set_window_title(&mut self, _: &mut vt100::Screen, _: &[u8]) {
            self.0.push("title".to_owned());
        }
        fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], _: &[u8]) {
            self.0.push("copy".to_owned());
        }
        fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
            self.0.push("paste".to_owned());
        }
        fn unhandled_control(&mut self, _: &mut vt100::Screen, b: u8) {
            self.0.push(format!("control {b}"));
        }
        fn unhandled_escape(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, b: u8) {
            self.0.push(format!("escape {b}"));
        }
        fn unhandled_csi(
            &mut self,
            _: &mut vt100::Screen,
            _: Option<u8>,
            _: Option<u8>,
            _: &[&[u16]],
            c: char,
        ) {
            self.0.push(format!("csi {c}"));
        }
        fn unhandled_osc(&mut self, _: &mut vt100::Screen, _: &[&[u8]]) {
            self.0.push("osc".to_owned());
        }
    }

    /// Shows `text` on a wide terminal: what it did, and the column where the cursor ended.
    fn shown(text: &str) -> (Vec<String>, u16) {
        let mut parser = vt100::Parser::new_with_callbacks(
            4.try_into().unwrap(),
            4000.try_into().unwrap(),
            0,
            Noticed::default(),
        );
        let modes = parser.screen().input_mode_formatted();
        parser.process(text.as_bytes());
        let (row, column) = parser.screen().cursor_position();
        assert_eq!(row, 0, "the cursor left its row");
        assert_eq!(parser.screen().input_mode_formatted(), modes);
        assert!(!parser.screen().hide_cursor() && !parser.screen().alternate_screen());
        (std::mem::take(&mut parser.callbacks_mut().0), column)
    }

    /// Any character, the troublesome ones often.
    fn character() -> impl Strategy<Value = char> {
        prop_oneof![
            4 => any::<char>(),
            4 => proptest::char::range('\0', '\u{9f}'),
            1 => Just('\x1b'),
            2 => proptest::char::range('\u{2000}', '\u{206f}'),
            1 => proptest::char::range('\u{300}', '\u{36f}'),
            1 => proptest::char::range('\u{fe00}', '\u{feff}'),
            1 => proptest::char::range('\u{1f3f0}', '\u{1f3ff}'),
            1 => proptest::char::range('\u{e0000}', '\u{e007f}'),
            1 => Just(CANCEL_TAG),
        ]
    }

    fn troublesome() -> impl Strategy<Value = String> {
        proptest::collection::vec(character(), 0..100).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn no_control_character_survives(text in troublesome()) {
            let clean = line(&text);
            prop_assert!(!clean.chars().any(char::is_control), "{clean:?}");
            let breaks = clean.contains(['\u{2028}', '\u{2029}']);
            prop_assert!(!breaks);
            for line in lines(&text) {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }

        #[test]
        fn clean_text_only_takes_up_room_on_a_terminal(text in troublesome()) {
            let clean = line(&text);
            let (noticed, column) = shown(&clean);
            prop_assert_eq!(noticed, Vec::<String>::new());
            // This terminal takes U+FFFD for a broken byte and shows nothing for it, and it widens an
            // emoji that U+FE0F asks for.
            let shown = clean.chars().filter(|c| *c != REPLACEMENT);
            let width: usize = shown.filter_map(|c| c.width()).sum();
            let widened = clean.chars().filter(|c| *c == '\u{fe0f}').count();
            let column = usize::from(column);
            prop_assert!((width..=width + widened).contains(&column), "{column} {width} {clean:?}");
        }

        #[test]
        fn cleaning_clean_text_changes_nothing(text in troublesome()) {
            let clean = line(&text);
            prop_assert_eq!(line(&clean), clean);
        }

        #[test]
        fn plain_text_is_left_alone(text in "[ -~é漢字ß]{0,40}") {
            prop_assert_eq!(line(&text), text);
        }

        #[test]
        fn escaped_json_has_the_same_value(text in troublesome()) {
            let json = serde_json::to_string(&text).unwrap();
            let escaped = json_escape(&json);
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
            prop_assert!(!escaped.chars().any(|c| c.is_control() || is_bidi(c) || is_unseen(c)));
        }
    }

    #[test]
    fn the_terminal_of_these_tests_notices_what_uncleaned_text_does() {
        assert_eq!(shown("\x07\x1b]0;t\x07").0, ["bell", "icon", "title"]);
    }
}
