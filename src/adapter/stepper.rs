use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::BUDGET;
use crate::os::{AsFd, BorrowedFd};
use crate::{Host, Step, Threading};

/// A loop made of callbacks, such as GLib's or libuv's, as a [`Stepper`] needs it.
pub trait CallbackLoop {
    /// Begins to call [`Stepper::step`] whenever the descriptor is readable. The loop must be level-triggered.
    ///
    /// # Errors
    ///
    /// Returns an error if the loop cannot watch the descriptor. The stepper ends with that error.
    fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Stops watching, since the descriptor may mean another file after the next step.
    ///
    /// Returns false if the loop stops only when its present callback has returned. The stepper then
    /// [asks to be called again](Self::call_again).
    fn unwatch(&mut self) -> bool;

    /// Calls [`Stepper::step`] once, soon, after the loop's other work.
    fn call_again(&mut self);
}

/// The end of a [`Stepper`]: the result, or the payload of a callback's panic.
pub type End = thread::Result<io::Result<()>>;

type OnEnd = Box<dyn FnOnce(End)>;

/// Steps a [`Host`] inside a loop made of callbacks.
///
/// An adapter for a loop in C makes one, and calls [`step`](Self::step) from the loop's callbacks. No panic leaves
/// `step`, since none may unwind through C. It arrives in `on_end`, which typically ends the loop, so that the
/// caller of that loop can [resume](std::panic::resume_unwind) the panic.
///
/// ```
/// use oneloop::adapter::{CallbackLoop, Stepper};
/// use std::os::fd::{AsRawFd, BorrowedFd};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// /// A loop on poll(2).
/// struct Poll(Option<i32>);
///
/// impl CallbackLoop for Poll {
///     fn watch(&mut self, fd: BorrowedFd<'_>) -> std::io::Result<()> {
///         self.0 = Some(fd.as_raw_fd());
///         Ok(())
///     }
///     fn unwatch(&mut self) -> bool {
///         self.0 = None;
///         true
///     }
///     fn call_again(&mut self) {} // see below
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = oneloop::Reactor::new()?;
/// reactor.call_later(Duration::from_millis(1), || oneloop::Reactor::current().unwrap().stop())?;
///
/// let ended = Rc::new(Cell::new(None));
/// let end = ended.clone();
/// let mut stepper = Stepper::new(reactor.host("poll")?, move |how| end.set(Some(how)));
/// let mut poll = Poll(None);
/// while !stepper.step(&mut poll) {
///     if let Some(fd) = poll.0 {
///         let mut fd = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
///         // SAFETY: one pollfd, which lives during the call.
///         unsafe { libc::poll(&mut fd, 1, -1) };
///     }
/// }
/// assert!(matches!(ended.take(), Some(Ok(Ok(())))));
/// # Ok(())
/// # }
/// ```
pub struct Stepper<M: Threading> {
    /// `None` after the end.
    driving: Option<(Host<M>, OnEnd)>,
    is_watching: bool,
}

impl<M: Threading> Stepper<M> {
    /// Makes a stepper. `on_end` is called once: after [`stop`](crate::Reactor::stop), after an error, after a
    /// panic, and when nothing is left if the host [ends then](Host::exit_when_empty).
    pub fn new(host: Host<M>, on_end: impl FnOnce(End) + 'static) -> Stepper<M> {
        Stepper {
            driving: Some((host, Box::new(on_end))),
            is_watching: false,
        }
    }

    /// Drives the reactor for a while without waiting. The first call begins it.
    ///
    /// Returns true after the end. The loop need not call again then.
    pub fn step(&mut self, outer: &mut impl CallbackLoop) -> bool {
        let Some((host, _)) = &mut self.driving else {
            return true;
        };
        let is_watching = &mut self.is_watching;
        let steps = || Self::steps(host, is_watching, outer);
        let end = match catch_unwind(AssertUnwindSafe(steps)) {
            Ok(Ok(false)) => return false,
            Ok(Ok(true)) => Ok(Ok(())),
            Ok(Err(error)) => Ok(Err(error)),
            Err(payload) => Err(payload),
        };
        if std::mem::take(&mut self.is_watching) {
            outer.unwatch();
        }
        if let Some((host, on_end)) = self.driving.take() {
            // Another driver can go on from here.
            drop(host);
            on_end(end);
        }
        true
    }

    /// Returns true if the reactor is done.
    fn steps(
        host: &mut Host<M>,
        is_watching: &mut bool,
        outer: &mut impl CallbackLoop,
    ) -> io::Result<bool> {
        loop {
            match host.step(BUDGET)? {
                Step::Watch => {
                    outer.watch(host.as_fd())?;
                    *is_watching = true;
                }
                Step::Unwatch => {
                    *is_watching = false;
                    if !outer.unwatch() {
                        outer.call_again();
                        return Ok(false);
                    }
                }
                Step::Sleep => return Ok(false),
                Step::Yield => {
                    // The descriptor is readable, but nothing watches it yet.
                    if !*is_watching {
                        outer.call_again();
                    }
                    return Ok(false);
                }
                Step::Done => return Ok(true),
            }
        }
    }
}
