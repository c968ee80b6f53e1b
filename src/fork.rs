//! Notices a `fork` without a system call, by counting in the child.

#[cfg(unix)]
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

#[cfg(unix)]
extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How many forks lie between the first process that called this and this one.
pub(crate) fn generation() -> u32 {
    #[cfg(unix)]
    watch();
    seen()
}

#[cfg(unix)]
fn watch() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler only touches an atomic, which is async-signal-safe, and lives as
        // long as the code it is in: if that is unloaded, the C library forgets it. Should the call
        // fail for want of memory, forks go unnoticed.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The same, for those who have called that before: safe in a signal handler.
pub(crate) fn seen() -> u32 {
    FORKS.load(Ordering::Relaxed)
}
