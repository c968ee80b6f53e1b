//! A reactor drives a libuv loop: a guest.

use std::io;
use std::ptr;
use std::time::Duration;

use oneloop::{Guest, Interest, Watched};

use crate::handle::Handle;
use crate::sys::{self, UV_ASYNC, uv_loop_t};

/// A libuv loop as a guest of a reactor.
///
/// [`LocalReactor::add_guest`](oneloop::Reactor::add_guest) takes it. The loop then calls the callbacks of the
/// libuv loop, which must not be run elsewhere. It keeps [`run`](oneloop::Reactor::run) going while
/// `uv_loop_alive` says so.
///
/// # Timers
///
/// libuv counts a timer from the time at which its loop last looked at the clock. A callback of the reactor that starts
/// a libuv timer should therefore call `uv_update_time` before, as all code outside libuv's own callbacks should.
///
/// # The end
///
/// Dropping the guest closes a handle of its own. The loop has to run once more before `uv_loop_close`.
pub struct LoopGuest {
    inner: *mut uv_loop_t,
    /// Keeps the loop alive: one that is not would have no timeout to tell, and would call no handle that
    /// is not referenced.
    keep: Handle,
    is_alive: bool,
}

impl LoopGuest {
    /// Makes a guest of a libuv loop.
    ///
    /// # Errors
    ///
    /// Returns an error if libuv has no descriptors left.
    ///
    /// # Safety
    ///
    /// `inner` must be a live loop. Only the reactor may run it while the guest lives.
    pub unsafe fn new(inner: *mut uv_loop_t) -> io::Result<LoopGuest> {
        // SAFETY: the caller promises that the loop is live, and the handle's memory is new.
        let init = |handle| unsafe { sys::uv_async_init(inner, handle, None) };
        Ok(LoopGuest {
            inner,
            keep: Handle::new(UV_ASYNC, ptr::null_mut(), init)?,
            is_alive: true,
        })
    }
}

impl Guest for LoopGuest {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        // SAFETY: the loop and the handle are live.
        let (fd, timeout) = unsafe {
            let keep = self.keep.as_ptr();
            sys::uv_unref(keep);
            self.is_alive = sys::uv_loop_alive(self.inner) != 0;
            sys::uv_ref(keep);
            sys::uv_update_time(self.inner);
            let timeout = sys::uv_backend_timeout(self.inner);
            (sys::uv_backend_fd(self.inner), timeout)
        };
        // SAFETY: the loop's own descriptor, which is open as long as the loop.
        unsafe { watched.add(fd, Interest::READABLE) };
        // Negative: there is no timer.
        u64::try_from(timeout).ok().map(Duration::from_millis)
    }

    fn turn(&mut self, _: &Watched) {
        // SAFETY: the loop is live, and not running: the reactor calls no guest inside itself.
        unsafe { sys::uv_run(self.inner, sys::UV_RUN_NOWAIT as _) };
    }

    fn is_alive(&self) -> bool {
        self.is_alive
    }
}
