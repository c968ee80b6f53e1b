//! libuv drives a reactor: a poll handle, and one to begin with.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::resume_unwind;
use std::rc::Rc;

use libc::{c_int, c_void};
use oneloop::adapter::{CallbackLoop, End, Stepper};
use oneloop::{Host, Threading};

use crate::handle::{Handle, check};
use crate::sys::{self, UV_ASYNC, UV_POLL, UV_READABLE, uv_handle_t, uv_loop_t};

/// A reactor that a libuv loop drives. Dropping it ends that, and another driver can continue.
///
/// The loop has to run once more afterwards, to close the handles, before it can be closed itself.
pub struct Attached {
    _owner: Box<dyn Any>,
}

/// Has a libuv loop drive the reactor of `host`.
///
/// The loop calls the reactor's callbacks from now on, whichever code runs it. It calls `on_end` once,
/// after [`stop`](oneloop::Reactor::stop), an error or a panic of a callback. Until then the reactor keeps `uv_run` going.
/// No panic may unwind through libuv, so a panic in `on_end` aborts the process.
///
/// # Errors
///
/// Returns an error if libuv has no descriptors left.
///
/// # Safety
///
/// `outer` must be a live loop. Until `on_end` is called or the result is dropped, only this thread may run the loop.
pub unsafe fn attach<M: Threading>(
    host: Host<M>,
    outer: *mut uv_loop_t,
    on_end: impl FnOnce(End) + 'static,
) -> io::Result<Attached> {
    let driven = Rc::new(Driven {
        stepper: RefCell::new(Stepper::new(host, on_end)),
        outer: RefCell::new(None),
        is_detached: Cell::new(false),
    });
    let data = Rc::as_ptr(&driven).cast_mut().cast::<c_void>();
    // SAFETY: the caller promises that the loop is live, and the handle's memory is new.
    let init = |handle| unsafe { sys::uv_async_init(outer, handle, Some(step_again::<M>)) };
    let again = Handle::new(UV_ASYNC, data, init)?;
    *driven.outer.borrow_mut() = Some(Outer {
        outer,
        ready: step_ready::<M>,
        again,
        poll: None,
    });
    // The first step, in the loop.
    let attached = Attached {
        _owner: Box::new(Owner(driven.clone())),
    };
    if let Some(outer) = &mut *driven.outer.borrow_mut() {
        outer.call_again();
    }
    Ok(attached)
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
    let ended = Rc::new(Cell::new(None));
    let end = ended.clone();
    // SAFETY: the caller promises the same, and `attached` ends with this function.
    let attached = unsafe { attach(host, outer, move |how| end.set(Some(how)))? };
    let end = loop {
        if let Some(end) = ended.take() {
            break end;
        }
        // SAFETY: the loop is the caller's.
        unsafe { sys::uv_run(outer, sys::UV_RUN_ONCE as _) };
    };
    drop(attached);
    end.unwrap_or_else(|payload| resume_unwind(payload))
}

struct Driven<M: Threading> {
    stepper: RefCell<Stepper<M>>,
    /// `None` after the end.
    outer: RefCell<Option<Outer>>,
    is_detached: Cell<bool>,
}

/// The libuv loop, as the stepper sees it.
struct Outer {
    outer: *mut uv_loop_t,
    ready: unsafe extern "C" fn(*mut uv_handle_t, c_int, c_int),
    /// Wakes the loop for another step.
    again: Handle,
    /// Made when the descriptor is watched for the first time.
    poll: Option<Handle>,
}

struct Owner<M: Threading>(Rc<Driven<M>>);

impl<M: Threading> Drop for Owner<M> {
    fn drop(&mut self) {
        self.0.is_detached.set(true);
        // In a step, the step does this at its end.
        if let Ok(mut outer) = self.0.outer.try_borrow_mut() {
            *outer = None;
        }
    }
}

impl CallbackLoop for Outer {
    fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let poll = match self.poll.take() {
            Some(poll) => poll,
            None => {
                // SAFETY: the handle's data, which `again` has.
                let data = unsafe { sys::uv_handle_get_data(self.again.as_ptr()) };
                // SAFETY: the loop lives while it calls, and the handle's memory is new.
                let init =
                    |handle| unsafe { sys::uv_poll_init(self.outer, handle, fd.as_raw_fd()) };
                Handle::new(UV_POLL, data, init)?
            }
        };
        let poll = self.poll.insert(poll).as_ptr();
        // SAFETY: a poll handle. The stepper stops watching before the descriptor is closed.
        check(unsafe { sys::uv_poll_start(poll, UV_READABLE, self.ready) })
    }

    fn unwatch(&mut self) -> bool {
        if let Some(poll) = &self.poll {
            // SAFETY: a poll handle.
            unsafe { sys::uv_poll_stop(poll.as_ptr()) };
        }
        true
    }

    fn call_again(&mut self) {
        // SAFETY: an async handle.
        unsafe { sys::uv_async_send(self.again.as_ptr()) };
    }
}

impl<M: Threading> Driven<M> {
    fn step(&self) {
        // Both are borrowed if a callback runs the loop, which libuv forbids.
        let (Ok(mut stepper), Ok(mut outer)) =
            (self.stepper.try_borrow_mut(), self.outer.try_borrow_mut())
        else {
            return;
        };
        let Some(inside) = &mut *outer else {
            return;
        };
        if stepper.step(inside) || self.is_detached.get() {
            *outer = None;
        }
    }
}

unsafe extern "C" fn step_again<M: Threading>(handle: *mut uv_handle_t) {
    // SAFETY: the data is that of `attach`, which lives as long as the handle.
    let driven = unsafe {
        let data = sys::uv_handle_get_data(handle)
            .cast_const()
            .cast::<Driven<M>>();
        // A callback may drop the owner.
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    };
    driven.step();
}

unsafe extern "C" fn step_ready<M: Threading>(handle: *mut uv_handle_t, _: c_int, _: c_int) {
    // SAFETY: called for a poll handle, whose data is that of the async handle.
    unsafe { step_again::<M>(handle) };
}
