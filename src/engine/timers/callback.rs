//! Callbacks of timers.

use crate::Action;
use crate::outcome::Failure;

pub(crate) type Callback = Box<dyn Call>;

/// A callback for one call or for many. If it captures nothing, its box allocates no memory.
pub(crate) trait Call {
    /// Calls the callback for the last time.
    fn call_last(self: Box<Self>) -> Result<Action, Failure>;

    /// Calls a callback that is for many calls. If it unwinds, the driver still owns it, and drops it after the timer
    /// was removed.
    fn call(&mut self) -> Result<Action, Failure>;
}

struct Once<F>(F);

impl<F: FnOnce() -> Result<(), Failure> + 'static> Call for Once<F> {
    #[inline]
    fn call_last(self: Box<Self>) -> Result<Action, Failure> {
        (self.0)().map(|()| Action::Remove)
    }

    fn call(&mut self) -> Result<Action, Failure> {
        Ok(Action::Remove)
    }
}

struct Repeated<F>(F);

impl<F: FnMut() -> Result<Action, Failure> + 'static> Call for Repeated<F> {
    fn call_last(mut self: Box<Self>) -> Result<Action, Failure> {
        (self.0)()
    }

    #[inline]
    fn call(&mut self) -> Result<Action, Failure> {
        (self.0)()
    }
}

/// Makes a callback for one call.
pub(crate) fn once(callback: impl FnOnce() -> Result<(), Failure> + 'static) -> Callback {
    Box::new(Once(callback))
}

/// Makes a callback for any number of calls.
pub(crate) fn repeated(callback: impl FnMut() -> Result<Action, Failure> + 'static) -> Callback {
    Box::new(Repeated(callback))
}
