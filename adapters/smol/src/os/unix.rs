//! Functions of Unix systems.

use std::os::fd::BorrowedFd;

/// Returns a descriptor that is readable while the loop has something to do: I/O, a due timer or a wake-up.
///
/// Another loop can watch it and then let the loop take a turn, for example by
/// `block_on(futures_lite::future::yield_now())`. On a reactor that was [installed](crate::install), use
/// [`Reactor::host`](oneloop::Reactor::host) instead.
///
/// Systems on which the loop is no descriptor return `None`.
pub fn reactor_fd() -> Option<BorrowedFd<'static>> {
    descriptor()
}

#[cfg(pollable)]
fn descriptor() -> Option<BorrowedFd<'static>> {
    Some(crate::reactor::get().reactor.watched_fd())
}

#[cfg(not(pollable))]
fn descriptor() -> Option<BorrowedFd<'static>> {
    None
}
