//! The loop that is being driven on this thread, for callbacks that hold no handle of it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::core::Core;

#[cfg(not(loom))]
thread_local! {
    /// The loop of the innermost driver on this thread, or null.
    static CURRENT: Cell<*const Core> = const { Cell::new(ptr::null()) };
}
// loom's macro takes no `const`.
#[cfg(loom)]
loom::thread_local! {
    static CURRENT: Cell<*const Core> = Cell::new(ptr::null());
}

/// A driver's entry in `CURRENT`. Drivers on one thread end in the reverse order of their beginning, so
/// each puts back what it found.
pub(super) struct Entered<'a> {
    /// Being a raw pointer, it keeps the entry on its thread.
    outer: *const Core,
    core: PhantomData<&'a Arc<Core>>,
}

impl<'a> Entered<'a> {
    pub(super) fn new(core: &'a Arc<Core>) -> Entered<'a> {
        let core = Arc::as_ptr(core);
        Entered {
            outer: CURRENT.with(|current| current.replace(core)),
            core: PhantomData,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.outer));
    }
}

impl Core {
    /// The loop whose driver is on this thread, the innermost if there are several.
    pub(crate) fn current() -> Option<Arc<Core>> {
        let core = CURRENT.with(Cell::get);
        if core.is_null() {
            return None;
        }
        // SAFETY: the pointer came from `Arc::as_ptr`, of an `Arc` that an `Entered` borrows. That one is
        // alive, since its drop takes the pointer out. So the count of the `Arc` is not zero, and it is
        // raised for the one that is made here.
        Some(unsafe {
            Arc::increment_strong_count(core);
            Arc::from_raw(core)
        })
    }
}
