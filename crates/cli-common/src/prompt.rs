//! Lines from a terminal with editing, and printing above what is being typed.
//!
//! [`Prompt`] runs the line editor in a thread of its own and gives what was typed to async code;
//! [`Printer`] prints whole lines above the draft, in order, whatever is being typed.
//!
//! One call of the editor's `readline` lasts as long as the prompt does: Enter, ^C and ^D are key
//! bindings that hand over the draft and clear it. So the terminal never leaves the editor's mode, keys
//! typed ahead are never lost, and there is no moment between two lines at which something printed
//! would land in the wrong place. It also means that an entered line doesn't stay on the screen: the
//! program shows it (or not) by printing it.
//!
//! ```text
//!   tasks ──► jobs (bounded) ──► printer thread ──► rustyline's pipe ──► editor thread ──► terminal
//!   tasks ◄── typed (bounded) ◄─────────────────────────────────────────── key bindings ◄── keys
//!                                        drafts (watch) ◄──────────────── hint
//! ```

use std::{
    borrow::Cow,
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self as blocking, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rustyline::{
    Changeset, Cmd, ColorMode, CompletionType, ConditionalEventHandler, Config, Context, Editor,
    Event, EventContext, EventHandler, ExternalPrinter, KeyCode, KeyEvent, Modifiers, Movement,
    RepeatCount, completion::Completer, error::ReadlineError, highlight::Highlighter, hint::Hinter,
    history::MemHistory, line_buffer::LineBuffer, validate::Validator,
};
use tokio::sync::{mpsc, watch};

use crate::{
    recall::Recall,
    terminal::{self, Modes},
};

/// Entered lines that may wait for the program. The editor itself never waits for the program, as the
/// program may be waiting for the editor to print: when this many wait, Enter begins another line of
/// the same draft. Nobody types that fast, but text pasted into a terminal without bracketed paste is.
const TYPED_AHEAD: usize = 1024;

/// Room beyond [`TYPED_AHEAD`] for ^C, ^D and a failure.
const RESERVED: usize = 8;

/// Texts that may wait to be printed; then [`Printer::print`] waits.
const JOBS: usize = 256;

/// Bytes printed at once: the draft is taken away and shown again for every such batch.
const BATCH: usize = 16 * 1024;

/// How long an ESC may wait for the rest of its escape sequence, in milliseconds. Without an end to
/// that, nothing would be printed between a press of Esc and the next key.
const ESCAPE_TIMEOUT: u16 = 100;

/// How long [`Prompt::close`] waits for the editor. It can be in the middle of a command of several
/// keys, in which it prints nothing and hears nothing.
const CLOSING: Duration = Duration::from_millis(500);

/// Prints nothing, and leaves the cursor where it was: the editor adds a line feed to a text that
/// doesn't end with one. (In the terminal's first row, from which there is no way up, an empty line.)
const NOTHING: &str = "\x1b[A\n";

/// What was typed.
#[derive(Debug)]
pub enum Typed {
    /// Enter. The line may be empty, and has line breaks (`\n`) if it was pasted or typed (Alt-Enter)
    /// that way.
    Line(String),
    /// Enter, behind a draft that was outdated in between ([`Prompt::outdate_draft`]).
    Outdated(String),
    /// ^C. The draft is gone from the screen.
    Interrupt {
        /// What had been typed.
        draft: String,
    },
    /// ^D on an empty line.
    End,
    /// The terminal can't be read any more. Every further call says so.
    Failed(io::Error),
}

/// A line editor on stdin and stdout.
///
/// Dropping it is closing it.
#[derive(Debug)]
pub struct Prompt {
    typed: mpsc::Receiver<Typed>,
    drafts: watch::Receiver<String>,
    /// Room for the last job, so that closing waits for what is to be printed, but not for room.
    closing: Option<mpsc::OwnedPermit<Job>>,
    /// Disconnected once both threads are done.
    ended: blocking::Receiver<Infallible>,
    modes: Modes,
    shared: Arc<Shared>,
}

impl Prompt {
    /// Shows `prompt` and begins to edit. One at a time.
    ///
    /// # Errors
    /// Stdin or stdout isn't a terminal that can do this ([`terminal::is_interactive`],
    /// [`terminal::is_dumb`]), or no thread could be had.
    pub fn open(prompt: &str) -> io::Result<(Self, Printer)> {
        let modes = Modes::save()?;
        let (drafts_sender, drafts) = watch::channel(String::new());
        let (typed_sender, typed) = mpsc::channel(TYPED_AHEAD + RESERVED);
        let (jobs, jobs_receiver) = mpsc::channel(JOBS);
        let (editor_alive, ended) = blocking::sync_channel(1);
        let printer_alive = editor_alive.clone();
        let closing = jobs.clone().try_reserve_owned().ok();
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Away),
            changed: Condvar::new(),
            drafts: drafts_sender,
            recall: Mutex::new(Recall::default()),
            recalled: Mutex::new(None),
            outdated: AtomicBool::new(false),
            shown_as: Mutex::new(None),
        });
        let for_prompt = Arc::clone(&shared);

        let mut editor = editor(&shared, &typed_sender).map_err(into_io)?;
        let external = editor.create_external_printer().map_err(into_io)?;
        let for_printer = Arc::clone(&shared);
        thread::Builder::new().name("printer".to_owned()).spawn(move || {
            print_all(jobs_receiver, external, &for_printer);
            drop(printer_alive);
        })?;
        let prompt = prompt.to_owned();
        thread::Builder::new().name("editor".to_owned()).spawn(move || {
            edit(editor, &prompt, &shared, &typed_sender);
            shared.set(Stage::Gone);
            drop(editor_alive);
        })?;
        Ok((Self { typed, drafts, closing, ended, modes, shared: for_prompt }, Printer { jobs }))
    }

    /// What was typed next. Cancel safe: it is either returned or still there.
    pub async fn next(&mut self) -> Typed {
        self.typed
            .recv()
            .await
            .unwrap_or_else(|| Typed::Failed(io::Error::other("the line editor has ended")))
    }

    /// What is being typed right now.
    #[must_use]
    pub fn draft(&self) -> String {
        self.drafts.borrow().clone()
    }

    /// What is being typed, with a notice of every change.
    #[must_use]
    pub fn drafts(&self) -> watch::Receiver<String> {
        self.drafts.clone()
    }

    /// Whatever is being typed now was meant for something that is over: unless it is deleted before,
    /// it comes as [`Typed::Outdated`].
    pub fn outdate_draft(&self) {
        self.shared.outdated.store(!self.drafts.borrow().is_empty(), Ordering::Relaxed);
    }

    /// Shows this text, as wide as the prompt, in its place; or the prompt again. It is seen when the draft is
    /// shown next: below whatever is printed after this.
    pub fn show_as(&self, text: Option<&'static str>) {
        *self.shared.shown_as.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Prints what is still to be printed, and gives the terminal back as it was, with the cursor at
    /// the beginning of a line. Prompt and draft disappear: a line that was
    /// not entered must not look as if it had been.
    ///
    /// Waits for that at most half a second.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(closing) = self.closing.take() {
            closing.send(Job::Close);
        }
        // The printer has to be done too: what is printed from now on would else wait for it, and be lost with
        // a process that ends.
        if matches!(self.ended.recv_timeout(CLOSING), Err(RecvTimeoutError::Timeout)) {
            self.modes.restore();
            let _gone = terminal::write_raw("\r\n");
        }
    }
}

