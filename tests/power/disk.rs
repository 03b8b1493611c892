//! A disk that may lose its power: what is on it for sure, and what may be.

use std::collections::BTreeMap;

use bytes::Bytes;
use helpline_tests::dice::Dice;

/// Bytes that a disk writes as one.
const SECTOR: usize = 512;

/// What a program asks of a directory and the files in it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(String),
    Unlink(String),
    /// What had the first name has the second one, and nothing else has.
    Rename(String, String),
    Write(String, usize, Bytes),
    Truncate(String, usize),
    Sync(Synced),
}

/// What is on the disk once this is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    File(String),
    /// The names of the files.
    Directory,
}

/// What a power cut leaves: the content of each file by its name.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// One directory. Everything asked of it happens in order; nothing is on the disk for sure but what
/// was synced since.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The files as a program sees them.
    names: BTreeMap<String, usize>,
    /// The files as they are on the disk for sure.
    synced: BTreeMap<String, usize>,
    /// What has become of the names since.
    unsynced: Vec<(String, Option<usize>)>,
    /// A sync that this disk does nothing for.
    deaf_to: Option<Synced>,
}

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Bytes),
    Truncate(usize),
}

/// How much of what wasn't synced has reached the disk.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Nothing,
    Everything,
    /// Changes in order up to this one, of which some sectors.
    UpTo(usize),
    /// Any changes, each whole, by this chance in percent.
    Changes(usize),
    /// Any sectors of any changes, by this chance in percent.
    Sectors(usize),
}

impl Disk {
    /// A disk that lies about one sync.
    pub(crate) fn deaf_to(sync: Option<Synced>) -> Self {
        Self { deaf_to: sync, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(name) => {
                if !self.names.contains_key(name) {
                    self.name(name, Some(self.files.len()));
                    self.files.push(File::default());
                }
            }
            Op::Unlink(name) => self.name(name, None),
            Op::Rename(from, to) => {
                let file = self.names[from];
                self.name(to, Some(file));
                self.name(from, None);
            }
            Op::Write(name, at, bytes) => {
                self.file(name).unsynced.push(Change::Write(*at, bytes.clone()));
            }
            Op::Truncate(name, size) => self.file(name).unsynced.push(Change::Truncate(*size)),
            Op::Sync(synced) if self.deaf_to.as_ref() == Some(synced) => {}
            Op::Sync(Synced::File(name)) => self.file(name).sync(),
            Op::Sync(Synced::Directory) => {
                self.synced = self.names.clone();
                self.unsynced.clear();
            }
        }
    }

    fn name(&mut self, name: &str, file: Option<usize>) {
        rename(&mut self.names, name, file);
        self.unsynced.push((name.to_owned(), file));
    }

    fn file(&mut self, name: &str) -> &mut File {
        &mut self.files[self.names[name]]
    }

    /// The files as a program sees them: what is there after a kill.
    pub(crate) fn seen(&self) -> Image {
        let whole = |file: &File| file.landed(Fate::Everything, &mut Dice::new(0, 0));
        self.names.iter().map(|(name, file)| (name.clone(), whole(&self.files[*file]))).collect()
    }

    /// Whether nothing but what was synced is at stake.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsynced.is_empty()
            && self.names.values().all(|file| self.files[*file].unsynced.is_empty())
    }

    /// What a power cut may leave. Names change in order, as in a journal; beside those that were
    /// synced the first few later ones have changed.
    pub(crate) fn cut(&self, dice: &mut Dice) -> Image {
        let mut names = self.synced.clone();
        for (name, file) in self.unsynced.iter().take(dice.below(self.unsynced.len() + 1)) {
            rename(&mut names, name, *file);
        }
        let left = names.into_iter().map(|(name, file)| {
            let file = &self.files[file];
            let fate = Fate::any(file.unsynced.len(), dice);
            (name, file.left(fate, dice))
        });
        left.collect()
    }
}

fn rename(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}

