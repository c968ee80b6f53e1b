//! GLib: a context of its own, which this thread owns, or an ownerless one.

use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use libc::{c_int, c_uint, c_void};
use oneloop::adapter::End;
use oneloop::{Guest, Host, Reactor, Threading};
use oneloop_glib::ContextGuest;
use oneloop_glib::sys::{self, GMainContext, GSource, GSourceFunc};

use crate::{AdaptedLoop, AssertSend, ForeignLoop, Kind, OuterLoop, attach_adapted, boxed, once};

unsafe extern "C" {
    fn g_main_context_new() -> *mut GMainContext;
    fn g_main_context_new_with_flags(flags: c_uint) -> *mut GMainContext;
    fn g_timeout_source_new(interval: c_uint) -> *mut GSource;
    fn g_idle_source_new() -> *mut GSource;
    fn g_unix_fd_source_new(fd: c_int, condition: c_uint) -> *mut GSource;
}

/// A GLib context.
pub struct Glib(*mut GMainContext);

/// A context that announces new sources by itself.
pub struct OwnerlessGlib(Glib);

type Callback = Box<dyn FnMut() -> bool>;

impl Glib {
    fn add(&self, source: *mut GSource, call: impl FnMut() -> bool + 'static) {
        let data = boxed::<dyn FnMut() -> bool>(Box::new(call) as Callback);
        add(AssertSend((self.0, source, data)));
    }
}

/// Adds a source, which may wake the context from another thread.
fn add(parts: AssertSend<(*mut GMainContext, *mut GSource, *mut c_void)>) {
    let (context, source, data) = parts.into_inner();
    // SAFETY: a new source, and a callback with the data that it takes. The context lives as long as the loop of
    // a test.
    unsafe {
        sys::g_source_set_callback(source, call as GSourceFunc, data, Some(free));
        sys::g_source_attach(source, context);
        sys::g_source_unref(source);
    }
}

/// Returns whether the source stays.
unsafe extern "C" fn call(data: *mut c_void) -> c_int {
    // SAFETY: from `boxed`, and not freed yet.
    let call = unsafe { &mut *data.cast::<Callback>() };
    c_int::from(call())
}

unsafe extern "C" fn call_fd(_: c_int, _: c_uint, data: *mut c_void) -> c_int {
    // SAFETY: as there.
    unsafe { call(data) }
}

unsafe extern "C" fn free(data: *mut c_void) {
    // SAFETY: from `boxed`, once.
    drop(unsafe { Box::from_raw(data.cast::<Callback>()) });
}

impl Kind for Glib {
    const NAME: &'static str = "GLib";

    fn new() -> Glib {
        // SAFETY: makes a context, which is never freed.
        Glib(unsafe { g_main_context_new() })
    }
}

impl OuterLoop for Glib {
    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        attach_adapted(self, reactor, exits_when_empty, on_end)
    }

    fn iterate(&self, may_block: bool) {
        // SAFETY: the context is never freed.
        unsafe { sys::g_main_context_iteration(self.0, c_int::from(may_block)) };
    }
}

impl AdaptedLoop for Glib {
    fn attach_host<M: Threading>(
        &self,
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        // SAFETY: the context is never freed, and iterated on this thread only.
        Ok(Box::new(unsafe {
            oneloop_glib::attach(host, self.0, on_end)
        }))
    }
}

impl ForeignLoop for Glib {
    fn guest(&self) -> impl Guest + 'static {
        // SAFETY: the context is never freed, and only this guest iterates it.
        unsafe { ContextGuest::new(self.0) }.expect("no thread owns it")
    }

    fn after(&self, delay: Duration, call: impl FnOnce() + 'static) {
        // SAFETY: makes a source.
        let source = unsafe { g_timeout_source_new(delay.as_millis() as c_uint) };
        self.add(source, once(call));
    }

    fn watch_read(&self, fd: RawFd, call: impl FnMut() -> bool + 'static) {
        let data = boxed::<dyn FnMut() -> bool>(Box::new(call) as Callback);
        // SAFETY: a new source, whose callbacks have this form, and the data that they take.
        unsafe {
            let source = g_unix_fd_source_new(fd, sys::G_IO_IN.into());
            let call: unsafe extern "C" fn(c_int, c_uint, *mut c_void) -> c_int = call_fd;
            let call = std::mem::transmute::<
                unsafe extern "C" fn(c_int, c_uint, *mut c_void) -> c_int,
                GSourceFunc,
            >(call);
            sys::g_source_set_callback(source, call, data, Some(free));
            sys::g_source_attach(source, self.0);
            sys::g_source_unref(source);
        }
    }

    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        // SAFETY: makes a source.
        let source = unsafe { g_idle_source_new() };
        let data = boxed::<dyn FnMut() -> bool>(Box::new(once(call)) as Callback);
        let parts = AssertSend((self.0, source, data));
        Box::new(move || add(parts))
    }

    fn idle(&self, call: impl FnMut() -> bool + 'static) {
        // SAFETY: makes a source.
        let source = unsafe { g_idle_source_new() };
        self.add(source, call);
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        let wake = self.waker(done);
        thread::spawn(|| {
            job();
            wake();
        });
    }
}

impl Kind for OwnerlessGlib {
    const NAME: &'static str = "GLib, ownerless";

    fn new() -> OwnerlessGlib {
        // SAFETY: makes a context, which is never freed. 1 is `G_MAIN_CONTEXT_FLAGS_OWNERLESS_POLLING`.
        OwnerlessGlib(Glib(unsafe { g_main_context_new_with_flags(1) }))
    }
}

impl OuterLoop for OwnerlessGlib {
    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        self.0.attach(reactor, exits_when_empty, on_end)
    }

    fn iterate(&self, may_block: bool) {
        self.0.iterate(may_block)
    }
}

impl ForeignLoop for OwnerlessGlib {
    fn guest(&self) -> impl Guest + 'static {
        // SAFETY: the context has the flag, is never freed, and only this guest iterates it.
        unsafe { ContextGuest::ownerless(self.0.0) }
    }

    fn after(&self, delay: Duration, call: impl FnOnce() + 'static) {
        self.0.after(delay, call)
    }

    fn watch_read(&self, fd: RawFd, call: impl FnMut() -> bool + 'static) {
        self.0.watch_read(fd, call)
    }

    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        self.0.waker(call)
    }

    fn idle(&self, call: impl FnMut() -> bool + 'static) {
        self.0.idle(call)
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        self.0.work(job, done)
    }
}
