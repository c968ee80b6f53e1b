//! epoll, an eventfd for wakes and timerfds for hosts.
//!
//! Quirks of Linux that this file handles:
//!
//! a. Before Linux 5.11, in some sandboxes and under valgrind there is no epoll_pwait2: it answers ENOSYS or
//!    EPERM. Android 13 and some sandboxes kill for the call. The older call has timeouts in milliseconds, so
//!    the alarm stands in, which is as precise.
//! b. Each of the set's own descriptors is edge-triggered where a write or an expiry is one event. It
//!    then need not be read.
//! c. A number that was closed while a duplicate keeps its file open cannot be taken out of a set any
//!    more. The set has to be replaced by another under the same number.
//! d. An eventfd that is full (2^64 - 2 writes) answers EAGAIN, and is readable.
//! e. A timeout of more than some thousand years is refused.

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::backend::{ALARM, Backend, Buffer, CLOCK, EDGES, Found, NESTED, WAKE, Wake, Watch};
use super::eventfd::EventFd;
use super::file::borrow;
use super::timerfd::{Timers, timespec};
use crate::error::failed;
use crate::{Interest, Mode, Ready};

pub(super) struct Epoll {
    epoll: OwnedFd,
    /// The wake. A second set has neither a wake nor an alarm.
    wake: Option<Arc<EventFd>>,
    timers: Timers,
    /// `UNKNOWN` until the first wait with a timeout has found out whether the kernel takes nanoseconds.
    pwait2: AtomicU8,
    /// True if a signal ends the wait that it interrupts.
    interruptible: bool,
}

/// Not known yet. The first wait with a timeout finds out.
const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const MISSING: u8 = 2;

/// Room for events, which is allocated when it is first needed.
pub(super) type Room = Vec<MaybeUninit<Event>>;

// The kernel also writes into the buffer through libc's calls.
const _: () = {
    assert!(size_of::<Event>() == size_of::<libc::epoll_event>());
    assert!(align_of::<Event>() == align_of::<libc::epoll_event>());
    assert!(offset_of!(Event, flags) == offset_of!(libc::epoll_event, events));
    assert!(offset_of!(Event, data) == offset_of!(libc::epoll_event, u64));
};

impl Buffer {
    #[inline(always)]
    fn epoll(&mut self) -> &mut Room {
        if self.epoll.is_empty() {
            self.make_epoll();
        }
        &mut self.epoll
    }

