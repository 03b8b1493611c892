//! A line under attack: a call that goes on, and people who dial in, whatever the attack is.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use helpline_tests::{
    Client, PATIENCE, Peer, Proof, Server, ServerSetup, helpline, percentile, released, wait_until,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

/// A call's question and answer take so long at most, ninety-nine times of a hundred: ten times what is promised.
const P99: Duration = Duration::from_secs(1);

/// The time between two questions of the call that goes on.
const BETWEEN: Duration = Duration::from_millis(50);

/// The time between two who dial in.
const DIALS: Duration = Duration::from_millis(500);

/// The exit code of a caller whose connection ended before they were in.
const UNAVAILABLE: i32 = 69;

/// One after the other: what is measured is the attack, not its neighbours.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program as it is given away, with room for what an attack needs.
pub(crate) fn line() -> ServerSetup {
    Server::with().program(released()).says(0)
}

/// Attacks a line, while a call goes on and others dial in. `attack` returns its own figures.
pub(crate) fn besieged(
    mut proof: Proof,
    what: &str,
    setup: ServerSetup,
    attack: impl FnOnce(&Server, &mut Proof) -> Vec<(&'static str, Value)>,
) {
    let _turn = turn();
    allow_descriptors();
    // Built before anybody waits for it.
    let _built = helpline();
    let server = setup.start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let over = AtomicBool::new(false);
    let (figures, mut answers, dials) = thread::scope(|scope| {
        let call = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                Peer::chat(&mut caller, &mut operator, &answers.len().to_string());
                answers.push(begun.elapsed());
                thread::sleep(BETWEEN);
            }
            answers
        });
        let dialling = scope.spawn(|| {
            let mut dials = Vec::new();
            while !over.load(Ordering::Relaxed) || dials.is_empty() {
                dials.push(dial_in(&server));
                thread::sleep(DIALS);
            }
            dials
        });
        let attacked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(&server, &mut proof)));
        over.store(true, Ordering::Relaxed);
        let (answers, dials) = (call.join().unwrap(), dialling.join().unwrap());
        (attacked.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), answers, dials)
    });
    let (p50, p99) = (percentile(&mut answers, 50), percentile(&mut answers, 99));
    assert!(p99 < P99, "the call that went on waited {p99:?}");
    let stderr = server.stderr().join("\n");
    assert!(!stderr.contains("panicked") && !stderr.contains("failed"), "{stderr}");
    let millis = |time: Duration| json!((time.as_secs_f64() * 10_000.0).round() / 10.0);
    let mut all = vec![
        ("attack", json!(what)),
        ("answers", json!(answers.len())),
        ("p50_ms", millis(p50)),
        ("p99_ms", millis(p99)),
        ("dials", json!(dials.len())),
        ("redials", json!(dials.iter().map(|(_, dialled)| dialled - 1).sum::<usize>())),
        ("dial_worst_ms", millis(dials.into_iter().map(|(took, _)| took).max().unwrap())),
    ];
    all.extend(figures);
    proof.holds(&all);
}

/// Somebody calls with the real program, over TLS, until they read where they stand; whoever made room for another
/// before they were in calls again. Returns how long that took and how often they called.
fn dial_in(server: &Server) -> (Duration, usize) {
    let begun = Instant::now();
    for dialled in 1.. {
        let mut client = Client::call(server.address()).name("Bea").start();
        let is_in = wait_until("they are in, or not", || {
            let is_in = client.stderr().iter().any(|line| line.contains("position"));
            (is_in || !client.is_running()).then_some(is_in)
        });
        if is_in {
            let took = begun.elapsed();
            client.type_line("bye");
            client.wait();
            return (took, dialled);
        }
        let ended = client.wait();
        assert_eq!(ended.code, UNAVAILABLE, "{}", ended.stderr);
        assert!(begun.elapsed() < PATIENCE, "{}", ended.stderr);
        thread::sleep(DIALS);
    }
    unreachable!()
}

fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Lets the server and those who mean well go first on the processors of this machine: attackers have their own.
/// For the calling thread alone.
pub(crate) fn from_another_machine() {
    rustix::process::setpriority_process(None, 19).unwrap();
}

/// How many bytes more a server holds.
pub(crate) fn grown(server: &Server, before: u64) -> u64 {
    server.memory().saturating_sub(before)
}

pub(crate) fn mib(bytes: u64) -> Value {
    json!(bytes >> 20)
}
