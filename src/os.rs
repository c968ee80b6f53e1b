//! Names that differ on Windows, where sockets take the place of descriptors.

pub(crate) use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

// The codes of errors after which the engine goes on. The number is not open...
#[cfg(unix)]
pub(crate) use libc::EBADF;
#[cfg(windows)]
pub(crate) const EBADF: i32 = 10038; // WSAENOTSOCK

// ...the number is in the set already...
#[cfg(unix)]
pub(crate) use libc::EEXIST;
#[cfg(windows)]
pub(crate) const EEXIST: i32 = 183; // ERROR_ALREADY_EXISTS

// ...the number is not in the set...
#[cfg(unix)]
pub(crate) use libc::ENOENT;
#[cfg(windows)]
pub(crate) const ENOENT: i32 = 1168; // ERROR_NOT_FOUND

// ...or the file is always ready and need not be watched. Sockets never are.
#[cfg(unix)]
pub(crate) use libc::EPERM;
#[cfg(windows)]
pub(crate) const EPERM: i32 = 0;

/// The number that stands for no descriptor: -1 or `INVALID_SOCKET`.
pub(crate) const NO_FD: RawFd = !0;

/// Makes a thread that takes no signals. A program may block signals in its own threads to wait for them, so
/// no thread may exist that takes them instead. The calling thread therefore blocks them meanwhile.
#[cfg(unix)]
pub(crate) fn without_signals<R>(make: impl FnOnce() -> R) -> R {
    use std::mem::MaybeUninit;
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigfillset` initialises one set and `pthread_sigmask` the other. With these arguments, the
    // second cannot fail.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let made = make();
    // SAFETY: the set was initialised above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    made
}

/// Only calls `make`: threads get no signals here.
#[cfg(windows)]
pub(crate) fn without_signals<R>(make: impl FnOnce() -> R) -> R {
    make()
}
