//! The system's wait for a handle of Windows.

use std::ffi::c_void;
use std::io::{Error, Result};
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use oneloop::{Ready, SetReadiness};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

/// Sets a readiness when a handle is signalled.
pub(crate) struct Signalled {
    handle: usize,
    shared: Arc<Shared>,
    /// The system's wait, or zero.
    wait: Mutex<usize>,
}

struct Shared {
    readiness: SetReadiness,
    /// The wait has begun, and has not ended yet.
    is_waiting: AtomicBool,
}

impl Signalled {
    pub(crate) fn new(handle: BorrowedHandle<'_>, readiness: SetReadiness) -> Signalled {
        Signalled {
            handle: handle.as_raw_handle() as usize,
            shared: Arc::new(Shared {
                readiness,
                is_waiting: AtomicBool::new(false),
            }),
            wait: Mutex::new(0),
        }
    }

    /// Begins a wait, unless one has begun.
    pub(crate) fn begin(&self) -> Result<()> {
        if self.shared.is_waiting.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        end(&mut wait);
        self.shared.readiness.clear(Ready::READABLE);
        let mut new = ptr::null_mut();
        // SAFETY: the handle is open as long as its registration, whose drop ends the wait. The context is kept by
        // this value until then.
        let begun = unsafe {
            RegisterWaitForSingleObject(
                &mut new,
                self.handle as HANDLE,
                Some(signalled),
                Arc::as_ptr(&self.shared).cast(),
                INFINITE,
                WT_EXECUTEONLYONCE,
            )
        };
        if begun == 0 {
            self.shared.is_waiting.store(false, Ordering::SeqCst);
            return Err(Error::last_os_error());
        }
        *wait = new as usize;
        Ok(())
    }
}

impl Drop for Signalled {
    fn drop(&mut self) {
        end(self.wait.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Ends the system's wait. After that, its callback does not run any more.
fn end(wait: &mut usize) {
    let wait = std::mem::take(wait);
    if wait != 0 {
        // SAFETY: the wait was begun and not ended.
        unsafe { UnregisterWaitEx(wait as HANDLE, INVALID_HANDLE_VALUE) };
    }
}

unsafe extern "system" fn signalled(context: *mut c_void, _: bool) {
    // SAFETY: the context is the `Shared` of a `Signalled`, which ends the wait before it drops that.
    let shared = unsafe { &*context.cast::<Shared>() };
    shared.is_waiting.store(false, Ordering::SeqCst);
    shared.readiness.set(Ready::READABLE);
}
