//! Loops that drive a reactor by a header of the C glue: libevent, libev and sd-event. sd-event is a guest, too.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use libc::pollfd;
use oneloop::adapter::End;
use oneloop::{Guest, Interest, Reactor, Step, Watched};
use oneloop_c::{
    ONELOOP_HOST_EXIT_WHEN_EMPTY, ONELOOP_NEVER, ONELOOP_STEP_DONE, ONELOOP_STEP_SLEEP,
    ONELOOP_STEP_UNWATCH, ONELOOP_STEP_WATCH, ONELOOP_STEP_YIELD, as_ptr, oneloop_t,
};

use crate::{ForeignLoop, Kind, OuterLoop, boxed, once};

/// The functions of a loop, which are in C.
struct Functions {
    free: unsafe extern "C" fn(*mut c_void),
    iterate: unsafe extern "C" fn(*mut c_void, c_int),
    attach: unsafe extern "C" fn(*mut c_void, *mut oneloop_t, u32, *mut c_void) -> *mut c_void,
    detach: unsafe extern "C" fn(*mut c_void),
}

/// A loop in C.
struct Outer {
    outer: *mut c_void,
    functions: &'static Functions,
}

impl Outer {
    fn new(outer: *mut c_void, functions: &'static Functions) -> Outer {
        assert!(!outer.is_null(), "descriptors");
        Outer { outer, functions }
    }

    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        let ending = Rc::new(Ending(RefCell::new(Some(Box::new(on_end)))));
        let flags = if exits_when_empty {
            ONELOOP_HOST_EXIT_WHEN_EMPTY
        } else {
            0
        };
        let user = Rc::as_ptr(&ending).cast_mut().cast();
        // SAFETY: both loops are live, and `user` is so until the result is dropped.
        let on = unsafe { (self.functions.attach)(self.outer, as_ptr(reactor), flags, user) };
        if on.is_null() {
            let why = io::Error::last_os_error();
            // If the loop cannot be driven, C has only the text of the error.
            return Err(reactor.host("").map_or_else(io::Error::from, |_| why));
        }
        let detach = self.functions.detach;
        Ok(Box::new(Attached { ending, on, detach }))
    }

    fn iterate(&self, may_block: bool) {
        // SAFETY: the loop is live.
        unsafe { (self.functions.iterate)(self.outer, c_int::from(may_block)) };
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        // SAFETY: the loop is this one's own.
        unsafe { (self.functions.free)(self.outer) };
    }
}

struct Attached {
    ending: Rc<Ending>,
    on: *mut c_void,
    detach: unsafe extern "C" fn(*mut c_void),
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.ending.0.take().is_some() {
            // SAFETY: it has not ended.
            unsafe { (self.detach)(self.on) };
        }
    }
}

/// The callback at the end, or `None` after it.
struct Ending(RefCell<Option<OnEnd>>);

type OnEnd = Box<dyn FnOnce(End)>;

thread_local! {
    /// The error or the panic of the last step. C has only a number and a text.
    static FAILED: RefCell<Option<End>> = const { RefCell::new(None) };
}

