//! Directories and files that are the user's alone: where they are, and how they are written.

use std::{
    env,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use rustix::fs::OFlags;

use crate::kept::KeptError;

/// `$XDG_STATE_HOME/helpline`, else `~/.local/state/helpline`.
pub(crate) fn state() -> Result<PathBuf, KeptError> {
    below("XDG_STATE_HOME", |base| base.state_dir())
}

/// `$XDG_CONFIG_HOME/helpline`, else `~/.config/helpline`.
pub(crate) fn config() -> Result<PathBuf, KeptError> {
    below("XDG_CONFIG_HOME", |base| Some(base.config_dir()))
}

fn below(
    variable: &str,
    usual: impl Fn(&etcetera::base_strategy::Xdg) -> Option<PathBuf>,
) -> Result<PathBuf, KeptError> {
    let given = env::var_os(variable).map(PathBuf::from);
    let base = match given.filter(|path| path.is_absolute()) {
        Some(given) => given,
        None if env::var_os("HOME").is_none_or(|home| home.is_empty()) => {
            return Err(KeptError::Nowhere);
        }
        None => {
            let xdg = etcetera::base_strategy::Xdg::new().map_err(|_| KeptError::Nowhere)?;
            usual(&xdg).ok_or(KeptError::Nowhere)?
        }
    };
    Ok(base.join("helpline"))
}

/// Makes a directory if it isn't there, and closes it to everybody but its owner.
pub(crate) fn open_directory(path: &Path) -> Result<(), KeptError> {
    let unusable = |error| KeptError::Unusable(path.into(), error);
    make(path).map_err(unusable)?;
    let metadata = fs::metadata(path).map_err(unusable)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(KeptError::NotOurs(path.into()));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

/// Makes a directory and those above it. Each is made to outlive a power cut.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().ok_or(io::ErrorKind::NotFound)?;
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        // Another process that starts now was faster.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Reads a file that has so many bytes at most; `None` if there is none.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Nothing that keeps a reader waiting.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    (&file).take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other("larger than it ever gets"));
    }
    Ok(Some(bytes))
}

/// Puts a file in the place of this one, whole and closed to everybody else: whoever reads finds the old one or
/// the new one. What a link stands for is replaced, not the link.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(_) => path.to_owned(),
    };
    let incomplete = beside(&path, ".new");
    let _from_an_earlier_attempt = fs::remove_file(&incomplete);
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&incomplete)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&incomplete, &path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    written().inspect_err(|_| {
        let _nothing_is_left = fs::remove_file(&incomplete);
    })
}

/// Waits until no other process has the lock of this file, and holds it until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(beside(path, ".lock"))?;
    file.lock()?;
    Ok(file)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(ending));
    name.into()
}

/// Neither somewhere else by a link, nor waiting for somebody at the other end of a pipe.
pub(crate) fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let (path, link) = (home.path().join("known"), home.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "nothing is left behind");
        assert!(read(&path, 2).is_err());
        assert!(read(home.path(), 2).is_err());
        assert_eq!(read(&home.path().join("none"), 2).unwrap(), None);
    }
}
