//! The loop that is being driven on this thread. Callbacks find it here without holding a handle.

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

/// A driver's entry in `CURRENT`. Drivers on one thread are nested, so each of them restores the entry of the
/// outer one.
pub(super) struct Entered<'a> {
    /// The entry of the outer driver. As a raw pointer, it also keeps this value on its thread.
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
    /// Returns the loop of the innermost driver on this thread.
    pub(crate) fn current() -> Option<Arc<Core>> {
        let core = CURRENT.with(Cell::get);
        if core.is_null() {
            return None;
        }
        // SAFETY: the pointer came from `Arc::as_ptr`, of an `Arc` that an `Entered` borrows. The `Entered` is
        // alive, because its drop takes the pointer out. So the count of the `Arc` is not zero. It is raised
        // here for the `Arc` that is returned.
        Some(unsafe {
            Arc::increment_strong_count(core);
            Arc::from_raw(core)
        })
    }
}
