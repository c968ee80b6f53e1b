//! Detects a fork without a system call.
//!
//! On Linux the kernel clears a page in each child that gets a copy of the memory (MADV_WIPEONFORK). That
//! covers a bare `clone`, for which the C library calls no handlers. Elsewhere, and before Linux 4.14, a
//! `pthread_atfork` handler counts. A child that shares its parent's memory (`vfork`) is not detected.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// One more than the number of forks since the first process that asked. Children inherit it.
static FORKS: AtomicU32 = AtomicU32::new(1);

/// The place of this process' number: the page, or `FORKS` itself. It reads 0 in a child that has not asked.
static SEEN: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const FORKS).cast_mut());

/// Returns a number that no parent and no child of this process has.
pub(crate) fn generation() -> u32 {
    #[cfg(unix)]
    watch::begin();
    match seen() {
        // This process is a child, and the first call in it.
        0 => {
            let next = FORKS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
            let first = marker().compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
            first.map_or_else(|other| other, |_| next)
        }
        known => known,
    }
}

/// Returns the number that `generation` returned before. A child gets another number or 0. This is safe in a
/// signal handler.
#[inline]
pub(crate) fn seen() -> u32 {
    marker().load(Ordering::Relaxed)
}

#[inline]
fn marker() -> &'static AtomicU32 {
    let marker = SEEN.load(Ordering::Acquire);
    // SAFETY: either a static, or a page that is never unmapped, is aligned for anything, and is only used
    // by these atomic operations. The kernel clears it in a child before that runs.
    unsafe { &*marker }
}

#[cfg(unix)]
mod watch {
    use std::sync::Once;
    use std::sync::atomic::Ordering;

    use super::FORKS;

    pub(super) fn begin() {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            if !by_page() {
                by_handler();
            }
        });
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn by_page() -> bool {
        use std::sync::atomic::AtomicU32;

        use super::SEEN;

        let size = size_of::<AtomicU32>();
        let (rights, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: maps memory of its own, which the kernel rounds up to a page, at a place of the kernel's
        // choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), size, rights, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return false;
        }
        // qemu takes any advice and does nothing, so its success counts only if it refuses one that does not exist.
        // SAFETY: the page was mapped above, and no other thread knows it.
        let advise = |advice| unsafe { libc::madvise(page, size, advice) } == 0;
        if advise(-1) || !advise(libc::MADV_WIPEONFORK) {
            // SAFETY: as above.
            unsafe { libc::munmap(page, size) };
            return false;
        }
        let page = page.cast::<AtomicU32>();
        // SAFETY: a fresh page is zeroes, which is an `AtomicU32`, and is aligned for it.
        unsafe { &*page }.store(FORKS.load(Ordering::Relaxed), Ordering::Relaxed);
        SEEN.store(page, Ordering::Release);
        true
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn by_page() -> bool {
        false
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    fn by_handler() {
        // SAFETY: the handler only touches an atomic, which is async-signal-safe. The atomic lives as long as
        // the code around it, and the C library forgets the handler when that code is unloaded. If the call
        // fails for lack of memory, forks go unnoticed.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
}
