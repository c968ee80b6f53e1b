//! The `polling` crate: kqueue, event ports, poll(2), IOCP, and epoll for comparison.
//!
//! Quirks that this file handles:
//!
//! a. If the crate's poller is dropped in a child process, it takes its own descriptors out of the parent's set.
//! b. The crate makes descriptors that it does not report: an eventfd and a timerfd beside an epoll.
//! c. Where the crate keeps the set itself, its errors have a kind and no code.
//! d. poll(2) sees a descriptor only when it waits, and goes on reporting a closed one. A wake hides other events,
//!    and may come before its sender has written to the pipe.
//! e. A kqueue timer that has fired, or was never set, cannot be deleted.
//! f. The crate's keys have the width of a pointer.
//! g. Windows ends a wait up to a millisecond early. A hook that lets the loop sleep for that long, each time, would
//!    never see it sleep long enough.

use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ops::Deref;
#[cfg(not(pollable))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
#[cfg(not(pollable))]
use std::time::Instant;

use polling::{Event, PollMode};

use super::backend::{Backend, Buffer, Found, Wake, Watch};
use super::file::borrow;
use crate::os::{self, RawFd};
#[cfg(not(pollable))]
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{Interest, Mode, Ready, fork};

pub(super) struct Portable {
    poller: Arc<Owned>,
    #[cfg(epoll)]
    timers: super::timerfd::Timers,
    #[cfg(not(pollable))]
    alarm: Mutex<Alarm>,
    /// Descriptors that `polling` has made for itself besides its poller.
    hidden: Vec<RawFd>,
    #[cfg(not(target_pointer_width = "64"))]
    keys: super::keys::ShortKeys,
}

/// The alarm of a poller that is no descriptor: it ends a wait.
#[cfg(not(pollable))]
#[derive(Default)]
struct Alarm {
    due: Option<Instant>,
    /// True if a wait knows the alarm, and must hear of a change.
    is_waiting: bool,
}

/// The poller. A child process does not drop it, because that would remove its own descriptors from the
/// parent's set.
struct Owned {
    poller: ManuallyDrop<polling::Poller>,
    /// True if a wake has ended a wait, or is to end the next one.
    #[cfg(not(pollable))]
    is_woken: AtomicBool,
    forks: u32,
}

impl Deref for Owned {
    type Target = polling::Poller;

    fn deref(&self) -> &polling::Poller {
        &self.poller
    }
}

impl Wake for Owned {
    fn wake(&self) -> io::Result<()> {
        #[cfg(not(pollable))]
        self.is_woken.store(true, Ordering::Release);
        self.poller.notify()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.forks == fork::seen() {
            // SAFETY: this is the only drop, and nothing uses the poller after it.
            unsafe { ManuallyDrop::drop(&mut self.poller) };
        }
    }
}

/// Room for events, which is allocated when it is first needed.
pub(super) type Room = Option<polling::Events>;

impl Portable {
    pub(super) fn new() -> io::Result<Portable> {
        let poller = polling::Poller::new()?;
        let portable = Portable {
            hidden: hidden(&poller),
            #[cfg(not(target_pointer_width = "64"))]
            keys: Default::default(),
            // First, so that a failure in this function drops the poller correctly, even in a child process.
            #[cfg(epoll)]
            timers: super::timerfd::Timers::new()?,
            #[cfg(not(pollable))]
            alarm: Mutex::default(),
            poller: Arc::new(Owned {
                poller: ManuallyDrop::new(poller),
                #[cfg(not(pollable))]
                is_woken: AtomicBool::new(false),
                forks: fork::generation(),
            }),
        };
        #[cfg(all(epoll, pollable))]
        if let Some(alarm) = portable.timers.alarm() {
            use crate::os::AsRawFd;
            let watch = Watch {
                interest: Interest::READABLE,
                mode: Mode::Edge,
            };
            portable.add(alarm.as_raw_fd(), super::backend::ALARM, watch)?;
        }
        Ok(portable)
    }

    fn wait_once(&self, room: &mut polling::Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poller.wait(room, timeout) {
            #[cfg(not(pollable))]
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            waited => waited.map(drop),
        }
    }

