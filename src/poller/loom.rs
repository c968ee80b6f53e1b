//! No kernel, for loom: nothing but the wake and the alarm, and a sleep that loom can see. It knows
//! no descriptors, since loom could not see who makes them ready; virtual sources take their place.
//! Time stands still: what is due now is due, and anything later never comes.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use loom::sync::{Condvar, Mutex, MutexGuard};

use super::{ALARM, WAKE, Wake, Watch};
use crate::Ready;

#[derive(Default)]
pub(super) struct Loom(Arc<Shared>);

#[derive(Default)]
struct Shared {
    shows: Mutex<Shows>,
    changed: Condvar,
}

/// What there is to see on the poller's descriptor, until a wait takes it.
#[derive(Default)]
struct Shows {
    wake: bool,
    alarm: bool,
}

impl Loom {
    pub(super) fn add_wake_and_alarm(&self) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn owns(&self, _: RawFd) -> bool {
        false
    }

    pub(super) fn unsupported_reason(&self, _: Watch) -> Option<&'static str> {
        None
    }

    pub(super) fn add(&self, _: RawFd, _: u64, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn modify(&self, _: RawFd, _: u64, _: Watch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn delete(&self, _: RawFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn wait(&self, timeout: Option<Duration>, mut take: impl FnMut(u64, Ready)) {
        let mut shows = match timeout {
            Some(Duration::ZERO) => self.0.shows(),
            _ => self.0.shown(),
        };
        let Shows { wake, alarm } = std::mem::take(&mut *shows);
        for (shown, key) in [(wake, WAKE), (alarm, ALARM)] {
            if shown {
                take(key, Ready::READABLE);
            }
        }
    }

    /// Until there is something to see, as a host that watches the descriptor.
    pub(super) fn sleep(&self) {
        drop(self.0.shown());
    }

    pub(super) fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&(self.0.clone() as Arc<dyn Wake>))
    }

    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.0.shows().alarm = delay == Some(Duration::ZERO);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl Wake for Shared {
    fn wake(&self) -> io::Result<()> {
        self.shows().wake = true;
        self.changed.notify_all();
        Ok(())
    }
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Shows> {
        let mut shows = self.shows();
        while !shows.wake && !shows.alarm {
            let woken = self.changed.wait(shows);
            shows = woken.unwrap_or_else(PoisonError::into_inner);
        }
        shows
    }

    fn shows(&self) -> MutexGuard<'_, Shows> {
        self.shows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
