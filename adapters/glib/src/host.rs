//! GLib drives a reactor: a source of its own in a context.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::resume_unwind;
use std::ptr;
use std::rc::Rc;

use libc::{c_int, c_void};
use oneloop::adapter::{CallbackLoop, End, Stepper};
use oneloop::{Host, Threading};

use crate::sys::{self, GMainContext, GSource, GSourceFunc, GSourceFuncs};

/// A reactor that a GLib context drives. Dropping it ends that, and another driver can continue.
pub struct Attached(*mut GSource);

/// Has a context drive the reactor of `host`.
///
/// The context calls the reactor's callbacks from now on, whichever code iterates it: `g_main_loop_run`, a GTK
/// application, or [`run`]. It calls `on_end` once, after [`stop`](oneloop::Reactor::stop), an error or a panic of a
/// callback. To keep a panic from being lost, end the main loop in `on_end` and
/// [resume](std::panic::resume_unwind) the panic afterwards. No panic may unwind through GLib, so a panic
/// in `on_end` aborts the process.
///
/// ```
/// use oneloop::Reactor;
/// use std::{cell::Cell, ptr, rc::Rc};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// reactor.call_soon(|| Reactor::current().unwrap().stop())?;
///
/// let has_ended = Rc::new(Cell::new(false));
/// let end = has_ended.clone();
/// // SAFETY: null is the default context, and this is the only thread that iterates it.
/// let attached = unsafe {
///     oneloop_glib::attach(reactor.host("GLib")?, ptr::null_mut(), move |_| end.set(true))
/// };
/// while !has_ended.get() {
///     // SAFETY: the default context exists.
///     unsafe { oneloop_glib::sys::g_main_context_iteration(ptr::null_mut(), 1) };
/// }
/// # drop(attached);
/// # Ok(())
/// # }
/// ```
///
/// # Safety
///
/// `context` must be a live `GMainContext`, or null for the default one. Until `on_end` is called or the result is
/// dropped, only this thread may iterate the context.
pub unsafe fn attach<M: Threading>(
    host: Host<M>,
    context: *mut GMainContext,
    on_end: impl FnOnce(End) + 'static,
) -> Attached {
    static FUNCTIONS: GSourceFuncs = GSourceFuncs::new(dispatch);
    // SAFETY: the table lives for ever, and the size is that of a source without data.
    let source = unsafe { sys::g_source_new(&FUNCTIONS, mem::size_of::<GSource>() as u32) };
    let driven = Box::new(Driven {
        stepper: RefCell::new(Stepper::new(host, on_end)),
        outer: Outer {
            source,
            watch: Cell::new(ptr::null_mut()),
        },
    });
    let data = Box::into_raw(driven).cast();
    // SAFETY: the source is new. It owns `data`, which is a box of the type that both functions take, and passes
    // it to `drop_data` once. The context is the caller's.
    unsafe {
        sys::g_source_set_callback(source, step::<M>, data, Some(drop_data::<M>));
        sys::g_source_set_static_name(source, c"oneloop".as_ptr());
        sys::g_source_set_ready_time(source, 0);
        sys::g_source_attach(source, context);
    }
    Attached(source)
}

/// Iterates a context until the reactor of `host` ends.
///
/// # Errors
///
/// Returns an error in the same cases as [`Host::step`].
///
/// # Panics
///
/// Panics if a callback of the reactor does.
///
/// # Safety
///
/// As for [`attach`].
pub unsafe fn run<M: Threading>(host: Host<M>, context: *mut GMainContext) -> io::Result<()> {
    let ended = Rc::new(Cell::new(None));
    let end = ended.clone();
    // SAFETY: the caller promises the same, and `attached` ends with this function.
    let attached = unsafe { attach(host, context, move |how| end.set(Some(how))) };
    let end = loop {
        if let Some(end) = ended.take() {
            break end;
        }
        // SAFETY: the context is the caller's.
        unsafe { sys::g_main_context_iteration(context, 1) };
    };
    drop(attached);
    end.unwrap_or_else(|payload| resume_unwind(payload))
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: this owns a reference. If the source is dispatching, GLib keeps it and its data until after that.
        unsafe {
            sys::g_source_destroy(self.0);
            sys::g_source_unref(self.0);
        }
    }
}

struct Driven<M: Threading> {
    stepper: RefCell<Stepper<M>>,
    outer: Outer,
}

/// The context, as seen from the source in it.
struct Outer {
    source: *mut GSource,
    /// The tag of the descriptor that the source watches, or null.
    watch: Cell<*mut c_void>,
}

impl CallbackLoop for &Outer {
    fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let (fd, events) = (fd.as_raw_fd(), sys::G_IO_IN.into());
        // SAFETY: the source lives while it dispatches. The stepper stops watching before the descriptor is closed.
        let tag = unsafe { sys::g_source_add_unix_fd(self.source, fd, events) };
        self.watch.set(tag);
        Ok(())
    }

    fn unwatch(&mut self) -> bool {
        let tag = self.watch.replace(ptr::null_mut());
        // SAFETY: the source lives while it dispatches, and the tag is of its only descriptor.
        unsafe { sys::g_source_remove_unix_fd(self.source, tag) };
        // GLib passes all its descriptors to each poll(2).
        true
    }

    fn call_again(&mut self) {
        // SAFETY: the source lives while it dispatches. Zero is a time that is past.
        unsafe { sys::g_source_set_ready_time(self.source, 0) };
    }
}

unsafe extern "C" fn dispatch(
    source: *mut GSource,
    call: Option<GSourceFunc>,
    data: *mut c_void,
) -> c_int {
    match call {
        // SAFETY: GLib passes its own source, and the callback with its data.
        Some(call) => unsafe {
            sys::g_source_set_ready_time(source, -1);
            call(data)
        },
        None => 0,
    }
}

/// Returns whether the source stays.
unsafe extern "C" fn step<M: Threading>(data: *mut c_void) -> c_int {
    // SAFETY: `attach` has set this function together with a box of this type, which GLib keeps during the call.
    let driven = unsafe { &*data.cast::<Driven<M>>() };
    // It is borrowed if a callback iterates the context and the source may recurse.
    let ended = match driven.stepper.try_borrow_mut() {
        Ok(mut stepper) => stepper.step(&mut &driven.outer),
        Err(_) => false,
    };
    c_int::from(!ended)
}

unsafe extern "C" fn drop_data<M: Threading>(data: *mut c_void) {
    // SAFETY: the box of `attach`, which GLib gives back once.
    drop(unsafe { Box::from_raw(data.cast::<Driven<M>>()) });
}
