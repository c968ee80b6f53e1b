//! Removing without dropping: for callbacks that must not be dropped inside the call that removes them.

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
        const CALL: &str = "cancel_post";
        // Under the lock, as below.
        let state = self.enter(CALL)?;
        let cancelled = self.inbox.cancel(CALL, id);
        let posted = cancelled.map(|dead| {
            let inbox = &self.inbox;
            inbox.post(CALL, Location::caller(), Priority::High, move || drop(dead))
        });
        drop(state);
        posted.map(drop)
    }

    /// `remove` gives what is to be dropped, unless that is a callback which runs: the driver drops it.
    fn retire<T: 'static>(
        &self,
        call: &'static str,
        remove: impl FnOnce(&mut State) -> Option<Option<T>>,
    ) -> Result<()> {
        let mut state = self.enter(call)?;
        let removed = remove(&mut state);
        let found = removed.as_ref().map(|_| ());
        // Under the lock, so that `close` on another thread comes before or after: then nothing was
        // removed, or it finds this post and drops it.
        let posted = removed.flatten().map(|dead| {
            let inbox = &self.inbox;
            inbox.post(call, Location::caller(), Priority::High, move || drop(dead))
        });
        self.changed(state);
        drop(posted);
        known(call, found)
    }
}
