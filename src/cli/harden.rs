//! Keeps the memory of the process, which holds secrets, out of core dumps and from other processes of the
//! same user.

use rustix::process::{Resource, Rlimit, setrlimit};

use super::Failure;

/// Sets the limit on core dumps to 0 permanently. On Linux, also makes the process not dumpable: no handler
/// in `core_pattern` receives its memory, no process of the same user may trace it, and root owns its files
/// in `/proc` that show memory or environment.
pub(super) fn harden() -> Result<(), Failure> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let limited = limited.and_then(|()| {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
    });
    limited.map_err(|error| Failure::caused(Failure::OS, "cannot switch core dumps off", &error))
}
