//! Removal without a drop, for callbacks that must not be dropped inside the call that removes them.

use std::panic::Location;

use super::core::{Core, known};
use super::state::State;
use crate::id::Key;
use crate::{PostId, Priority, Result};

impl Core {
    pub(crate) fn retire_handler(&self, key: Key) -> Result<()> {
        self.retire("remove_handler", |state| {
            state.handlers.remove(&self.poller, key)
        })
    }

    pub(crate) fn retire_timer(&self, key: Key) -> Result<()> {
        self.retire("cancel_timer", |state| state.timers.cancel(key))
    }

    pub(crate) fn retire_hook(&self, key: Key) -> Result<()> {
        self.retire("remove_hook", |state| state.remove_hook(key).map(Some))
    }

    pub(crate) fn retire_post(&self, id: PostId) -> Result<()> {
        self.retire("cancel_post", |_| self.inbox.posts.cancel(id).map(Some))
    }

    /// Removes a callback, and has a post drop it. `remove` returns no callback if it is running, because the driver
    /// drops it then.
    fn retire<T: 'static>(
        &self,
        call: &'static str,
        remove: impl FnOnce(&mut State) -> Option<Option<T>>,
    ) -> Result<()> {
        let mut state = self.enter(call)?;
        let removed = remove(&mut state);
        let found = removed.as_ref().map(|_| ());
        // Posted under the lock. If `close` on another thread came first, nothing was removed. If it comes later, it
        // drops this post.
        let posted = removed.flatten().map(|dead| {
            let inbox = &self.inbox;
            inbox.post(call, Location::caller(), Priority::High, move || drop(dead))
        });
        self.changed(state);
        drop(posted);
        known(call, found)
    }
}
