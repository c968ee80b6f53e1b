//! epoll, an eventfd for wakes and a timerfd for hosts, with not one system call to spare.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::{ALARM, BATCH, WAKE, Watch, borrow};
use crate::event::Ready;
use crate::{Interest, Mode};

pub(super) struct Epoll {
    epoll: OwnedFd,
    wake: OwnedFd,
    alarm: OwnedFd,
}

pub(super) type Buffer = Vec<MaybeUninit<Event>>;

pub(super) fn buffer() -> Buffer {
    vec![MaybeUninit::uninit(); BATCH]
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Asked here, so that an old kernel says so at once and not in the middle of a run.
        match epoll::wait(&epoll, &mut buffer()[..1], Some(&Timespec::default())) {
            Err(Errno::NOSYS | Errno::PERM) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "epoll_pwait2 (Linux 5.11) is not there; take PollerKind::Polling",
            )),
            _ => Ok(Epoll {
                epoll,
                wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
                alarm: timerfd_create(
                    TimerfdClockId::Monotonic,
                    TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
                )?,
            }),
        }
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

    /// Puts an empty set in the place of this one, under the same number.
    pub(super) fn renew(&self) -> io::Result<()> {
        let fresh = epoll::create(CreateFlags::CLOEXEC)?;
        self.add_own_to(&fresh)?;
        // SAFETY: the number is owned by `self.epoll`, which goes on owning it; in one step it
        // comes to mean the other epoll instance, which is all that anybody uses it for.
        let done =
            unsafe { libc::dup3(fresh.as_raw_fd(), self.epoll.as_raw_fd(), libc::O_CLOEXEC) };
        match done {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    pub(super) fn supports_edge(&self) -> bool {
        true
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

    pub(super) fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        take: &mut dyn FnMut(u64, Ready),
    ) -> io::Result<()> {
        let mut timeout = timeout.map(timespec);
        let mut until = None;
        let events = loop {
            match epoll::wait(&self.epoll, buffer.as_mut_slice(), timeout.as_ref()) {
                Ok((events, _)) => break events,
                Err(Errno::INTR) => {
                    // The clock is only read once a signal came; until then it costs nothing.
                    if let Some(left) = timeout {
                        let left = Duration::new(left.tv_sec as u64, left.tv_nsec as u32);
                        let now = Instant::now();
                        let until = *until.get_or_insert(now.checked_add(left));
                        let left = until.map(|until| until.saturating_duration_since(now));
                        timeout = left.map(timespec);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        for event in events {
            take(event.data.u64(), ready(event.flags));
        }
        Ok(())
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

/// Capped at a thousand years, which the kernel takes; whoever waits looks again then.
fn timespec(duration: Duration) -> Timespec {
    const CAP: u64 = 1000 * 365 * 24 * 3600;
    Timespec {
        tv_sec: duration.as_secs().min(CAP) as _,
        tv_nsec: duration.subsec_nanos() as _,
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
    flags
}

fn ready(flags: EventFlags) -> Ready {
    [
        (EventFlags::IN, Ready::READABLE),
        (EventFlags::OUT, Ready::WRITABLE),
        (EventFlags::PRI, Ready::PRIORITY),
        (EventFlags::HUP, Ready::HANGUP),
        (EventFlags::ERR, Ready::ERROR),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .fold(Ready::NONE, |ready, (_, bit)| ready | bit)
}
