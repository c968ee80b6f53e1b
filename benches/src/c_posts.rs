//! libuv's `uv_async_t`.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

type Woken = extern "C" fn(*mut c_void) -> c_int;

unsafe extern "C" {
    fn c_posts_libuv_new() -> *mut c_void;
    fn c_posts_libuv_wake(posts: *mut c_void);
    fn c_posts_libuv_run(posts: *mut c_void, woken: Woken, work: *mut c_void);
    fn c_posts_libuv_free(posts: *mut c_void);
}

/// A loop that does nothing but be woken.
pub struct Libuv(Arc<Posts>);

/// Wakes it from any thread.
#[derive(Clone)]
pub struct Wake(Arc<Posts>);

struct Posts(NonNull<c_void>);

// SAFETY: `wake` is for all threads; `run` is called by a `Libuv` alone, which is not cloned; and what
// the last owner does is done when no other thread can.
unsafe impl Send for Posts {}
// SAFETY: as above.
unsafe impl Sync for Posts {}

impl Libuv {
    /// A loop, and what wakes it.
    pub fn new() -> io::Result<(Libuv, Wake)> {
        // SAFETY: it can be called at any time.
        let posts = NonNull::new(unsafe { c_posts_libuv_new() });
        let failed = || io::Error::other("the loop could not be made");
        let posts = Arc::new(Posts(posts.ok_or_else(failed)?));
        Ok((Libuv(posts.clone()), Wake(posts)))
    }

    /// Calls back when it was woken, until that is false. A panic in it ends the process, as there is
    /// no way through C.
    pub fn run<F: FnMut() -> bool>(self, mut woken: F) {
        let work = (&raw mut woken).cast();
        // SAFETY: it is there, no other thread runs it, and it calls back from within only, with that
        // pointer.
        unsafe { c_posts_libuv_run(self.0.0.as_ptr(), on_woken::<F>, work) };
    }
}

impl Wake {
    /// Has the loop call back. Several may be taken for one.
    pub fn wake(&self) {
        // SAFETY: it is there for as long as this is.
        unsafe { c_posts_libuv_wake(self.0.0.as_ptr()) };
    }
}

impl Drop for Posts {
    fn drop(&mut self) {
        // SAFETY: this was the last owner.
        unsafe { c_posts_libuv_free(self.0.as_ptr()) };
    }
}

extern "C" fn on_woken<F: FnMut() -> bool>(work: *mut c_void) -> c_int {
    // SAFETY: it is what `run` gave, which no other code touches meanwhile.
    let woken = unsafe { &mut *work.cast::<F>() };
    c_int::from(woken())
}
