//! Other loops inside this one, and hooks around the loop's sleep.
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::Reactor;
use crate::engine::pair;
use crate::guest;
use crate::{Guest, GuestId, HookId, MaybeSend, Result, Threading};

/// # Guests
impl<M: Threading> Reactor<M> {
    /// Adds another loop, or a library with a set of descriptors, that this loop drives from now on.
    ///
    /// [`Guest`] has the rules and an example. The name appears in [`dump`](Self::dump) and in reports of slow
    /// callbacks, at the guest's hooks and at the handlers of its descriptors.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed, or belongs to a parent process.
    #[track_caller]
    pub fn add_guest<G>(&self, name: impl Into<Arc<str>>, guest: G) -> Result<GuestId>
    where
        G: Guest + MaybeSend<M> + 'static,
    {
        self.make_guest(name.into(), |_| guest)
    }

    /// Adds a guest that `make` makes for its id.
    #[track_caller]
    pub(crate) fn make_guest<G: Guest + MaybeSend<M> + 'static>(
        &self,
        name: Arc<str>,
        make: impl FnOnce(GuestId) -> G,
    ) -> Result<GuestId> {
        let (core, own_name, location) =
            (Arc::downgrade(&self.core), name.clone(), Location::caller());
        let progress = Arc::<guest::Progress>::default();
        let shown = progress.clone();
        let hooks = |key| guest::hooks(core, progress, own_name, location, make(GuestId(key)), key);
        let id = GuestId(self.core.add_hook(guest::CALL, location, hooks)?);
        self.core.set_guest(id.0, shown);
        // It may have been removed meanwhile, by a callback on another thread.
        let _ = self.set_name(id, name);
        Ok(id)
    }

    /// Removes a guest and the handlers of its descriptors, and drops it. If the guest is running, this happens
    /// right after that.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn remove_guest(&self, id: GuestId) -> Result<()> {
        self.core.remove_hook("remove_guest", id.0)
    }
}

/// # Hooks
impl<M: Threading> Reactor<M> {
    /// Adds a pair of hooks around the loop's sleep.
    ///
    /// Libraries such as xcb, Wayland, sd-bus and libzmq may have something to do although none of their
    /// descriptors is ready. Hooks find that out.
    ///
    /// The loop calls `prepare` after all callbacks, right before it or its host sleeps. `prepare` returns
    /// how long the loop may sleep: `None` sets no limit, and zero forbids sleeping. The loop calls `check`
    /// right after the sleep. Both must tolerate extra calls, including the same hook twice in a row.
    /// A pair of hooks does not keep [`run`](Self::run) going, unless
    /// [`set_referenced`](Self::set_referenced) says so.
    ///
    /// # Under a host
    ///
    /// The host's own code, such as the tasks of a runtime, runs after the loop's turns and before the
    /// host sleeps. This has two consequences:
    ///
    /// - If such code uses the library, it must call [`wake`](Self::wake) after that. Otherwise the loop sees
    ///   the library's queue only in the next turn. A host that knows when it is about to sleep can
    ///   call [`ask_hooks`](Self::ask_hooks) instead, as `oneloop_tokio::before_park` does.
    /// - A hook must not hold anything from `prepare` to `check` for which such code may wait. For Wayland, this
    ///   means `wl_display_prepare_read` and `wl_display_read_events` in the handler, with
    ///   `wl_display_dispatch_pending` and `wl_display_flush` in `prepare`.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new_local()?;
    /// // A library has read these already, and no descriptor will show them again.
    /// let queue = Rc::new(RefCell::new(vec!["a message", "another"]));
    /// let (asked, emptied) = (queue.clone(), queue.clone());
    /// let prepare = move || (!asked.borrow().is_empty()).then_some(Duration::ZERO);
    /// let check = move || emptied.borrow_mut().clear();
    /// reactor.add_hook(prepare, check)?;
    /// reactor.turn(None)?;
    /// assert!(queue.borrow().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the loop is closed, or belongs to a parent process.
    #[track_caller]
    pub fn add_hook<P, C>(&self, prepare: P, check: C) -> Result<HookId>
    where
        P: FnMut() -> Option<Duration> + MaybeSend<M> + 'static,
        C: FnMut() + MaybeSend<M> + 'static,
    {
        let make = |_| pair(prepare, check);
        let added = self.core.add_hook("add_hook", Location::caller(), make);
        added.map(HookId)
    }

    /// Calls the `prepare` hooks once more. A host calls this right before it sleeps, if its own code has run
    /// since the last turn.
    ///
    /// If a hook wants a turn, the descriptor becomes readable, so that the host does not sleep. If the loop
    /// is being driven, or has no hooks, this does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error in the same cases as [`Host::step`](crate::Host::step).
    ///
    /// # Panics
    ///
    /// Panics if a hook does. The loop removes that hook.
    pub fn ask_hooks(&self) -> Result<()> {
        self.core.ask_hooks()
    }

    /// Removes a pair of hooks.
    ///
    /// # Errors
    ///
    /// Returns an error if the id is unknown.
    pub fn remove_hook(&self, id: HookId) -> Result<()> {
        self.core.remove_hook("remove_hook", id.0)
    }
}
