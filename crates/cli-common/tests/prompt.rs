//! The line editor on a real pseudo-terminal.
//!
//! Each test starts this very program again, as [`child`], on a terminal of its own, types, and looks
//! at the screen.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "this is a test")]

use std::{
    env,
    io::{Read, Write},
    sync::mpsc,
    time::{Duration, Instant},
};

use helpline_cli_common::{
    prompt::{Prompt, Typed},
    terminal,
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Set for the program that sits on the terminal.
const CHILD: &str = "HELPLINE_PROMPT_CHILD";

/// Long enough for a machine that is shared.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many lines come from the other side.
const MESSAGES: usize = 200;

/// The program on the terminal: prints what was typed, and does what some lines ask for.
#[test]
fn child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    std::process::exit(runtime.block_on(converse()));
}

async fn converse() -> i32 {
    assert!(terminal::is_interactive());
    let modes = || format!("{:?}", terminal::Modes::save().unwrap());
    let before = modes();
    let (mut prompt, printer) = Prompt::open("> ").unwrap();
    printer.print("first").await;
    printer.print("second\nthird").await;
    loop {
        match prompt.next().await {
            Typed::Line(line) if line == "quit" => break,
            Typed::Line(line) if line == "quit later" => {
                // When the draft has been typed.
                prompt.drafts().wait_for(|draft| draft == "left over").await.unwrap();
                break;
            }
            Typed::Line(line) if line == "messages" => {
                let printer = printer.clone();
                tokio::spawn(async move {
                    for n in 0..MESSAGES {
                        printer.print(format!("message {n}")).await;
                    }
                });
            }
            Typed::Line(line) if line == "flood, then quit" => {
                for n in 0..MESSAGES {
                    printer.print(format!("message {n}\n{}", "~".repeat(400))).await;
                }
                break;
            }
            Typed::Line(line) if line == "hold" => {
                prompt.drafts().wait_for(|draft| draft.ends_with("go")).await.unwrap();
            }
            Typed::Line(line) if line == "outdate" => {
                prompt.drafts().wait_for(|draft| draft == "half").await.unwrap();
                prompt.outdate_draft();
                printer.print("outdated now").await;
            }
            Typed::Line(line) if line == "mark" => {
                prompt.show_as(Some("! "));
                printer.print("marked").await;
            }
            Typed::Line(line) if line == "unmark" => {
                prompt.show_as(None);
                printer.print("unmarked").await;
            }
            Typed::Outdated(line) => printer.print(format!("outdated {line:?}")).await,
            Typed::Line(line) if line == "draft?" => {
                let draft = prompt.drafts().wait_for(|draft| draft == "half").await.is_ok();
                printer.print(format!("draft noticed: {draft}, {:?}", prompt.draft())).await;
            }
            // The terminal of these tests shows nothing for U+FFFD.
            Typed::Line(line) => {
                printer.print(format!("line {:?}", line.replace('\u{fffd}', "<?>"))).await;
            }
            Typed::Interrupt { draft } => printer.print(format!("interrupt {draft:?}")).await,
            Typed::End => printer.print("end").await,
            Typed::Failed(error) => {
                eprintln!("failed: {error}");
                return 1;
            }
        }
    }
    prompt.close();
    println!("the modes are {}", if modes() == before { "as before" } else { "different" });
    printer.print("printed afterwards").await;
    7
}

/// A terminal with the program on it.
struct Terminal {
    screen: vt100::Parser,
    output: mpsc::Receiver<Vec<u8>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn start(rows: u16, cols: u16) -> Self {
        let size = PtySize { rows, cols, ..PtySize::default() };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env::current_exe().unwrap());
        command.args(["child", "--exact", "--nocapture", "--quiet"]);
        command.env(CHILD, "1");
        command.env("TERM", "xterm-256color");
        command.env_remove("TERM_PROGRAM");
        let child = pty.slave.spawn_command(command).unwrap();
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (sender, output) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = pty.master.take_writer().unwrap();
        let screen = vt100::Parser::new(rows.try_into().unwrap(), cols.try_into().unwrap(), 0);
        let mut terminal = Self { screen, output, keys, child, _master: pty.master };
        terminal.shows("third\n> ");
        terminal
    }

    fn types(&mut self, keys: impl AsRef<[u8]>) {
        self.keys.write_all(keys.as_ref()).unwrap();
        self.keys.flush().unwrap();
    }

    fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    fn until(&mut self, reason: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self.screen.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(error) => panic!("{reason}: {error}; the screen:\n{}", self.contents()),
            }
        }
    }

    /// Waits until `text` is on the screen.
    fn shows(&mut self, text: &str) {
        self.until(&format!("expected {text:?}"), |screen| screen.contents().contains(text));
    }

    /// Waits for the end of the program; its exit code.
    fn ends(&mut self) -> u32 {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.screen.process(&bytes);
        }
        self.child.wait().unwrap().exit_code()
    }

    /// The numbers of the messages, in the order in which they are on the screen.
    fn messages(&self) -> Vec<usize> {
        let contents = self.contents();
        let number = |line: &str| line.strip_prefix("message ").map(|n| n.parse().unwrap());
        contents.lines().filter_map(number).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
    }
}