/// Prints above the prompt. Clones print to the same place.
#[derive(Clone, Debug)]
pub struct Printer {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Print(String),
    Close,
}

impl Printer {
    /// Prints `text` as whole lines, after everything printed before. Waits only for room in the queue.
    ///
    /// The text must be clean already ([`crate::clean`]). Without a prompt, or after it was closed, it
    /// goes to stdout.
    pub async fn print(&self, text: impl Into<String>) {
        let job = Job::Print(whole_lines(text.into()));
        if let Err(mpsc::error::SendError(Job::Print(text))) = self.jobs.send(job).await {
            let _gone = terminal::write_raw(&text);
        }
    }

    /// As [`Printer::print`], but where it would wait it prints nothing and returns false.
    #[must_use]
    pub fn offer(&self, text: impl Into<String>) -> bool {
        self.jobs.try_send(Job::Print(whole_lines(text.into()))).is_ok()
    }

    /// True once the prompt is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }
}

fn whole_lines(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// What the editor's thread, its key bindings and the printer's thread share.
#[derive(Debug)]
struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
    drafts: watch::Sender<String>,
    recall: Mutex<Recall>,
    /// What is to replace the draft.
    recalled: Mutex<Option<String>>,
    /// What the draft was begun for is over.
    outdated: AtomicBool,
    /// What stands in the place of the prompt.
    shown_as: Mutex<Option<&'static str>>,
}

