//! Text from elsewhere, cleaned, and judged by a terminal's parser.

use helpline_cli_common::clean;
use helpline_proto::{
    ids::{CallId, Nonce},
    json::{self, Reader},
    message::{Ref, Say},
    text::Text,
};

pub(crate) fn clean(data: &[u8]) {
    let text = clean::bytes(data);
    let cleaned = clean::line(&text);
    is_clean(&cleaned);
    assert!(cleaned.len() <= 4 * text.len(), "{} bytes became {}", text.len(), cleaned.len());
    assert_eq!(clean::line(&cleaned), cleaned, "cleaning clean text changes nothing");

    let lines: Vec<String> = clean::lines(&text).collect();
    lines.iter().for_each(|line| is_clean(line));
    assert_eq!(lines.len(), text.lines().count());

    json_is_seen(&text);
}

/// Only characters are shown, and none that hides, or turns what stands around the line.
fn is_clean(line: &str) {
    let mut terminal = Terminal::default();
    vte::Parser::new().advance(&mut terminal, line.as_bytes());
    assert_eq!(terminal.obeyed, Vec::<String>::new(), "{line:?}");
    assert_eq!(terminal.shown, line);

    let mut open = Vec::new();
    let mut is_flag = false;
    let mut marks = 0;
    for c in line.chars() {
        assert!(!c.is_control(), "{c:?} in {line:?}");
        assert!(!hides(c), "{c:?} in {line:?}");
        is_flag = c == '\u{1f3f4}' || is_flag && matches!(c, '\u{e0020}'..='\u{e007f}');
        assert!(is_flag || !matches!(c, '\u{e0001}'..='\u{e007f}'), "{c:?} in {line:?}");
        marks = if matches!(c, '\u{300}'..='\u{36f}') { marks + 1 } else { 0 };
        assert!(marks <= 8, "{line:?}");
        match c {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => open.push('\u{202c}'),
            '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
            '\u{202c}' | '\u{2069}' => assert_eq!(open.pop(), Some(c), "{line:?}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "the line behind this one is turned: {line:?}");
}

/// Breaks a line, shows nothing, or is no character. The joiners stay, for emoji and Indic scripts.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2028}' | '\u{2029}'
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}' | '\u{e0080}'..='\u{e00ff}')
        || u32::from(c) & 0xffff >= 0xfffe
}

/// As JSON for a terminal a text has the same value, and nothing that a terminal obeys.
fn json_is_seen(text: &str) {
    let Ok(text) = Text::new(text) else { return };
    let say = Say { call: CallId([7; 16]), nonce: Nonce::FIRST, text };
    let message = (Ref::NONE, say.into());
    let written = clean::json_escape(&json::encode(&message.1, message.0).unwrap());
    let mut terminal = Terminal::default();
    vte::Parser::new().advance(&mut terminal, written.as_bytes());
    assert_eq!(terminal.obeyed, Vec::<String>::new(), "{written:?}");
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!written.contains(|c: char| c.is_control() || hides(c) || turns(c)), "{written:?}");
    if written.len() <= helpline_proto::limits::JSON {
        assert_eq!(json::decode(&written, Reader::Server).unwrap(), message);
    }
}

/// What a terminal does with what it is sent.
#[derive(Default)]
struct Terminal {
    shown: String,
    /// Everything else.
    obeyed: Vec<String>,
}

impl vte::Perform for Terminal {
    fn print(&mut self, c: char) {
        self.shown.push(c);
    }

    fn execute(&mut self, byte: u8) {
        self.obeyed.push(format!("control {byte}"));
    }

    fn hook(&mut self, _: &vte::Params, _: &[u8], _: bool, action: char) {
        self.obeyed.push(format!("DCS {action}"));
    }

    fn put(&mut self, byte: u8) {
        self.obeyed.push(format!("within a DCS {byte}"));
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.obeyed.push("OSC".into());
    }

    fn csi_dispatch(&mut self, _: &vte::Params, _: &[u8], _: bool, action: char) {
        self.obeyed.push(format!("CSI {action}"));
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        self.obeyed.push(format!("ESC {byte}"));
    }
}