/// What is on the screen, however it is wrapped.
fn without_spaces(screen: &vt100::Screen) -> String {
    screen.contents().replace([' ', '\n'], "")
}

fn all_messages() -> Vec<usize> {
    (0..MESSAGES).collect()
}

#[test]
fn what_is_printed_at_once_stands_above_the_prompt_in_order() {
    let mut terminal = Terminal::start(24, 80);
    terminal.shows("first\nsecond\nthird\n> ");
}

#[test]
fn n16_a_draft_survives_two_hundred_lines_from_the_other_side() {
    let mut terminal = Terminal::start(300, 80);
    terminal.types("messages\r");
    // Longer than the terminal is wide, typed key by key while the messages come.
    let draft: String = ('a'..='z').cycle().take(190).collect();
    for c in draft.chars() {
        terminal.types(c.to_string());
    }
    let last = format!("message{}>{draft}", MESSAGES - 1);
    terminal
        .until("all messages above the draft", |screen| without_spaces(screen).ends_with(&last));
    assert_eq!(terminal.messages(), all_messages());
    terminal.types("\r");
    terminal.shows(&format!("line \"{draft}\"\n> "));
    assert_eq!(terminal.messages(), all_messages());
}

#[test]
fn a_wide_wrapped_draft_survives_lines_from_the_other_side() {
    // An odd width: wide characters leave the last column of a row free.
    let mut terminal = Terminal::start(300, 31);
    let draft: String = "漢字かな交じり文".chars().cycle().take(50).collect();
    terminal.types("messages\r");
    for c in draft.chars() {
        terminal.types(c.to_string());
    }
    let last = format!("message{}>{draft}", MESSAGES - 1);
    terminal
        .until("all messages above the draft", |screen| without_spaces(screen).ends_with(&last));
    assert_eq!(terminal.messages(), all_messages());
    // Editing in the middle still hits the right place.
    terminal.types("\x1b[D\x1b[D\x7f\r");
    let mut kept: Vec<char> = draft.chars().collect();
    kept.remove(47);
    let line = format!("line\"{}\"", String::from_iter(kept));
    terminal.until("the edited line", |screen| without_spaces(screen).contains(&line));
}

#[test]
fn a_paste_of_several_lines_is_one_line_with_its_breaks() {
    let mut terminal = Terminal::start(24, 80);
    terminal.until("bracketed paste is on", vt100::Screen::bracketed_paste);
    terminal.types("\x1b[200~a\r\nb\rc\nd\x1b[201~");
    terminal.shows("> a\nb\nc\nd");
    terminal.types("\r");
    terminal.shows(r#"line "a\nb\nc\nd""#);
    terminal.shows("\"\n> ");
}

#[test]
fn a_draft_of_several_lines_survives_lines_from_the_other_side() {
    let mut terminal = Terminal::start(300, 80);
    terminal.types("messages\rone\x1b\rtwo\x1b\rthree");
    terminal.shows(&format!("message {}\n> one\ntwo\nthree", MESSAGES - 1));
    assert_eq!(terminal.messages(), all_messages());
    terminal.types("\r");
    terminal.shows(r#"line "one\ntwo\nthree""#);
}

#[test]
fn escapes_in_a_paste_are_not_obeyed() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("\x1b[200~x\u{9b}2Jy\x07\x08z\x1b[201~");
    terminal.shows("third\n> x2Jyz");
    terminal.types("\r");
    terminal.shows(r#"line "x\u{9b}2Jy\u{7}\u{8}z""#);
}

#[test]
fn n25_interrupt_gives_the_draft_and_the_editor_lives_on() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("half a line\x03");
    terminal.shows("interrupt \"half a line\"\n> ");
    terminal.types("\x03");
    terminal.shows("interrupt \"\"\n> ");
    terminal.types("whole\r");
    terminal.shows("line \"whole\"\n> ");
    // An interrupt by the terminal's settings only.
    terminal.types("again\x1c");
    terminal.shows("interrupt \"again\"");
    terminal.types("whole again\r");
    terminal.shows("line \"whole again\"\n> ");
}

#[test]
fn n26_end_of_input_is_told_on_an_empty_line_only() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("text\x04\x01\x04\r");
    terminal.shows("line \"ext\"\n> ");
    assert!(!terminal.contents().contains("end"));
    terminal.types("\x04");
    terminal.shows("end\n> ");
    terminal.types("more\r");
    terminal.shows("line \"more\"\n> ");
}

