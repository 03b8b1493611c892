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
use helpline_tests::{Home, Proof, Transcripts, dice::Dice, have, linux, tool};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    disk::{Disk, Image, Op, Synced},
    record::{self, Event},
    resume,
    told::{Finding, Told},
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
    told: Told,
}

impl Recording {
    fn new(events: Vec<Event>) -> Self {
        let mut disk = Disk::default();
        for event in &events {
            if let Event::Disk(op) = event {
                disk.apply(op);
            }
        }
        let desk = Desk::new();
        desk.lay_out(&disk.seen());
        let told = Told::of(&events, Transcripts::read(&desk.file()).unwrap());
        Self { events, told }
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
    let mut proof = Proof::begin("power-cuts");
    let (seed, cuts) = (proof.seed(), proof.times("HELPLINE_CUTS", 1000));
    let home = Home::new();
    // A trace that was kept can be given back, too: then all is as it was.
    let given = env::var_os("HELPLINE_TRACE").map(PathBuf::from);
    let trace = given.clone().unwrap_or_else(|| home.path().join("trace"));
    let begun = Instant::now();
    if given.is_none() {
        record::record(&home, &trace, &mut Dice::new(seed, 0));
    }
    let recorded = begun.elapsed();
    let recording = Recording::new(record::events(&trace));
    let log = format!("{DATABASE}-wal");
    let is_log = |name: &str| name == log;
    let pages = recording
        .count(|op| matches!(op, Op::Write(name, _, page) if is_log(name) && page.len() == PAGE));
    let anew = recording.count(|op| matches!(op, Op::Write(name, 0, _) if is_log(name)));
    let syncs = recording.count(|op| matches!(op, Op::Sync(Synced::File(name)) if is_log(name)));
    println!(
        "recorded in {recorded:.1?}, read in {:.1?}: {} events, {} entries told, {pages} pages \
         logged, {syncs} syncs of the log, which began anew {anew} times, {} pages written back",
        begun.elapsed().saturating_sub(recorded),
        recording.events.len(),
        recording.told.len(),
        recording.count(|op| matches!(op, Op::Write(name, ..) if name == DATABASE)),
    );
    // It is made in the first life and in the third. The others write over what is in it.
    assert!(anew >= 4, "the log didn't begin anew often enough: {anew}");
    if given.is_none() {
        is_faithful(&recording, &home);
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
        proof.told("HELPLINE_TRACE", kept.display().to_string());
        panic!("power cut at event {at}: {finding}");
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
    let mut lost = Vec::new();
    for (fault, lie, recording) in faults {
        // A database that wasn't synced is as often a broken one as one that lacks lines.
        let broken = lie == Some(Synced::File(DATABASE.into()));
        let survey = Survey::of(recording, lie, CUTS_OF_A_FAULT, seed);
        println!("{CUTS_OF_A_FAULT} cuts where {fault}: {survey}");
        assert!(survey.lost() > 0 || broken && !survey.findings.is_empty(), "not found: {fault}");
        lost.push(survey.lost());
    }
    proof.holds(&[
        ("cuts", json!(cuts)),
        ("at_stake", json!(survey.at_stake)),
        ("told", json!(recording.told.len())),
        ("syncs", json!(syncs)),
        ("entries", json!(survey.entries)),
        ("resumed", json!(survey.resumed)),
        ("without_syncs", json!(lost[0])),
    ]);
}

/// The same with each sync only after what was told because of it.
fn told_before(sync: &Synced, events: &[Event]) -> Vec<Event> {
    let (mut early, mut held) = (Vec::with_capacity(events.len()), None);
    for event in events {
        match event {
            Event::Told(..) | Event::Asked(..) => early.push(event.clone()),
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
    let left = [DATABASE, "tls-cert.pem", "tls-key.pem"];
    assert_eq!(names, left, "the log is gone after a clean stop");
    for name in left {
        let real = fs::read(home.data().join(name)).unwrap();
        assert!(seen[name] == real, "{name} follows from what was recorded");
    }
}

/// What many power cuts have shown.
struct Survey {
    /// Cuts that could have left more than one thing on the disk.
    at_stake: usize,
    /// Entries found on the disks.
    entries: usize,
    /// How often somebody came back.
    resumed: usize,
    findings: Vec<(usize, Finding)>,
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_stake, entries, resumed, findings } = self;
        let (lost, other) = (self.lost(), findings.len() - self.lost());
        write!(
            f,
            "{at_stake} with something at stake, {entries} entries read back, \
             {resumed} came back, {lost} lost a line, {other} had something else wrong"
        )
    }
}

/// A power cut: when, and what it left.
type Cut = (usize, Image, Dice);

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
        let survey = Mutex::new(Self { at_stake: 0, entries: 0, resumed: 0, findings: Vec::new() });
        let (send, images) = sync_channel::<Cut>(WORKERS);
        let images = Arc::new(Mutex::new(images));
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                let (images, survey) = (Arc::clone(&images), &survey);
                scope.spawn(move || {
                    let desk = Desk::new();
                    while let Ok((at, image, dice)) = { images.lock().unwrap().recv() } {
                        let found = desk.look(&image, &recording.told, at, dice);
                        let mut survey = survey.lock().unwrap();
                        match found {
                            Ok((entries, resumed)) => {
                                survey.entries += entries;
                                survey.resumed += resumed;
                            }
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
                    let mut dice = Dice::new(seed, n + 1);
                    let image = disk.cut(&mut dice);
                    send.send((at + 1, image, dice)).unwrap();
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

    fn file(&self) -> PathBuf {
        self.0.path().join(DATABASE)
    }

    /// Has these files here, and no others.
    fn lay_out(&self, image: &Image) {
        for old in fs::read_dir(self.0.path()).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        for (name, content) in image {
            fs::write(self.0.path().join(name), content).unwrap();
        }
    }

    /// Starts over from what a power cut has left, as the server does. Returns how many entries there are, and how
    /// many came back.
    fn look(
        &self,
        image: &Image,
        told: &Told,
        before: usize,
        mut dice: Dice,
    ) -> Result<(usize, usize), Finding> {
        self.lay_out(image);
        // The first to open it mends it, and brings a database to its form that never had one.
        drop(SqliteStore::open(self.0.path(), LineName::new("main").unwrap(), UnixMillis(0))?);
        let kept = Transcripts::read(&self.file())?;
        told.check(&kept, before)?;
        let resumed = resume::all(self.0.path(), &kept, told, before, &mut dice)?;
        let after = Transcripts::read(&self.file())?;
        for (kept, after) in kept.calls.iter().zip(&after.calls) {
            if !after.entries.starts_with(&kept.entries) {
                let what = format!("{:?} has become {:?}", kept.entries, after.entries);
                return Err(Finding::Impossible(what));
            }
        }
        let check: rusqlite::Result<String> = Connection::open(self.file())
            .and_then(|file| file.pragma_query_value(None, "integrity_check", |row| row.get(0)));
        match check {
            Ok(check) if check == "ok" => Ok((kept.entries(), resumed)),
            Ok(check) => Err(Finding::Unusable(check)),
            Err(error) => Err(Finding::Unusable(error.to_string())),
        }
    }
}