    #[cfg(not(pollable))]
    fn alarm(&self) -> MutexGuard<'_, Alarm> {
        lock(&self.alarm)
    }

    /// Returns the timeout of a wait that the alarm ends, too.
    #[cfg(not(pollable))]
    fn begin_wait(&self, timeout: Option<Duration>) -> Option<Duration> {
        let mut alarm = self.alarm();
        alarm.is_waiting = true;
        let due = alarm
            .due
            .map(|due| due.saturating_duration_since(Instant::now()));
        timeout.into_iter().chain(due).min()
    }

    /// Waits until there is an event or a wake, or the time is really up.
    #[cfg(not(pollable))]
    fn wait_long_enough(
        &self,
        room: &mut polling::Events,
        mut timeout: Option<Duration>,
    ) -> io::Result<()> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.wait_once(room, timeout)?;
            // The event may have been a wake, which hides the others.
            if room.is_empty() {
                self.wait_once(room, Some(Duration::ZERO))?;
            }
            if !room.is_empty() | self.poller.is_woken.swap(false, Ordering::Acquire) {
                return Ok(());
            }
            timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            if timeout == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    /// Returns true if the alarm goes off.
    #[cfg(not(pollable))]
    fn end_wait(&self) -> bool {
        let mut alarm = self.alarm();
        alarm.is_waiting = false;
        alarm.due.take_if(|due| *due <= Instant::now()).is_some()
    }

    /// Calls `change` with a key of the crate for `key`.
    fn with_key(
        &self,
        _fd: RawFd,
        key: u64,
        change: impl FnOnce(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        #[cfg(target_pointer_width = "64")]
        let changed = change(key as usize);
        #[cfg(not(target_pointer_width = "64"))]
        let changed = self.keys.change(_fd, key, change);
        changed.map_err(with_code)
    }

    /// Returns the key of an event, unless that was forgotten meanwhile.
    fn key(&self, key: usize) -> Option<u64> {
        #[cfg(target_pointer_width = "64")]
        return Some(key as u64);
        #[cfg(not(target_pointer_width = "64"))]
        self.keys.key(key)
    }
}

