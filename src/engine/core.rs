//! The parts of a loop, and their locks.
//!
//! Locks are taken in this order:
//!
//! 1. `turn_state`, which the driver holds, also while callbacks run;
//! 2. `state`, which is never held while user code runs, drops included;
//! 3. a virtual source's;
//! 4. the inbox's.

use std::sync::Arc;

use super::handlers::Handlers;
use super::inbox::Inbox;
use super::observe::{ErrorReport, Observers};
use super::state::State;
use super::state_lock::{StateGuard, StateLock};
use super::turn_state::TurnState;
use crate::bindings::Head;
use crate::clock::{Clock, ClockSource};
use crate::error::Cause;
use crate::poller::Poller;
use crate::sync::Mutex;
#[cfg(all(feature = "futures", feature = "tracing"))]
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::AtomicUsize;
use crate::{Error, Result};

/// A loop. All its handles share it.
#[repr(C)] // A pointer to it is also a pointer to its head.
pub(crate) struct Core {
    pub(crate) head: Head,
    /// Number of handles. The module `handles` counts them.
    pub(super) handles: AtomicUsize,
    /// True if the handles stay on their thread.
    pub(crate) is_local: bool,
    pub(crate) poller: Poller,
    pub(crate) inbox: Arc<Inbox>,
    pub(super) state: StateLock,
    pub(super) turn_state: Mutex<TurnState>,
    /// The events that were found in the place of a host.
    #[cfg(not(pollable))]
    pub(super) seen: super::looking::Seen,
    pub(crate) clock: Clock,
    pub(super) observers: Observers,
    /// Number of `Drive` futures that were not polled yet.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(crate) expected_drives: AtomicUsize,
    /// Budget of timer futures that are due when they are created.
    #[cfg(feature = "futures")]
    pub(crate) timers_at_once: crate::futures::Budget,
    /// True after a warning that the loop is not driven.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(super) has_warned: AtomicBool,
}

// SAFETY: the parts that are not Send are callbacks, hooks and observers. Those of a `Reactor` are Send, because
// its methods ask for it (`MaybeSend<Shared>`). Those of a `LocalReactor` need not be, but its handles
// and futures are neither Send nor Sync, so that they are called, and dropped, on their thread only. The same
// holds for its state, whose lock is for one thread only. What goes to other threads is the inbox, which says for
// itself why that is sound, and the thread of a lookout, which only waits in the poller, and which ends before the
// handle that the lookout has. The locks, and the atomics, make the rest Sync.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

impl Core {
    pub(crate) fn new(
        poller: Poller,
        clock: ClockSource,
        on_error: Option<ErrorReport>,
        is_local: bool,
    ) -> Core {
        let inbox = Arc::new(Inbox::new(poller.waker()));
        Core {
            head: Head::new(),
            handles: AtomicUsize::new(1),
            is_local,
            clock: Clock::new(clock, &inbox),
            observers: Observers::new(on_error),
            state: StateLock::new(State::new(Handlers::new(inbox.clone())), is_local),
            turn_state: Mutex::new(TurnState::new()),
            #[cfg(not(pollable))]
            seen: super::looking::Seen::new(),
            poller,
            inbox,
            #[cfg(all(feature = "futures", feature = "tracing"))]
            expected_drives: AtomicUsize::new(0),
            #[cfg(feature = "futures")]
            timers_at_once: crate::futures::Budget::default(),
            #[cfg(all(feature = "futures", feature = "tracing"))]
            has_warned: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    pub(super) fn state(&self) -> StateGuard<'_> {
        self.state.lock()
    }

    /// Returns an error in a child of the process that made the loop.
    #[inline]
    pub(crate) fn check_process(&self, call: &'static str) -> Result<()> {
        if self.inbox.is_forked() {
            Err(Error::new(call, Cause::Forked))
        } else {
            Ok(())
        }
    }

    /// Takes the state for a call. Returns an error if the loop is closed, or in a child process.
    #[inline]
    pub(super) fn enter(&self, call: &'static str) -> Result<StateGuard<'_>> {
        self.check_process(call)?;
        let state = self.state();
        if state.closed {
            return Err(Error::new(call, Cause::Closed));
        }
        Ok(state)
    }

    /// Takes the state for a caller that cannot report errors. Returns `None` in a child process, because a thread
    /// that exists only in the parent may have the lock.
    pub(super) fn try_state(&self) -> Option<StateGuard<'_>> {
        (!self.inbox.is_forked()).then(|| self.state())
    }

    /// Returns the next registration to call. Returns `None` after a `stop`, and in the child of a callback that has
    /// forked.
    #[inline]
    pub(super) fn next_unless_stopped<T>(&self, next: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.inbox.is_stopped() || self.inbox.is_forked() {
            None
        } else {
            next()
        }
    }
}

/// Returns what was found for an id, or an error that the id is unknown.
pub(super) fn known<T>(call: &'static str, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| Error::new(call, Cause::UnknownId))
}
