//! The handles of a loop. The loop ends with the last one.
//!
//! The count of the `Arc` cannot decide this. Sources, closures and the data of C callbacks are dropped at the end,
//! and their drops may use the loop. C has only a pointer for that, and nothing may touch an `Arc` whose count is
//! zero. So the loop ends first, while the `Arc` still exists.

use std::mem;
use std::sync::Arc;

use super::core::Core;
use super::state_lock::StateGuard;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

impl Core {
    /// Counts one more handle. The caller has one.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// Counts one more handle for a caller without one. Returns false if the loop ends or has ended.
    pub(crate) fn try_add_handle(&self) -> bool {
        let add = |count| (count > 0).then(|| count + 1);
        self.handles.fetch_update(Acquire, Relaxed, add).is_ok()
    }

    /// Counts one handle less. The last one ends the loop.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        let subtract = |count: usize| count.checked_sub(1);
        match self.handles.fetch_update(AcqRel, Relaxed, subtract) {
            Ok(1) => self.end(),
            Ok(_) => {}
            // A destroy function of C, called while the loop ends, gives up a handle that it does not have.
            Err(_) => mem::forget(self.clone()),
        }
    }

    /// Ends every driver and drops all registrations. Later calls get an error.
    pub(crate) fn close(&self) {
        // In a child, this must not take the parent's handlers out of the kernel's set.
        let Ok(mut state) = self.enter("close") else {
            return;
        };
        state.handlers.forget_in_kernel(&self.poller);
        // Before the drops, because one of them may panic.
        self.inbox.stop();
        self.drop_registered(state);
    }

    /// Drops all registrations. The kernel forgets the descriptors when they or the poller are closed.
    fn end(self: &Arc<Self>) {
        if self.inbox.is_forked() {
            return self.end_in_child();
        }
        self.drop_registered(self.state());
    }

    /// Drops all registrations, with no lock held. If their drops call the loop, they get an error.
    fn drop_registered(&self, mut state: StateGuard<'_>) {
        state.closed = true;
        let (handlers, timers, hooks, kept) = state.take_registered();
        drop(state);
        let (posts, observers) = (self.inbox.posts.close(), self.observers.clear());
        // The kept values are dropped last, because the others may use them in their drops.
        drop((handlers, timers, hooks, posts, observers, kept));
    }

    /// Ends the loop in a child process. A thread that exists only in the parent may have left the data behind a
    /// lock half changed. Such data is never freed.
    fn end_in_child(self: &Arc<Self>) {
        let registered = self
            .state
            .try_lock()
            .map(|mut state| state.take_registered());
        let posts = self.inbox.posts.try_close();
        if registered.is_none() || posts.is_none() {
            mem::forget(self.clone());
        }
        drop((registered, posts));
    }
}
