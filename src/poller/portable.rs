//! The `polling` crate: kqueue, event ports, poll(2), IOCP, and epoll for comparison.

#![cfg_attr(not(pollable), allow(unused_imports))]

use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ops::Deref;
#[cfg(epoll)]
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use polling::{Event, PollMode};

use super::{ALARM, Wake, Watch, borrow};
#[cfg(any(epoll, pollable))]
use crate::os::AsRawFd;
use crate::os::{self, RawFd};
#[cfg(pollable)]
use crate::os::{AsFd, BorrowedFd};
use crate::{Interest, Mode, Ready, fork};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the keys of the `polling` crate are too short on this target");

pub(super) struct Portable {
    poller: Arc<Owned>,
    #[cfg(epoll)]
    alarm: Option<OwnedFd>,
    /// Descriptors that `polling` has made for itself, beside its poller.
    hidden: Vec<RawFd>,
}

/// The poller, which is not dropped in a child process: it would take its own descriptors out of the
/// parent's set.
struct Owned {
    poller: ManuallyDrop<polling::Poller>,
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

pub(super) type Buffer = polling::Events;

/// For so many events at once.
pub(super) fn buffer(room: usize) -> Buffer {
    polling::Events::with_capacity(NonZeroUsize::new(room).unwrap_or(NonZeroUsize::MIN))
}

impl Portable {
    pub(super) fn new() -> io::Result<Portable> {
        let poller = polling::Poller::new()?;
        let hidden = hidden(&poller);
        Ok(Portable {
            hidden,
            #[cfg(epoll)]
            alarm: super::epoll::alarm()?,
            // The last: what fails above has to drop it.
            poller: Arc::new(Owned {
                poller: ManuallyDrop::new(poller),
                forks: fork::generation(),
            }),
        })
    }

    /// `polling` brings its own wake, and kqueue its own timers.
    pub(super) fn add_wake_and_alarm(&self) -> io::Result<()> {
        #[cfg(all(epoll, pollable))]
        {
            let watch = Watch {
                interest: Interest::READABLE,
                mode: Mode::Edge,
            };
            if let Some(alarm) = &self.alarm {
                self.add(alarm.as_raw_fd(), ALARM, watch)?;
            }
        }
        Ok(())
    }

    /// The crate does not let its set be replaced.
    #[cfg(all(epoll, pollable))]
    pub(super) fn is_rebuildable(&self) -> bool {
        false
    }

    #[cfg(all(epoll, pollable))]
    pub(super) fn rebuild(&self, _: super::PollSet, _: &[(RawFd, u64)]) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        #[cfg(pollable)]
        if self.poller.as_fd().as_raw_fd() == fd {
            return true;
        }
        #[cfg(epoll)]
        if self
            .alarm
            .as_ref()
            .is_some_and(|alarm| alarm.as_raw_fd() == fd)
        {
            return true;
        }
        self.hidden.contains(&fd)
    }

    pub(super) fn unsupported_reason(&self, watch: Watch) -> Option<&'static str> {
        if watch.mode == Mode::Edge && !self.poller.supports_edge() {
            return Some("the poller in use has no edge-triggered mode");
        }
        if watch.interest.contains(Interest::READ_CLOSED) {
            return Some("the `polling` crate does not tell when the peer closes");
        }
        let priority = watch.interest.contains(Interest::PRIORITY);
        (priority && cfg!(kqueue)).then_some("kqueue tells of no priority data")
    }

    pub(super) fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        // poll(2) is first told of it when it waits.
        #[cfg(not(pollable))]
        super::exists(fd)?;
        let fd = borrow(fd)?;
        // SAFETY: `polling` asks that a source be deleted before it is closed. A handler that owns
        // its source is taken out of the set before the source is dropped; the caller of
        // `add_raw_handler` has promised to remove the handler. Where the descriptor is closed first
        // nevertheless, by a C library, a callback that replaces its source, or at the end of the
        // reactor, the kernel forgets it by itself and later calls on its number are answered by an
        // error: all backends here keep the number only, and never use it for anything else.
        let added = unsafe {
            self.poller
                .add_with_mode(&fd, event(key, watch), mode(watch))
        };
        added.map_err(with_code)
    }

    pub(super) fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        // poll(2) would go on saying that it is closed.
        #[cfg(not(pollable))]
        super::exists(fd).inspect_err(|_| drop(self.delete(fd)))?;
        let fd = borrow(fd)?;
        let event = event(key, watch);
        let modified = self.poller.modify_with_mode(fd, event, mode(watch));
        modified.map_err(with_code)
    }

    pub(super) fn delete(&self, fd: RawFd) -> io::Result<()> {
        self.poller.delete(borrow(fd)?).map_err(with_code)
    }

    pub(super) fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        mut take: impl FnMut(u64, Ready),
    ) -> io::Result<()> {
        buffer.clear();
        self.wait_once(buffer, timeout)?;
        // With poll(2), a wake hides what else there is.
        #[cfg(not(pollable))]
        if buffer.is_empty() {
            self.wait_once(buffer, Some(Duration::ZERO))?;
        }
        for event in buffer.iter() {
            take(event.key as u64, Ready::from_polling(&event));
        }
        Ok(())
    }

    fn wait_once(&self, buffer: &mut Buffer, timeout: Option<Duration>) -> io::Result<()> {
        match self.poller.wait(buffer, timeout) {
            // With poll(2), a wake that is seen before its sender has written to the pipe.
            #[cfg(not(pollable))]
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            waited => waited.map(drop),
        }
    }

    pub(super) fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&(self.poller.clone() as Arc<dyn Wake>))
    }

    #[cfg(epoll)]
    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        super::epoll::set_alarm(self.alarm.as_ref(), delay)
    }

    #[cfg(kqueue)]
    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        use polling::os::kqueue::{PollerKqueueExt, Timer};
        let timer = |timeout| Timer { id: 0, timeout };
        // One that has fired, or was never set, is not there to be deleted.
        let _ = self.poller.delete_filter(timer(Duration::ZERO));
        match delay {
            Some(delay) => {
                let key = ALARM as usize;
                self.poller.add_filter(timer(delay), key, PollMode::Oneshot)
            }
            None => Ok(()),
        }
    }

    /// Elsewhere the poller is no descriptor that a host could watch, so no alarm is due.
    #[cfg(not(any(epoll, kqueue)))]
    pub(super) fn set_alarm(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(pollable)]
impl AsFd for Portable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// What a poller on epoll has put into its set before all else: the crate does not tell, Linux does.
#[cfg(all(epoll, pollable))]
fn hidden(poller: &polling::Poller) -> Vec<RawFd> {
    let path = format!("/proc/self/fdinfo/{}", poller.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let targets = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
    let number = |line: &str| line.split_whitespace().next()?.parse().ok();
    targets.filter_map(number).collect()
}

/// kqueue has no descriptors inside.
#[cfg(not(all(epoll, pollable)))]
fn hidden(_: &polling::Poller) -> Vec<RawFd> {
    Vec::new()
}

/// Where the crate keeps the set by itself, it says in words what a kernel says by a code.
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

fn event(key: u64, watch: Watch) -> Event {
    let Watch { interest, .. } = watch;
    let mut event = Event::none(key as usize);
    event.readable = interest.contains(Interest::READABLE);
    event.writable = interest.contains(Interest::WRITABLE);
    event.set_priority(interest.contains(Interest::PRIORITY));
    event
}
