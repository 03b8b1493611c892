//! A home directory of a child's own.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use helpline_proto::ids::Ticket;
use tempfile::TempDir;

/// Who is logged in wherever a story takes place.
pub(crate) const LOGIN_NAME: &str = "wei";

/// A private home with private XDG directories; deleted when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Home(Arc<TempDir>);

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// Makes an empty one.
    ///
    /// # Panics
    /// There is no room for one.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(tempfile::Builder::new().prefix("helpline-").tempdir().unwrap()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a server of this home keeps its calls, unless told otherwise.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path().join("data").join("helpline").join("server")
    }

    /// Where the clients of this home keep what outlives them.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path().join("state").join("helpline")
    }

    /// The files in which clients of this home keep calls and sign-ons that aren't over.
    ///
    /// # Panics
    /// They can't be listed.
    #[must_use]
    pub fn unfinished(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.state()).into_iter().flatten();
        let files = files.map(|file| file.unwrap().path());
        let is_one = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("call-") || name.starts_with("desk-")
        };
        files.filter(is_one).collect()
    }

    /// The tickets that clients of this home keep at the moment.
    ///
    /// # Panics
    /// What they keep can't be read.
    #[must_use]
    pub fn tickets(&self) -> Vec<Ticket> {
        let tickets = self.unfinished().into_iter().filter_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let begun: serde_json::Value = serde_json::from_str(text.lines().next()?).unwrap();
            Some(Ticket::from_hex(begun["ticket"].as_str()?).unwrap())
        });
        tickets.collect()
    }

    /// Everything a child finds in its environment. The login name is `wei`, the language
    /// English in UTF-8, help is wrapped at 100 columns.
    #[must_use]
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let below = |directory: &str| self.path().join(directory).into_os_string();
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("HOME".into(), self.path().into()),
            ("TMPDIR".into(), self.path().into()),
            ("XDG_CONFIG_HOME".into(), below("config")),
            ("XDG_DATA_HOME".into(), below("data")),
            ("XDG_STATE_HOME".into(), below("state")),
            ("XDG_CACHE_HOME".into(), below("cache")),
            ("XDG_RUNTIME_DIR".into(), below("run")),
            ("LOGNAME".into(), LOGIN_NAME.into()),
            ("USER".into(), LOGIN_NAME.into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
            ("TZ".into(), "UTC".into()),
            ("TERM".into(), "xterm-256color".into()),
            ("COLUMNS".into(), "100".into()),
            ("RUST_BACKTRACE".into(), "1".into()),
        ];
        for kept in ["PATH", "LLVM_PROFILE_FILE"] {
            environment.extend(env::var_os(kept).map(|value| (kept.into(), value)));
        }
        environment
    }
}
