//! libuv drives a reactor: a poll handle.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use libc::c_int;
use oneloop::adapter::{Attached, CallbackLoop, End, Stepper, run_attached};
use oneloop::{Host, Threading};

use crate::handle::{Handle, check};
use crate::sys::{self, UV_POLL, UV_READABLE, uv_handle_t, uv_loop_t};

/// Has a libuv loop drive the reactor of `host`.
///
/// The loop calls the reactor's callbacks from now on, whichever code runs it. It calls `on_end` once,
/// after [`stop`](oneloop::Reactor::stop), an error or a panic of a callback. Until then the reactor keeps `uv_run` going.
/// No panic may unwind through libuv, so a panic in `on_end` aborts the process.
///
/// Dropping the result ends that. The loop has to run once more after the end, to close the handle, before it can be
/// closed itself.
///
/// # Errors
///
/// Returns an error if libuv cannot watch the reactor's descriptor.
///
/// # Safety
///
/// `outer` must be a live loop. Until `on_end` is called or the result is dropped, only this thread may run the loop.
pub unsafe fn attach<M: Threading>(
    host: Host<M>,
    outer: *mut uv_loop_t,
    on_end: impl FnOnce(End) + 'static,
) -> io::Result<Attached<'static>> {
    let fd = host.as_raw_fd();
    Stepper::attach(host, on_end, |stepper| {
        let data = Rc::as_ptr(stepper).cast_mut().cast();
        // SAFETY: the caller promises that the loop is live, and the handle's memory is new.
        let init = |handle| unsafe { sys::uv_poll_init(outer, handle, fd) };
        let mut outer = Outer {
            poll: Handle::new(UV_POLL, data, init)?,
            step: step::<M>,
        };
        outer.watch()?;
        Ok(outer)
    })
}

/// Runs a libuv loop until the reactor of `host` ends.
///
/// # Errors
///
/// Returns an error in the same cases as [`attach`] and [`Host::step`].
///
/// # Panics
///
/// Panics if a callback of the reactor does.
///
/// # Safety
///
/// As for [`attach`].
pub unsafe fn run<M: Threading>(host: Host<M>, outer: *mut uv_loop_t) -> io::Result<()> {
    run_attached(
        // SAFETY: the caller promises the same, and the result is dropped at the end.
        |on_end| unsafe { attach(host, outer, on_end) },
        // SAFETY: the loop is the caller's.
        || unsafe { _ = sys::uv_run(outer, sys::UV_RUN_ONCE as _) },
    )
}

/// The libuv loop, as the stepper sees it.
struct Outer {
    poll: Handle,
    step: unsafe extern "C" fn(*mut uv_handle_t, c_int, c_int),
}

impl CallbackLoop for Outer {
    fn watch(&mut self) -> io::Result<()> {
        // SAFETY: a poll handle. The stepper stops watching before the descriptor is closed.
        check(unsafe { sys::uv_poll_start(self.poll.as_ptr(), UV_READABLE, self.step) })
    }

    fn unwatch(&mut self) {
        // SAFETY: a poll handle.
        unsafe { sys::uv_poll_stop(self.poll.as_ptr()) };
    }
}

unsafe extern "C" fn step<M: Threading>(handle: *mut uv_handle_t, _: c_int, _: c_int) {
    // SAFETY: the data is that of `attach`, which lives as long as the handle.
    let stepper = unsafe {
        let data = sys::uv_handle_get_data(handle).cast_const();
        let data = data.cast::<Stepper<M, Outer>>();
        // A callback may drop the owner.
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    };
    stepper.step();
}
