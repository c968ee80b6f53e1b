//! Attaching handlers to descriptors. Only this file finds descriptors by their number.

use std::io;
use std::sync::Arc;

use super::crowd::Merged;
use super::handler::Handler;
use super::kernel::{OnStale, is, is_gone};
use super::numbers::ByNumber;
use super::source::ReadySource;
use super::sync::Synced;
use crate::Interest;
use crate::engine::inbox::Inbox;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{Poller, exists};

pub(super) struct Attached {
    pub(super) synced: Synced,
    /// The present descriptor of each number. Orphaned descriptors are not included.
    by_fd: ByNumber,
}

impl Attached {
    pub(super) fn new(inbox: Arc<Inbox>) -> Attached {
        Attached {
            synced: Synced::new(inbox),
            by_fd: ByNumber::default(),
        }
    }

    /// Attaches a handler to the descriptor with the number `fd`, or to a new one if the number now means another
    /// file.
    #[inline(always)]
    pub(super) fn attach(
        &mut self,
        poller: &Poller,
        key: Key,
        fd: RawFd,
        is_socket: bool,
    ) -> io::Result<()> {
        if let Some(d) = self.by_fd.get(fd) {
            let attached = if self.synced.table.descriptor(d).closed {
                exists(fd)?;
                Err(io::Error::from_raw_os_error(os::ENOENT))
            } else {
                self.attach_to(poller, key, d)
            };
            match attached {
                Err(error) if is(&error, os::ENOENT) || is(&error, os::EPERM) => {
                    self.by_fd.remove(fd);
                    self.synced.table.orphan(d);
                }
                result => return result,
            }
        }
        self.attach_to_new(poller, key, fd, is_socket)
    }

    #[inline(always)]
    fn attach_to_new(
        &mut self,
        poller: &Poller,
        key: Key,
        fd: RawFd,
        is_socket: bool,
    ) -> io::Result<()> {
        let Synced { table, place, .. } = &mut self.synced;
        let d = table.insert_registered(key, fd, |descriptor, handler: &Handler| {
            let priority = handler.interest.contains(Interest::PRIORITY);
            if (place.nested | priority) && !is_socket {
                descriptor.divert(poller, place, handler.interest)?;
            }
            let wanted = Merged::of(handler);
            descriptor.sync(poller, place, wanted, false, OnStale::Repair)?;
            if descriptor.kernel().is_known() {
                Ok(())
            } else {
                exists(fd)
            }
        })?;
        // Only numbers that are open get here. Others may be of any size.
        self.by_fd.set(fd, d);
        Ok(())
    }

    /// Attaches a handler to a descriptor that has others, and tells the kernel. Undoes both if the kernel refuses.
    fn attach_to(&mut self, poller: &Poller, key: Key, d: u32) -> io::Result<()> {
        let synced = &mut self.synced;
        let descriptor = synced.table.descriptor(d);
        let fd = descriptor.fd;
        if descriptor.is_file_gone() {
            exists(fd)?;
            return Err(io::Error::from_raw_os_error(os::ENOENT));
        }
        synced.table.link(key, d);
        if let Err(error) = synced.divert(poller, d) {
            synced.table.unlink(key);
            return Err(error);
        }
        let wanted = synced.table.wanted(d);
        let descriptor = synced.table.descriptor(d);
        // If the kernel knows the descriptor, this call shows whether the number still means the same file.
        let stale = if descriptor.kernel().is_known() {
            OnStale::Fail
        } else {
            OnStale::Repair
        };
        // Without force, a second edge-triggered handler would miss readiness that was reported already.
        let mut result = descriptor.sync(poller, &synced.place, wanted, true, stale);
        if result.is_ok() && !descriptor.kernel().is_known() {
            result = exists(fd);
        }
        result.inspect_err(|error| {
            synced.table.unlink(key);
            if !is_gone(error) {
                let wanted = synced.table.wanted(d);
                let descriptor = synced.table.descriptor(d);
                let undone = descriptor.sync(poller, &synced.place, wanted, false, OnStale::Fail);
                if undone.is_err() {
                    synced.mark(d, false);
                }
            }
        })
    }