/// Who has the terminal.
///
/// ```text
///   Away ──shown──► Editing ──last job──► Closing ──► Gone
///    ▲                 │
///    └── ^Z, restart ──┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The editor doesn't have it, but will. What rustyline is given now it would print at once,
    /// without regard to what stands there.
    Away,
    /// The editor has it.
    Editing,
    /// The editor is to give it back at the next chance.
    Closing,
    /// The editor gave it back.
    Gone,
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage() = stage;
        self.changed.notify_all();
    }

    /// The stage changes unless the end is near, which is final.
    fn change(&self, from: Stage, to: Stage) {
        let mut stage = self.stage();
        if *stage == from {
            *stage = to;
            self.changed.notify_all();
        }
    }

    /// Waits until the terminal is the editor's, or nobody's.
    fn wait_for_editor(&self) {
        let stage = self.stage();
        let _stage = self
            .changed
            .wait_while(stage, |stage| *stage == Stage::Away)
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Has the draft replaced, by way of completion: it is the one command that replaces the whole line
    /// and leaves the cursor at its end.
    fn replace_draft(&self, by: Option<String>) -> Cmd {
        match by {
            Some(text) => {
                *self.recalled.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                Cmd::Complete
            }
            None => Cmd::Noop,
        }
    }

    fn recall(&self) -> MutexGuard<'_, Recall> {
        self.recall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The printer's thread.
fn print_all(mut jobs: mpsc::Receiver<Job>, mut external: impl ExternalPrinter, shared: &Shared) {
    let mut print = |text: String| {
        shared.wait_for_editor();
        let gone = *shared.stage() == Stage::Gone;
        if gone || external.print(text.clone()).is_err() {
            let _gone = terminal::write_raw(&text);
        }
    };
    let mut close = false;
    while !close && let Some(job) = jobs.blocking_recv() {
        let mut batch = String::new();
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Print(text) => {
                    batch.push_str(&text);
                    if batch.len() < BATCH {
                        next = jobs.try_recv().ok();
                    }
                }
                Job::Close => close = true,
            }
        }
        if !batch.is_empty() {
            print(batch);
        }
    }
    // rustyline's channel holds one text. So when it has taken the second of these, it is done with
    // the first and all before; the third is there for the editor to notice that it is time to go.
    for stage in [None, None, Some(Stage::Closing)] {
        if let Some(stage) = stage {
            shared.wait_for_editor();
            shared.change(Stage::Editing, stage);
        }
        if *shared.stage() != Stage::Gone {
            let _gone = external.print(NOTHING.to_owned());
        }
    }
    // Printed while closing: `Printer::print` was told that it worked.
    jobs.close();
    while let Some(job) = jobs.blocking_recv() {
        if let Job::Print(text) = job {
            let _gone = terminal::write_raw(&text);
        }
    }
}

/// The editor's thread.
fn edit(
    mut editor: Editor<Hooks, MemHistory>,
    prompt: &str,
    shared: &Shared,
    typed: &mpsc::Sender<Typed>,
) {
    let mut initial = String::new();
    loop {
        let read =
            catch_unwind(AssertUnwindSafe(|| editor.readline_with_initial(prompt, (&initial, ""))));
        shared.change(Stage::Editing, Stage::Away);
        initial.clear();
        let draft = shared.drafts.borrow().clone();
        let (what, is_last) = match read {
            Err(payload) if payload.is::<Closed>() => {
                // The update of the screen that was under way.
                let _gone = terminal::write_raw("\x1b[?2026l");
                return;
            }
            // The panic hook has told what happened.
            Err(_) => (Typed::Failed(io::Error::other("the line editor broke")), true),
            Ok(Ok(line)) => (Typed::Line(line), false),
            // Keys the terminal's settings (`stty`) name and we didn't bind: ^\, an unusual ^C or ^D.
            Ok(Err(ReadlineError::Interrupted)) => (Typed::Interrupt { draft }, false),
            Ok(Err(ReadlineError::Eof)) => match Modes::save() {
                Ok(_) => (Typed::End, false),
                // No key, but the end of the terminal.
                Err(error) => (Typed::Failed(error), true),
            },
            // A keyboard that doesn't speak UTF-8.
            Ok(Err(ReadlineError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                initial = draft;
                initial.push(char::REPLACEMENT_CHARACTER);
                continue;
            }
            Ok(Err(error)) => (Typed::Failed(into_io(error)), true),
        };
        // No room: as many of the kind wait already, or nobody listens any more.
        let _dropped = typed.try_send(what);
        if is_last {
            return;
        }
    }
}

fn into_io(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        ReadlineError::Errno(errno) => errno.into(),
        error => io::Error::other(error),
    }
}

