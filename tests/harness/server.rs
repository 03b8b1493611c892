//! A running server.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use helpline_proto::text::{Name, Secret};
use rustix::process::Signal;

use crate::{
    accounts,
    binaries::helpline_server,
    home::Home,
    process::{self, Finished, Process},
    wait_until,
};

/// The operator of a server that has a disk of its own.
const ON_A_DISK: &str = "Wei";

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    home: Home,
    listen: Vec<String>,
    data: Option<PathBuf>,
    /// The bytes of the disk of its own that it keeps calls on.
    disk: Option<u64>,
    console: bool,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    program: Option<PathBuf>,
}

impl ServerSetup {
    /// Another program than the one of the profile that the stories were built with.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// How many may wait.
    #[must_use]
    pub fn places(self, places: u32) -> Self {
        self.args(["--places", &places.to_string()])
    }

    /// Says a second; 0 for any number.
    #[must_use]
    pub fn says(self, says: u32) -> Self {
        self.args(["--says", &says.to_string()])
    }

    /// What is read first.
    #[must_use]
    pub fn greeting(self, greeting: &str) -> Self {
        self.args(["--greeting", greeting])
    }

    /// The line's name.
    #[must_use]
    pub fn line(self, line: &str) -> Self {
        self.args(["--line", line])
    }

    /// How long calls may go on once the server is told to stop.
    #[must_use]
    pub fn drain(self, seconds: u32) -> Self {
        self.args(["--drain", &seconds.to_string()])
    }

    /// How many seconds a waiting caller, a caller in a call and an operator are kept when away.
    #[must_use]
    pub fn graces(self, waiting: u32, call: u32, operator: u32) -> Self {
        let seconds = [waiting, call, operator].map(|seconds| seconds.to_string());
        let [waiting, call, operator] = &seconds;
        self.args(["--waiting-grace", waiting, "--call-grace", call, "--operator-grace", operator])
    }

    /// Any other arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where to answer, instead of on a free port of 127.0.0.1. May be repeated.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// Where to keep calls, instead of in the home's own directory.
    #[must_use]
    pub fn data(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    /// Keeps calls on a disk of its own with room for so many bytes, if there are the
    /// [means](crate::small_disk). It is gone with the server.
    #[must_use]
    pub fn on_a_disk_of(mut self, bytes: u64) -> Self {
        self.disk = Some(bytes);
        self
    }

    /// Whose home it lives in.
    #[must_use]
    pub fn home(mut self, home: &Home) -> Self {
        self.home = home.clone();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Starts it through another program that ends up being it, such as `prlimit` or `nice`.
    #[must_use]
    pub fn through<A: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// The command line: program and arguments.
    #[must_use]
    pub fn command_line(&self) -> Vec<OsString> {
        let mut line = Vec::new();
        let disk = self.home.path().join("disk");
        if let Some(bytes) = self.disk {
            line.extend(mounting(bytes, &disk));
        }
        line.extend(self.wrapper.iter().cloned());
        line.push(self.program.clone().unwrap_or_else(helpline_server).into());
        let any = ["127.0.0.1:0".to_owned()];
        let listen = if self.listen.is_empty() { &any[..] } else { &self.listen };
        for address in listen {
            line.extend(["--listen".into(), address.into()]);
        }
        if let Some(data) = self.disk.map(|_| &disk).or(self.data.as_ref()) {
            line.extend(["--data".into(), data.into()]);
        }
        if !self.console {
            line.push("--no-console".into());
        }
        line.extend(self.args.iter().cloned());
        line
    }

    /// The same with a console, for [`Screen`](crate::Screen).
    #[must_use]
    pub fn with_console(mut self) -> Self {
        self.console = true;
        self
    }

    pub(crate) fn parts(&self) -> (Vec<OsString>, Home, &[(OsString, OsString)]) {
        (self.command_line(), self.home.clone(), &self.envs)
    }

    fn process(&self) -> Process {
        if self.disk.is_some() {
            std::fs::create_dir_all(self.home.path().join("disk")).unwrap();
        }
        let line = self.command_line();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).envs(self.envs.iter().cloned());
        Process::start(command, &self.home)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// It doesn't.
    #[must_use]
    pub fn start(self) -> Server {
        let begun = Instant::now();
        let process = self.process();
        let json = self.args.iter().any(|arg| arg == "--json");
        let ready = if json { r#""event":"listening""# } else { "no console here" };
        process.wait_for_stderr(ready);
        let addresses: Vec<_> =
            process.stderr().iter().filter_map(|line| listening(line)).collect();
        let server = Server { addresses, took: begun.elapsed(), process, setup: self };
        if server.setup.disk.is_some() {
            server.make_account(ON_A_DISK);
        } else {
            for address in &server.addresses {
                accounts::serve(*address, &server.data());
            }
        }
        server
    }

    /// Starts it and waits until it has ended, for one that can't run.
    ///
    /// # Panics
    /// It runs.
    #[must_use]
    pub fn run(self) -> Finished {
        let mut process = self.process();
        process.close_stdin();
        process.wait()
    }
}

/// A running `helpline-server` without a console; killed when dropped.
///
/// It dereferences to its [`Process`]: signals, waiting, stderr.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    took: Duration,
    process: Process,
    setup: ServerSetup,
}

impl Server {
    /// One that answers on a free port, with everything else as by default.
    #[must_use]
    pub fn start() -> Self {
        Self::with().start()
    }

    /// Begins to say how it is to be started.
    #[must_use]
    pub fn with() -> ServerSetup {
        ServerSetup {
            home: Home::new(),
            listen: Vec::new(),
            data: None,
            disk: None,
            console: false,
            args: Vec::new(),
            envs: Vec::new(),
            wrapper: Vec::new(),
            program: None,
        }
    }

    /// Where it answers first.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everywhere it answers.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How long it took from starting the process to listening.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The home it lives in.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.setup.home
    }

    /// Where it keeps its calls.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        let data = self.own_data();
        if self.setup.disk.is_some() {
            // Only the server has this disk; the way there is through its own root.
            let root = PathBuf::from(format!("/proc/{}/root", self.id()));
            return root.join(data.strip_prefix("/").unwrap());
        }
        data
    }

