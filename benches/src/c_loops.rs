//! libev, libevent and libuv, each behind a few lines of C that watch descriptors and say which of
//! them are ready.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The interest in a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch(c_int);

impl Watch {
    /// Nothing: it is watched no more.
    pub const NONE: Watch = Watch(0);
    /// Reading.
    pub const READ: Watch = Watch(1);
    /// Writing.
    pub const WRITE: Watch = Watch(2);
}

/// The result of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The descriptor is to be watched for this.
    Go(Watch),
    /// The loop is to end. It may call back for what was ready already.
    Stop,
}

const STOP: c_int = 4;

type Ready = extern "C" fn(*mut c_void, usize) -> c_int;
type Run = unsafe extern "C" fn(*const c_int, usize, Ready, *mut c_void) -> c_int;

unsafe extern "C" {
    fn c_loops_libev(fds: *const c_int, number: usize, ready: Ready, work: *mut c_void) -> c_int;
    fn c_loops_libevent(fds: *const c_int, number: usize, ready: Ready, work: *mut c_void)
    -> c_int;
    fn c_loops_libuv(fds: *const c_int, number: usize, ready: Ready, work: *mut c_void) -> c_int;
}

/// Watches all `sources` for reading, and calls `ready` whenever one is ready, until that says to
/// stop or fails, or until nothing is watched any more.
pub fn libev<S, F>(sources: &mut [S], ready: F) -> io::Result<()>
where
    S: AsFd,
    F: FnMut(&mut S) -> io::Result<Next>,
{
    run(c_loops_libev, sources, ready)
}

/// As [`libev`].
pub fn libevent<S, F>(sources: &mut [S], ready: F) -> io::Result<()>
where
    S: AsFd,
    F: FnMut(&mut S) -> io::Result<Next>,
{
    run(c_loops_libevent, sources, ready)
}

/// As [`libev`], by its `uv_poll_t`.
pub fn libuv<S, F>(sources: &mut [S], ready: F) -> io::Result<()>
where
    S: AsFd,
    F: FnMut(&mut S) -> io::Result<Next>,
{
    run(c_loops_libuv, sources, ready)
}

struct Work<'a, S, F> {
    sources: &'a mut [S],
    ready: F,
    result: io::Result<()>,
}

fn run<S, F>(run: Run, sources: &mut [S], ready: F) -> io::Result<()>
where
    S: AsFd,
    F: FnMut(&mut S) -> io::Result<Next>,
{
    let fds: Vec<_> = sources.iter().map(|s| s.as_fd().as_raw_fd()).collect();
    let mut work = Work {
        sources,
        ready,
        result: Ok(()),
    };
    let pointer = (&raw mut work).cast();
    // SAFETY: the descriptors are open and the work is there until it returns, when the loop is gone;
    // it calls back only on this thread and from within, with that pointer.
    let failed = unsafe { run(fds.as_ptr(), fds.len(), on_ready::<S, F>, pointer) };
    work.result?;
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::other("the loop could not be set up")),
    }
}

/// A panic in it ends the process, as there is no way through C.
extern "C" fn on_ready<S, F>(work: *mut c_void, which: usize) -> c_int
where
    F: FnMut(&mut S) -> io::Result<Next>,
{
    // SAFETY: it is what `run` gave, which no other code touches while the loop runs.
    let work = unsafe { &mut *work.cast::<Work<'_, S, F>>() };
    match (work.ready)(&mut work.sources[which]) {
        Ok(Next::Go(Watch(bits))) => bits,
        Ok(Next::Stop) => STOP,
        Err(error) => {
            work.result = Err(error);
            STOP
        }
    }
}
