//! What a program does so that its secrets stay with it.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Sees to it that no picture of this process's memory is written when it crashes, and on Linux that no other program
/// of the same user can look into it.
///
/// A system that refuses this is no reason not to go on.
pub fn no_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!("core dumps can't be turned off: {error}");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!("other programs can't be kept from looking in: {error}");
        }
    }
}
