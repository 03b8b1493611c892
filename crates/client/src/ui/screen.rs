//! Where what is to be shown goes, and where what is entered comes from.

use std::{collections::VecDeque, future::pending, io};

use helpline_cli_common::{
    clean,
    color::{Palette, Role},
    exit::{Exit, Failure},
    log::Logs,
    plain::{PlainInput, Read},
    prompt::{Printer, Prompt, Typed},
    terminal,
};
use helpline_proto::limits;
use tokio::sync::watch;

use super::{
    act::{Entered, Mode, Show},
    output::{Piece, Stream, Writer},
    words,
};

/// What stands before the line being typed, and before one that was.
pub(crate) const PROMPT: &str = "you: ";

/// The same while there is no connection. As wide, for the editor reckons with the other one.
const OFFLINE: &str = "off: ";

/// The person or program at this end.
#[derive(Debug)]
pub(crate) struct Screen {
    mode: Mode,
    palette: Palette,
    logs: Option<Logs>,
    input: Input,
    sink: Sink,
    drafts: Option<watch::Receiver<String>>,
    /// Still to be handed over to the sink.
    pieces: VecDeque<Piece>,
    /// Nobody reads standard output, and that is known.
    is_closed: bool,
}

#[derive(Debug)]
enum Input {
    Unopened,
    Prompt(Prompt),
    Plain(PlainInput),
    /// The terminal can't be read any more.
    Gone,
}

#[derive(Debug)]
enum Sink {
    Writer(Writer),
    Printer(Printer),
    Nothing,
}

/// What happened at a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// There is room again.
    Room,
    /// Something was entered.
    Entered(Entered),
    /// A line was entered that was begun in a call that has ended: it isn't for the next one.
    Outdated(String),
    /// What is being typed has changed to this.
    Draft(String),
}

impl Screen {
    /// Nothing is read yet.
    pub(crate) fn open(mode: Mode, palette: Palette, logs: Logs) -> Result<Self, Failure> {
        let writer = Writer::open().map_err(|error| no_thread(&error))?;
        Ok(Self {
            mode,
            palette,
            logs: Some(logs),
            input: Input::Unopened,
            sink: Sink::Writer(writer),
            drafts: None,
            pieces: VecDeque::new(),
            is_closed: false,
        })
    }