    #[cold]
    fn make_epoll(&mut self) {
        self.epoll = vec![MaybeUninit::uninit(); self.room.max(1)];
    }
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        let epoll = Epoll {
            wake: Some(Arc::new(EventFd::new()?)),
            timers: Timers::new()?,
            ..Epoll::bare()?
        };
        epoll.add_own_to(&epoll.epoll)?;
        Ok(epoll)
    }

    /// Makes a set without a wake and an alarm.
    fn bare() -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC);
        let is_android = cfg!(target_os = "android");
        Ok(Epoll {
            epoll: epoll.map_err(|error| failed("epoll_create1", error))?,
            wake: None,
            timers: Timers::default(),
            pwait2: AtomicU8::new(if is_android { MISSING } else { UNKNOWN }),
            interruptible: false,
        })
    }

    /// Adds the set's own descriptors to a set.
    fn add_own_to(&self, epoll: &OwnedFd) -> io::Result<()> {
        let (level, edge) = (EventFlags::IN, EventFlags::IN | EventFlags::ET);
        let wake = self.wake.as_ref().map(|wake| wake.as_fd());
        for (fd, key, flags) in [
            (wake, WAKE, edge),
            (self.timers.alarm(), ALARM, edge),
            (self.timers.clock(), CLOCK, level),
        ] {
            if let Some(fd) = fd {
                let added = epoll::add(epoll, fd, EventData::new_u64(key), flags);
                added.map_err(|error| failed("epoll_ctl", error))?;
            }
        }
        Ok(())
    }

    /// Waits by epoll_pwait2. Returns `None` if the kernel does not have that call: Linux before 5.11, some
    /// sandboxes, valgrind.
    #[inline(always)]
    fn pwait2(
        &self,
        buffer: &mut Room,
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
                Err(Errno::INTR) if self.interruptible => return Ok(Some(0)),
                Err(Errno::INTR) => shorten(&mut timeout, &mut until),
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.pwait2.store(MISSING, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns true if a sandbox lets the process survive the call. Asked before the first call.
    #[cold]
    fn may_call_pwait2(&self) -> bool {
        #[cfg(target_os = "linux")]
        let is_trapped = crate::seccomp::traps(libc::SYS_epoll_pwait2, || {
            // The call names no set, so it fails at once.
            let _ = pwait2(-1, &mut Vec::new(), &timespec(Duration::ZERO));
        });
        #[cfg(not(target_os = "linux"))]
        let is_trapped = true;
        let known = if is_trapped { MISSING } else { PRESENT };
        self.pwait2.store(known, Ordering::Relaxed);
        !is_trapped
    }

    /// Waits by epoll_pwait, which has timeouts in milliseconds. The alarm takes over finite timeouts and is
    /// as precise as epoll_pwait2. Without an alarm, the wait ends up to a millisecond late.
    #[cold]
    fn pwait(
        &self,
        buffer: &mut Room,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<usize> {
        let milliseconds = match timeout {
            Some(Duration::ZERO) => 0,
            None => -1,
            Some(timeout) if self.timers.alarm().is_none() => {
                let rounded = timeout.as_nanos().div_ceil(1_000_000);
                i32::try_from(rounded).unwrap_or(i32::MAX)
            }
            Some(_) => {
                // The alarm was set to another time before.
                found.push(ALARM, Ready::NONE);
                self.set_alarm(timeout)?;
                -1
            }
        };
        loop {
            let room = buffer.len() as _;
            // SAFETY: the buffer has room for that many events in the kernel's layout. Nothing else touches
            // it during the call.
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
            if self.interruptible {
                return Ok(0);
            }
        }
    }
}

impl Backend for Epoll {
    fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let data = EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, borrow(fd)?, data, flags(watch))?)
    }

    fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let data = EventData::new_u64(key);
        Ok(epoll::modify(&self.epoll, borrow(fd)?, data, flags(watch))?)
    }

    fn delete(&self, fd: RawFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, borrow(fd)?)?)
    }

    #[inline(always)]
    fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<()> {
        let buffer = buffer.epoll();
        let count = match self.pwait2.load(Ordering::Relaxed) {
            MISSING => None,
            known => self.pwait2(buffer, timeout, known == PRESENT)?,
        };
        let count = match count {
            Some(count) => count,
            None => self.pwait(buffer, timeout, found)?,
        };
        for event in &buffer[..count] {
            // SAFETY: both waits return the number of events that the kernel has written.
            let event = unsafe { event.assume_init_ref() };
            let flags = event.flags;
            found.push(event.data.u64(), Ready::from_poll(flags.bits()));
        }
        Ok(())
    }

    fn set_interruptible(&mut self) -> io::Result<()> {
        self.interruptible = true;
        Ok(())
    }

    fn waker(&self) -> Weak<dyn Wake> {
        match &self.wake {
            Some(wake) => Arc::downgrade(wake) as Weak<dyn Wake>,
            None => Weak::<EventFd>::new(),
        }
    }

    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.timers.set_alarm(delay)
    }

    fn watch_clock(&self) -> io::Result<()> {
        self.timers.watch_clock(|fd, key| self.add(fd, key, NESTED))
    }

    fn is_rebuildable(&self) -> bool {
        true
    }

    fn rebuild(&self, nested: Option<RawFd>) -> io::Result<bool> {
        let fresh = epoll::create(CreateFlags::CLOEXEC)?;
        self.add_own_to(&fresh)?;
        if let Some(fd) = nested {
            let data = EventData::new_u64(EDGES);
            epoll::add(&fresh, borrow(fd)?, data, flags(NESTED))?;
        }
        // SAFETY: `self.epoll` owns the number and goes on owning it. In one step, the number comes to mean
        // the other epoll instance, and this code only uses it as one. A host that watches the number was
        // told to stop that before: see `Step::Unwatch`.
        let done = unsafe {
            // Android's C library has the call, and the crate for it does not.
            let (fresh, epoll) = (fresh.as_raw_fd(), self.epoll.as_raw_fd());
            libc::syscall(libc::SYS_dup3, fresh, epoll, libc::O_CLOEXEC)
        };
        match done {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(true),
        }
    }

    fn second(&self) -> io::Result<Box<dyn Backend>> {
        Ok(Box::new(Epoll::bare()?))
    }

    fn owns(&self, fd: RawFd) -> bool {
        self.epoll.as_raw_fd() == fd
            || self.wake.as_ref().is_some_and(|wake| wake.owns(fd))
            || self.timers.owns(fd)
    }

    #[cfg(pollable)]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Waits with a timeout by epoll_pwait2, which this calls directly. rustix would use it for everything that
/// is linked with it, including async-io, which fails where the call is missing.
#[inline(always)]
fn wait(epoll: &OwnedFd, buffer: &mut Room, timeout: Option<&Timespec>) -> Result<usize, Errno> {
    match timeout.filter(|_| needs_pwait2(timeout)) {
        Some(timeout) => pwait2(epoll.as_raw_fd(), buffer, timeout),
        None => {
            let found = epoll::wait(epoll, buffer.as_mut_slice(), timeout);
            found.map(|(found, _)| found.len())
        }
    }
}

