//! The parts of a loop, and their locks.
//!
//! Locks are taken in this order: `turn_state`, which the driver holds, callbacks included; `state`, which is
//! never held while user code runs, drops included; a virtual source's; the inbox's.

use std::sync::{Arc, PoisonError};

use super::handlers::Handlers;
use super::inbox::Inbox;
use super::observe::{ErrorReport, Observers};
use super::state::{State, StateGuard};
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

/// A loop, which all its handles share.
#[repr(C)] // Pointers to it are pointers to the head.
pub(crate) struct Core {
    pub(crate) head: Head,
    /// Number of handles: see `handles`.
    pub(super) handles: AtomicUsize,
    /// Its handles stay on their thread.
    pub(crate) is_local: bool,
    pub(crate) poller: Poller,
    pub(crate) inbox: Arc<Inbox>,
    pub(super) state: Mutex<State>,
    pub(super) turn_state: Mutex<TurnState>,
    pub(crate) clock: Clock,
    pub(super) observers: Observers,
    /// Number of drives that were not polled yet.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(crate) expected_drives: AtomicUsize,
    /// Budget of timer futures that are due at once.
    #[cfg(feature = "futures")]
    pub(crate) timers_at_once: crate::futures::Budget,
    /// There was a warning that the loop is not driven.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(super) has_warned: AtomicBool,
}

// SAFETY: the parts that are not Send are callbacks, hooks and observers. Those of a `Reactor` are Send, because
// its methods ask for it (`MaybeSend<Shared>`). Those of a `LocalReactor` need not be, but its handles
// are neither Send nor Sync, so that they are called, and dropped, on their thread only. What goes
// to other threads is the inbox, which says for itself why that is sound, and a borrowed core in the
// futures of an `Async`, which change interests and touch no callback. The locks, and the atomics,
// make the rest Sync.
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
            state: Mutex::new(State::new(Handlers::new(inbox.clone()))),
            turn_state: Mutex::new(TurnState::new()),
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
        // Nothing in here panics half way: user code never runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an error in a child of the process that the loop belongs to.
    #[inline]
    pub(crate) fn check_process(&self, call: &'static str) -> Result<()> {
        if self.inbox.is_forked() {
            Err(Error::new(call, Cause::Forked))
        } else {
            Ok(())
        }
    }

    #[inline]
    pub(super) fn enter(&self, call: &'static str) -> Result<StateGuard<'_>> {
        self.check_process(call)?;
        let state = self.state();
        if state.closed {
            return Err(Error::new(call, Cause::Closed));
        }
        Ok(state)
    }

    /// Like `enter`, for callers that cannot report errors. In a child process there is no state: another thread
    /// may have had the lock when the process was forked, and never releases it here.
    pub(super) fn try_state(&self) -> Option<StateGuard<'_>> {
        (!self.inbox.is_forked()).then(|| self.state())
    }

    /// Gives the next to be called. None once `stop` was called, or in the child if a callback has forked.
    #[inline]
    pub(super) fn unless_stopped<T>(&self, next: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.inbox.is_stopped() || self.inbox.is_forked() {
            None
        } else {
            next()
        }
    }
}

/// Makes an error for an id that is unknown.
pub(super) fn known<T>(call: &'static str, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| Error::new(call, Cause::UnknownId))
}