    /// Detaches a handler from its descriptor, and from the kernel's set.
    pub(super) fn detach(&mut self, poller: &Poller, key: Key) {
        let synced = &mut self.synced;
        let d = synced.table.handler(key).descriptor;
        synced.table.unlink(key);
        if synced.table.descriptor(d).first.is_none() {
            let mut descriptor = synced.table.remove_descriptor(d);
            descriptor.release(poller);
            if self.by_fd.get(descriptor.fd) == Some(d) {
                self.by_fd.remove(descriptor.fd);
            }
        } else if synced.change(poller, d, false).is_err() {
            // Until the next flush, the kernel reports more than is wanted, or nothing if the file is closed.
            synced.mark(d, false);
        }
    }

    /// Attaches a handler to an orphaned descriptor of its own, which reports nothing.
    #[cold]
    fn attach_to_orphan(&mut self, key: Key, fd: RawFd) {
        let table = &mut self.synced.table;
        let d = table.insert_descriptor(fd);
        table.descriptor(d).orphaned = true;
        table.link(key, d);
    }

    /// Silences a handler whose number now means another file. The caller does not know about that. Other handlers of
    /// the number are not affected.
    #[cold]
    pub(super) fn disown(&mut self, poller: &Poller, key: Key) {
        let (handler, descriptor) = self.synced.table.both(key);
        handler.forget_pending();
        let fd = descriptor.fd;
        self.detach(poller, key);
        self.attach_to_orphan(key, fd);
        self.synced.table.count(key);
    }

    /// Attaches an orphaned handler to the present descriptor of its number.
    #[cold]
    pub(super) fn adopt(&mut self, poller: &Poller, key: Key) -> io::Result<()> {
        let fd = self.synced.table.both(key).1.fd;
        self.move_to(poller, key, fd)
    }

    /// Attaches a handler to the descriptor `fd` instead of its own. If the kernel refuses that, the handler gets an
    /// orphan of its old number, which reports nothing.
    #[cold]
    pub(super) fn move_to(&mut self, poller: &Poller, key: Key, fd: RawFd) -> io::Result<()> {
        let (handler, descriptor) = self.synced.table.both(key);
        handler.forget_pending();
        let before = descriptor.fd;
        self.detach(poller, key);
        let attached = self.attach(poller, key, fd, false);
        attached.inspect_err(|_| self.attach_to_orphan(key, before))
    }

    /// Attaches a handler to the new descriptor of its source. If the kernel refuses it, the loop asks again before
    /// each wait.
    #[cold]
    pub(super) fn follow(&mut self, poller: &Poller, key: Key, fd: RawFd) {
        if self.synced.table.get(key).is_none() {
            return;
        }
        self.synced.table.handler(key).forget_pending();
        self.detach(poller, key);
        // A source that has become virtual cannot be followed, because only its number is known here. That is
        // refused.
        let attached = if poller.allows(fd).is_err() {
            let d = self.synced.table.insert_descriptor(fd);
            self.synced.table.descriptor(d).source = ReadySource::Refused;
            self.synced.table.link(key, d);
            self.synced.mark(d, false);
            Ok(())
        } else {
            self.attach(poller, key, fd, false)
        };
        if attached.is_err() {
            let table = &mut self.synced.table;
            let known = self.by_fd.get(fd);
            let d = known.unwrap_or_else(|| table.insert_descriptor(fd));
            table.descriptor(d).orphaned = fd == os::NO_FD;
            table.link(key, d);
            self.by_fd.set(fd, d);
            self.synced.mark(d, false);
        }
        self.synced.call_if_ready(key);
        self.synced.table.count(key);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::panic::Location;

    use super::*;
    use crate::{Mode, PollerKind};

    #[test]
    fn a_file_that_the_thread_polls_already_is_left_to_it() {
        let poller = Poller::new(PollerKind::BEST).unwrap();
        let mut attached = Attached::new(Arc::new(Inbox::new(poller.waker())));
        let mounts = std::fs::File::open("/proc/self/mounts").unwrap();
        let table = &mut attached.synced.table;
        let key = table.insert(Interest::PRIORITY, Mode::Level, Location::caller());
        let key = key.unwrap();
        attached
            .attach(&poller, key, mounts.as_raw_fd(), false)
            .unwrap();
        assert!(attached.synced.table.both(key).1.diverted().is_some());
        attached.synced.nest(&poller);
        assert!(!attached.synced.is_dirty());
    }
}
