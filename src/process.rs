//! Hardens this process before it does anything else: nobody of the same uid may trace it or read
//! its memory, it leaves no core file, and what it writes is for its user alone.
//!
//! The one place where unsafe code is allowed: macOS offers no safe way to refuse a debugger.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

/// First thing in `main`, before threads, configuration or keys.
///
/// # Errors
/// When the system refuses; a process that cannot be protected should hold no keys.
pub fn harden() -> std::io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    refuse_tracing()
}

#[cfg(target_os = "linux")]
fn refuse_tracing() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(target_os = "macos")]
#[allow(unsafe_code, reason = "ptrace(2) has no safe wrapper")]
fn refuse_tracing() -> std::io::Result<()> {
    // SAFETY: PT_DENY_ATTACH reads none of its other arguments and touches no memory.
    let refused = unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) };
    if refused == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn refuse_tracing() -> std::io::Result<()> {
    Ok(())
}
