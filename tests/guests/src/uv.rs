//! libuv: a loop of its own.

use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_int, c_void, size_t};
use oneloop::adapter::End;
use oneloop::{Guest, Host, Reactor, Threading};
use oneloop_uv::LoopGuest;
use oneloop_uv::sys::{self, uv_handle_t, uv_loop_t};

use crate::{AdaptedLoop, AssertSend, ForeignLoop, Kind, OuterLoop, attach_adapted, boxed, once};

const UV_IDLE: c_int = 6;
const UV_TIMER: c_int = 13;
const UV_WORK: c_int = 7;

type HandleCall = unsafe extern "C" fn(*mut uv_handle_t);

unsafe extern "C" {
    fn uv_loop_size() -> size_t;
    fn uv_loop_init(inner: *mut uv_loop_t) -> c_int;
    fn uv_loop_close(inner: *mut uv_loop_t) -> c_int;
    fn uv_req_size(kind: c_int) -> size_t;
    fn uv_req_set_data(request: *mut c_void, data: *mut c_void);
    fn uv_req_get_data(request: *const c_void) -> *mut c_void;
    fn uv_timer_init(inner: *mut uv_loop_t, handle: *mut uv_handle_t) -> c_int;
    fn uv_timer_start(handle: *mut uv_handle_t, call: HandleCall, delay: u64, repeat: u64)
    -> c_int;
    fn uv_idle_init(inner: *mut uv_loop_t, handle: *mut uv_handle_t) -> c_int;
    fn uv_idle_start(handle: *mut uv_handle_t, call: HandleCall) -> c_int;
    fn uv_queue_work(
        inner: *mut uv_loop_t,
        request: *mut c_void,
        work: unsafe extern "C" fn(*mut c_void),
        done: unsafe extern "C" fn(*mut c_void, c_int),
    ) -> c_int;
}

/// A libuv loop. It is closed on drop, which fails if anything of it is left open.
pub struct Uv(*mut uv_loop_t);

type Callback = Box<dyn FnMut() -> bool>;
type Job = (Box<dyn FnOnce() + Send>, Option<Box<dyn FnOnce()>>);

impl Uv {
    /// Makes a handle that has a callback. It is closed when the callback returns false.
    fn handle(
        &self,
        kind: c_int,
        call: impl FnMut() -> bool + 'static,
        init: impl FnOnce(*mut uv_handle_t) -> c_int,
    ) -> *mut uv_handle_t {
        // SAFETY: libuv's own size of this kind, and a handle that `init` makes before it is used.
        unsafe {
            let handle: *mut uv_handle_t = libc::malloc(sys::uv_handle_size(kind)).cast();
            assert_eq!(init(handle), 0);
            let data = boxed::<dyn FnMut() -> bool>(Box::new(call) as Callback);
            sys::uv_handle_set_data(handle, data);
            handle
        }
    }
}

impl Drop for Uv {
    fn drop(&mut self) {
        // SAFETY: the loop is this one's own, and nothing runs it.
        unsafe {
            sys::uv_run(self.0, sys::UV_RUN_NOWAIT as _);
            let closed = uv_loop_close(self.0);
            if !std::thread::panicking() {
                assert_eq!(closed, 0, "something of the loop is open");
            }
        }
    }
}

unsafe extern "C" fn call(handle: *mut uv_handle_t) {
    // SAFETY: the data of a handle of `Uv::handle`, which is not closed yet.
    let stays = unsafe { (*sys::uv_handle_get_data(handle).cast::<Callback>())() };
    if !stays {
        // SAFETY: it is not closed yet.
        unsafe { sys::uv_close(handle, free) };
    }
}

unsafe extern "C" fn call_poll(handle: *mut uv_handle_t, status: c_int, _: c_int) {
    assert_eq!(status, 0);
    // SAFETY: as there.
    unsafe { call(handle) };
}

unsafe extern "C" fn free(handle: *mut uv_handle_t) {
    // SAFETY: from `boxed` and from malloc, and libuv has let go of both.
    unsafe {
        drop(Box::from_raw(
            sys::uv_handle_get_data(handle).cast::<Callback>(),
        ));
        libc::free(handle.cast());
    }
}

