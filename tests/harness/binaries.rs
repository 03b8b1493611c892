//! The two programs as the sources stand now: built once a run, never stale.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The program `helpline-server`, of the profile the stories were built with.
///
/// # Panics
/// It can't be built.
#[must_use]
pub fn helpline_server() -> PathBuf {
    built().join("helpline-server")
}

/// The program `helpline`, of the profile the stories were built with.
///
/// # Panics
/// It can't be built.
#[must_use]
pub fn helpline() -> PathBuf {
    built().join("helpline")
}

/// The program `helpline-server` as it is given away.
///
/// # Panics
/// It can't be built.
#[must_use]
pub fn released() -> PathBuf {
    static RELEASED: OnceLock<PathBuf> = OnceLock::new();
    let released = RELEASED.get_or_init(|| {
        let profile = profile();
        let target = profile.parent().expect("a profile's directory is below target");
        build(target, "release", &[]);
        target.join("release")
    });
    released.join("helpline-server")
}

/// The directory of the programs, `target/debug` as a rule.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = profile();
        let name = profile.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let target = profile.parent().expect("a profile's directory is below target");
        let profile_name = if name == "debug" { "dev" } else { name };
        build(target, profile_name, &["--workspace"]);
        profile
    })
}

/// The directory of the profile that this very test was built with.
fn profile() -> PathBuf {
    // target/PROFILE/deps/e2e-0123456789abcdef
    let this = env::current_exe().expect("a test knows where it is");
    this.ancestors().nth(2).expect("a test is in target/PROFILE/deps").to_owned()
}

fn build(target: &Path, profile: &str, packages: &[&str]) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "--bins", "--profile", profile])
        .args(packages)
        .arg("--target-dir")
        .arg(target);
    // What cargo says about the package under test is nothing about the ones built here.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST") {
            command.env_remove(&name);
        }
    }
    let output = command.output().expect("cargo can be run");
    assert!(
        output.status.success(),
        "the programs can't be built:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
