use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::process::{Child, ExitStatus};
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use crate::engine::{Target, boxed};
use crate::outcome::Failure;
use crate::signal::SignalPipe;
use crate::{
    Action, AddError, Error, HandlerId, Interest, IntoResult, LoopEvent, MaybeSend, Mode, Reactor,
    Threading,
};

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
            let ended = waitpid(Some(number(*self)?), WaitOptions::NOHANG)?;
            Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
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
    /// On Linux, this uses a pidfd. Elsewhere, and before Linux 5.3, it uses `SIGCHLD`, like
    /// [`add_signal`](Self::add_signal).
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
    /// a child of this one, or was reaped already.
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
        ending: impl FnOnce(Pid) -> io::Result<ExitWatch>,
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
        let ending = match number(pid).and_then(is_ours).and_then(ending) {
            Ok(ending) => ending,
            Err(error) => {
                let error = Error::os(CALL, error).with_process(pid);
                return Err(AddError::new(error, child));
            }
        };
        let on = Target::Fd(ending.as_fd().as_raw_fd());
        let mode = ending.mode();
        let make = |(mut child, ending): (C, ExitWatch), key| {
            child.end_input();
            let mut callback = Some(make(HandlerId(key)));
            boxed(
                ending,
                move |ending: &mut ExitWatch, _| -> Result<Action, Failure> {
                    ending.drain();
                    match child.reap() {
                        Ok(None) => return Ok(Action::Continue),
                        result => {
                            let status = result.and_then(|status| status.ok_or_else(no_child));
                            if let Some(callback) = callback.take() {
                                callback(status).into_result()?;
                            }
                        }
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

/// A descriptor that becomes readable when the child may have ended.
pub(crate) enum ExitWatch {
    #[cfg(target_os = "linux")]
    PidFd(OwnedFd),
    Signal(SignalPipe),
}

impl ExitWatch {
    #[cfg(target_os = "linux")]
    pub(crate) fn of(pid: Pid) -> io::Result<ExitWatch> {
        use rustix::io::Errno;
        use rustix::process::{PidfdFlags, pidfd_open};
        // Checked before the first call, because a sandbox may kill the process for it.
        static IS_TRAPPED: OnceLock<bool> = OnceLock::new();
        let is_trapped = IS_TRAPPED.get_or_init(|| {
            crate::seccomp::traps(libc::SYS_pidfd_open, || {
                // SAFETY: the call names no process, so it fails at once.
                unsafe { libc::syscall(libc::SYS_pidfd_open, 0, 0) };
            })
        });
        if *is_trapped {
            return ExitWatch::by_signal(pid);
        }
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(ExitWatch::PidFd(fd)),
            Err(Errno::NOSYS | Errno::PERM) => ExitWatch::by_signal(pid),
            Err(error) => Err(error.into()),
        }
    }

    /// Android 11 kills apps for `pidfd_open`.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(pid: Pid) -> io::Result<ExitWatch> {
        ExitWatch::by_signal(pid)
    }

    fn by_signal(_: Pid) -> io::Result<ExitWatch> {
        let pipe = SignalPipe::new(libc::SIGCHLD)?;
        // The child may have ended before the signal was watched.
        pipe.notify();
        Ok(ExitWatch::Signal(pipe))
    }

    /// A child that a debugger holds stays readable after its end. It cannot be reaped until the debugger has
    /// seen that end, which the kernel then reports once more.
    fn mode(&self) -> Mode {
        match self {
            // poll(2) has no edges.
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) if cfg!(pollable) => Mode::Edge,
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) => Mode::Level,
            ExitWatch::Signal(_) => Mode::Level,
        }
    }

    fn drain(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) => {}
            ExitWatch::Signal(pipe) => pipe.drain(),
        }
    }
}

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(fd) => fd.as_fd(),
            ExitWatch::Signal(pipe) => pipe.as_fd(),
        }
    }
}

fn number(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    pid.and_then(Pid::from_raw).ok_or_else(no_child)
}

/// Returns the number if it belongs to a child of this process that was not reaped.
fn is_ours(pid: Pid) -> io::Result<Pid> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), look)?;
    Ok(pid)
}

fn no_child() -> io::Error {
    io::Error::from_raw_os_error(libc::ECHILD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reactor;
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Runs here what other systems do.
    #[test]
    fn by_the_signal_it_works_as_well() {
        let reactor = Reactor::new().unwrap();
        let (sender, ended) = channel();
        for code in 0..10 {
            let script = format!("exit {code}");
            let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
            let sender = sender.clone();
            let callback = move |status: io::Result<ExitStatus>| {
                sender.send(status.unwrap().code().unwrap()).unwrap();
            };
            let location = Location::caller();
            let add = reactor.add_child_by(ExitWatch::by_signal, child, location, |_| callback);
            add.unwrap();
        }
        reactor.run().unwrap();
        let mut codes: Vec<_> = ended.try_iter().collect();
        codes.sort();
        assert_eq!(codes, (0..10).collect::<Vec<_>>());
    }

    /// No signal arrives for this child any more.
    #[test]
    fn by_the_signal_one_that_has_ended_before_is_noticed_too() {
        let reactor = Reactor::new().unwrap();
        let child = Command::new("true").spawn().unwrap();
        let pid = number(child.id()).unwrap();
        waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
        .unwrap();
        let callback = |status: io::Result<ExitStatus>| assert!(status.unwrap().success());
        let location = Location::caller();
        let add = reactor.add_child_by(ExitWatch::by_signal, child, location, |_| callback);
        add.unwrap();
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().called, 1);
        assert_eq!(reactor.stats().handlers, 0);
    }
}
