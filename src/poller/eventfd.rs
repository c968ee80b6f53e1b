//! An eventfd: a descriptor that one thread makes readable for another.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::backend::Wake;
use crate::error::failed;

pub(super) struct EventFd(OwnedFd);

impl EventFd {
    pub(super) fn new() -> io::Result<EventFd> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(EventFd(made.map_err(|error| failed("eventfd2", error))?))
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        self.0.as_raw_fd() == fd
    }
}

impl Wake for EventFd {
    fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            // The eventfd is full after 2^64 - 2 writes, and readable.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
