//! The directory where calls are kept, and the lock that keeps a second server out of it.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use helpline_proto::ids::Ticket;

/// Why there is no place to keep calls.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nothing says where.
    #[error("there is no home directory to keep calls in")]
    Nowhere,
    /// Nothing is kept there.
    #[error("no calls are kept in {0}")]
    Nothing(PathBuf),
    /// It can't be used.
    #[error("cannot use {0}: {1}")]
    Unusable(PathBuf, #[source] io::Error),
    /// Another server uses it.
    #[error("another helpline-server keeps its calls in {0}")]
    Taken(PathBuf),
}

/// Where calls are kept: what was given, else `$STATE_DIRECTORY`, else
/// `$XDG_DATA_HOME/helpline/server`.
///
/// # Errors
/// None of them says anything.
pub fn directory(given: Option<&Path>) -> Result<PathBuf, DataError> {
    if let Some(given) = given {
        return Ok(given.into());
    }
    // A service manager may name several, separated by colons; the first is ours.
    let state = env::var_os("STATE_DIRECTORY").unwrap_or_default();
    if let Some(first) = env::split_paths(&state).next().filter(|path| path.is_absolute()) {
        return Ok(first);
    }
    if let Some(data) =
        env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        return Ok(data.join("helpline").join("server"));
    }
    if env::var_os("HOME").is_none_or(|home| home.is_empty()) {
        return Err(DataError::Nowhere);
    }
    let base = etcetera::choose_base_strategy().map_err(|_| DataError::Nowhere)?;
    Ok(base.data_dir().join("helpline").join("server"))
}

/// The lock on a data directory; held as long as this lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Makes the directory if it isn't there, for its owner alone, and locks it.
///
/// # Errors
/// It can't be made or used, or another server has it.
pub fn lock(directory: &Path) -> Result<Lock, DataError> {
    let unusable = |error| DataError::Unusable(directory.into(), error);
    make(directory)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(DataError::Taken(directory.into())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Makes a directory to keep calls in, if it isn't there, for its owner alone.
///
/// # Errors
/// It can't be made.
pub fn make(directory: &Path) -> Result<(), DataError> {
    make_all(directory).map_err(|error| DataError::Unusable(directory.into(), error))
}

/// Makes a directory and those above it. Each is made to outlive a power cut: what is kept in it is
/// worth nothing without its name.
fn make_all(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_all(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        // Another server that starts now was faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Makes sure that the database, which SQLite creates, is its owner's alone from the start.
///
/// # Errors
/// It can't be created.
pub fn private(directory: &Path, file: &str) -> Result<(), DataError> {
    let path = directory.join(file);
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map(drop)
        .map_err(|error| DataError::Unusable(path, error))
}

/// Puts a file there, for its owner alone, in the place of any other. After a power cut it is there whole,
/// or what was there before is.
///
/// # Errors
/// It can't be put there.
pub fn replace(directory: &Path, file: &str, bytes: &[u8]) -> Result<(), DataError> {
    let path = directory.join(file);
    let new = directory.join(format!("{file}.new"));
    let put = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()
    };
    put().map_err(|error| DataError::Unusable(path.clone(), error))
}

/// The ticket of the server's own console: with it, the console goes on where it was when the server was
/// killed.
///
/// # Errors
/// It can't be kept.
pub fn console_ticket(directory: &Path) -> Result<Ticket, DataError> {
    let path = directory.join("console-ticket");
    let unusable = |error| DataError::Unusable(path.clone(), error);
    match fs::read(&path) {
        Ok(kept) => {
            if let Ok(ticket) = kept.try_into() {
                return Ok(Ticket(ticket));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let mut ticket = [0; 32];
    getrandom::fill(&mut ticket).map_err(|error| unusable(io::Error::other(error.to_string())))?;
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    file.write_all(&ticket).and_then(|()| file.sync_all()).map_err(unusable)?;
    Ok(Ticket(ticket))
}

/// How a path reads to the person whose home it is in.
#[must_use]
pub fn display(path: &Path) -> String {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|home| !home.as_os_str().is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_path_buf)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// Whether anything is kept in a directory.
///
/// # Errors
/// Nothing is, or it can't be looked at.
pub fn existing(directory: &Path, file: &str) -> Result<PathBuf, DataError> {
    let path = directory.join(file);
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataError::Nothing(directory.into()))
        }
        Err(error) => Err(DataError::Unusable(path, error)),
    }
}
