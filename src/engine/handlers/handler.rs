//! One handler: its callback, its interest, and the readiness to report to it.

use std::num::NonZeroU32;
use std::panic::Location;

use crate::id::Key;
use crate::os::RawFd;
use crate::outcome::Failure;
use crate::{Action, Event, HandlerId, Interest, Mode, Priority, Ready};

pub(crate) type Callback = Box<dyn FnMut(Event) -> Outcome>;

/// The result of one call of a handler.
pub(crate) enum Outcome {
    Done(Action),
    /// The callback has replaced its source by another one with this descriptor.
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

/// The index of a handler. An `Option` of it also takes only four bytes.
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
    // `Table::alter` must make every change of the next four fields, because they decide about the descriptor's
    // registration with the kernel.
    pub(crate) interest: Interest,
    pub(crate) mode: Mode,
    /// False for a one-shot that was called and not armed again.
    pub(crate) armed: bool,
    /// True if the handler is over its rate limit and not watched until the interval ends.
    pub(super) held: bool,
    pub(crate) unreferenced: bool,
    pub(crate) priority: Priority,
    /// True for a one-shot, and for a handler with a rate limit. Each call of these changes their state.
    pub(super) counts_calls: bool,
    /// True if `Table::active` includes it.
    pub(crate) counted: bool,
    /// True if it returned `Action::Again` and was not called since.
    pub(crate) again: bool,
    /// True if it is in the ready queue.
    pub(super) queued: bool,
    /// The readiness to report in this turn.
    pub(super) pending: Ready,
    /// The readiness that was last reported.
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

    /// Returns true if the handler is called when its source becomes ready.
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

    /// Takes the readiness to report now.
    #[inline(always)]
    pub(super) fn take_pending(&mut self) -> Ready {
        let pending = std::mem::take(&mut self.pending);
        match pending.seen_by(self.interest) {
            // The interest was changed meanwhile. `Action::Again` asks for a call in any case.
            Ready::NONE if self.again && !pending.is_empty() => self.told_again(),
            ready => ready,
        }
    }

    /// Returns the readiness that the next call reports, or that of the call which is running.
    pub(super) fn ready(&self) -> Ready {
        match &self.callback {
            Some(_) => self.pending.seen_by(self.interest),
            None => self.last,
        }
    }

    /// Returns the readiness for a call that only `Action::Again` asked for: that of the last call, as far as the
    /// interest includes it. Returns none while the handler is paused.
    pub(super) fn told_again(&self) -> Ready {
        match self.last.seen_by(self.interest) {
            Ready::NONE => Ready::all(self.interest),
            last => last,
        }
    }

    /// Drops pending readiness that belongs to another file.
    pub(super) fn forget_pending(&mut self) {
        if !self.again {
            self.pending = Ready::NONE;
        }
    }

    /// Adds to the pending readiness. Returns true if there was none.
    #[inline]
    pub(super) fn add_pending(&mut self, ready: Ready) -> bool {
        let was_empty = self.pending.is_empty();
        self.pending |= ready;
        was_empty
    }
}

/// A call of a handler, which the driver makes now.
pub(crate) struct Call {
    pub(crate) callback: Callback,
    pub(crate) event: Event,
    pub(crate) location: &'static Location<'static>,
}