unsafe extern "C" fn do_job(request: *mut c_void) {
    // SAFETY: the data of `Uv::work`, which only this thread uses now.
    let job = unsafe { &mut *uv_req_get_data(request).cast::<Job>() };
    std::mem::replace(&mut job.0, Box::new(|| ()))();
}

unsafe extern "C" fn job_done(request: *mut c_void, _: c_int) {
    // SAFETY: the data of `Uv::work`, and memory from malloc; both are not used any more.
    unsafe {
        let mut job = Box::from_raw(uv_req_get_data(request).cast::<Job>());
        libc::free(request);
        if let Some(done) = job.1.take() {
            done();
        }
    }
}

impl Kind for Uv {
    const NAME: &'static str = "libuv";

    fn new() -> Uv {
        // SAFETY: libuv's own size of a loop, which is made in that memory and never freed.
        unsafe {
            let inner: *mut uv_loop_t = libc::malloc(uv_loop_size()).cast();
            assert_eq!(uv_loop_init(inner), 0);
            Uv(inner)
        }
    }
}

impl OuterLoop for Uv {
    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        attach_adapted(self, reactor, exits_when_empty, on_end)
    }

    fn iterate(&self, may_block: bool) {
        let mode = if may_block {
            sys::UV_RUN_ONCE
        } else {
            sys::UV_RUN_NOWAIT
        };
        // SAFETY: the loop is live, and does not run.
        unsafe { sys::uv_run(self.0, mode as _) };
    }
}

impl AdaptedLoop for Uv {
    fn attach_host<M: Threading>(
        &self,
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>> {
        // SAFETY: the loop outlives the result in every test, and is run on this thread only.
        Ok(Box::new(unsafe {
            oneloop_uv::attach(host, self.0, on_end)
        }?))
    }
}

impl ForeignLoop for Uv {
    fn guest(&self) -> impl Guest + 'static {
        // SAFETY: the loop outlives the guest in every test, and nothing else runs it meanwhile.
        unsafe { LoopGuest::new(self.0) }.expect("descriptors")
    }

    fn after(&self, delay: Duration, callback: impl FnOnce() + 'static) {
        let callback = once(callback);
        // SAFETY: a timer of the loop; its time is brought up to date, as for all code outside its callbacks.
        unsafe {
            sys::uv_update_time(self.0);
            let timer = self.handle(UV_TIMER, callback, |handle| uv_timer_init(self.0, handle));
            assert_eq!(uv_timer_start(timer, call, delay.as_millis() as u64, 0), 0);
        }
    }

    fn watch_read(&self, fd: RawFd, callback: impl FnMut() -> bool + 'static) {
        // SAFETY: a poll handle of the loop; the descriptor is a test's own.
        unsafe {
            let init = |handle| sys::uv_poll_init(self.0, handle, fd);
            let poll = self.handle(sys::UV_POLL, callback, init);
            assert_eq!(sys::uv_poll_start(poll, sys::UV_READABLE, call_poll), 0);
        }
    }

    fn waker(&self, callback: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        let callback = once(callback);
        // SAFETY: an async handle of the loop.
        let init = |handle| unsafe { sys::uv_async_init(self.0, handle, Some(call)) };
        let handle = AssertSend(self.handle(sys::UV_ASYNC, callback, init));
        // SAFETY: any thread may send, and the handle is closed only after that.
        Box::new(move || unsafe {
            sys::uv_async_send(handle.into_inner());
        })
    }

    fn idle(&self, callback: impl FnMut() -> bool + 'static) {
        // SAFETY: an idle handle of the loop.
        unsafe {
            let idle = self.handle(UV_IDLE, callback, |handle| uv_idle_init(self.0, handle));
            assert_eq!(uv_idle_start(idle, call), 0);
        }
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        let job: Job = (Box::new(job), Some(Box::new(done)));
        // SAFETY: libuv's own size of a request; the pool takes the job only.
        unsafe {
            let request = libc::malloc(uv_req_size(UV_WORK));
            uv_req_set_data(request, Box::into_raw(Box::new(job)).cast());
            assert_eq!(uv_queue_work(self.0, request, do_job, job_done), 0);
        }
    }
}