/// Takes the place of `oneloop_step`, and keeps what that turns into a number.
#[unsafe(no_mangle)]
unsafe extern "C" fn guests_step(r#loop: *mut oneloop_t, budget: u32) -> c_int {
    // SAFETY: the glue holds a handle, and this one is never dropped.
    let reactor = ManuallyDrop::new(unsafe { Reactor::from_raw(r#loop.cast()) });
    let step = || reactor.step(budget as usize);
    let failed = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(Step::Watch)) => return ONELOOP_STEP_WATCH,
        Ok(Ok(Step::Unwatch)) => return ONELOOP_STEP_UNWATCH,
        Ok(Ok(Step::Sleep)) => return ONELOOP_STEP_SLEEP,
        Ok(Ok(Step::Yield)) => return ONELOOP_STEP_YIELD,
        Ok(Ok(Step::Done)) => return ONELOOP_STEP_DONE,
        Ok(Err(error)) => Ok(Err(error.into())),
        Err(payload) => Err(payload),
    };
    FAILED.set(Some(failed));
    -libc::EIO
}

#[unsafe(no_mangle)]
unsafe extern "C" fn guests_ended(user: *mut c_void, error: c_int) {
    // SAFETY: what `Outer::attach` has passed, and which is live until it has detached.
    let ending = unsafe { &*user.cast::<Ending>() };
    let end = match error {
        0 => Ok(Ok(())),
        _ => FAILED
            .take()
            .unwrap_or_else(|| Ok(Err(io::Error::from_raw_os_error(-error)))),
    };
    let on_end = ending.0.take().expect("it ends once");
    on_end(end);
}

macro_rules! outer_loop {
    ($type:ident $name:literal: $new:ident $free:ident $iterate:ident $attach:ident $detach:ident) => {
        #[doc = concat!("A loop of ", $name, ".")]
        pub struct $type(Outer);

        unsafe extern "C" {
            fn $new() -> *mut c_void;
            fn $free(outer: *mut c_void);
            fn $iterate(outer: *mut c_void, may_block: c_int);
            fn $attach(
                outer: *mut c_void,
                r#loop: *mut oneloop_t,
                flags: u32,
                user: *mut c_void,
            ) -> *mut c_void;
            fn $detach(on: *mut c_void);
        }

        impl Kind for $type {
            const NAME: &'static str = $name;

            fn new() -> $type {
                static FUNCTIONS: Functions = Functions {
                    free: $free,
                    iterate: $iterate,
                    attach: $attach,
                    detach: $detach,
                };
                // SAFETY: makes a loop.
                $type(Outer::new(unsafe { $new() }, &FUNCTIONS))
            }
        }

        impl OuterLoop for $type {
            fn attach(
                &self,
                reactor: &Reactor,
                exits_when_empty: bool,
                on_end: impl FnOnce(End) + 'static,
            ) -> io::Result<Box<dyn Any>> {
                self.0.attach(reactor, exits_when_empty, on_end)
            }

            fn iterate(&self, may_block: bool) {
                self.0.iterate(may_block);
            }
        }
    };
}

outer_loop!(Libevent "libevent": guests_libevent_new guests_libevent_free guests_libevent_iterate
    guests_libevent_attach guests_libevent_detach);
outer_loop!(Libev "libev": guests_libev_new guests_libev_free guests_libev_iterate
    guests_libev_attach guests_libev_detach);
outer_loop!(SdEvent "sd-event": guests_sd_event_new guests_sd_event_free guests_sd_event_iterate
    guests_sd_event_attach guests_sd_event_detach);

unsafe extern "C" {
    fn guests_sd_event_list(event: *mut c_void, fd: *mut pollfd, timeout: *mut i64) -> c_int;
    fn guests_sd_event_turn(event: *mut c_void, fd: *mut pollfd);
    fn guests_sd_event_after(event: *mut c_void, microseconds: u64, user: *mut c_void);
    fn guests_sd_event_watch_read(event: *mut c_void, fd: c_int, user: *mut c_void);
    fn guests_sd_event_idle(event: *mut c_void, user: *mut c_void);
    fn sd_event_ref(event: *mut c_void) -> *mut c_void;
    fn sd_event_unref(event: *mut c_void) -> *mut c_void;
}

type Callback = Box<dyn FnMut() -> bool>;

#[unsafe(no_mangle)]
unsafe extern "C" fn guests_call(user: *mut c_void) -> c_int {
    // SAFETY: from `callback`, and not freed yet.
    let call = unsafe { &mut *user.cast::<Callback>() };
    c_int::from(call())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn guests_free(user: *mut c_void) {
    // SAFETY: from `callback`, once.
    drop(unsafe { Box::from_raw(user.cast::<Callback>()) });
}

fn callback(call: impl FnMut() -> bool + 'static) -> *mut c_void {
    boxed::<dyn FnMut() -> bool>(Box::new(call) as Callback)
}

/// The functions that `oneloop_sd_event_add_guest` gives to the loop, as a guest. So the tests of guests, which have a
/// `LocalReactor`, test them, too.
struct SdEventGuest(*mut c_void);

impl Guest for SdEventGuest {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        let mut fd = EMPTY;
        let mut timeout = ONELOOP_NEVER;
        // SAFETY: the reference keeps the event loop.
        let listed = unsafe { guests_sd_event_list(self.0, &mut fd, &mut timeout) };
        if listed == 1 {
            // SAFETY: the event loop's own descriptor.
            unsafe { watched.add(fd.fd, Interest::READABLE) };
        }
        (timeout != ONELOOP_NEVER).then(|| Duration::from_nanos(timeout as u64))
    }

    fn turn(&mut self, _: &Watched) {
        let mut fd = EMPTY;
        // SAFETY: the reference keeps the event loop.
        unsafe { guests_sd_event_turn(self.0, &mut fd) };
    }
}

const EMPTY: pollfd = pollfd {
    fd: -1,
    events: 0,
    revents: 0,
};

impl Drop for SdEventGuest {
    fn drop(&mut self) {
        // SAFETY: a reference of its own.
        unsafe { sd_event_unref(self.0) };
    }
}

impl ForeignLoop for SdEvent {
    fn guest(&self) -> impl Guest + 'static {
        // SAFETY: the event loop is live.
        SdEventGuest(unsafe { sd_event_ref(self.0.outer) })
    }

    fn after(&self, delay: Duration, call: impl FnOnce() + 'static) {
        let user = callback(once(call));
        // SAFETY: the event loop is live, and takes `user`.
        unsafe { guests_sd_event_after(self.0.outer, delay.as_micros() as u64, user) };
    }

    fn watch_read(&self, fd: RawFd, call: impl FnMut() -> bool + 'static) {
        // SAFETY: as there. The descriptor is a test's own.
        unsafe { guests_sd_event_watch_read(self.0.outer, fd, callback(call)) };
    }

    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        let (reader, writer) = UnixStream::pair().expect("descriptors");
        let mut call = once(call);
        let fd = reader.as_raw_fd();
        self.watch_read(fd, move || {
            // It is closed with the callback.
            let _ = &reader;
            call()
        });
        // The end of the stream is readable.
        Box::new(move || drop(writer))
    }

    fn idle(&self, call: impl FnMut() -> bool + 'static) {
        // SAFETY: the event loop is live, and takes `user`.
        unsafe { guests_sd_event_idle(self.0.outer, callback(call)) };
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        let wake = self.waker(done);
        thread::spawn(|| {
            job();
            wake();
        });
    }
}
