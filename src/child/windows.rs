use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
    WaitForSingleObject,
};

use crate::{Mode, Ready, SetReadiness, Source, SourceKind, VirtualSource};

/// A source that becomes readable when a process ends. While it exists, the number stays that of the process.
pub(crate) struct ExitWatch {
    source: VirtualSource,
    /// The system's wait. Its callback uses `readiness` until the wait is ended.
    wait: HANDLE,
    _readiness: Box<SetReadiness>,
    /// The wait is on it.
    _process: OwnedHandle,
}

// SAFETY: any thread may end a wait, and the handle is used for nothing else.
unsafe impl Send for ExitWatch {}

impl ExitWatch {
    pub(crate) fn of(pid: u32) -> io::Result<ExitWatch> {
        let process = open(pid)?;
        let (source, readiness) = VirtualSource::pair();
        let readiness = Box::new(readiness);
        let mut wait = ptr::null_mut();
        // SAFETY: the process's handle is open, and the context stays where it is, until the drop of this value has
        // ended the wait.
        let begun = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                process.as_raw_handle(),
                Some(on_end),
                ptr::from_ref(&*readiness).cast(),
                INFINITE,
                WT_EXECUTEONLYONCE,
            )
        };
        if begun == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(ExitWatch {
            source,
            wait,
            _readiness: readiness,
            _process: process,
        })
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::Level
    }

    /// Does nothing: a process that has ended stays so.
    pub(crate) fn drain(&mut self) {}
}

impl Source for ExitWatch {
    fn kind(&self) -> SourceKind<'_> {
        SourceKind::Virtual(&self.source)
    }
}

impl Drop for ExitWatch {
    fn drop(&mut self) {
        // SAFETY: the wait was begun. This returns when its callback no longer runs.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
    }
}

unsafe extern "system" fn on_end(readiness: *mut c_void, _: bool) {
    // SAFETY: the context is the readiness of an `ExitWatch`, which ends the wait before it drops that.
    unsafe { &*readiness.cast::<SetReadiness>() }.set(Ready::READABLE);
}

/// Returns the exit status of a process, if it has ended.
pub(crate) fn reap(pid: u32) -> io::Result<Option<ExitStatus>> {
    let process = open(pid)?;
    let mut code = 0;
    // SAFETY: the handle is open, and has the rights for both calls.
    unsafe {
        if WaitForSingleObject(process.as_raw_handle(), 0) != WAIT_OBJECT_0 {
            return Ok(None);
        }
        if GetExitCodeProcess(process.as_raw_handle(), &mut code) == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(Some(ExitStatus::from_raw(code)))
}

fn open(pid: u32) -> io::Result<OwnedHandle> {
    let rights = PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION;
    // SAFETY: the call takes numbers only.
    let process = unsafe { OpenProcess(rights, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just opened, and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(process) })
}
