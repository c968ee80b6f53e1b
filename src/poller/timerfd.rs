//! The two timerfds of a set: one expires after a delay, and one when the system clock is set.
//!
//! Quirks of Linux that this file handles:
//!
//! a. Zero means off, so the shortest delay is a nanosecond.
//! b. Some sandboxes have no timerfds. A host cannot be told of a timer there; the loop's own wait does without.
//! c. A timerfd that is cancelled by a setting of the clock, and is armed then, answers ECANCELED, though it
//!    is armed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::backend::CLOCK;
use crate::error::failed;

/// The timerfds of a set.
#[derive(Default)]
pub(super) struct Timers {
    alarm: Option<OwnedFd>,
    clock: OnceLock<OwnedFd>,
}

impl Timers {
    /// Makes the alarm at once, so that it cannot get the number of a descriptor that its owner has closed.
    pub(super) fn new() -> io::Result<Timers> {
        let alarm = match create(TimerfdClockId::Monotonic) {
            Ok(alarm) => Some(alarm),
            Err(Errno::NOSYS | Errno::PERM) => None,
            Err(error) => return Err(failed("timerfd_create", error)),
        };
        Ok(Timers {
            alarm,
            clock: OnceLock::new(),
        })
    }

    pub(super) fn alarm(&self) -> Option<BorrowedFd<'_>> {
        self.alarm.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn clock(&self) -> Option<BorrowedFd<'_>> {
        self.clock.get().map(AsFd::as_fd)
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        let is_own = |own: BorrowedFd<'_>| own.as_raw_fd() == fd;
        self.alarm().is_some_and(is_own) || self.clock().is_some_and(is_own)
    }

    /// Makes the alarm expire once after `delay`. A delay of zero expires at once.
    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        match (&self.alarm, delay) {
            (Some(alarm), delay) => {
                let delay =
                    delay.map_or(Duration::ZERO, |delay| delay.max(Duration::from_nanos(1)));
                let spec = Itimerspec {
                    it_interval: Timespec::default(),
                    it_value: timespec(delay),
                };
                timerfd_settime(alarm, TimerfdTimerFlags::empty(), &spec)?;
                Ok(())
            }
            (None, None) => Ok(()),
            (None, Some(_)) => Err(failed("timerfd_create", Errno::NOSYS)),
        }
    }

    /// Makes the clock's timerfd expire once, when the system clock is set. The first call puts it into the
    /// set by `add`. Only called under the engine's lock.
    pub(super) fn watch_clock(
        &self,
        add: impl FnOnce(RawFd, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(clock) = self.clock.get() {
            return arm(clock);
        }
        let made = create(TimerfdClockId::Realtime);
        let clock = made.map_err(|error| failed("timerfd_create", error))?;
        arm(&clock)?;
        add(clock.as_raw_fd(), CLOCK)?;
        self.clock.get_or_init(|| clock);
        Ok(())
    }
}

fn create(clock: TimerfdClockId) -> Result<OwnedFd, Errno> {
    timerfd_create(clock, TimerfdFlags::CLOEXEC)
}

/// Arms the clock's timerfd. It is not readable until the clock is set.
fn arm(clock: &OwnedFd) -> io::Result<()> {
    // The kernel's latest time, which never comes. Only the cancellation matters.
    let never = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::MAX as _,
            tv_nsec: 0,
        },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    match timerfd_settime(clock, flags, &never) {
        Ok(_) | Err(Errno::CANCELED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the duration, capped at a thousand years, which the kernel accepts. A loop that wakes then looks
/// again.
pub(super) fn timespec(duration: Duration) -> Timespec {
    const CAP: u64 = 1000 * 365 * 24 * 3600;
    Timespec {
        tv_sec: duration.as_secs().min(CAP) as _,
        tv_nsec: duration.subsec_nanos() as _,
    }
}
