//! The servers that were met before, and what they are recognised by.
//!
//! They stand in a text file, one a line. Comments, and lines that can't be understood, stay as they are:
//!
//! ```text
//! # the office
//! 192.0.2.7:8001 sha256:5bd1f5…
//! help.example.org:8001 public-roots
//! ```

use std::{fmt, io, path::PathBuf};

use crate::{
    Fingerprint,
    kept::KeptError,
    own,
    trust::{Met, Trust},
};

#[cfg(test)]
mod tests;

/// What is read of the file at most: some ten thousand servers.
const MOST: u64 = 1024 * 1024;

/// What stands behind a server that the public roots vouch for.
const PUBLIC_ROOTS: &str = "public-roots";

/// What a server is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Key(Fingerprint),
    PublicRoots,
}

impl Known {
    /// What there is to remember of whom one has met.
    pub(crate) fn from_met(met: Met) -> Option<Self> {
        match met {
            Met::Anybody => None,
            Met::Key(key) => Some(Self::Key(key)),
            Met::PublicRoots => Some(Self::PublicRoots),
        }
    }

    /// Who is expected from now on.
    pub(crate) fn trust(self) -> Trust {
        match self {
            Self::Key(key) => Trust::Key(key),
            Self::PublicRoots => Trust::PublicRoots,
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::PublicRoots => f.write_str(PUBLIC_ROOTS),
        }
    }
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KnownError {
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// To take no notice of it would be to trust whoever answers.
    #[error("line {line} of {path} is about {server}, and damaged")]
    Damaged { path: PathBuf, line: usize, server: String },
    /// Another process has met somebody else under this address.
    #[error("{0} was met there a moment ago")]
    Another(Known),
    #[error(transparent)]
    NotKept(#[from] KeptError),
}

/// What the file says about a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) known: Option<Known>,
    /// The numbers of the lines that can't be understood.
    pub(crate) damaged: Vec<usize>,
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct KnownServers(PathBuf);

impl KnownServers {
    /// The one of whoever runs this process, whether it is there or not.
    pub(crate) fn of_user() -> Result<Self, KeptError> {
        Ok(Self::in_directory(own::config()?))
    }

    fn in_directory(directory: PathBuf) -> Self {
        Self(directory.join("known-servers"))
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// What is known about a server: host and port, as dialled.
    pub(crate) fn find(&self, server: &str) -> Result<Found, KnownError> {
        find(&self.read()?, server).map_err(|line| KnownError::Damaged {
            path: self.0.clone(),
            line,
            server: server.to_owned(),
        })
    }

    /// Remembers a server that was unknown.
    pub(crate) fn remember(&self, server: &str, known: Known) -> Result<(), KnownError> {
        if let Some(directory) = self.0.parent() {
            own::open_directory(directory)?;
        }
        let _lock = self.lock()?;
        let bytes = self.read()?;
        // Since it was looked up, another process may have met it, too.
        match find(&bytes, server) {
            Ok(Found { known: Some(other), .. }) if other == known => return Ok(()),
            Ok(Found { known: Some(other), .. }) => return Err(KnownError::Another(other)),
            Ok(Found { known: None, .. }) | Err(_) => {}
        }
        self.write(&remember(&bytes, server, known))
    }

    /// Forgets a server; says whether anything was known.
    pub(crate) fn forget(&self, server: &str) -> Result<bool, KnownError> {
        if forget(&self.read()?, server).is_none() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        match forget(&self.read()?, server) {
            Some(rest) => self.write(&rest).map(|()| true),
            None => Ok(false),
        }
    }

    fn read(&self) -> Result<Vec<u8>, KnownError> {
        let read = own::read(&self.0, MOST);
        let bytes = read.map_err(|error| KnownError::Unreadable(self.0.clone(), error))?;
        Ok(bytes.unwrap_or_default())
    }

    fn lock(&self) -> Result<std::fs::File, KnownError> {
        Ok(own::lock(&self.0).map_err(|error| KeptError::Unusable(self.0.clone(), error))?)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), KnownError> {
        Ok(own::replace(&self.0, bytes)
            .map_err(|error| KeptError::Unusable(self.0.clone(), error))?)
    }
}

/// What a line says.
enum Entry<'a> {
    /// It is empty, or a comment.
    Nothing,
    Server(&'a str, Known),
    /// It can't be understood; what it is about may be.
    Damaged(Option<&'a str>),
}

fn entry(line: &[u8]) -> Entry<'_> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(first) = words.next().filter(|first| !first.starts_with(b"#")) else {
        return Entry::Nothing;
    };
    let Ok(server) = str::from_utf8(first) else { return Entry::Damaged(None) };
    let known = match (words.next().map(str::from_utf8), words.next()) {
        (Some(Ok(PUBLIC_ROOTS)), None) => Some(Known::PublicRoots),
        (Some(Ok(key)), None) => key.parse().ok().map(Known::Key),
        _ => None,
    };
    match known {
        Some(known) => Entry::Server(server, known),
        None => Entry::Damaged(Some(server)),
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

/// What the first line about a server says; the number of a damaged line, if there is only that.
fn find(bytes: &[u8], server: &str) -> Result<Found, usize> {
    let mut found = Found::default();
    let mut own_damaged = None;
    for (number, line) in (1..).zip(lines(bytes)) {
        match entry(line) {
            Entry::Server(name, known) if is_same(name, server) => {
                found.known.get_or_insert(known);
            }
            Entry::Damaged(name) => {
                if name.is_some_and(|name| is_same(name, server)) {
                    own_damaged.get_or_insert(number);
                }
                found.damaged.push(number);
            }
            Entry::Nothing | Entry::Server(..) => {}
        }
    }
    match (found.known, own_damaged) {
        (None, Some(line)) => Err(line),
        _ => Ok(found),
    }
}

/// Names of hosts don't differ by case.
fn is_same(name: &str, server: &str) -> bool {
    name.eq_ignore_ascii_case(server)
}

fn is_about(line: &[u8], server: &str) -> bool {
    match entry(line) {
        Entry::Server(name, _) | Entry::Damaged(Some(name)) => is_same(name, server),
        Entry::Nothing | Entry::Damaged(None) => false,
    }
}

fn remember(bytes: &[u8], server: &str, known: Known) -> Vec<u8> {
    let mut all = forget(bytes, server).unwrap_or_else(|| bytes.to_vec());
    if all.last().is_some_and(|last| *last != b'\n') {
        all.push(b'\n');
    }
    all.extend_from_slice(format!("{server} {known}\n").as_bytes());
    all
}

/// What is left without the lines about a server; none if there are none.
fn forget(bytes: &[u8], server: &str) -> Option<Vec<u8>> {
    let (about, rest): (Vec<&[u8]>, Vec<&[u8]>) =
        lines(bytes).partition(|line| is_about(line, server));
    (!about.is_empty()).then(|| rest.concat())
}
