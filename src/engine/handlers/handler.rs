//! One handler: its callback, its interest, and the readiness it is to be told.

use std::num::NonZeroU32;
use std::panic::Location;

use crate::id::Key;
use crate::os::RawFd;
use crate::outcome::Failure;
use crate::{Action, Event, HandlerId, Interest, Mode, Priority, Ready};

pub(crate) type Callback = Box<dyn FnMut(Event) -> Outcome>;

/// Result of one call of a handler.
pub(crate) enum Outcome {
    Done(Action),
    /// The callback has replaced its source by another, which has this descriptor.
    Replaced(Action, RawFd),
    Failed(Failure),
}

impl From<Result<Action, Failure>> for Outcome {
    #[inline]
    fn from(result: Result<Action, Failure>) -> Outcome {
        match result {
            Ok(action) => Outcome::Done(action),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// Index of a handler. As an `Option` it takes four bytes, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct HandlerIndex(NonZeroU32);

impl HandlerIndex {
    pub(super) fn of(key: Key) -> HandlerIndex {
        // Indices stay below the largest number: see `Key::new`.
        HandlerIndex(NonZeroU32::MIN.saturating_add(key.index()))
    }

    pub(super) fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

pub(crate) struct Handler {
    /// `None` while the callback runs.
    pub(super) callback: Option<Callback>,
    pub(crate) key: Key,
    /// Place of registration.
    pub(crate) location: &'static Location<'static>,
    /// Calls so far.
    pub(crate) calls: u64,
    /// Index of its descriptor.
    pub(super) descriptor: u32,
    /// The next handler on the same descriptor, and the one before.
    pub(super) sibling: Option<HandlerIndex>,
    pub(super) previous: Option<HandlerIndex>,
    // Interest, mode, `armed` and `held` decide about the descriptor's registration with the kernel:
    // change them by `Table::alter` only.
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// False for a one-shot that was called and not armed again.
    pub(crate) armed: bool,
    /// Over its rate limit, and not watched until the interval ends.
    pub(super) held: bool,
    pub(crate) unreferenced: bool,
    pub(crate) priority: Priority,
    /// Calls are counted: the handler is a one-shot, or has a rate limit.
    pub(super) counts_calls: bool,
    /// Included in `Table::active`.
    pub(crate) counted: bool,
    /// It returned `Action::Again` and was not called since.
    pub(crate) again: bool,
    /// It is in the ready queue.
    pub(super) queued: bool,
    /// Readiness to report in this turn.
    pub(super) pending: Ready,
    /// Readiness that was reported last.
    last: Ready,
}

impl Handler {
    pub(super) fn new(
        key: Key,
        interest: Interest,
        mode: Mode,
        location: &'static Location<'static>,
    ) -> Handler {
        Handler {
            callback: None,
            key,
            location,
            calls: 0,
            descriptor: u32::MAX,
            sibling: None,
            previous: None,
            interest,
            mode,
            armed: true,
            held: false,
            unreferenced: false,
            priority: Priority::Normal,
            counts_calls: mode == Mode::Oneshot,
            counted: false,
            again: false,
            queued: false,
            pending: Ready::NONE,
            last: Ready::NONE,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        !self.interest.is_empty() && self.armed
    }

    /// Whether it is to be called when it becomes ready.
    pub(super) fn is_watched(&self) -> bool {
        self.is_active() && !self.held
    }

    #[inline(always)]
    pub(super) fn call(&mut self, ready: Ready) -> Option<Call> {
        let callback = self.callback.take()?;
        self.last = ready;
        self.calls += 1;
        Some(Call {
            callback,
            event: Event::new(HandlerId(self.key), ready),
            location: self.location,
        })
    }

    /// Takes the readiness that is to be reported now.
    #[inline(always)]
    pub(super) fn take_pending(&mut self) -> Ready {
        let pending = std::mem::take(&mut self.pending);
        match pending.seen_by(self.interest) {
            // Its interest was changed since. It asked to be called again, whatever the readiness is.
            Ready::NONE if self.again && !pending.is_empty() => self.told_again(),
            ready => ready,
        }
    }

    /// Readiness for a call that only `Action::Again` asked for: as last time, as far as the interest
    /// still includes it. None while the handler is paused.
    pub(super) fn told_again(&self) -> Ready {
        match self.last.seen_by(self.interest) {
            Ready::NONE => Ready::all(self.interest),
            last => last,
        }
    }

    /// Drops readiness that was of another file.
    pub(super) fn forget_pending(&mut self) {
        if !self.again {
            self.pending = Ready::NONE;
        }
    }

    /// Adds to the readiness that is pending. True if there was none.
    #[inline]
    pub(super) fn add_pending(&mut self, ready: Ready) -> bool {
        let was_empty = self.pending.is_empty();
        self.pending |= ready;
        was_empty
    }
}

/// A handler that is to be called now.
pub(crate) struct Call {
    pub(crate) callback: Callback,
    pub(crate) event: Event,
    pub(crate) location: &'static Location<'static>,
}
