//! A child process with pipes.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, home::Home, wait_within};

/// A process that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; 128 + the signal that ended it, as a shell has it.
    pub code: i32,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// The lines of a pipe as they come.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<LinesState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LinesState {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, LinesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let lines = Arc::clone(self);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
                let text = String::from_utf8_lossy(&line);
                lines.lock().lines.push(text.trim_end_matches('\n').to_owned());
                lines.changed.notify_all();
                line.clear();
            }
            lines.lock().ended = true;
            lines.changed.notify_all();
        });
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits until `look` finds something in the lines so far; `None` when the pipe has ended without
    /// it, or the time is up.
    pub(crate) fn find<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.lines) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self, within: Duration) -> String {
        self.find(within, |_| None::<()>);
        let state = self.lock();
        state.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// A child process with pipes for its standard input, output and error; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) stdout: Arc<Lines>,
    pub(crate) stderr: Arc<Lines>,
    /// Kept from being deleted.
    home: Home,
}

impl Process {
    /// Starts it, with the environment of `home` and nothing else; what the command itself sets
    /// comes on top.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(mut command: Command, home: &Home) -> Self {
        let name = format!("{command:?}");
        let own: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        command.env_clear().envs(home.environment());
        for (name, value) in own {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (stdout, stderr) = (Arc::<Lines>::default(), Arc::<Lines>::default());
        stdout.collect(child.stdout.take().unwrap());
        stderr.collect(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self { name, child, stdin, stdout, stderr, home: home.clone() }
    }

    /// The command it runs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home it lives in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// The system doesn't know it.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Writes to its standard input as it is. A process that reads no more is no failure here: its exit
    /// code tells.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The lines of its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// The lines of its standard output from this one on, so far.
    #[must_use]
    pub fn stdout_from(&self, line: usize) -> Vec<String> {
        self.stdout.lock().lines.get(line..).unwrap_or_default().to_vec()
    }

    /// The lines of its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Waits for a line on standard output that contains `part`.
    ///
    /// # Panics
    /// None comes.
    pub fn wait_for_line(&self, part: &str) -> String {
        self.found("stdout", &self.stdout, part)
    }

    /// Waits for a line on standard error that contains `part`.
    ///
    /// # Panics
    /// None comes.
    pub fn wait_for_stderr(&self, part: &str) -> String {
        self.found("stderr", &self.stderr, part)
    }

    fn found(&self, pipe: &str, lines: &Lines, part: &str) -> String {
        lines
            .find(PATIENCE, |lines| lines.iter().find(|line| line.contains(part)).cloned())
            .unwrap_or_else(|| panic!("no {part:?} on {pipe} of {}", self.seen()))
    }

    /// What is known of it, for a failure message.
    #[must_use]
    pub fn seen(&self) -> String {
        let (out, err) = (self.stdout().join("\n"), self.stderr().join("\n"));
        format!("{}\n--- stdout\n{out}\n--- stderr\n{err}\n---", self.name)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the process is there");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// It doesn't, within [`PATIENCE`].
    pub fn wait(&mut self) -> Finished {
        self.wait_within(PATIENCE)
    }

    /// Waits until it has ended by itself, at most so long.
    ///
    /// # Panics
    /// It doesn't.
    pub fn wait_within(&mut self, within: Duration) -> Finished {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < within, "still running after {within:?}: {}", self.seen());
            thread::sleep(Duration::from_millis(5));
        };
        Finished {
            code: code(status),
            stdout: self.stdout.wait_for_end(PATIENCE),
            stderr: self.stderr.wait_for_end(PATIENCE),
        }
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The processor time it has used so far. Linux only.
    ///
    /// # Panics
    /// There is no `/proc`.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name, in parentheses, may hold anything; the 14th and 15th fields are times in
        // hundredths of a second.
        let rest = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<u64> =
            rest.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap()).collect();
        Duration::from_millis(fields.iter().sum::<u64>() * 10)
    }

    /// The memory it holds, in bytes. Linux only.
    ///
    /// # Panics
    /// There is no `/proc`.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.seen());
        }
        self.kill();
    }
}

/// Runs a command to its end.
///
/// # Panics
/// It can't be run, or doesn't end.
pub(crate) fn run(command: Command, home: &Home) -> Finished {
    let mut process = Process::start(command, home);
    process.close_stdin();
    process.wait()
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Waits until nothing listens on a port of this machine any more.
pub(crate) fn wait_until_free(address: std::net::SocketAddr) {
    wait_within(PATIENCE, "the port is given up", || {
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).err()
    });
}