impl Backend for Portable {
    fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        #[cfg(not(pollable))]
        super::exists(fd)?;
        let source = borrow(fd)?;
        self.with_key(fd, key, |key| {
            // SAFETY: `polling` requires that a source is deleted before it is closed. A handler that owns its
            // source is removed from the set before the source is dropped. The caller of `add_raw_handler` has
            // promised to remove the handler. A C library, a callback that replaces its source, or the end of
            // the reactor may still close the descriptor first. The kernel then forgets it by itself, and
            // answers later calls on its number with an error. All backends here keep only the number, and use
            // it for nothing else.
            unsafe {
                self.poller
                    .add_with_mode(&source, event(key, watch), mode(watch))
            }
        })
    }

    fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        #[cfg(not(pollable))]
        super::exists(fd).inspect_err(|_| drop(self.delete(fd)))?;
        let source = borrow(fd)?;
        self.with_key(fd, key, |key| {
            let event = event(key, watch);
            self.poller.modify_with_mode(source, event, mode(watch))
        })
    }

    fn delete(&self, fd: RawFd) -> io::Result<()> {
        #[cfg(not(target_pointer_width = "64"))]
        self.keys.forget(fd);
        self.poller.delete(borrow(fd)?).map_err(with_code)
    }

    fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<()> {
        let size = NonZeroUsize::new(buffer.room).unwrap_or(NonZeroUsize::MIN);
        let make = || polling::Events::with_capacity(size);
        let room = buffer.portable.get_or_insert_with(make);
        room.clear();
        #[cfg(pollable)]
        self.wait_once(room, timeout)?;
        #[cfg(not(pollable))]
        {
            let timeout = self.begin_wait(timeout);
            let waited = self.wait_long_enough(room, timeout);
            if self.end_wait() {
                found.push(super::backend::ALARM, Ready::NONE);
            }
            waited?;
        }
        for event in room.iter() {
            if let Some(key) = self.key(event.key) {
                found.push(key, Ready::from_polling(&event));
            }
        }
        Ok(())
    }

    fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&self.poller) as Weak<dyn Wake>
    }

    #[cfg(all(epoll, pollable))]
    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.timers.set_alarm(delay)
    }

    #[cfg(all(kqueue, pollable))]
    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        use polling::os::kqueue::{PollerKqueueExt, Timer};
        let timer = |timeout| Timer { id: 0, timeout };
        let _ = self.poller.delete_filter(timer(Duration::ZERO));
        match delay {
            Some(delay) => {
                let key = super::backend::ALARM as usize;
                self.poller.add_filter(timer(delay), key, PollMode::Oneshot)
            }
            None => Ok(()),
        }
    }

    #[cfg(not(pollable))]
    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        let mut alarm = self.alarm();
        // A delay that the clock cannot express never ends.
        alarm.due = delay.and_then(|delay| Instant::now().checked_add(delay));
        let is_waiting = alarm.is_waiting;
        drop(alarm);
        if is_waiting {
            self.poller.wake()
        } else {
            Ok(())
        }
    }

    #[cfg(epoll)]
    fn watch_clock(&self) -> io::Result<()> {
        self.timers
            .watch_clock(|fd, key| self.add(fd, key, super::backend::NESTED))
    }

    #[cfg(pollable)]
    fn second(&self) -> io::Result<Box<dyn Backend>> {
        Ok(Box::new(Portable::new()?))
    }

    fn owns(&self, fd: RawFd) -> bool {
        #[cfg(epoll)]
        if self.timers.owns(fd) {
            return true;
        }
        #[cfg(pollable)]
        if os::AsRawFd::as_raw_fd(&self.as_fd()) == fd {
            return true;
        }
        self.hidden.contains(&fd)
    }

    fn unsupported_reason(&self, watch: Watch) -> Option<&'static str> {
        if watch.mode == Mode::Edge && !self.poller.supports_edge() {
            return Some("the poller in use has no edge-triggered mode");
        }
        if watch.interest.contains(Interest::READ_CLOSED) {
            return Some("the `polling` crate does not tell when the peer closes");
        }
        let priority = watch.interest.contains(Interest::PRIORITY);
        (priority && cfg!(kqueue)).then_some("kqueue tells of no priority data")
    }

    #[cfg(pollable)]
    fn as_fd(&self) -> os::BorrowedFd<'_> {
        os::AsFd::as_fd(&**self.poller)
    }
}

/// Returns the descriptors that a poller on epoll has put into its set before all others. The crate does not
/// report them, but Linux does.
#[cfg(all(epoll, pollable))]
fn hidden(poller: &polling::Poller) -> Vec<RawFd> {
    let number = os::AsRawFd::as_raw_fd(poller);
    let path = format!("/proc/self/fdinfo/{number}");
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let targets = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
    let number = |line: &str| line.split_whitespace().next()?.parse().ok();
    targets.filter_map(number).collect()
}

/// Returns nothing: kqueue contains no descriptors.
#[cfg(not(all(epoll, pollable)))]
fn hidden(_: &polling::Poller) -> Vec<RawFd> {
    Vec::new()
}

fn with_code(error: io::Error) -> io::Error {
    let code = match (error.raw_os_error(), error.kind()) {
        (None, io::ErrorKind::AlreadyExists) => os::EEXIST,
        (None, io::ErrorKind::NotFound) => os::ENOENT,
        _ => return error,
    };
    io::Error::from_raw_os_error(code)
}

fn mode(watch: Watch) -> PollMode {
    match watch.mode {
        Mode::Level => PollMode::Level,
        Mode::Edge => PollMode::Edge,
        Mode::Oneshot => PollMode::Oneshot,
    }
}

fn event(key: usize, watch: Watch) -> Event {
    let Watch { interest, .. } = watch;
    let mut event = Event::none(key);
    event.readable = interest.contains(Interest::READABLE);
    event.writable = interest.contains(Interest::WRITABLE);
    event.set_priority(interest.contains(Interest::PRIORITY));
    event
}
