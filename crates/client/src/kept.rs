//! What a client keeps on disk, so that a call or a sign-on outlives its process.
//!
//! There is a file for each, in a [`Directory`] that is its owner's alone: [`Begun`] says what was begun
//! where, with the ticket that lets somebody go on, and behind that stand the lines that are not known to
//! be recorded. A process that has a file holds a lock on it for as long as it lives, however it dies.
//!
//! ```text
//! {"version":1,"side":"caller","address":"127.0.0.1:8001","name":"Ada", … ,"ticket":"…","at":…}
//! {"say":["93384b87…",7,"are you there?"]}       this is to be said, under this number
//! {"unsaid":[["93384b87…",7,"…"],…]}             all that is to be said, whatever stands above
//! ```
//!
//! Each record is written at once and before its line can be sent, so whatever instant the process is
//! killed at, what can be read are the first records of those it wrote. Only the head is synced: a ticket
//! must not be forgotten in a power cut, as what was begun with it isn't either; lines are worth less.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use helpline_proto::{
    ids::{Answering, CallId, Nonce, Side, Ticket},
    text::{LineName, Name, Text},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

use crate::own::{self, no_follow};

/// The form of these files. Those of another form are left alone.
const VERSION: u32 = 1;

/// How many bytes of records may be added before the file is written anew.
const GROWTH: u64 = 4 * 1024 * 1024;

/// What is read of a file at most: more than one ever has.
const MOST: u64 = 64 * 1024 * 1024;

/// Files untouched for this long are removed: nothing is kept for so long by any server.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the name of a file that isn't complete yet ends in.
const INCOMPLETE: &str = ".new";

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Nothing says where.
    #[error("there is no home directory")]
    Nowhere,
    /// The directory belongs to somebody else.
    #[error("{0} belongs to somebody else")]
    NotOurs(PathBuf),
    /// It can't be used.
    #[error("cannot use {0}: {1}")]
    Unusable(PathBuf, #[source] io::Error),
    /// The system has no random bytes for a name.
    #[error("the system has no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// A call or a sign-on: what was begun, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// As a caller or as an operator.
    pub side: Side,
    /// What was dialled, as [`Address`](crate::Address) shows it.
    pub address: String,
    /// Under this name.
    pub name: Name,
    /// The line that was asked for.
    pub line: Option<LineName>,
    /// How an operator answers.
    pub answering: Option<Answering>,
    /// What lets somebody go on.
    pub ticket: Ticket,
    /// When it was begun, by this machine's clock.
    pub at: UnixMillis,
}

/// A line that is not known to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The call it is for.
    pub call: CallId,
    /// Its number.
    pub nonce: Nonce,
    /// The line.
    pub text: Text,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    #[serde(flatten)]
    begun: Begun,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Say(CallId, Nonce, Text),
    Unsaid(Vec<(CallId, Nonce, Text)>),
}

/// Where files are kept.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The one of whoever runs this process: `$XDG_STATE_HOME/helpline`, else
    /// `~/.local/state/helpline`. It is made if it isn't there.
    ///
    /// # Errors
    /// There is no home, or it can't be used.
    pub fn of_user() -> Result<Self, KeptError> {
        Self::open(&own::state()?)
    }

    /// This one; it is made if it isn't there, and closed to everybody but its owner.
    ///
    /// # Errors
    /// It can't be made or used, or is somebody else's.
    pub fn open(path: &Path) -> Result<Self, KeptError> {
        own::open_directory(path)?;
        Ok(Self(path.into()))
    }

    /// Removes what nobody can go on with any more: files that no process has, untouched for a day.
    pub fn tidy(&self) {
        for path in self.files() {
            let Some(file) = lock(&path) else { continue };
            let age = file.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if age.is_some_and(|age| age > STALE) {
                tracing::debug!("removing {}: too old", path.display());
                let _another_was_faster = fs::remove_file(&path);
            }
        }
    }

    /// The youngest file of this kind that no process has, locked for this one.
    pub fn unfinished(&self, is_wanted: impl Fn(&Begun) -> bool) -> Option<Kept> {
        let complete = self.files().into_iter().filter(|path| !is_incomplete(path));
        let kept = complete.filter_map(|path| Kept::load(path, lock));
        kept.filter(|kept| is_wanted(&kept.begun)).max_by_key(|kept| kept.begun.at.0)
    }

    /// Keeps what is about to be begun. When this returns, the file outlives a power cut.
    ///
    /// # Errors
    /// It can't be written.
    pub fn create(&self, begun: Begun) -> Result<Kept, KeptError> {
        let side = match begun.side {
            Side::Caller => "call",
            Side::Operator => "desk",
        };
        let random = getrandom::u64().map_err(KeptError::NoRandomness)?;
        let path = self.0.join(format!("{side}-{random:016x}"));
        let written = write_whole(&path, &begun, []);
        let (file, end) = written.map_err(|error| KeptError::Unusable(path.clone(), error))?;
        Ok(Kept { file, path, begun, lines: Vec::new(), head: end, base: end, end, is_torn: false })
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("call-") || name.starts_with("desk-")
        };
        paths.filter(is_ours).collect()
    }
}

fn is_incomplete(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(INCOMPLETE)
}

/// A call or a sign-on on disk, locked for this process.
///
/// Dropped, it stays for a later process; [`remove`](Self::remove) is for what is over.
#[derive(Debug)]
pub struct Kept {
    file: File,
    path: PathBuf,
    begun: Begun,
    lines: Vec<Line>,
    /// Where the head ends.
    head: u64,
    /// Where the file ended when it was written anew.
    base: u64,
    /// Where the last whole record ends.
    end: u64,
    /// A record couldn't be written: what stands there is not all.
    is_torn: bool,
}

