//! The power cut at any instant of a recorded run, with anything on the disk that may be there then.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
    time::Instant,
};

use helpline_proto::{text::LineName, time::UnixMillis};
use helpline_server::store::{DATABASE, SqliteStore};
use helpline_tests::{Home, have, linux, tool};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    dice::{self, Dice},
    disk::{Disk, Image, Op, Synced},
    ledger::{Finding, KeptCall, Ledger},
    record::{self, Event},
};

/// Images looked at at once.
const WORKERS: usize = 2;

/// Bytes of a page of the database.
const PAGE: usize = 4096;

/// The events in which the database is made: a twentieth of the cuts are among them.
const BEGINNING: usize = 200;

/// Cuts that have to be enough to see that something is wrong.
const CUTS_OF_A_FAULT: usize = 100;

/// What a server did from first to last, and what it told.
struct Recording {
    events: Vec<Event>,
    ledger: Ledger,
}

impl Recording {
    fn new(events: Vec<Event>) -> Self {
        let mut ledger = Ledger::default();
        for (at, event) in events.iter().enumerate() {
            if let Event::Told(message) = event {
                ledger.note(at, message);
            }
        }
        Self { events, ledger }
    }

    fn count(&self, wanted: impl Fn(&Op) -> bool) -> usize {
        let ops = self.events.iter().filter(|event| matches!(event, Event::Disk(op) if wanted(op)));
        ops.count()
    }
}

#[test]
fn what_was_told_survives_a_power_cut_at_any_instant() {
    if !have(linux("strace").or_else(|| tool("strace"))) {
        return;
    }
    let seed = dice::seed();
    let cuts = dice::times("HELPLINE_CUTS", 1000);
    let home = Home::new();
    // A trace that was kept can be given back, too: then all is as it was.
    let given = env::var_os("HELPLINE_TRACE").map(PathBuf::from);
    let trace = given.clone().unwrap_or_else(|| home.path().join("trace"));
    let begun = Instant::now();
    let heard = if given.is_none() { record::record(&home, &trace, seed) } else { Vec::new() };
    let recorded = begun.elapsed();
    let recording = Recording::new(record::events(&trace));
    let log = format!("{DATABASE}-wal");
    let is_log = |name: &str| name == log;
    let pages = recording
        .count(|op| matches!(op, Op::Write(name, _, page) if is_log(name) && page.len() == PAGE));
    let anew = recording.count(|op| matches!(op, Op::Write(name, 0, _) if is_log(name)));
    println!(
        "recorded in {recorded:.1?}, read in {:.1?}: {} events, {} entries told, {pages} pages \
         logged, {} syncs of the log, which began anew {anew} times, {} pages written back",
        begun.elapsed().saturating_sub(recorded),
        recording.events.len(),
        recording.ledger.len(),
        recording.count(|op| matches!(op, Op::Sync(Synced::File(name)) if is_log(name))),
        recording.count(|op| matches!(op, Op::Write(name, ..) if name == DATABASE)),
    );
    // It is made in the first life and in the third. The others write over what is in it.
    assert!(anew >= 4, "the log didn't begin anew often enough: {anew}");
    if given.is_none() {
        is_faithful(&recording, &home);
        for message in heard.iter().flat_map(|heard| &heard.messages) {
            assert!(recording.ledger.has(message), "heard, but not in the trace: {message:?}");
        }
    }

    let begun = Instant::now();
    let survey = Survey::of(&recording, None, cuts, seed);
    println!("{cuts} cuts in {:.1?}, {survey}", begun.elapsed());
    if let Some((at, finding)) = survey.findings.first() {
        let kept = given.unwrap_or_else(|| {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power.trace");
            fs::copy(&trace, &kept).unwrap();
            kept
        });
        panic!(
            "power cut at event {at}: {finding}\nHELPLINE_SEED={seed} HELPLINE_CUTS={cuts} \
             HELPLINE_TRACE={} does the same again",
            kept.display()
        );
    }
    assert!(survey.at_stake > cuts / 4, "hardly a cut had anything unsynced to lose");

    // A test that can't fail is worse than none: disks that lie are found out, and so is a server
    // that tells what isn't synced yet.
    let sync_of_log = Synced::File(log);
    let hasty = Recording::new(told_before(&sync_of_log, &recording.events));
    let faults = [
        ("the log isn't synced", Some(sync_of_log), &recording),
        ("the database isn't synced", Some(Synced::File(DATABASE.into())), &recording),
        ("the names of files aren't synced", Some(Synced::Directory), &recording),
        ("lines are told before they are synced", None, &hasty),
    ];
    for (fault, lie, recording) in faults {
        // A database that wasn't synced is as often a broken one as one that lacks lines.
        let broken = lie == Some(Synced::File(DATABASE.into()));
        let survey = Survey::of(recording, lie, CUTS_OF_A_FAULT, seed);
        println!("{CUTS_OF_A_FAULT} cuts where {fault}: {survey}");
        assert!(survey.lost() > 0 || broken && !survey.findings.is_empty(), "not found: {fault}");
    }
}