fn editor(
    shared: &Arc<Shared>,
    typed: &mpsc::Sender<Typed>,
) -> Result<Editor<Hooks, MemHistory>, ReadlineError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .keyseq_timeout(Some(ESCAPE_TIMEOUT))
        // The hooks have to be called; they don't colour anything.
        .color_mode(ColorMode::Forced)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Hooks { shared: Arc::clone(shared) }));

    let enter = KeyEvent(KeyCode::Enter, Modifiers::NONE);
    let bindings = [
        (enter, Key::Enter),
        (KeyEvent::ctrl('J'), Key::Enter),
        (KeyEvent::ctrl('C'), Key::Interrupt),
        (KeyEvent::ctrl('D'), Key::End),
        (KeyEvent::ctrl('Z'), Key::Suspend),
        (KeyEvent(KeyCode::Up, Modifiers::NONE), Key::Older),
        (KeyEvent::ctrl('P'), Key::Older),
        (KeyEvent(KeyCode::Down, Modifiers::NONE), Key::Newer),
        (KeyEvent::ctrl('N'), Key::Newer),
    ];
    for (event, key) in bindings {
        let handler = Bound { key, shared: Arc::clone(shared), typed: typed.clone() };
        editor.bind_sequence(event, EventHandler::Conditional(Box::new(handler)));
    }
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), Cmd::Newline);
    editor.bind_sequence(KeyEvent(KeyCode::Char('J'), Modifiers::CTRL_ALT), Cmd::Newline);
    // Commands that wait for a second key, and print nothing until it comes.
    for c in ['Q', 'V', 'X', ']'] {
        editor.bind_sequence(KeyEvent::ctrl(c), Cmd::Noop);
    }
    Ok(editor)
}

/// Keys that mean something to us.
#[derive(Clone, Copy, Debug)]
enum Key {
    Enter,
    Interrupt,
    End,
    Suspend,
    Older,
    Newer,
}

struct Bound {
    key: Key,
    shared: Arc<Shared>,
    typed: mpsc::Sender<Typed>,
}

impl ConditionalEventHandler for Bound {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, editor: &EventContext) -> Option<Cmd> {
        let line = editor.line();
        match self.key {
            Key::Enter if self.typed.capacity() <= RESERVED => Some(Cmd::Newline),
            Key::Enter => {
                let is_outdated = self.shared.outdated.swap(false, Ordering::Relaxed);
                let what = if is_outdated { Typed::Outdated } else { Typed::Line };
                let _closed = self.typed.try_send(what(line.to_owned()));
                self.shared.recall().entered(line);
                Some(Cmd::Kill(Movement::WholeBuffer))
            }
            Key::Interrupt => {
                // No room: as many of them wait already.
                let _dropped = self.typed.try_send(Typed::Interrupt { draft: line.to_owned() });
                self.shared.recall().entered("");
                Some(Cmd::Kill(Movement::WholeBuffer))
            }
            Key::End if line.is_empty() => {
                let _dropped = self.typed.try_send(Typed::End);
                Some(Cmd::Noop)
            }
            // Deletes the character under the cursor, if there is one.
            Key::End => None,
            Key::Suspend => {
                self.shared.change(Stage::Editing, Stage::Away);
                Some(Cmd::Suspend)
            }
            // In a draft of several lines these keys go from line to line.
            Key::Older | Key::Newer if line.contains('\n') => None,
            Key::Older => Some(self.shared.replace_draft(self.shared.recall().older(line))),
            Key::Newer => Some(self.shared.replace_draft(self.shared.recall().newer())),
        }
    }
}

/// What the editor calls while it edits.
struct Hooks {
    shared: Arc<Shared>,
}

/// What the editor's thread unwinds with when the prompt is closed: nothing but a key ends
/// `readline`, so this takes the way a panic would, without being one.
struct Closed;

impl Hinter for Hooks {
    type Hint = String;

    /// Hears of every change of the draft, and of the first time it is shown.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        if line.is_empty() {
            self.shared.outdated.store(false, Ordering::Relaxed);
        }
        self.shared.drafts.send_if_modified(|draft| {
            let changed = draft != line;
            if changed {
                line.clone_into(draft);
            }
            changed
        });
        self.shared.change(Stage::Away, Stage::Editing);
        None
    }
}

impl Highlighter for Hooks {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let shown_as = *self.shared.shown_as.lock().unwrap_or_else(PoisonError::into_inner);
        Cow::Borrowed(shown_as.unwrap_or(prompt))
    }

    /// Called when the draft is shown again below something printed: the old one has been taken away,
    /// and the cursor is where the prompt was. That is the moment to leave.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let visible = visible(line);
        if *self.shared.stage() == Stage::Closing {
            resume_unwind(Box::new(Closed));
        }
        visible
    }
}

/// The draft without control characters, which can get into it by pasting. The editor counts them as
/// having no width.
fn visible(line: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if line.contains(is_obeyed) {
        Cow::Owned(line.replace(is_obeyed, ""))
    } else {
        Cow::Borrowed(line)
    }
}

impl Completer for Hooks {
    type Candidate = String;

    fn complete(
        &self,
        _: &str,
        _: usize,
        _: &Context<'_>,
    ) -> Result<(usize, Vec<String>), ReadlineError> {
        let recalled = self.shared.recalled.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without one it was the Tab key, which completes nothing.
        Ok((0, recalled.into_iter().collect()))
    }

    fn update(&self, line: &mut LineBuffer, _: usize, recalled: &str, changes: &mut Changeset) {
        line.update(recalled, recalled.len(), changes);
    }
}
impl Validator for Hooks {}
impl rustyline::Helper for Hooks {}
