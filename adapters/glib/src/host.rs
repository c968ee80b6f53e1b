//! GLib drives a reactor: a source of its own in a context.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use libc::{c_int, c_void};
use oneloop::adapter::{Attached, CallbackLoop, End, Stepper, run_attached};
use oneloop::{Host, Threading};

use crate::sys::{self, GMainContext, GSource, GSourceFunc, GSourceFuncs};

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
) -> Attached<'static> {
    static FUNCTIONS: GSourceFuncs = GSourceFuncs::new(dispatch);
    let fd = host.as_raw_fd();
    let Ok(attached) = Stepper::attach(host, on_end, |stepper| {
        let data = Rc::into_raw(stepper.clone()).cast_mut().cast();
        // SAFETY: the table lives for ever, and the size is that of a source without data. The source is new. It owns
        // `data`, which both functions take, and passes it to `free` once. The context is the caller's.
        unsafe {
            let source = sys::g_source_new(&FUNCTIONS, mem::size_of::<GSource>() as u32);
            sys::g_source_set_callback(source, step::<M>, data, Some(free::<M>));
            sys::g_source_set_static_name(source, c"oneloop".as_ptr());
            sys::g_source_add_unix_fd(source, fd, sys::G_IO_IN.into());
            sys::g_source_attach(source, context);
            Ok::<_, Infallible>(Source(source))
        }
    });
    attached
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
    run_attached(
        // SAFETY: the caller promises the same, and the result is dropped at the end.
        |on_end| Ok(unsafe { attach(host, context, on_end) }),
        // SAFETY: the context is the caller's.
        || unsafe { _ = sys::g_main_context_iteration(context, 1) },
    )
}

/// The source in the context. GLib passes the number of its descriptor to each poll(2), whichever file that means.
struct Source(*mut GSource);

impl CallbackLoop for Source {
    fn watch(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self) {}
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: this owns a reference. If the source is dispatching, GLib keeps it and its data until after that.
        unsafe {
            sys::g_source_destroy(self.0);
            sys::g_source_unref(self.0);
        }
    }
}

unsafe extern "C" fn dispatch(
    _: *mut GSource,
    call: Option<GSourceFunc>,
    data: *mut c_void,
) -> c_int {
    // SAFETY: GLib passes the callback with its data.
    call.map_or(0, |call| unsafe { call(data) })
}

/// Returns that the source stays. At the end, the stepper has destroyed it.
unsafe extern "C" fn step<M: Threading>(data: *mut c_void) -> c_int {
    // SAFETY: `attach` has set this function together with a stepper of this type, which GLib keeps during the call.
    unsafe { &*data.cast::<Stepper<M, Source>>() }.step();
    1
}

unsafe extern "C" fn free<M: Threading>(data: *mut c_void) {
    // SAFETY: the reference of `attach`, which GLib gives back once.
    drop(unsafe { Rc::from_raw(data.cast_const().cast::<Stepper<M, Source>>()) });
}