/// Returns true if the timeout is neither zero nor infinite.
#[inline(always)]
fn needs_pwait2(timeout: Option<&Timespec>) -> bool {
    timeout.is_some_and(|timeout| *timeout != Timespec::default())
}

#[inline(always)]
fn pwait2(epoll: RawFd, buffer: &mut Room, timeout: &Timespec) -> Result<usize, Errno> {
    // SAFETY: the buffer has room for that many events in the kernel's layout. Nothing else touches it during
    // the call. The timeout has the kernel's layout, and no set of signals is given.
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

fn duration(timespec: Timespec) -> Duration {
    Duration::new(timespec.tv_sec as u64, timespec.tv_nsec as u32)
}

/// Shortens the timeout after a signal has interrupted the wait. Only then is the clock read, so that other
/// waits do not pay for it.
#[cold]
fn shorten(timeout: &mut Option<Timespec>, until: &mut Option<Instant>) {
    if let Some(whole) = *timeout {
        let now = Instant::now();
        *until = until.or_else(|| now.checked_add(duration(whole)));
        // A deadline beyond the range of the clock means for ever.
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
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::AtomicUsize;

    use super::super::backend::{Events, Notices};
    use super::*;

    #[test]
    fn without_pwait2_a_wait_is_as_precise_and_can_be_woken() {
        let epoll = Epoll::new().unwrap();
        epoll.pwait2.store(MISSING, Ordering::Relaxed);
        let Events {
            mut buffer,
            mut found,
        } = Events::new();
        let mut wait = |timeout| {
            found.notices = Notices::default();
            epoll.wait(&mut buffer, timeout, &mut found).unwrap();
            found.notices.alarm
        };
        assert!(!wait(Some(Duration::ZERO)));
        let micros = Duration::from_micros(300);
        let best = (0..30).map(|_| {
            let start = Instant::now();
            assert!(wait(Some(micros)));
            start.elapsed()
        });
        let best = best.min().unwrap();
        assert!((micros..micros * 3).contains(&best), "{best:?}");
        let (start, long) = (Instant::now(), Duration::from_millis(20));
        assert!(wait(Some(long)));
        assert!(start.elapsed() >= long);
        epoll.set_alarm(Some(long)).unwrap();
        assert!(wait(None));
        epoll.wake.as_ref().unwrap().wake().unwrap();
        assert!(!wait(None));
        assert!(!wait(Some(Duration::ZERO)));
    }

    /// Otherwise, each wait would look for it again.
    #[test]
    fn the_first_wait_with_a_timeout_finds_out_about_pwait2() {
        let epoll = Epoll::new().unwrap();
        let Events {
            mut buffer,
            mut found,
        } = Events::new();
        let timeout = Some(Duration::from_millis(1));
        epoll.wait(&mut buffer, timeout, &mut found).unwrap();
        assert_ne!(epoll.pwait2.load(Ordering::Relaxed), UNKNOWN);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_set_that_cannot_take_the_place_of_another_is_an_error() {
        use crate::seccomp::forbid::{self, By};
        let epoll = Epoll::new().unwrap();
        let thread = std::thread::spawn(move || {
            forbid::system_calls(&[libc::SYS_dup3], By::Code(libc::EMFILE));
            epoll.rebuild(None).map_err(|error| error.raw_os_error())
        });
        assert_eq!(thread.join().unwrap(), Err(Some(libc::EMFILE)));
    }

    #[test]
    fn without_pwait2_a_signal_ends_an_interruptible_wait_only() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn count(_: libc::c_int) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the action only counts. Nothing else in these tests uses the signal.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGURG, &action, ptr::null_mut()), 0);
        }
        for interruptible in [false, true] {
            let mut epoll = Epoll::new().unwrap();
            epoll.pwait2.store(MISSING, Ordering::Relaxed);
            epoll.interruptible = interruptible;
            let wake = epoll.wake.clone().unwrap();
            let until = COUNT.load(Ordering::Relaxed) + 100;
            let (begins, has_begun) = std::sync::mpsc::channel();
            let waiting = std::thread::spawn(move || {
                let Events {
                    mut buffer,
                    mut found,
                } = Events::new();
                begins.send(()).unwrap();
                epoll.wait(&mut buffer, None, &mut found).unwrap();
            });
            has_begun.recv().unwrap();
            let late = Instant::now() + Duration::from_secs(10);
            // Signals that come before the wait end nothing.
            let is_late = || Instant::now() >= late;
            let are_many = || COUNT.load(Ordering::Relaxed) >= until;
            while !waiting.is_finished() && !is_late() && (interruptible || !are_many()) {
                // SAFETY: the thread has not been joined.
                unsafe { libc::pthread_kill(waiting.as_pthread_t(), libc::SIGURG) };
                std::thread::yield_now();
            }
            let is_ended = waiting.is_finished();
            wake.wake().unwrap();
            waiting.join().unwrap();
            assert_eq!(is_ended, interruptible);
        }
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
