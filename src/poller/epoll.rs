//! epoll, an eventfd for wakes and a timerfd for hosts, with not one system call to spare.

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

#[cfg(pollable)]
use super::Set;
use super::{ALARM, WAKE, Watch, borrow};
use crate::{Interest, Mode, Ready};

pub(super) struct Epoll {
    epoll: OwnedFd,
    wake: OwnedFd,
    alarm: OwnedFd,
    /// The kernel takes timeouts in nanoseconds, as far as we know.
    has_pwait2: AtomicBool,
}

pub(super) type Buffer = Vec<MaybeUninit<Event>>;

// The kernel writes into the buffer by libc's calls, too.
const _: () = {
    assert!(size_of::<Event>() == size_of::<libc::epoll_event>());
    assert!(align_of::<Event>() == align_of::<libc::epoll_event>());
    assert!(offset_of!(Event, flags) == offset_of!(libc::epoll_event, events));
    assert!(offset_of!(Event, data) == offset_of!(libc::epoll_event, u64));
};

/// For so many events at once.
pub(super) fn buffer(room: usize) -> Buffer {
    vec![MaybeUninit::uninit(); room]
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Epoll {
            epoll,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            alarm: timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
            has_pwait2: AtomicBool::new(true),
        })
    }

    pub(super) fn add_wake_and_alarm(&self) -> io::Result<()> {
        self.add_own_to(&self.epoll)
    }

    /// Both edge-triggered: a write, or an expiry, is one event, and nobody has to read it off.
    fn add_own_to(&self, epoll: &OwnedFd) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(epoll, &self.wake, EventData::new_u64(WAKE), flags)?;
        epoll::add(epoll, &self.alarm, EventData::new_u64(ALARM), flags)?;
        Ok(())
    }

    #[cfg(pollable)]
    pub(super) fn is_renewable(&self) -> bool {
        true
    }

    /// Puts another set in the place of this one, under the same number: empty but for `others`,
    /// and for the wake and the alarm if this is the set that has them.
    #[cfg(pollable)]
    pub(super) fn renew(&self, set: Set, others: &[(RawFd, u64)]) -> io::Result<bool> {
        let fresh = epoll::create(CreateFlags::CLOEXEC)?;
        if set == Set::Main {
            self.add_own_to(&fresh)?;
        }
        for (fd, key) in others {
            let data = EventData::new_u64(*key);
            epoll::add(&fresh, borrow(*fd)?, data, EventFlags::IN)?;
        }
        // SAFETY: the number is owned by `self.epoll`, which goes on owning it; in one step it
        // comes to mean the other epoll instance, which is all that anybody uses it for. Who has
        // it registered elsewhere was asked to take it out before: see `Turn::haunted`.
        let done =
            unsafe { libc::dup3(fresh.as_raw_fd(), self.epoll.as_raw_fd(), libc::O_CLOEXEC) };
        match done {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(true),
        }
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        let own = [&self.epoll, &self.wake, &self.alarm];
        own.iter().any(|own| own.as_raw_fd() == fd)
    }

    pub(super) fn lacks(&self, _: Watch) -> Option<&'static str> {
        None
    }

    pub(super) fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let data = EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, borrow(fd)?, data, flags(watch))?)
    }

    pub(super) fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let data = EventData::new_u64(key);
        Ok(epoll::modify(&self.epoll, borrow(fd)?, data, flags(watch))?)
    }

    pub(super) fn delete(&self, fd: RawFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, borrow(fd)?)?)
    }

    #[inline(always)]
    pub(super) fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        mut take: impl FnMut(u64, Ready),
    ) -> io::Result<()> {
        let found = match self.has_pwait2.load(Ordering::Relaxed) {
            true => self.pwait2(buffer, timeout)?,
            false => None,
        };
        let found = match found {
            Some(found) => found,
            None => self.pwait(buffer, timeout, &mut take)?,
        };
        for event in &buffer[..found] {
            // SAFETY: both waits count what the kernel has written.
            let event = unsafe { event.assume_init_ref() };
            let flags = event.flags;
            take(event.data.u64(), Ready::from_poll(flags.bits()));
        }
        Ok(())
    }

    /// `None` if the kernel has no such call: Linux before 5.11, some sandboxes, valgrind.
    #[inline(always)]
    fn pwait2(&self, buffer: &mut Buffer, timeout: Option<Duration>) -> io::Result<Option<usize>> {
        let mut timeout = timeout.map(timespec);
        let mut until = None;
        loop {
            match wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(found) => return Ok(Some(found)),
                Err(Errno::INTR) => shorten(&mut timeout, &mut until),
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.has_pwait2.store(false, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whose timeouts are in milliseconds: what is neither nothing nor for ever is left to the alarm,
    /// which is as precise.
    #[cold]
    fn pwait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        take: &mut impl FnMut(u64, Ready),
    ) -> io::Result<usize> {
        let milliseconds = match timeout {
            Some(Duration::ZERO) => 0,
            None => -1,
            Some(_) => {
                // It was set to something else before.
                take(ALARM, Ready::NONE);
                self.set_alarm(timeout)?;
                -1
            }
        };
        loop {
            let room = buffer.len() as _;
            // SAFETY: the buffer has room for that many events of the kernel's layout, and is not
            // touched by anybody else during the call.
            let found = unsafe {
                let events = buffer.as_mut_ptr().cast::<libc::epoll_event>();
                libc::epoll_wait(self.epoll.as_raw_fd(), events, room, milliseconds)
            };
            if let Ok(found) = usize::try_from(found) {
                return Ok(found);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    pub(super) fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.wake, &1u64.to_ne_bytes()) {
            // Full: it has been written to 2^64 - 2 times and is as awake as can be.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        set_timerfd(&self.alarm, delay)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Sets a timerfd to expire once after `delay`. A delay of zero expires at once.
pub(super) fn set_timerfd(fd: &OwnedFd, delay: Option<Duration>) -> io::Result<()> {
    // To a timerfd zero means off, so the shortest delay is a nanosecond.
    let delay = delay.map_or(Duration::ZERO, |delay| delay.max(Duration::from_nanos(1)));
    let spec = Itimerspec {
        it_interval: Timespec::default(),
        it_value: timespec(delay),
    };
    timerfd_settime(fd, TimerfdTimerFlags::empty(), &spec)?;
    Ok(())
}

/// With a timeout by epoll_pwait2, by our own hand: rustix would use it for all that is linked with it,
/// async-io included, which is lost where there is no such call.
#[inline(always)]
fn wait(epoll: &OwnedFd, buffer: &mut Buffer, timeout: Option<&Timespec>) -> Result<usize, Errno> {
    let Some(timeout) = timeout.filter(|timeout| **timeout != Timespec::default()) else {
        let found = epoll::wait(epoll, buffer.as_mut_slice(), timeout);
        return found.map(|(found, _)| found.len());
    };
    // SAFETY: the buffer has room for that many events of the kernel's layout, and is not touched by
    // anybody else during the call; the timeout is as the kernel has it; no set of signals is given.
    let found = unsafe {
        let (events, room) = (buffer.as_mut_ptr(), buffer.len());
        let (no_signals, size) = (ptr::null::<libc::sigset_t>(), 0_usize);
        let call = libc::SYS_epoll_pwait2;
        let (epoll, timeout) = (epoll.as_raw_fd(), ptr::from_ref(timeout));
        libc::syscall(call, epoll, events, room, timeout, no_signals, size)
    };
    usize::try_from(found).map_err(|_| {
        let error = io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })
}

/// Capped at a thousand years, which the kernel takes; whoever waits looks again then.
fn timespec(duration: Duration) -> Timespec {
    const CAP: u64 = 1000 * 365 * 24 * 3600;
    Timespec {
        tv_sec: duration.as_secs().min(CAP) as _,
        tv_nsec: duration.subsec_nanos() as _,
    }
}

fn duration(timespec: Timespec) -> Duration {
    Duration::new(timespec.tv_sec as u64, timespec.tv_nsec as u32)
}

/// After a signal came: the clock is only read then; until then it costs nothing.
#[cold]
fn shorten(timeout: &mut Option<Timespec>, until: &mut Option<Instant>) {
    if let Some(whole) = *timeout {
        let now = Instant::now();
        *until = until.or_else(|| now.checked_add(duration(whole)));
        // Beyond what a clock can say is for ever.
        *timeout = until.map(|until| timespec(until.saturating_duration_since(now)));
    }
}

fn flags(watch: Watch) -> EventFlags {
    let mut flags = match watch.mode {
        Mode::Level => EventFlags::empty(),
        Mode::Edge => EventFlags::ET,
        Mode::Oneshot => EventFlags::ONESHOT,
    };
    let Watch { interest, .. } = watch;
    flags.set(EventFlags::IN, interest.contains(Interest::READABLE));
    flags.set(EventFlags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(EventFlags::PRI, interest.contains(Interest::PRIORITY));
    let end = interest.with_end_of_stream();
    flags.set(EventFlags::RDHUP, end.contains(Interest::READ_CLOSED));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_pwait2_a_wait_is_as_precise_and_can_be_woken() {
        let epoll = Epoll::new().unwrap();
        epoll.has_pwait2.store(false, Ordering::Relaxed);
        epoll.add_wake_and_alarm().unwrap();
        let mut buffer = buffer(8);
        let mut wait = |timeout| {
            let mut keys = Vec::new();
            epoll
                .wait(&mut buffer, timeout, |key, _| keys.push(key))
                .unwrap();
            keys
        };
        assert_eq!(wait(Some(Duration::ZERO)), []);
        let micros = Duration::from_micros(300);
        let best = (0..30).map(|_| {
            let start = Instant::now();
            assert!(wait(Some(micros)).contains(&ALARM));
            start.elapsed()
        });
        let best = best.min().unwrap();
        assert!((micros..micros * 3).contains(&best), "{best:?}");
        epoll.wake().unwrap();
        assert_eq!(wait(None), [WAKE]);
        assert_eq!(wait(Some(Duration::ZERO)), []);
    }

    #[test]
    fn a_signal_shortens_a_wait_by_the_time_that_has_passed() {
        let (mut timeout, mut until) = (Some(timespec(Duration::from_secs(1000))), None);
        shorten(&mut timeout, &mut until);
        let first = timeout.map(duration).unwrap();
        assert_eq!(first, Duration::from_secs(1000));
        while until.unwrap().saturating_duration_since(Instant::now()) == first {}
        shorten(&mut timeout, &mut until);
        assert!(timeout.map(duration).unwrap() < first);
    }
}
