//! epoll, an eventfd for wakes and a timerfd for hosts, with not one system call to spare.

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

#[cfg(pollable)]
use super::PollSet;
use super::eventfd::EventFd;
use super::{ALARM, WAKE, Wake, Watch, borrow};
use crate::error::failed;
use crate::{Interest, Mode, Ready};

pub(super) struct Epoll {
    epoll: OwnedFd,
    /// Not in a second set, which has neither this nor an alarm.
    wake: Option<Arc<EventFd>>,
    /// Where there are no timerfds, a host cannot be told of a timer. The loop's own wait does without.
    alarm: Option<OwnedFd>,
    /// Whether the kernel takes timeouts in nanoseconds.
    pwait2: AtomicU8,
}

/// It is not known yet: what is needed for the first wait with a timeout.
const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const MISSING: u8 = 2;

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
        let mut epoll = Epoll::second()?;
        epoll.wake = Some(Arc::new(EventFd::new()?));
        // Made at once, so that it cannot come to have the number of a descriptor that its owner closed.
        epoll.alarm = alarm()?;
        Ok(epoll)
    }

    /// One inside another.
    pub(super) fn second() -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC);
        // Android 13 kills an app that makes the call.
        let pwait2 = if cfg!(target_os = "android") {
            MISSING
        } else {
            UNKNOWN
        };
        Ok(Epoll {
            epoll: epoll.map_err(|error| failed("epoll_create1", error))?,
            wake: None,
            alarm: None,
            pwait2: AtomicU8::new(pwait2),
        })
    }

    pub(super) fn add_wake_and_alarm(&self) -> io::Result<()> {
        self.add_own_to(&self.epoll)
    }

    /// Both edge-triggered: a write, or an expiry, is one event, and nobody has to read it off.
    fn add_own_to(&self, epoll: &OwnedFd) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        let wake = self.wake.as_ref().map(|wake| wake.as_fd());
        let alarm = self.alarm.as_ref().map(|alarm| alarm.as_fd());
        for (fd, key) in [(wake, WAKE), (alarm, ALARM)] {
            if let Some(fd) = fd {
                let added = epoll::add(epoll, fd, EventData::new_u64(key), flags);
                added.map_err(|error| failed("epoll_ctl", error))?;
            }
        }
        Ok(())
    }

    #[cfg(pollable)]
    pub(super) fn is_rebuildable(&self) -> bool {
        true
    }

    /// Puts another set in the place of this one, under the same number: empty but for `others`,
    /// and for the wake and the alarm if this is the set that has them.
    #[cfg(pollable)]
    pub(super) fn rebuild(&self, set: PollSet, others: &[(RawFd, u64)]) -> io::Result<bool> {
        let fresh = epoll::create(CreateFlags::CLOEXEC)?;
        if set == PollSet::Primary {
            self.add_own_to(&fresh)?;
        }
        for (fd, key) in others {
            let data = EventData::new_u64(*key);
            epoll::add(&fresh, borrow(*fd)?, data, EventFlags::IN)?;
        }
        // SAFETY: the number is owned by `self.epoll`, which goes on owning it; in one step it
        // comes to mean the other epoll instance, which is all that anybody uses it for. Who has
        // it registered elsewhere was asked to take it out before: see `Turn::needs_rebuild`.
        let done =
            unsafe { libc::dup3(fresh.as_raw_fd(), self.epoll.as_raw_fd(), libc::O_CLOEXEC) };
        match done {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(true),
        }
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        self.epoll.as_raw_fd() == fd
            || self.wake.as_ref().is_some_and(|wake| wake.owns(fd))
            || self
                .alarm
                .as_ref()
                .is_some_and(|alarm| alarm.as_raw_fd() == fd)
    }

    pub(super) fn unsupported_reason(&self, _: Watch) -> Option<&'static str> {
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
        let found = match self.pwait2.load(Ordering::Relaxed) {
            MISSING => None,
            known => self.pwait2(buffer, timeout, known == PRESENT)?,
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
    fn pwait2(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        known: bool,
    ) -> io::Result<Option<usize>> {
        let mut timeout = timeout.map(timespec);
        if !known && needs_pwait2(timeout.as_ref()) && !self.may_call_pwait2() {
            return Ok(None);
        }
        let mut until = None;
        loop {
            match wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(found) => return Ok(Some(found)),
                Err(Errno::INTR) => shorten(&mut timeout, &mut until),
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.pwait2.store(MISSING, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Before the first call: whether it is one that a sandbox lets the process survive.
    #[cold]
    fn may_call_pwait2(&self) -> bool {
        #[cfg(target_os = "linux")]
        let is_trapped = crate::seccomp::traps(libc::SYS_epoll_pwait2, || {
            // Of no set, so that it fails at once.
            let _ = pwait2(-1, &mut Vec::new(), &timespec(Duration::ZERO));
        });
        #[cfg(not(target_os = "linux"))]
        let is_trapped = true;
        let known = if is_trapped { MISSING } else { PRESENT };
        self.pwait2.store(known, Ordering::Relaxed);
        !is_trapped
    }

    /// Whose timeouts are in milliseconds: what is neither nothing nor for ever is left to the alarm,
    /// which is as precise. Where there is none, it is late by up to a millisecond.
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
            Some(timeout) if self.alarm.is_none() => {
                let rounded = timeout.as_nanos().div_ceil(1_000_000);
                i32::try_from(rounded).unwrap_or(i32::MAX)
            }
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

    pub(super) fn waker(&self) -> Weak<dyn Wake> {
        match &self.wake {
            Some(wake) => Arc::downgrade(&(wake.clone() as Arc<dyn Wake>)),
            None => Weak::<EventFd>::new(),
        }
    }

    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        set_alarm(self.alarm.as_ref(), delay)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// A timer for hosts, or none where there are no timerfds.
pub(super) fn alarm() -> io::Result<Option<OwnedFd>> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    match timerfd_create(TimerfdClockId::Monotonic, flags) {
        Ok(alarm) => Ok(Some(alarm)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(failed("timerfd_create", error)),
    }
}

pub(super) fn set_alarm(alarm: Option<&OwnedFd>, delay: Option<Duration>) -> io::Result<()> {
    match (alarm, delay) {
        (Some(alarm), _) => set_timerfd(alarm, delay),
        (None, None) => Ok(()),
        (None, Some(_)) => Err(failed("timerfd_create", Errno::NOSYS)),
    }
}

/// Sets a timerfd to expire once after `delay`. A delay of zero expires at once.
fn set_timerfd(fd: &OwnedFd, delay: Option<Duration>) -> io::Result<()> {
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
    match timeout.filter(|_| needs_pwait2(timeout)) {
        Some(timeout) => pwait2(epoll.as_raw_fd(), buffer, timeout),
        None => {
            let found = epoll::wait(epoll, buffer.as_mut_slice(), timeout);
            found.map(|(found, _)| found.len())
        }
    }
}

/// Neither nothing nor for ever.
#[inline(always)]
fn needs_pwait2(timeout: Option<&Timespec>) -> bool {
    timeout.is_some_and(|timeout| *timeout != Timespec::default())
}

#[inline(always)]
fn pwait2(epoll: RawFd, buffer: &mut Buffer, timeout: &Timespec) -> Result<usize, Errno> {
    // SAFETY: the buffer has room for that many events of the kernel's layout, and is not touched by
    // anybody else during the call; the timeout is as the kernel has it; no set of signals is given.
    let found = unsafe {
        let (events, room) = (buffer.as_mut_ptr(), buffer.len());
        let (no_signals, size) = (ptr::null::<libc::sigset_t>(), 0_usize);
        let call = libc::SYS_epoll_pwait2;
        let timeout = ptr::from_ref(timeout);
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
        epoll.pwait2.store(MISSING, Ordering::Relaxed);
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
        epoll.wake.as_ref().unwrap().wake().unwrap();
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
