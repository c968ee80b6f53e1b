//! The interface of a kernel: the trait that each kind of set implements, and the events that a wait finds.

use std::io;
use std::sync::Weak;
use std::time::Duration;

use crate::id::Key;
#[cfg(pollable)]
use crate::os::BorrowedFd;
use crate::os::RawFd;
use crate::{Interest, Mode, Ready};

/// A request of one registration to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The readiness that is reported.
    pub interest: Interest,
    /// How often it is reported.
    pub mode: Mode,
}

/// The sets of a poller. The kernel takes a descriptor only once per set, and a descriptor may have
/// level-triggered and edge-triggered handlers at once. Without such a mix there is no second set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollSet {
    Primary,
    Edge,
}

/// One descriptor is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadyEvent {
    pub(crate) set: PollSet,
    pub(crate) key: Key,
    pub(crate) ready: Ready,
}

// Keys of the poller's own descriptors. Table indices stay below 2^32 - 16, so no handler has one of these.
/// The first of those keys.
pub const OURS: u64 = u64::MAX - 15;
#[cfg(epoll)]
pub(super) const WAKE: u64 = u64::MAX - 1;
/// The key under which a set reports that its alarm went off.
pub const ALARM: u64 = u64::MAX - 2;
pub(super) const EDGES: u64 = u64::MAX - 3;
/// The key under which a set reports that the system clock was set.
pub const CLOCK: u64 = u64::MAX - 4;

/// The registration of the poller's own descriptors that stay readable until they are read.
pub(super) const NESTED: Watch = Watch {
    interest: Interest::READABLE,
    mode: Mode::Level,
};

/// The number of events that one wait fetches. The kernel returns the rest first the next time.
pub(crate) const BATCH: usize = 1024;

/// A set of descriptors under keys, in one kind of kernel. It has its own wake and alarm.
///
/// Changes happen under the engine's lock. One thread at a time waits.
pub trait Backend: Send + Sync {
    /// Adds a descriptor to the set.
    fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()>;

    /// Changes the readiness that the set reports for a descriptor.
    fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()>;

    /// Removes a descriptor from the set.
    fn delete(&self, fd: RawFd) -> io::Result<()>;

    /// Waits until a descriptor is ready, the wake or the alarm ends the wait, or the time is up. After a
    /// failure, `found` has the events that came before it.
    fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<()>;

    /// Lets a signal end a wait that it interrupts. By default, the wait goes on.
    fn set_interruptible(&mut self) -> io::Result<()> {
        let what = "this poller goes on with a wait that a signal interrupts";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    /// Returns the wake, which ends with the set.
    fn waker(&self) -> Weak<dyn Wake>;

    /// Makes the set's own descriptor readable after `delay`. `None` cancels that.
    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()>;

    /// Reports under [`CLOCK`], once, when the system clock is set. Does nothing where the kernel cannot tell.
    fn watch_clock(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns true if [`rebuild`](Self::rebuild) is implemented.
    fn is_rebuildable(&self) -> bool {
        false
    }

    /// Replaces the set by an empty one under the same number. The new set has the set's own descriptors and
    /// `nested`, a second set. Returns false if the backend cannot do this. If it fails, nothing has changed.
    fn rebuild(&self, _nested: Option<RawFd>) -> io::Result<bool> {
        Ok(false)
    }

    /// Makes a second set, which will be added to this one.
    fn second(&self) -> io::Result<Box<dyn Backend>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns true if the set has made the descriptor for itself.
    fn owns(&self, fd: RawFd) -> bool;

    /// Returns the reason if the kernel would never report the readiness in `watch`.
    fn unsupported_reason(&self, _watch: Watch) -> Option<&'static str> {
        None
    }

    /// Returns the set's descriptor.
    #[cfg(pollable)]
    fn as_fd(&self) -> BorrowedFd<'_>;
}

/// The end of a wait: it ends the wait that is going on, or else the next one.
///
/// Any thread and any signal handler may call it and drop it.
pub trait Wake: Send + Sync {
    /// Ends the wait.
    fn wake(&self) -> io::Result<()>;
}

/// Room for the raw events of one wait, in the format of the backend that waits.
pub struct Buffer {
    pub(super) room: usize,
    #[cfg(epoll)]
    pub(super) epoll: super::epoll::Room,
    #[cfg(portable)]
    pub(super) portable: super::portable::Room,
}

impl Buffer {
    /// Makes room for `room` events.
    pub fn new(room: usize) -> Buffer {
        Buffer {
            room,
            #[cfg(epoll)]
            epoll: Default::default(),
            #[cfg(portable)]
            portable: Default::default(),
        }
    }
}

/// The events that a wait has found.
pub struct Found {
    /// The set that is being asked.
    pub(super) set: PollSet,
    pub(crate) events: Vec<ReadyEvent>,
    pub(crate) notices: Notices,
}

/// Events of the poller's own descriptors.
#[derive(Default)]
pub(crate) struct Notices {
    /// The alarm went off and is no longer set.
    pub(crate) alarm: bool,
    /// The system clock was set. This stays true until `watch_clock` is called again.
    pub(crate) clock: bool,
    pub(super) edges: bool,
}

impl Notices {
    /// Returns true if the engine has a notice to handle.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.alarm | self.clock
    }
}

impl Found {
    /// Adds an event.
    #[inline(always)]
    pub fn push(&mut self, key: u64, ready: Ready) {
        match key {
            ..OURS => self.events.push(ReadyEvent {
                set: self.set,
                key: Key::from_u64(key),
                ready,
            }),
            ALARM => self.notices.alarm = true,
            EDGES => self.notices.edges = true,
            CLOCK => self.notices.clock = true,
            _ => {}
        }
    }
}

/// The events that [`Poller::wait`] fills in.
pub(crate) struct Events {
    pub(super) buffer: Buffer,
    pub(crate) found: Found,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            buffer: Buffer::new(BATCH),
            found: Found {
                set: PollSet::Primary,
                events: Vec::new(),
                notices: Notices::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notice_of_a_wait_is_told_alone_and_with_the_other() {
        for keys in [&[ALARM][..], &[CLOCK], &[ALARM, CLOCK]] {
            let mut found = Events::new().found;
            assert!(!found.notices.any());
            for &key in keys {
                found.push(key, Ready::NONE);
            }
            let Notices { alarm, clock, .. } = found.notices;
            assert_eq!(
                (alarm, clock),
                (keys.contains(&ALARM), keys.contains(&CLOCK))
            );
            assert!(found.notices.any() && found.events.is_empty());
        }
    }
}
