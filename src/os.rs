//! What has other names on Windows: there sockets are what descriptors are elsewhere.

pub(crate) use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

// The codes of errors that the engine goes on from: the number is open to nobody...
#[cfg(unix)]
pub(crate) use libc::EBADF;
#[cfg(windows)]
pub(crate) const EBADF: i32 = 10038; // WSAENOTSOCK

// ...it is in the set already...
#[cfg(unix)]
pub(crate) use libc::EEXIST;
#[cfg(windows)]
pub(crate) const EEXIST: i32 = 183; // ERROR_ALREADY_EXISTS

// ...it is not in the set...
#[cfg(unix)]
pub(crate) use libc::ENOENT;
#[cfg(windows)]
pub(crate) const ENOENT: i32 = 1168; // ERROR_NOT_FOUND

// ...or it is of a file that need not be watched, since it is always ready. No socket is.
#[cfg(unix)]
pub(crate) use libc::EPERM;
#[cfg(windows)]
pub(crate) const EPERM: i32 = 0;

/// The number of none: -1, or `INVALID_SOCKET`.
pub(crate) const NO_FD: RawFd = !0;

/// Makes a thread which takes no signals, as the calling thread does not meanwhile. A program may block
/// signals in its own threads, to wait for them: none must find a thread that is open to them.
#[cfg(unix)]
#[cfg_attr(not(pollable), allow(dead_code))]
pub(crate) fn without_signals<R>(make: impl FnOnce() -> R) -> R {
    use std::mem::MaybeUninit;
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigfillset` fills in the one set, and `pthread_sigmask`, which cannot fail with these
    // arguments, the other.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let made = make();
    // SAFETY: the set was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    made
}
