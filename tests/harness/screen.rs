//! A program in a pseudo-terminal.

use std::{
    ffi::OsString,
    io::{Read, Write},
    num::NonZeroU16,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use crate::{ClientSetup, PATIENCE, ServerSetup, home::Home};

/// What keys send.
pub mod keys {
    /// Enter.
    pub const ENTER: &str = "\r";
    /// Tab.
    pub const TAB: &str = "\t";
    /// Backspace.
    pub const BACKSPACE: &str = "\x7f";
    /// Escape.
    pub const ESCAPE: &str = "\x1b";
    /// The cursor keys.
    pub const UP: &str = "\x1b[A";
    /// The cursor keys.
    pub const DOWN: &str = "\x1b[B";
    /// The cursor keys.
    pub const RIGHT: &str = "\x1b[C";
    /// The cursor keys.
    pub const LEFT: &str = "\x1b[D";
    /// ^A: to the beginning of the line.
    pub const CTRL_A: &str = "\x01";
    /// ^C.
    pub const CTRL_C: &str = "\x03";
    /// ^D.
    pub const CTRL_D: &str = "\x04";
    /// ^U: deletes the line.
    pub const CTRL_U: &str = "\x15";
    /// ^Z.
    pub const CTRL_Z: &str = "\x1a";
}

/// How a program asks a terminal where its cursor is.
const WHERE_IS_THE_CURSOR: &[u8] = b"\x1b[6n";

/// Lines that have left the screen at the top and are still known.
const SCROLLBACK: usize = 10_000;

/// How a program is to be started in a terminal.
#[derive(Clone, Debug)]
pub struct ScreenSetup {
    line: Vec<OsString>,
    home: Home,
    envs: Vec<(OsString, OsString)>,
    rows: u16,
    columns: u16,
}

impl ScreenSetup {
    /// A terminal of this size, instead of 24 rows of 80 columns.
    #[must_use]
    pub fn size(mut self, rows: u16, columns: u16) -> Self {
        (self.rows, self.columns) = (rows, columns);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Starts it, as the leader of a session whose terminal this is: in the foreground.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(self) -> Screen {
        let pty = native_pty_system().openpty(size(self.rows, self.columns)).expect("a terminal");
        let mut command = CommandBuilder::from_argv(self.line.clone());
        command.env_clear();
        command.cwd(self.home.path());
        for (name, value) in self.home.environment().into_iter().chain(self.envs) {
            command.env(name, value);
        }
        // A terminal knows its width; only where there is none does the environment say it.
        command.env_remove("COLUMNS");
        let child = pty
            .slave
            .spawn_command(command)
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.line));
        drop(pty.slave);
        let writer = Arc::new(Mutex::new(pty.master.take_writer().expect("a writer")));
        let (rows, columns) = cells(self.rows, self.columns);
        let seen = Arc::new(Seen {
            state: Mutex::new(State {
                terminal: vt100::Parser::new(rows, columns, SCROLLBACK),
                raw: Vec::new(),
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let reader = pty.master.try_clone_reader().expect("a reader");
        let (shared, answers) = (Arc::clone(&seen), Arc::clone(&writer));
        thread::spawn(move || shared.watch(reader, &answers));
        let name = format!("{:?}", self.line);
        Screen { name, child: Mutex::new(child), master: pty.master, writer, seen, home: self.home }
    }
}

type Writer = Arc<Mutex<Box<dyn Write + Send>>>;

struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    terminal: vt100::Parser,
    raw: Vec<u8>,
    ended: bool,
}

impl State {
    /// The lines that have left the screen at the top, then the screen.
    fn text(&mut self) -> String {
        let (rows, columns) = self.terminal.screen().size();
        let (rows, columns) = (usize::from(rows.get()), columns.get());
        let screen = self.terminal.screen_mut();
        let mut lines = Vec::new();
        let mut above = screen.scrollback_len();
        while above > 0 {
            screen.set_scrollback(above);
            let page = screen.rows(0, columns).take(above.min(rows));
            lines.extend(page);
            above = above.saturating_sub(rows);
        }
        screen.set_scrollback(0);
        lines.extend(screen.rows(0, columns));
        while lines.last().is_some_and(|line| line.trim_end().is_empty()) {
            lines.pop();
        }
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, mut pty: Box<dyn Read + Send>, answers: &Writer) {
        let mut piece = [0; 4096];
        loop {
            // A terminal whose last program has gone answers reads with EIO.
            let size = pty.read(&mut piece).unwrap_or(0);
            let mut state = self.lock();
            if size == 0 {
                state.ended = true;
                self.changed.notify_all();
                return;
            }
            let before = state.raw.len();
            state.raw.extend_from_slice(&piece[..size]);
            let asked = asks_for_cursor(&state.raw, before);
            state.terminal.process(&piece[..size]);
            for _ in 0..asked {
                let (row, column) = state.terminal.screen().cursor_position();
                let answer = format!("\x1b[{};{}R", row + 1, column + 1);
                let mut writer = answers.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = writer.write_all(answer.as_bytes()).and_then(|()| writer.flush());
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// How often the cursor is asked for in what came behind `before`, a question cut in two included.
fn asks_for_cursor(raw: &[u8], before: usize) -> usize {
    let from = before.saturating_sub(WHERE_IS_THE_CURSOR.len() - 1);
    raw[from..]
        .windows(WHERE_IS_THE_CURSOR.len())
        .filter(|window| *window == WHERE_IS_THE_CURSOR)
        .count()
}

/// A program in a real pseudo-terminal: keys in, a screen out. Killed when dropped.
///
/// ```no_run
/// # use helpline_tests::{Client, Screen, Server, keys};
/// let server = Screen::server(Server::with()).start();
/// server.wait_for("you answer as wei", "the server is ready");
/// # let address = "127.0.0.1:8001";
/// let caller = Screen::client(&Client::call(address).name("Ada")).size(10, 40).start();
/// caller.type_line("hello");
/// server.wait_for("Ada: hello", "the operator reads it");
/// caller.press(keys::CTRL_C);
/// assert_eq!(caller.exit_code(), 0);
/// ```
pub struct Screen {
    name: String,
    child: Mutex<Box<dyn Child + Send + Sync>>,
    master: Box<dyn MasterPty + Send>,
    writer: Writer,
    seen: Arc<Seen>,
    home: Home,
}

impl Screen {
    /// The program `helpline`, as it would be started with pipes.
    #[must_use]
    pub fn client(setup: &ClientSetup) -> ScreenSetup {
        let (line, home, envs) = setup.parts();
        Self::program(line, &home).envs(&envs)
    }

    /// The program `helpline-server`, with its console.
    #[must_use]
    pub fn server(setup: ServerSetup) -> ScreenSetup {
        let setup = setup.with_console();
        let (line, home, envs) = setup.parts();
        Self::program(line, &home).envs(envs)
    }

    /// Any command line.
    #[must_use]
    pub fn program(line: Vec<OsString>, home: &Home) -> ScreenSetup {
        ScreenSetup { line, home: home.clone(), envs: Vec::new(), rows: 24, columns: 80 }
    }

    /// The home that its program lives in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Types text, or one of the [`keys`].
    pub fn press(&self, keys: &str) {
        self.press_bytes(keys.as_bytes());
    }

    /// Types bytes, which needn't be UTF-8.
    pub fn press_bytes(&self, keys: &[u8]) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A program that is gone takes no keys; what it showed tells.
        let _ = writer.write_all(keys).and_then(|()| writer.flush());
    }

    /// Types text and Enter.
    pub fn type_line(&self, line: &str) {
        self.press(&format!("{line}{}", keys::ENTER));
    }

    /// What can be read: the lines that have left the screen at the top, then the screen; without
    /// spaces at the ends of lines, and without empty lines at the end.
    #[must_use]
    pub fn text(&self) -> String {
        self.seen.lock().text()
    }

    /// The screen alone, one line a row, as [`text`](Self::text).
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let state = self.seen.lock();
        let columns = state.terminal.screen().size().1.get();
        state.terminal.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect()
    }

    /// Where the cursor is: row and column, from 0.
    #[must_use]
    pub fn cursor(&self) -> (u16, u16) {
        self.seen.lock().terminal.screen().cursor_position()
    }

    /// Every byte the program wrote so far.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.seen.lock().raw.clone()
    }

    /// Waits until the text can be read, on the screen or above it.
    ///
    /// # Panics
    /// It can't, within [`PATIENCE`]; `why` says why it should.
    pub fn wait_for(&self, text: &str, why: &str) {
        self.wait_until(&format!("{text:?}: {why}"), |seen| seen.contains(text).then_some(()));
    }

    /// Waits until the text can be read so often.
    ///
    /// # Panics
    /// It can't, within [`PATIENCE`].
    pub fn wait_for_times(&self, text: &str, times: usize, why: &str) {
        self.wait_until(&format!("{times} times {text:?}: {why}"), |seen| {
            (seen.matches(text).count() >= times).then_some(())
        });
    }

    /// Waits until `look` finds something in what can be read.
    ///
    /// # Panics
    /// It doesn't, within [`PATIENCE`].
    pub fn wait_until<T>(&self, what: &str, look: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_within(PATIENCE, what, look)
    }

    /// [`wait_until`](Self::wait_until) with another deadline.
    ///
    /// # Panics
    /// It doesn't, in time.
    pub fn wait_within<T>(
        &self,
        within: Duration,
        what: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let until = Instant::now() + within;
        let mut state = self.seen.lock();
        loop {
            let text = state.text();
            if let Some(found) = look(&text) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !state.ended,
                "not seen ({}): {what}\n{}\n---\n{text}\n---",
                if state.ended { "the program has ended" } else { "the time is up" },
                self.name
            );
            state = self
                .seen
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Makes the terminal another size; the program is told by the kernel.
    ///
    /// # Panics
    /// It can't.
    pub fn resize(&self, rows: u16, columns: u16) {
        let (new_rows, new_columns) = cells(rows, columns);
        self.seen.lock().terminal.set_size(new_rows, new_columns);
        self.master.resize(size(rows, columns)).expect("the terminal takes the size");
    }

    /// The program's process id.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.lock_child().process_id().expect("a process id")
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the process is there");
    }

    /// Whether the program still runs.
    ///
    /// # Panics
    /// The system doesn't know it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.lock_child().try_wait().expect("the process is known").is_none()
    }

    /// Waits until the program has ended by itself, and gives its exit code.
    ///
    /// # Panics
    /// It doesn't, within [`PATIENCE`], or a signal ended it.
    #[must_use]
    pub fn exit_code(&self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.lock_child().try_wait().expect("the process is known") {
                assert_eq!(status.signal(), None, "{}\n{}", self.name, self.text());
                return status.exit_code();
            }
            assert!(begun.elapsed() < PATIENCE, "still running: {}\n{}", self.name, self.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock_child(&self) -> MutexGuard<'_, Box<dyn Child + Send + Sync>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}\n---\n{}\n---", self.name, self.text());
        }
        let mut child = self.lock_child();
        // By its own id, and surely: the crate's own `kill` begins with SIGHUP.
        if let Some(pid) =
            child.process_id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
            && matches!(child.try_wait(), Ok(None))
        {
            let _ = kill_process(pid, Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl ScreenSetup {
    fn envs(mut self, envs: &[(OsString, OsString)]) -> Self {
        self.envs.extend(envs.iter().cloned());
        self
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn cells(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    (rows.max(1).try_into().expect("at least 1"), columns.max(1).try_into().expect("at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Screen {
        let line = ["sh", "-c", script].map(OsString::from).to_vec();
        Screen::program(line, &Home::new()).size(5, 20).start()
    }

    #[test]
    fn what_has_left_the_screen_can_still_be_read() {
        let screen =
            shell("i=0; while [ $i -lt 23 ]; do echo line $i; i=$((i+1)); done; read x; exit 3");
        screen.wait_for("line 22", "it is the last");
        let lines: Vec<String> = screen.text().lines().map(ToOwned::to_owned).collect();
        let wanted: Vec<String> = (0..23).map(|n| format!("line {n}")).collect();
        assert_eq!(lines, wanted);
        assert_eq!(screen.rows(), ["line 19", "line 20", "line 21", "line 22", ""]);
        screen.press(keys::ENTER);
        assert_eq!(screen.exit_code(), 3);
    }

    #[test]
    fn a_program_that_asks_for_the_cursor_is_told() {
        let screen = shell(
            "stty raw -echo; printf 'ab\\033[6'; printf n; dd bs=1 count=6 2>/dev/null | tr '\\033' E; exit 0",
        );
        screen.wait_for("abE[1;3R", "the cursor stood behind two letters");
    }
}
