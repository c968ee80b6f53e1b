//! A timerfd that tells when somebody sets the system clock.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::error::failed;

pub(super) struct ClockWatch(OwnedFd);

impl ClockWatch {
    pub(super) fn new() -> io::Result<ClockWatch> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let made = timerfd_create(TimerfdClockId::Realtime, flags);
        Ok(ClockWatch(
            made.map_err(|error| failed("timerfd_create", error))?,
        ))
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        self.0.as_raw_fd() == fd
    }

    /// Not readable from now on until the clock is set.
    pub(super) fn arm(&self) -> io::Result<()> {
        // The kernel's latest time, which never comes: only that it is cancelled is of interest.
        let never = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::MAX as _,
                tv_nsec: 0,
            },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.0, flags, &never) {
            // The clock was set since it was armed last; it is armed anew all the same.
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for ClockWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
