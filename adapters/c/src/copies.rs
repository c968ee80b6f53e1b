//! More than one copy of oneloop in a process: a program that has it inside, say, and a library that is
//! linked to the one of the distribution. Each has its own ids and layouts. So a call for a loop of
//! another copy is handed on to that one, by its table of functions.

use std::ffi::c_int;

use oneloop::bindings::{Head, Maker};

use crate::error::repeat;
use crate::{oneloop_api, oneloop_t};

/// Which copy has made a loop.
///
/// # Safety
///
/// The pointer must be of a loop that is alive.
pub(crate) unsafe fn maker(r#loop: *mut oneloop_t) -> Maker {
    // SAFETY: the caller's promise; all loops begin with a head.
    unsafe { &*r#loop.cast::<Head>() }.maker()
}

/// The functions of the copy that has made a loop, if it is another, and if they are enough to have
/// the one that is `offset` bytes from the beginning.
///
/// # Safety
///
/// The pointer must be null, or of a loop that is alive.
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
    // SAFETY: it is there for ever, and begins like this in all versions.
    let size = unsafe { (*functions).size } as usize;
    (offset + size_of::<fn()>() <= size).then_some(functions)
}

/// Hands a call on if the loop is of another copy, and returns what comes of it. First this function,
/// then its name in the table, and the arguments.
macro_rules! forward {
    ($this:ident => $name:ident($loop:expr $(, $argument:expr)*)) => {
        let offset = std::mem::offset_of!(crate::oneloop_api, $name);
        // SAFETY: the caller's promise.
        if let Some(functions) = unsafe { crate::copies::functions_of($loop, offset) } {
            // SAFETY: the table has this entry.
            let function = unsafe { (*functions).$name };
            // Where the linker has taken this one for it, the call would come back.
            if function as usize != $this as *const () as usize {
                // SAFETY: it is the same function, and the caller's promise is the same.
                let result = unsafe { function($loop $(, $argument)*) };
                // SAFETY: it has come from that copy.
                return unsafe { crate::copies::heard(functions, result) };
            }
        }
    };
}
pub(crate) use forward;

/// What a function gives, that tells whether it has failed.
pub(crate) trait Outcome {
    fn has_failed(&self) -> bool;
}

impl Outcome for c_int {
    fn has_failed(&self) -> bool {
        *self < 0
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

/// Has `oneloop_strerror` here say what the other copy would.
///
/// # Safety
///
/// A table of another copy.
pub(crate) unsafe fn heard<T: Outcome>(functions: *const oneloop_api, result: T) -> T {
    if result.has_failed() {
        // SAFETY: the caller's promise; all tables have this.
        let text = unsafe { ((*functions).strerror)() };
        // SAFETY: it is valid until the next call that fails there.
        unsafe { repeat(text) };
    }
    result
}
