//! What a story needs beside the two programs, and what happens where that is missing.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{home::Home, server::mounting};

/// Whether a story can be told here: `missing` is `None`, or says why not.
///
/// On a machine that checks (`CI=true`) a missing means is a failure; elsewhere the story prints
/// `not run: why` and has to return.
///
/// ```no_run
/// # use helpline_tests::{have, tool};
/// if !have(tool("strace")) {
///     return;
/// }
/// ```
///
/// # Panics
/// The means is missing, and `CI` is `true`.
#[must_use]
pub fn have(missing: Option<String>) -> bool {
    let Some(why) = missing else { return true };
    let checks = env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!checks, "missing where CI=true: {why}");
    println!("not run: {why}");
    false
}

/// What is missing if a program isn't in `PATH`.
#[must_use]
pub fn tool(name: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(name))
        .any(|file: PathBuf| file.is_file());
    (!found).then(|| format!("there is no {name} in PATH"))
}

/// What is missing anywhere but on Linux.
#[must_use]
pub fn linux(for_what: &str) -> Option<String> {
    (!cfg!(target_os = "linux")).then(|| format!("{for_what} needs Linux"))
}

/// What is missing for giving a server [a disk of its own](crate::ServerSetup::on_a_disk_of).
#[must_use]
pub fn small_disk() -> Option<String> {
    let home = Home::new();
    let line = mounting(1 << 20, home.path());
    let mut command = Command::new(line.first()?);
    command.args(line.get(1..)?).arg("true").stderr(Stdio::null());
    let mounted = command.status().is_ok_and(|status| status.success());
    (!mounted).then(|| "no disk can be mounted here".to_owned())
}
