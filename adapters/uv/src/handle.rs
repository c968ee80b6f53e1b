//! An owned libuv handle.

use std::io;

use libc::{c_int, c_void};

use crate::sys::{self, uv_handle_t};

/// A handle in memory of its own. Dropping it closes the handle, and a later turn of the loop frees the memory.
pub struct Handle(*mut uv_handle_t);

impl Handle {
    /// Makes a handle of a kind by `init`, which returns libuv's code.
    pub fn new(
        kind: c_int,
        data: *mut c_void,
        init: impl FnOnce(*mut uv_handle_t) -> c_int,
    ) -> io::Result<Handle> {
        // SAFETY: libuv's own size of this kind; malloc aligns for every type.
        let memory = unsafe { libc::malloc(sys::uv_handle_size(kind)) };
        if memory.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let handle = memory.cast();
        if let Err(error) = check(init(handle)) {
            // SAFETY: from malloc. A handle that could not be made is not libuv's.
            unsafe { libc::free(memory) };
            return Err(error);
        }
        // SAFETY: `init` has made it.
        unsafe { sys::uv_handle_set_data(handle, data) };
        Ok(Handle(handle))
    }

    pub fn as_ptr(&self) -> *mut uv_handle_t {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: a handle that is not closed yet. No callback but this one is called any more.
        unsafe { sys::uv_close(self.0, free) };
    }
}

unsafe extern "C" fn free(handle: *mut uv_handle_t) {
    // SAFETY: from malloc, and libuv has let go of it.
    unsafe { libc::free(handle.cast()) };
}

/// Turns libuv's code into a result.
pub fn check(code: c_int) -> io::Result<()> {
    if code < 0 {
        Err(io::Error::from_raw_os_error(-code))
    } else {
        Ok(())
    }
}