    /// Takes over a prompt that stands already.
    pub(crate) fn over(prompt: Prompt, printer: Printer, palette: Palette) -> Self {
        Self {
            mode: Mode::Terminal,
            palette,
            logs: None,
            drafts: Some(prompt.drafts()),
            input: Input::Prompt(prompt),
            sink: Sink::Printer(printer),
            pieces: VecDeque::new(),
            is_closed: false,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes something to be shown; [`flush`](Self::flush) or [`next`](Self::next) shows it.
    pub(crate) fn show(&mut self, show: &Show) {
        self.pieces.extend(render(show, self.mode, self.palette));
    }

    /// As [`show`](Self::show), but on standard error in every mode. Before anything is read only.
    pub(crate) fn warn(&mut self, warning: &str) {
        let text = own_lines(warning);
        self.pieces.push_back(Piece { stream: Stream::Err, text });
    }

    /// Asks a question, with room for the answer behind it. Before anything is read only.
    pub(crate) fn ask(&mut self, question: &str) {
        let text = format!("-- {question}");
        self.pieces.push_back(Piece { stream: Stream::Out, text });
    }

    /// Whether something is still to be shown: then nothing is read, and no event should be taken.
    pub(crate) fn is_behind(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Shows what is to be shown; waits for room only. Cancel safe.
    pub(crate) async fn flush(&mut self) {
        while let Some(piece) = self.pieces.front() {
            match &self.sink {
                Sink::Writer(writer) => writer.write(piece.clone()).await,
                Sink::Printer(printer) => printer.print(piece.text.as_str()).await,
                Sink::Nothing => {}
            }
            self.pieces.pop_front();
        }
    }

    /// Begins to read, unless that has begun.
    pub(crate) async fn begin_to_read(&mut self) -> Result<(), Failure> {
        if !matches!(self.input, Input::Unopened) {
            return Ok(());
        }
        if self.mode == Mode::Terminal {
            // The editor writes to the terminal itself, so everything before has to stand there.
            self.flush().await;
            if let Sink::Writer(writer) = std::mem::replace(&mut self.sink, Sink::Nothing) {
                writer.finish().await;
            }
            match Prompt::open(PROMPT) {
                Ok((prompt, printer)) => {
                    if let Some(logs) = &self.logs {
                        logs.above(printer.clone());
                    }
                    self.drafts = Some(prompt.drafts());
                    self.input = Input::Prompt(prompt);
                    self.sink = Sink::Printer(printer);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!("lines can't be edited on this terminal: {error}");
                    self.mode = Mode::Plain;
                    self.sink = Sink::Writer(Writer::open().map_err(|error| no_thread(&error))?);
                }
            }
        }
        let most = if self.mode == Mode::Json { limits::JSON } else { limits::TEXT };
        self.input = Input::Plain(PlainInput::open(most).map_err(|error| no_thread(&error))?);
        Ok(())
    }

    /// What happens next; something is entered only with `reads`. Cancel safe.
    pub(crate) async fn next(&mut self, reads: bool) -> Happened {
        if self.is_behind() {
            self.flush().await;
            return Happened::Room;
        }
        let Self { input, sink, drafts, is_closed, .. } = self;
        tokio::select! {
            happened = entered(input), if reads => happened,
            () = closed(sink), if !*is_closed => {
                *is_closed = true;
                Happened::Entered(Entered::Closed)
            }
            draft = changed(drafts), if reads => Happened::Draft(draft),
            else => pending().await,
        }
    }

    /// What is being typed was meant for something that is over.
    pub(crate) fn outdate_draft(&self) {
        if let Input::Prompt(prompt) = &self.input {
            prompt.outdate_draft();
        }
    }

    /// Shows before the line being typed whether there is a connection, from the next thing shown on.
    pub(crate) fn mark_prompt(&self, is_offline: bool) {
        if let Input::Prompt(prompt) = &self.input {
            prompt.show_as(is_offline.then_some(OFFLINE));
        }
    }

    /// What has been entered already, without waiting.
    pub(crate) async fn entered_already(&mut self) -> Option<Entered> {
        tokio::select! {
            biased;
            happened = entered(&mut self.input) => match happened {
                Happened::Entered(entered) => Some(entered),
                _ => None,
            },
            () = std::future::ready(()) => None,
        }
    }

    /// Shows what is to be shown, and gives the terminal back.
    pub(crate) async fn finish(mut self) {
        self.flush().await;
        if let Input::Prompt(prompt) = std::mem::replace(&mut self.input, Input::Gone) {
            let draft = prompt.draft();
            prompt.close();
            // What was being typed stays on the screen as if it had been said.
            if !draft.trim().is_empty() {
                self.show(&Show::Note(words::not_said(&draft)));
                self.flush().await;
            }
        }
        if let Sink::Writer(writer) = self.sink {
            writer.finish().await;
        }
    }
}

fn no_thread(error: &io::Error) -> Failure {
    Failure::new(Exit::Other, "the system gives no thread").because(error)
}

async fn entered(input: &mut Input) -> Happened {
    Happened::Entered(match input {
        Input::Prompt(prompt) => match prompt.next().await {
            Typed::Line(line) => Entered::Line(line),
            Typed::Outdated(line) => return Happened::Outdated(line),
            Typed::Interrupt { draft } => Entered::Interrupt { draft },
            Typed::End => Entered::End,
            Typed::Failed(error) => {
                tracing::debug!("the terminal can't be read any more: {error}");
                *input = Input::Gone;
                Entered::Closed
            }
        },
        Input::Plain(plain) => match plain.next().await {
            Read::Line(line) => Entered::Line(line),
            Read::TooLong => Entered::TooLong,
            Read::End => Entered::End,
        },
        Input::Unopened | Input::Gone => pending().await,
    })
}

async fn closed(sink: &mut Sink) {
    match sink {
        Sink::Writer(writer) => writer.closed().await,
        Sink::Printer(_) | Sink::Nothing => pending().await,
    }
}

async fn changed(drafts: &mut Option<watch::Receiver<String>>) -> String {
    if let Some(receiver) = drafts {
        if receiver.changed().await.is_ok() {
            return receiver.borrow_and_update().clone();
        }
        *drafts = None;
    }
    pending().await
}

/// What is written for something to be shown, and where.
fn render(show: &Show, mode: Mode, palette: Palette) -> Option<Piece> {
    let own = if mode.is_person() { Stream::Out } else { Stream::Err };
    let (stream, text) = match show {
        Show::Json(line) => (Stream::Out, format!("{line}\n")),
        Show::Warning(text) if mode == Mode::Json => (Stream::Err, own_lines(text)),
        _ if mode == Mode::Json => return None,
        Show::Said { name, from, text } if mode.is_person() => {
            let name = format!("{}:", words::name(name, *from));
            (
                Stream::Out,
                folded_said(&palette.paint(Role::Name, &name), text.as_str(), terminal::width()),
            )
        }
        Show::Said { name, text, .. } => {
            let name = format!("{}:", clean::line(name.as_str()));
            (Stream::Out, said(&name, text.as_str()))
        }
        Show::Own(text) => {
            let name = palette.paint(Role::Name, PROMPT.trim_end());
            (Stream::Out, folded_said(&name, text.as_str(), terminal::width()))
        }
        Show::Note(text) => (own, painted(Role::Own, text, mode, palette)),
        Show::Problem(text) | Show::Warning(text) => {
            (own, painted(Role::Error, text, mode, palette))
        }
        Show::Ring(text) => (own, format!("\x07{}", painted(Role::Own, text, mode, palette))),
    };
    Some(Piece { stream, text })
}

/// A line that was said, and further lines of it indented.
fn said(name: &str, text: &str) -> String {
    let mut out = String::with_capacity(name.len() + text.len() + 2);
    let mut lines = clean::lines(text);
    out.push_str(name);
    out.push(' ');
    out.push_str(&lines.next().unwrap_or_default());
    out.push('\n');
    for line in lines {
        out.push_str("  ");
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The same on a screen. The rows are broken here, and all but the first indented: where the terminal
/// broke them, a row could begin with words that pass for somebody else's, or the program's own.
fn folded_said(name: &str, text: &str, width: usize) -> String {
    let mut lines = clean::lines(text);
    let first = fold(&format!("{name} "), &lines.next().unwrap_or_default(), width);
    lines.fold(first, |out, line| out + &fold(INDENT, &line, width))
}

/// What further rows begin with.
const INDENT: &str = "  ";

/// Breaks a line into rows for a terminal of this width.
fn fold(begin: &str, line: &str, width: usize) -> String {
    // The last column stays free: terminals differ in what they do with the cursor there.
    let width = width.saturating_sub(1).max(NARROWEST);
    let options = textwrap::Options::new(width).initial_indent(begin).subsequent_indent(INDENT);
    textwrap::wrap(line, options).into_iter().map(|row| format!("{row}\n")).collect()
}

/// Narrower terminals are left to break rows as they like.
const NARROWEST: usize = 20;

/// The program's own lines: every one begins so that nobody else's can be taken for it.
fn own_lines(text: &str) -> String {
    clean::lines(text).map(|line| format!("-- {line}\n")).collect()
}

fn painted(role: Role, text: &str, mode: Mode, palette: Palette) -> String {
    if !mode.is_person() {
        return own_lines(text);
    }
    let width = terminal::width();
    let rows: String = clean::lines(text).map(|line| fold("-- ", &line, width)).collect();
    rows.lines().map(|row| format!("{}\n", palette.paint(role, row))).collect()
}

#[cfg(test)]
mod tests {
    use helpline_proto::{
        ids::Side,
        text::{Name, Text},
    };

    use super::*;

    fn rendered(show: &Show, mode: Mode) -> Option<(Stream, String)> {
        render(show, mode, Palette::PLAIN).map(|piece| (piece.stream, piece.text))
    }

    fn said(name: &str, text: &str) -> Show {
        let name = Name::new(name).unwrap();
        Show::Said { name, from: Side::Caller, text: Text::new(text).unwrap() }
    }

    fn out(text: &str) -> Option<(Stream, String)> {
        Some((Stream::Out, text.to_owned()))
    }

    #[test]
    fn what_is_said_has_a_name_before_it_and_further_lines_are_indented() {
        for mode in [Mode::Terminal, Mode::Plain, Mode::Pipe] {
            assert_eq!(rendered(&said("Wei", "hello"), mode), out("Wei: hello\n"));
            assert_eq!(rendered(&said("Wei", "a\n\nb\r\n"), mode), out("Wei: a\n  \n  b\n"));
            assert_eq!(rendered(&said("Wei", "\n"), mode), out("Wei: \n"));
        }
        assert_eq!(rendered(&said("Wei", "hello"), Mode::Json), None);
    }

    #[test]
    fn n32_nobody_can_write_over_or_into_the_programs_own_lines() {
        let text = "x\n-- the call has ended\u{1b}[2J";
        assert_eq!(
            rendered(&said("Wei", text), Mode::Terminal),
            out("Wei: x\n  -- the call has ended^[[2J\n")
        );
        assert_eq!(
            rendered(&said("You", "hello"), Mode::Plain),
            out("\"You\" (the caller): hello\n")
        );
        assert_eq!(rendered(&said("You", "hello"), Mode::Pipe), out("You: hello\n"));
        let greeting = Show::Note("Welcome.\nWei: hi".to_owned());
        assert_eq!(rendered(&greeting, Mode::Plain), out("-- Welcome.\n-- Wei: hi\n"));
    }

    #[test]
    fn a_pipe_has_only_what_others_say_on_standard_output() {
        let note = Show::Note("on the line with Wei".to_owned());
        let shown = "-- on the line with Wei\n";
        assert_eq!(rendered(&note, Mode::Pipe), Some((Stream::Err, shown.to_owned())));
        assert_eq!(rendered(&note, Mode::Terminal), out(shown));
        assert_eq!(rendered(&note, Mode::Json), None);
    }

    #[test]
    fn a_ring_rings() {
        let ring = Show::Ring("Ada is waiting".to_owned());
        assert_eq!(rendered(&ring, Mode::Terminal), out("\x07-- Ada is waiting\n"));
    }

    #[test]
    fn an_event_is_a_line_of_its_own() {
        assert_eq!(rendered(&Show::Json("{}".to_owned()), Mode::Json), out("{}\n"));
    }
}
