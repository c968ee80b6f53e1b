use std::io;
use std::panic::Location;
use std::process::{Child, ExitStatus};

use crate::engine::{Target, boxed};
use crate::outcome::Failure;
use crate::{
    Action, AddError, Error, HandlerId, Interest, IntoResult, LoopEvent, MaybeSend, Reactor,
    Threading,
};

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::ExitWatch;
#[cfg(target_os = "linux")]
pub use unix::has_pidfds;
#[cfg(unix)]
use unix::reap;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::ExitWatch;
#[cfg(windows)]
use windows::reap;

/// A child of this process: a [`Child`] or a process number.
pub trait ChildProcess: sealed::Reap {}

impl ChildProcess for Child {}
impl ChildProcess for u32 {}

mod sealed {
    use super::*;

    pub trait Reap {
        fn pid(&self) -> u32;

        /// Closes the child's input, as waiting for it does.
        fn end_input(&mut self) {}

        /// Reaps the child and returns its exit status, if it has ended.
        fn reap(&mut self) -> io::Result<Option<ExitStatus>>;
    }

    impl Reap for Child {
        fn pid(&self) -> u32 {
            self.id()
        }

        fn end_input(&mut self) {
            drop(self.stdin.take());
        }

        fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
            self.try_wait()
        }
    }

    impl Reap for u32 {
        fn pid(&self) -> u32 {
            *self
        }

        fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
            super::reap(*self)
        }
    }
}

/// # Child processes (feature `signal`)
impl<M: Threading> Reactor<M> {
    /// Calls `callback` once with the exit status, when a child process has ended and was reaped.
    ///
    /// Until then it is a handler like any other. If it is removed, the loop drops a [`Child`], which neither
    /// kills nor reaps the process.
    ///
    /// If the input of a [`Child`] is a pipe that was not taken, this closes it, as [`wait`](Child::wait)
    /// does.
    ///
    /// On Linux, this uses a pidfd, and on Windows a wait of the system's thread pool. Elsewhere, and before Linux
    /// 5.3, it uses `SIGCHLD`, like [`add_signal`](Self::add_signal).
    ///
    /// If other code has reaped the child meanwhile, the status is lost, and the callback gets an error.
    ///
    /// ```
    /// # #[cfg(feature = "signal")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reactor = oneloop::Reactor::new()?;
    /// let child = std::process::Command::new("true").spawn()?;
    /// reactor.add_child(child, |status| assert!(status.unwrap().success()))?;
    /// reactor.run()?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "signal"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the operating system's error with the child in it. The code is `ECHILD` if the process is not
    /// a child of this one, or was reaped already. Windows has no such rule: any process will do that this one may
    /// wait for.
    #[track_caller]
    pub fn add_child<C, F, R>(&self, child: C, callback: F) -> Result<HandlerId, AddError<C>>
    where
        C: ChildProcess + MaybeSend<M> + 'static,
        F: FnOnce(io::Result<ExitStatus>) -> R + MaybeSend<M> + 'static,
        R: IntoResult,
    {
        self.add_child_by(ExitWatch::of, child, Location::caller(), |_| callback)
    }

    pub(crate) fn add_child_by<C, F, R>(
        &self,
        ending: impl FnOnce(u32) -> io::Result<ExitWatch>,
        child: C,
        location: &'static Location<'static>,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId, AddError<C>>
    where
        C: ChildProcess + 'static,
        F: FnOnce(io::Result<ExitStatus>) -> R + 'static,
        R: IntoResult,
    {
        const CALL: &str = "add_child";
        let pid = child.pid();
        let ending = match ending(pid) {
            Ok(ending) => ending,
            Err(error) => {
                let error = Error::os(CALL, error).with_process(pid);
                return Err(AddError::new(error, child));
            }
        };
        let on = Target::of(&ending);
        let mode = ending.mode();
        let make = |(mut child, ending): (C, ExitWatch), key| {
            child.end_input();
            let mut callback = Some(make(HandlerId(key)));
            boxed(
                ending,
                move |ending: &mut ExitWatch, _| -> Result<Action, Failure> {
                    ending.drain();
                    let status = match child.reap() {
                        Ok(None) => return Ok(Action::Continue),
                        Ok(Some(status)) => Ok(status),
                        Err(error) => Err(error),
                    };
                    if let Some(callback) = callback.take() {
                        callback(status).into_result()?;
                    }
                    Ok(Action::Remove)
                },
            )
        };
        let what = (Interest::READABLE, mode);
        let parts = (child, ending);
        match self.core.add_handler(CALL, on, what, location, parts, make) {
            Ok(key) => {
                self.core.set_event(key, LoopEvent::ChildExit(pid));
                Ok(HandlerId(key))
            }
            Err((error, (child, _))) => Err(AddError::new(error.with_process(pid), child)),
        }
    }
}