impl Kept {
    fn load(path: PathBuf, lock: impl Fn(&Path) -> Option<File>) -> Option<Self> {
        let file = lock(&path)?;
        let mut bytes = Vec::new();
        (&file).take(MOST).read_to_end(&mut bytes).ok()?;
        let Some((begun, head, lines, end)) = read(&bytes) else {
            tracing::debug!("{} is of another version, or no file of ours", path.display());
            return None;
        };
        Some(Self { file, path, begun, lines, head, base: head, end, is_torn: false })
    }

    /// What was begun.
    #[must_use]
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The lines that an earlier process wanted said, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Removes the file: what it is about is over.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("{} can't be removed: {error}", self.path.display());
        }
    }

    /// A line is about to be sent.
    pub(crate) fn say(&mut self, call: CallId, nonce: Nonce, text: &Text) {
        // After a failure only a record that says everything is of use.
        if !self.is_torn {
            self.append(&Record::Say(call, nonce, text.clone()));
        }
    }

    /// These lines, and no others, are to be said.
    pub(crate) fn restate<'a>(&mut self, lines: impl Iterator<Item = (CallId, Nonce, &'a Text)>) {
        let lines: Vec<_> = lines.map(|(call, nonce, text)| (call, nonce, text.clone())).collect();
        if lines.is_empty() {
            return self.clear();
        }
        let record = Record::Unsaid(lines);
        if self.has_grown() { self.rewrite(record) } else { self.append(&record) }
    }

    /// Nothing is to be said.
    pub(crate) fn clear(&mut self) {
        if self.end == self.head && !self.is_torn {
            return;
        }
        match self.file.set_len(self.head) {
            Ok(()) => {
                (self.base, self.end) = (self.head, self.head);
                self.is_torn = false;
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Whether it is time to write the file anew, with [`restate`](Self::restate).
    pub(crate) fn has_grown(&self) -> bool {
        self.end - self.base > GROWTH
    }

    fn append(&mut self, record: &Record) {
        let Ok(line) = line(record) else { return };
        // At its place, not at the end: what a failed attempt has left is written over.
        match self.file.write_all_at(line.as_bytes(), self.end) {
            Ok(()) => {
                self.end += line.len() as u64;
                self.is_torn = false;
            }
            Err(error) => self.failed(&error),
        }
    }

    fn rewrite(&mut self, record: Record) {
        match write_whole(&self.path, &self.begun, [record]) {
            Ok((file, end)) => {
                // The lock on the old file goes with it; the new one has been locked all along.
                self.file = file;
                (self.base, self.end) = (end, end);
                self.is_torn = false;
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.is_torn {
            let path = self.path.display();
            tracing::warn!("lines not said yet can't be kept in {path}: {error}");
        }
        self.is_torn = true;
    }
}

/// What a file says: what was begun, where that ends, what is to be said, and where that ends. What follows
/// the last whole record is what somebody was about to write.
fn read(bytes: &[u8]) -> Option<(Begun, u64, Vec<Line>, u64)> {
    let mut records = bytes.split_inclusive(|byte| *byte == b'\n');
    let head = records.next().filter(|head| head.ends_with(b"\n"))?;
    let Head { version, begun } = serde_json::from_slice(head).ok()?;
    if version != VERSION {
        return None;
    }
    let (mut lines, mut end) = (Vec::new(), head.len());
    for record in records.take_while(|record| record.ends_with(b"\n")) {
        let line = |(call, nonce, text)| Line { call, nonce, text };
        match serde_json::from_slice(record) {
            Ok(Record::Say(call, nonce, text)) => lines.push(line((call, nonce, text))),
            Ok(Record::Unsaid(unsaid)) => lines = unsaid.into_iter().map(line).collect(),
            Err(_) => break,
        }
        end += record.len();
    }
    Some((begun, head.len() as u64, lines, end as u64))
}

fn line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// Writes a file beside the one of this name, and puts it in its place. It is locked, and stays so.
fn write_whole(
    path: &Path,
    begun: &Begun,
    records: impl IntoIterator<Item = Record>,
) -> io::Result<(File, u64)> {
    let mut text = line(&Head { version: VERSION, begun: begun.clone() })?;
    for record in records {
        text.push_str(&line(&record)?);
    }
    let mut incomplete = path.as_os_str().to_owned();
    incomplete.push(INCOMPLETE);
    let incomplete = PathBuf::from(incomplete);
    let _from_an_earlier_attempt = fs::remove_file(&incomplete);
    let written = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&incomplete)?;
        file.try_lock()?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_all()?;
        fs::rename(&incomplete, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(file)
    };
    match written() {
        Ok(file) => Ok((file, text.len() as u64)),
        Err(error) => {
            let _nothing_is_left = fs::remove_file(&incomplete);
            Err(error)
        }
    }
}

/// Opens and locks a file of ours, unless another process has it.
fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_follow())
        .open(path)
        .inspect_err(|error| tracing::debug!("{} can't be opened: {error}", path.display()))
        .ok()?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return None,
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} can't be locked: {error}", path.display());
            return None;
        }
    }
    // Between opening and locking it may have been removed, or another one put in its place.
    let (ours, there) = (file.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    let is_it = ours.is_file()
        && ours.uid() == rustix::process::geteuid().as_raw()
        && (ours.dev(), ours.ino()) == (there.dev(), there.ino());
    is_it.then_some(file)
}

#[cfg(test)]
mod tests;
