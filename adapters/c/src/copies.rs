//! Support for several copies of oneloop in a process. For example, a program may contain one, and a library
//! may be linked to that of the distribution. Each copy has its own ids and layouts. A call for a loop of
//! another copy is therefore forwarded to that copy, through its table of functions.

use std::ffi::c_int;

use oneloop::bindings::{Head, Maker};

use crate::error::repeat;
use crate::{oneloop_api, oneloop_t};

/// Returns the copy that made a loop.
///
/// # Safety
///
/// The pointer must point to a loop that is alive.
pub(crate) unsafe fn maker(r#loop: *mut oneloop_t) -> Maker {
    // SAFETY: the caller promises that the loop is alive, and all loops begin with a head.
    unsafe { &*r#loop.cast::<Head>() }.maker()
}

/// Returns the functions of the copy that made a loop. Returns `None` for this copy, and for a table that is
/// too short for the function at `offset` bytes.
///
/// # Safety
///
/// The pointer must be null or point to a loop that is alive.
pub(crate) unsafe fn functions_of(
    r#loop: *mut oneloop_t,
    offset: usize,
) -> Option<*const oneloop_api> {
    if r#loop.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let Maker::Other(functions) = (unsafe { maker(r#loop) }) else {
        return None;
    };
    let functions = functions.cast::<oneloop_api>();
    if functions.is_null() {
        return None;
    }
    // SAFETY: the table is never freed, and begins with these fields in all versions.
    let size = unsafe { (*functions).size } as usize;
    (offset + size_of::<fn()>() <= size).then_some(functions)
}

/// Forwards a call and returns its result, if the loop belongs to another copy. The macro takes this
/// function, its name in the table, and the arguments.
macro_rules! forward {
    ($this:ident => $name:ident($loop:expr $(, $argument:expr)*)) => {
        let offset = std::mem::offset_of!(crate::oneloop_api, $name);
        // SAFETY: the caller's promise.
        if let Some(functions) = unsafe { crate::copies::functions_of($loop, offset) } {
            // SAFETY: the table has this entry.
            let function = unsafe { (*functions).$name };
            // If the linker has taken this function for the other one, the call would come back for ever.
            if function as usize != $this as *const () as usize {
                // SAFETY: it is the corresponding function, to which the caller's promise applies, too.
                let result = unsafe { function($loop $(, $argument)*) };
                // SAFETY: the result comes from that copy.
                return unsafe { crate::copies::heard(functions, result) };
            }
        }
    };
}
pub(crate) use forward;

/// A function's result, which shows whether the call has failed.
pub(crate) trait Outcome {
    fn has_failed(&self) -> bool;
}

impl Outcome for c_int {
    fn has_failed(&self) -> bool {
        *self < 0
    }
}

#[cfg(windows)]
impl Outcome for crate::oneloop_fd {
    fn has_failed(&self) -> bool {
        (*self as isize) < 0
    }
}

impl Outcome for i64 {
    fn has_failed(&self) -> bool {
        false
    }
}

impl Outcome for () {
    fn has_failed(&self) -> bool {
        false
    }
}

impl Outcome for *mut oneloop_t {
    fn has_failed(&self) -> bool {
        self.is_null()
    }
}

/// Makes `oneloop_strerror` here return the other copy's text.
///
/// # Safety
///
/// `functions` must be a table of another copy.
pub(crate) unsafe fn heard<T: Outcome>(functions: *const oneloop_api, result: T) -> T {
    if result.has_failed() {
        // SAFETY: the caller promises a table, and all tables have this entry.
        let text = unsafe { ((*functions).strerror)() };
        // SAFETY: the text is valid until the next call that fails in that copy.
        unsafe { repeat(text) };
    }
    result
}