/// The same with each sync only after what was told because of it.
fn told_before(sync: &Synced, events: &[Event]) -> Vec<Event> {
    let (mut early, mut held) = (Vec::with_capacity(events.len()), None);
    for event in events {
        match event {
            Event::Told(_) => early.push(event.clone()),
            Event::Disk(op) => {
                early.extend(held.take());
                match op {
                    Op::Sync(synced) if synced == sync => held = Some(event.clone()),
                    _ => early.push(event.clone()),
                }
            }
        }
    }
    early.extend(held);
    early
}

/// The files at the end are those that follow from the recording, so it lacks nothing.
fn is_faithful(recording: &Recording, home: &Home) {
    let mut disk = Disk::default();
    for event in &recording.events {
        if let Event::Disk(op) = event {
            disk.apply(op);
        }
    }
    let seen = disk.seen();
    let names: Vec<_> = seen.keys().collect();
    assert_eq!(names, [DATABASE], "the log is gone after a clean stop");
    let real = fs::read(home.data().join(DATABASE)).unwrap();
    assert!(seen[DATABASE] == real, "the database follows from what was recorded");
}

/// What many power cuts have shown.
struct Survey {
    /// Cuts that could have left more than one thing on the disk.
    at_stake: usize,
    /// Entries found on the disks.
    entries: usize,
    findings: Vec<(usize, Finding)>,
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_stake, entries, findings } = self;
        let (lost, other) = (self.lost(), findings.len() - self.lost());
        write!(
            f,
            "{at_stake} with something at stake, {entries} entries read back, \
             {lost} lost a line, {other} had something else wrong"
        )
    }
}

/// A power cut: when, and what it left.
type Cut = (usize, Image);

impl Survey {
    /// How many cuts lost something that was told.
    fn lost(&self) -> usize {
        self.findings.iter().filter(|(_, finding)| matches!(finding, Finding::Lost(_))).count()
    }

    /// Cuts the power of a disk so many times, in the order of the recording.
    fn of(recording: &Recording, lie: Option<Synced>, cuts: usize, seed: u64) -> Self {
        let end = recording.events.len();
        let mut dice = Dice::new(seed, 0);
        let mut instants: Vec<usize> = (0..cuts)
            .map(|n| dice.below(if n % 20 == 0 { BEGINNING.min(end) } else { end }) + 1)
            .collect();
        instants.sort_unstable();
        let survey = Mutex::new(Self { at_stake: 0, entries: 0, findings: Vec::new() });
        let (send, images) = sync_channel::<Cut>(WORKERS);
        let images = Arc::new(Mutex::new(images));
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                let (images, survey) = (Arc::clone(&images), &survey);
                scope.spawn(move || {
                    let desk = Desk::new();
                    while let Ok((at, image)) = { images.lock().unwrap().recv() } {
                        let found = desk.look(&image, &recording.ledger, at);
                        let mut survey = survey.lock().unwrap();
                        match found {
                            Ok(entries) => survey.entries += entries,
                            Err(finding) => survey.findings.push((at, finding)),
                        }
                    }
                });
            }
            // Should every worker fail, nobody is left to wait for.
            drop(images);
            let mut disk = Disk::deaf_to(lie);
            let mut instants = instants.into_iter().enumerate().peekable();
            for (at, event) in recording.events.iter().enumerate() {
                if let Event::Disk(op) = event {
                    disk.apply(op);
                }
                while let Some((n, _)) = instants.next_if(|(_, instant)| *instant == at + 1) {
                    survey.lock().unwrap().at_stake += usize::from(!disk.is_settled());
                    send.send((at + 1, disk.cut(&mut Dice::new(seed, n + 1)))).unwrap();
                }
            }
            drop(send);
        });
        let mut survey = survey.into_inner().unwrap();
        survey.findings.sort_by_key(|(at, _)| *at);
        survey
    }
}

/// Where an image is looked at: a directory in memory, if there is such a thing.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        Self(tempfile::Builder::new().prefix("helpline-").tempdir_in(parent).unwrap())
    }

    /// Starts over from what a power cut has left, as the server does. Returns how many entries
    /// there are.
    fn look(&self, image: &Image, told: &Ledger, before: usize) -> Result<usize, Finding> {
        for old in fs::read_dir(self.0.path()).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        for (name, content) in image {
            fs::write(self.0.path().join(name), content).unwrap();
        }
        let file = self.0.path().join(DATABASE);
        let mut store = SqliteStore::open(self.0.path(), LineName::new("main").unwrap())?;
        let calls = KeptCall::read(&file, 0)?;
        told.check(&calls, before)?;
        let check: String =
            Connection::open(&file)?
                .pragma_query_value(None, "integrity_check", |row| row.get(0))?;
        if check != "ok" {
            return Err(Finding::Unusable(check));
        }
        store.end_left_open(UnixMillis(i64::MAX))?;
        let after = KeptCall::read(&file, 0)?;
        for (call, after) in calls.iter().zip(&after) {
            if !after.over || !after.entries.starts_with(&call.entries) {
                let what = format!("{:?} has become {:?}", call.entries, after.entries);
                return Err(Finding::Impossible(call.call, what));
            }
        }
        Ok(calls.iter().map(|call| call.entries.len()).sum())
    }
}