#[test]
fn lines_typed_ahead_are_not_lost() {
    // More than the queue holds: those that find no room become lines of one draft.
    const LINES: usize = 1100;
    let mut terminal = Terminal::start(200, 80);
    let mut keys = std::mem::replace(&mut terminal.keys, Box::new(std::io::sink()));
    let typing = std::thread::spawn(move || {
        keys.write_all(b"hold\r").unwrap();
        for n in 0..LINES {
            write!(keys, "ahead {n}\r").unwrap();
        }
        // The program takes what was typed once it sees this.
        keys.write_all(b"go").unwrap();
        keys.flush().unwrap();
        keys
    });
    let mut shown = String::new();
    let mut typing = Some(typing);
    while !shown.contains("go\"") {
        let bytes = terminal.output.recv_timeout(PATIENCE).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes));
        // The first that found no room waits in the draft.
        if shown.contains("line \"ahead 1023\"")
            && let Some(typing) = typing.take()
        {
            terminal.keys = typing.join().unwrap();
            terminal.types("\r");
        }
    }
    // What `line` was printed for, in order; the draft itself is on the screen many times.
    let lines: Vec<usize> = shown
        .split("line \"")
        .skip(1)
        .flat_map(|line| line.split('"').next().unwrap().split("\\n"))
        .filter_map(|line| line.strip_prefix("ahead ")?.parse().ok())
        .collect();
    assert_eq!(lines, (0..LINES).collect::<Vec<_>>());
    assert!(shown.contains(r#"line "ahead 1024\nahead 1025\n"#));
}

#[test]
fn the_draft_can_be_watched() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("draft?\rhalf");
    terminal.shows("draft noticed: true, \"half\"\n> half");
}

#[test]
fn what_stands_before_the_draft_may_change_while_it_is_typed() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("mark\r");
    terminal.shows("marked\n! ");
    terminal.types("half");
    terminal.shows("! half");
    terminal.types(" a line\r");
    terminal.shows("line \"half a line\"\n! ");
    terminal.types("unmark\r");
    terminal.shows("unmarked\n> ");
}

#[test]
fn an_outdated_draft_is_told_from_a_new_line() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("outdate\rhalf");
    terminal.shows("outdated now\n> half");
    terminal.types(" a line\rnext\r");
    terminal.shows("outdated \"half a line\"\nline \"next\"\n> ");
    // Deleted and typed anew, it is meant for whatever is now.
    terminal.types("outdate\rhalf");
    terminal.shows("outdated now\n> half");
    terminal.types("\x15half\r");
    terminal.shows("line \"half\"\n> ");
}

#[test]
fn arrows_bring_back_what_was_entered() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("one\rtwo\rdraft\x1b[A\x1b[A");
    terminal.shows("> one");
    terminal.types("\x1b[B\x1b[B");
    terminal.shows("> draft");
    terminal.types("\x1b[A!\r");
    terminal.shows("line \"two!\"\n> ");
}

#[test]
fn n33_a_key_that_is_not_utf_8_is_replaced() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types(b"caf\xe9 ");
    terminal.shows("> caf\n> caf");
    terminal.types(" is closed\r");
    terminal.shows("line \"caf<?> is closed\"\n> ");
}

#[test]
fn escape_alone_and_suspend_do_not_hold_back_what_is_printed() {
    let mut terminal = Terminal::start(300, 80);
    // The program is alone in its session, so the kernel doesn't suspend it.
    terminal.types("messages\r\x1ahalf\x1b");
    terminal.shows(&format!("message {}\n> half", MESSAGES - 1));
    assert_eq!(terminal.messages(), all_messages());
}

#[test]
fn a_resize_in_the_middle_of_a_draft_is_survived() {
    let mut terminal = Terminal::start(100, 80);
    let draft: String = ('a'..='z').cycle().take(100).collect();
    terminal.types(&draft);
    terminal.until("the draft", |screen| without_spaces(screen).ends_with(&format!(">{draft}")));
    let size = PtySize { rows: 100, cols: 120, ..PtySize::default() };
    terminal._master.resize(size).unwrap();
    terminal.screen.screen_mut().set_size(100.try_into().unwrap(), 120.try_into().unwrap());
    terminal.types(" end\r");
    terminal.shows(&format!("line \"{draft} end\""));
}

#[test]
fn closing_gives_the_terminal_back_and_erases_an_empty_prompt() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("quit\r");
    assert_eq!(terminal.ends(), 7);
    let contents = terminal.contents();
    assert!(contents.ends_with("third\nthe modes are as before\nprinted afterwards"), "{contents}");
    assert!(!terminal.screen.screen().bracketed_paste());
}

#[test]
fn closing_takes_the_draft_away() {
    let mut terminal = Terminal::start(24, 80);
    terminal.types("quit later\rleft over");
    assert_eq!(terminal.ends(), 7);
    let contents = terminal.contents();
    assert!(contents.contains("third\nthe modes are as before\n"), "{contents}");
    assert!(!contents.contains("left over"), "{contents}");
}

#[test]
fn closing_prints_everything_first() {
    // More than is printed at once.
    let mut terminal = Terminal::start(1500, 80);
    terminal.types("flood, then quit\r");
    assert_eq!(terminal.ends(), 7);
    assert_eq!(terminal.messages(), all_messages());
    assert!(terminal.contents().contains("~\nthe modes are as before"));
}

#[test]
fn closing_in_the_middle_of_a_command_gives_the_terminal_back_all_the_same() {
    let mut terminal = Terminal::start(24, 80);
    // Alt-5 waits for what is to be done five times.
    terminal.types("quit\r\x1b5");
    assert_eq!(terminal.ends(), 7);
    terminal.shows("the modes are as before");
    assert!(!terminal.screen.screen().bracketed_paste());
}
