use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

#[cfg(target_os = "linux")]
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, pidfd_open};

use crate::Mode;
use crate::signal::SignalWatch;

/// A descriptor that becomes readable when the child may have ended.
pub(crate) enum ExitWatch {
    #[cfg(target_os = "linux")]
    PidFd(OwnedFd),
    Signal(SignalWatch),
}

impl ExitWatch {
    #[cfg(target_os = "linux")]
    pub(crate) fn of(pid: u32) -> io::Result<ExitWatch> {
        match pidfd(is_ours(pid)?)? {
            Some(fd) => Ok(ExitWatch::PidFd(fd)),
            None => ExitWatch::by_signal(pid),
        }
    }

    /// Android 11 kills apps for `pidfd_open`.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(pid: u32) -> io::Result<ExitWatch> {
        ExitWatch::by_signal(pid)
    }

    fn by_signal(pid: u32) -> io::Result<ExitWatch> {
        is_ours(pid)?;
        let watch = SignalWatch::new(libc::SIGCHLD)?;
        // The child may have ended before the signal was watched.
        watch.notify();
        Ok(ExitWatch::Signal(watch))
    }

    /// A child that a debugger holds stays readable after its end. It cannot be reaped until the debugger has
    /// seen that end, which the kernel then reports once more.
    pub(crate) fn mode(&self) -> Mode {
        match self {
            // poll(2) has no edges.
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) if cfg!(pollable) => Mode::Edge,
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) => Mode::Level,
            ExitWatch::Signal(_) => Mode::Level,
        }
    }

    pub(crate) fn drain(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(_) => {}
            ExitWatch::Signal(watch) => watch.drain(),
        }
    }
}

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            #[cfg(target_os = "linux")]
            ExitWatch::PidFd(fd) => fd.as_fd(),
            ExitWatch::Signal(watch) => watch.as_fd(),
        }
    }
}

/// Returns true if children are waited for by pidfds.
#[cfg(target_os = "linux")]
pub fn has_pidfds() -> bool {
    !matches!(pidfd(rustix::process::getpid()), Ok(None))
}

/// Opens a pidfd, or returns `None` if this kernel lacks them or a sandbox forbids them.
#[cfg(target_os = "linux")]
fn pidfd(process: Pid) -> io::Result<Option<OwnedFd>> {
    // Checked before the first call, because a sandbox may kill the process for it.
    static IS_TRAPPED: OnceLock<bool> = OnceLock::new();
    let is_trapped = IS_TRAPPED.get_or_init(|| {
        crate::seccomp::traps(libc::SYS_pidfd_open, || {
            // SAFETY: the call names no process, so it fails at once.
            unsafe { libc::syscall(libc::SYS_pidfd_open, 0, 0) };
        })
    });
    if *is_trapped {
        return Ok(None);
    }
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reaps a child and returns its exit status, if it has ended.
pub(crate) fn reap(pid: u32) -> io::Result<Option<ExitStatus>> {
    let ended = waitpid(Some(number(pid)?), WaitOptions::NOHANG)?;
    Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

fn number(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let pid = pid.and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
}

/// Returns the number if it belongs to a child of this process that was not reaped.
fn is_ours(pid: u32) -> io::Result<Pid> {
    let pid = number(pid)?;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), look)?;
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reactor;
    use std::panic::Location;
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
