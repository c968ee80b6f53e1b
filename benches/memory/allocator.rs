//! The system's allocator, with a count of the bytes that are taken from it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub struct Counting {
    bytes: AtomicUsize,
}

impl Counting {
    pub const fn new() -> Counting {
        let bytes = AtomicUsize::new(0);
        Counting { bytes }
    }

    /// How many are taken now: as was asked for, without what the allocator adds.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

// SAFETY: all is done by the system's; the count changes nothing. `realloc` and `alloc_zeroed` are the
// provided ones, which do it by these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.bytes.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.bytes.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
