//! The memory that libev, libevent and libuv take.

use std::ffi::c_int;
use std::io;

type Memory = unsafe extern "C" fn(*const c_int, usize, usize) -> usize;

unsafe extern "C" {
    fn c_memory_libev(fds: *const c_int, handlers: usize, timers: usize) -> usize;
    fn c_memory_libevent(fds: *const c_int, handlers: usize, timers: usize) -> usize;
    fn c_memory_libuv(fds: *const c_int, handlers: usize, timers: usize) -> usize;
}

/// How many bytes it takes to watch all of these, which are open, and to have so many timers; with the
/// structures that it has a program provide.
pub fn libev(fds: &[c_int], timers: usize) -> io::Result<usize> {
    bytes(c_memory_libev, fds, timers)
}

/// As [`libev`].
pub fn libevent(fds: &[c_int], timers: usize) -> io::Result<usize> {
    bytes(c_memory_libevent, fds, timers)
}

/// As [`libev`].
pub fn libuv(fds: &[c_int], timers: usize) -> io::Result<usize> {
    bytes(c_memory_libuv, fds, timers)
}

fn bytes(memory: Memory, fds: &[c_int], timers: usize) -> io::Result<usize> {
    // SAFETY: the numbers are read during the call, and watched no longer.
    match unsafe { memory(fds.as_ptr(), fds.len(), timers) } {
        0 => Err(io::Error::other("the loop could not be filled")),
        bytes => Ok(bytes),
    }
}