    /// How to start it again: the same home, data and arguments, on the same addresses.
    #[must_use]
    pub fn again(&self) -> ServerSetup {
        let mut setup = self.setup.clone();
        setup.listen = self.addresses.iter().map(ToString::to_string).collect();
        setup
    }

    /// How to start another one in its place: on the same addresses and with the same key, but it has never heard
    /// of a call.
    ///
    /// # Panics
    /// There is no key.
    #[must_use]
    pub fn forgetting(&self) -> ServerSetup {
        let setup = self.again().home(&Home::new());
        fs::create_dir_all(setup.home.data()).unwrap();
        for file in ["tls-key.pem", "tls-cert.pem"] {
            fs::copy(self.data().join(file), setup.home.data().join(file)).unwrap();
        }
        setup
    }

    /// Runs `helpline-server` with other arguments in its home, such as `calls list`; where its data
    /// isn't in its home, `--data` has to be among them.
    ///
    /// # Panics
    /// It can't be run.
    #[must_use]
    pub fn also(&self, args: &[&str]) -> Finished {
        let mut line: Vec<OsString> = Vec::new();
        if self.setup.disk.is_some() {
            line =
                ["nsenter", "--mount", "--target", &self.id().to_string()].map(Into::into).into();
            if !rustix::process::geteuid().is_root() {
                line.extend(["--user", "--preserve-credentials"].map(Into::into));
            }
        }
        line.push(helpline_server().into());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(args);
        process::run(command, self.home())
    }

    /// Where it keeps its calls, as it itself sees it.
    fn own_data(&self) -> PathBuf {
        match (self.setup.disk, &self.setup.data) {
            (Some(_), _) => self.home().path().join("disk"),
            (None, Some(data)) => data.clone(),
            (None, None) => self.home().data(),
        }
    }

    /// The entries of a call as `calls show --json` has them, the call named by its digits.
    ///
    /// # Panics
    /// They can't be had.
    #[must_use]
    pub fn transcript(&self, call: &str) -> Vec<serde_json::Value> {
        let data = self.own_data();
        let shown = self.also(&["calls", "show", call, "--json", "--data", data.to_str().unwrap()]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Makes an account with the program's own command, as nobody else reaches the disk; unless there is one.
    fn make_account(&self, name: &str) {
        let data = self.own_data();
        let add = ["operator", "add", name, "--data", data.to_str().unwrap()];
        let added = self.also(&add);
        if added.code != 0 {
            return;
        }
        let (name, token) = (Name::new(name).unwrap(), Secret::new(added.stdout.trim()).unwrap());
        for address in &self.addresses {
            accounts::give(*address, &name, token.clone());
        }
    }

    /// The calls as `calls list --json` has them.
    ///
    /// # Panics
    /// They can't be had.
    #[must_use]
    pub fn calls(&self) -> Vec<serde_json::Value> {
        let data = self.own_data();
        let shown = self.also(&["calls", "list", "--json", "--data", data.to_str().unwrap()]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Tells it to stop with SIGTERM and waits until it has.
    ///
    /// # Panics
    /// It doesn't.
    pub fn stop(&mut self) -> Finished {
        self.process.signal(Signal::TERM);
        self.process.wait()
    }

    /// Stops it with SIGSTOP and waits until none of its threads runs any more. The signal alone isn't enough:
    /// until the thread that got it has run, the others read, keep and answer.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        wait_until("the server is still", || is_still(self.id()).then_some(()));
    }

    /// Kills it with SIGKILL and waits until its port is free.
    pub fn crash(&mut self) {
        self.process.kill();
        process::wait_until_free(self.address());
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What puts a disk of so many bytes at `at`, for the program behind it alone.
pub(crate) fn mounting(bytes: u64, at: &Path) -> Vec<OsString> {
    let script = r#"mount -t tmpfs -o "size=$1,mode=700" helpline "$2" && shift 2 && exec "$@""#;
    // Root mounts as it is; others in a world where they are root.
    let own = if rustix::process::geteuid().is_root() { "-m" } else { "-mUr" };
    let mut line: Vec<OsString> = ["unshare", own, "sh", "-c", script, "sh"].map(Into::into).into();
    line.extend([bytes.to_string().into(), at.into()]);
    line
}

fn listening(line: &str) -> Option<SocketAddr> {
    if let Some(address) = line.strip_prefix("listening on ") {
        return address.parse().ok();
    }
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    (json["event"] == "listening").then(|| json["addr"].as_str()?.parse().ok()).flatten()
}

/// Whether every thread of a process is stopped: the signal alone doesn't say so. Where nobody can tell, it counts.
fn is_still(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return true };
    threads.flatten().all(|thread| {
        let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit_once(')').is_none_or(|(_, state)| state.starts_with(" T"))
    })
}
