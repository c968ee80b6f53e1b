//! Changes of one handler. If the kernel refuses a change, it is undone.

use std::io;

use super::attach::Attached;
use super::limits::Limits;
use super::sync::{Changed, Synced};
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::poller::{Poller, Watch, exists};
use crate::{Interest, Mode, Ready};

/// The handler as it was before the change.
struct Change {
    key: Key,
    descriptor: u32,
    fd: RawFd,
    mode: Mode,
    again: bool,
    held: bool,
    interest: Interest,
    armed: bool,
    pending: Ready,
}

impl Change {
    /// Arms a handler, and replaces its interest if a new one is given. The kernel does not know yet.
    #[inline(always)]
    fn begin(synced: &mut Synced, key: Key, interest: Option<Interest>) -> Option<Change> {
        let handler = synced.table.get(key)?;
        let mut change = Change {
            key,
            descriptor: handler.descriptor,
            fd: os::NO_FD,
            mode: handler.mode,
            again: handler.again,
            held: handler.held,
            interest: handler.interest,
            armed: handler.armed,
            pending: handler.pending,
        };
        synced.table.alter(key, |handler| {
            handler.interest = interest.unwrap_or(handler.interest);
            handler.armed = true;
            // A level handler keeps its pending readiness unless it is paused. Otherwise a callback that toggles
            // a neighbour's interest in every turn would silence that neighbour.
            let is_paused = interest.is_some_and(|interest| interest.is_empty());
            if is_paused | (handler.mode != Mode::Level) {
                handler.pending = Ready::NONE;
            }
        });
        let (handler, descriptor) = synced.table.both(key);
        change.fd = descriptor.fd;
        if let Some(diverted) = descriptor.diverted() {
            // The thread reports this readiness again, because the handler was not called for it.
            diverted.put_back(change.mode, change.pending);
            handler.forget_pending();
        }
        Some(change)
    }

    fn undo(&self, synced: &mut Synced) {
        synced.table.alter(self.key, |handler| {
            handler.interest = self.interest;
            handler.armed = self.armed;
            handler.pending = self.pending;
        });
    }

    fn with_fd(&self, result: io::Result<()>) -> Changed {
        result.map_err(|error| (self.fd, error))
    }
}

/// Replaces the interest of a handler, and arms it again.
#[inline]
pub(super) fn update(
    attached: &mut Attached,
    limits: &mut Limits,
    poller: &Poller,
    key: Key,
    interest: Interest,
) -> Option<Changed> {
    let synced = &mut attached.synced;
    let change = Change::begin(synced, key, Some(interest))?;
    let result = tell_update(synced, poller, &change, interest);
    let result = if change.held && !interest.is_empty() {
        result.and_then(|()| limits.look_at_held(key, synced.table.descriptor(change.descriptor)))
    } else {
        result
    };
    if result.is_err() {
        change.undo(synced);
        return Some(change.with_fd(result));
    }
    if change.again {
        synced.call_next_turn(key);
    } else if !synced
        .table
        .descriptor(change.descriptor)
        .is_told_by_kernel()
    {
        synced.call_if_ready(key);
    }
    synced.table.count(key);
    Some(Ok(()))
}

#[inline]
fn tell_update(
    synced: &mut Synced,
    poller: &Poller,
    change: &Change,
    interest: Interest,
) -> io::Result<()> {
    let (mode, d) = (change.mode, change.descriptor);
    let descriptor = synced.table.descriptor(d);
    let mut is_new = false;
    if !interest.is_empty() {
        if descriptor.orphaned {
            return Err(io::Error::from_raw_os_error(os::EBADF));
        }
        // The caller means the file that the number has now. An update that changes nothing may mean a new file.
        // If the descriptor was reported in this turn, the file is known to be the old one.
        is_new = std::mem::take(&mut descriptor.closed);
        let unchanged = change.armed & (change.interest == interest);
        let is_known = synced.defer && descriptor.has_fired_in(synced.turn);
        if !descriptor.is_told_by_kernel() | (unchanged & !is_known) {
            is_new |= synced.look_again(poller, d);
        }
    }
    if synced.table.descriptor(d).is_told_by_kernel() {
        poller.supports(Watch { interest, mode })?;
    }
    if interest.contains(Interest::PRIORITY) | is_new {
        synced.divert_new(poller, d)?;
    }
    synced.change(poller, d, mode == Mode::Edge)
}

/// Arms a handler and registers its descriptor with the kernel again, even if nothing seems to have changed.
pub(super) fn rearm(
    attached: &mut Attached,
    limits: &mut Limits,
    poller: &Poller,
    key: Key,
) -> Option<Changed> {
    register(attached, limits, key, |attached, d| {
        if attached.synced.table.descriptor(d).orphaned {
            attached.adopt(poller, key)
        } else {
            attached.synced.rearm(poller, d)
        }
    })
}

/// Arms a handler and moves it to another descriptor. A number that is not open, or is the loop's own, changes
/// nothing.
pub(super) fn move_to(
    attached: &mut Attached,
    limits: &mut Limits,
    poller: &Poller,
    key: Key,
    fd: RawFd,
) -> Option<Changed> {
    attached.synced.table.get(key)?;
    let is_virtual = attached.synced.table.both(key).1.fd == os::NO_FD;
    let allowed = if is_virtual {
        Err(no_descriptor())
    } else {
        exists(fd).and_then(|()| poller.allows(fd))
    };
    let moved = match allowed {
        Err(error) => return Some(Err((fd, error))),
        Ok(()) => register(attached, limits, key, |attached, _| {
            attached.move_to(poller, key, fd)
        })?,
    };
    Some(moved.map_err(|(_, error)| (fd, error)))
}

/// Arms a handler, and calls `tell` to register its descriptor with the kernel.
fn register(
    attached: &mut Attached,
    limits: &mut Limits,
    key: Key,
    tell: impl FnOnce(&mut Attached, u32) -> io::Result<()>,
) -> Option<Changed> {
    let change = Change::begin(&mut attached.synced, key, None)?;
    let mut result = tell(attached, change.descriptor);
    let synced = &mut attached.synced;
    if change.held {
        let descriptor = synced.table.both(key).1;
        result = result.and_then(|()| limits.look_at_held(key, descriptor));
    }
    if result.is_err() {
        change.undo(synced);
    }
    if change.again {
        synced.call_next_turn(key);
    }
    let d = synced.table.handler(key).descriptor;
    synced.call_if_ready_on(d);
    synced.table.count(key);
    Some(change.with_fd(result))
}

/// The error for a handler that is on a virtual source.
pub(crate) fn no_descriptor() -> io::Error {
    let what = "a virtual source has no descriptor";
    io::Error::new(io::ErrorKind::Unsupported, what)
}