impl Fate {
    fn any(changes: usize, dice: &mut Dice) -> Self {
        match dice.below(5) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::UpTo(dice.below(changes + 1)),
            3 => Self::Changes([10, 50, 90][dice.below(3)]),
            _ => Self::Sectors([10, 50, 90, 99][dice.below(4)]),
        }
    }

    /// Whether a change is on the disk; none if that is another question for each sector.
    fn of(self, change: usize, dice: &mut Dice) -> Option<bool> {
        match self {
            Self::Nothing => Some(false),
            Self::Everything => Some(true),
            Self::UpTo(last) if change == last => None,
            Self::UpTo(last) => Some(change < last),
            Self::Changes(chance) => Some(dice.chance(chance)),
            Self::Sectors(_) => None,
        }
    }

    fn of_sector(self, dice: &mut Dice) -> bool {
        dice.chance(if let Self::Sectors(chance) = self { chance } else { 50 })
    }
}

impl File {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.make(&mut self.synced, || true);
        }
    }

    fn landed(&self, fate: Fate, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (n, change) in self.unsynced.iter().enumerate() {
            let whole = fate.of(n, dice);
            change.make(&mut content, || whole.unwrap_or_else(|| fate.of_sector(dice)));
        }
        content
    }

    /// What is left of the file. Its size may have reached the disk without what belongs there.
    fn left(&self, fate: Fate, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.landed(fate, dice);
        let sizes = self.unsynced.iter().map(|change| match change {
            Change::Write(at, bytes) => at + bytes.len(),
            Change::Truncate(size) => *size,
        });
        let largest = sizes.max().unwrap_or_default();
        if largest > content.len() && dice.chance(50) {
            content.resize(largest, 0);
        }
        content
    }
}

impl Change {
    /// Makes those parts of the change that land, each within one sector.
    fn make(&self, content: &mut Vec<u8>, mut lands: impl FnMut() -> bool) {
        match self {
            Self::Truncate(size) => {
                if lands() {
                    content.resize(*size, 0);
                }
            }
            Self::Write(at, bytes) => {
                let (mut at, mut rest) = (*at, &bytes[..]);
                while !rest.is_empty() {
                    let (part, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if lands() {
                        if content.len() < at + part.len() {
                            content.resize(at + part.len(), 0);
                        }
                        content[at..at + part.len()].copy_from_slice(part);
                    }
                    (at, rest) = (at + part.len(), after);
                }
            }
        }
    }
}

#[test]
fn what_is_synced_is_there_and_what_is_not_may_be() {
    let (log, mut disk) = ("log".to_owned(), Disk::default());
    let synced = [
        Op::Create(log.clone()),
        Op::Write(log.clone(), 0, vec![1; 2000].into()),
        Op::Sync(Synced::File(log.clone())),
        Op::Sync(Synced::Directory),
    ];
    for op in &synced {
        disk.apply(op);
    }
    let cuts = |disk: &Disk| (0..500).map(|n| disk.cut(&mut Dice::new(1, n))).collect::<Vec<_>>();
    assert!(disk.is_settled());
    assert!(cuts(&disk).iter().all(|image| *image == disk.seen()));

    disk.apply(&Op::Write(log.clone(), 1000, vec![2; 2000].into()));
    disk.apply(&Op::Create("other".to_owned()));
    let images = cuts(&disk);
    let logs: std::collections::BTreeSet<_> = images.iter().map(|image| &image[&log]).collect();
    // The six sectors it touches, each as before or as written, and the end at any of their ends.
    assert!(logs.len() > 32, "{}", logs.len());
    for content in logs {
        assert!(content[..1000] == [1; 1000] && (2000..=3000).contains(&content.len()));
        assert!(content[1000..1024].iter().all(|byte| *byte == content[1000]));
        assert!(content[2000..].iter().all(|byte| [0, 2].contains(byte)));
    }
    let others = images.iter().filter(|image| image.contains_key("other")).count();
    assert!((100..400).contains(&others), "{others}");
}
