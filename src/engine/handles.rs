//! The handles of a loop, counted. With the last one the loop ends, and it is whole while it does.
//!
//! The count of the `Arc` does not do for that. What is dropped at the end may use the loop: sources,
//! closures, and what C has given with its callbacks. C needs no more for that than the pointer, while
//! an `Arc` whose count has come to zero must not be touched any more.

use std::mem;
use std::sync::{Arc, TryLockError};

use super::core::Core;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{Mutex, MutexGuard};

impl Core {
    /// One more, for a caller who has one.
    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// One more, for a caller who has none. False if the loop ends.
    pub(crate) fn try_add_handle(&self) -> bool {
        let add = |count| (count > 0).then(|| count + 1);
        self.handles.fetch_update(Acquire, Relaxed, add).is_ok()
    }

    /// One fewer.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        let subtract = |count: usize| count.checked_sub(1);
        match self.handles.fetch_update(AcqRel, Relaxed, subtract) {
            Ok(1) => self.end(),
            Ok(_) => {}
            // C gives a handle up that it has not got, in a destroy function while the loop ends.
            Err(_) => mem::forget(self.clone()),
        }
    }

    /// Drops all that is registered.
    pub(crate) fn close(&self) {
        // Twice is once; and a child must not take the parent's handlers out of the kernel's set.
        let Ok(mut state) = self.enter("close") else {
            return;
        };
        state.closed = true;
        let handlers = state.handlers.clear(&self.poller);
        let timers = mem::take(&mut state.timers);
        let hooks = mem::take(&mut state.hooks);
        let kept = mem::take(&mut state.kept);
        drop(state);
        self.inbox.stop();
        let observers = self.observers.clear();
        // The values last, since the others may use them in their drop.
        drop((
            handlers,
            timers,
            hooks,
            self.inbox.posts.close(),
            observers,
            kept,
        ));
    }

    /// Drops all that is registered. Callers from in there are told that the loop is closed.
    ///
    /// The kernel is told nothing. It forgets the descriptors when they or the poller are closed.
    fn end(self: &Arc<Self>) {
        if self.inbox.is_forked() {
            return self.end_in_child();
        }
        let mut state = self.state();
        state.closed = true;
        let registered = state.take_registered();
        drop(state);
        drop((registered, self.inbox.posts.close(), self.observers.clear()));
    }

    /// The same in a child process. A thread that is not here may have had a lock when the process
    /// was forked, and have left what is behind it half changed. That is never freed.
    fn end_in_child(self: &Arc<Self>) {
        let registered = try_lock(&self.state).map(|mut state| state.take_registered());
        let posts = self.inbox.posts.try_close();
        if registered.is_none() || posts.is_none() {
            mem::forget(self.clone());
        }
        drop((registered, posts));
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        // A callback panicked. What is behind the lock is whole all the same.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
