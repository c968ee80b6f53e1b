//! The handlers of a loop. Nothing in here calls user code.
//!
//! Each layer owns its data and knows only those above it in this list:
//!
//! - `handler`, `crowd`: a handler, and the merged interest of several;
//! - `kernel`, `source`, `row`, `dirty`, `descriptor`: a descriptor, and what the kernel knows of it;
//! - `table`: handlers and descriptors, linked and counted;
//! - `ready`, `sync`: handlers to call without the kernel, and changes to tell it;
//! - `numbers`, `attach`: descriptors by number;
//! - `limits`, `batch`, `change`: rate limits, the handlers of one turn, changes that can be undone.

mod attach;
mod batch;
mod change;
mod crowd;
mod descriptor;
mod dirty;
mod handler;
mod kernel;
mod limits;
mod numbers;
mod ready;
mod row;
mod source;
mod sync;
mod table;

use std::io;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use attach::Attached;
pub(super) use batch::Batch;
pub(super) use change::no_descriptor;
pub(super) use descriptor::Descriptor;
pub(crate) use handler::Outcome;
pub(super) use handler::{Call, Callback, Handler};
pub(super) use limits::Limit;
use limits::Limits;
pub(super) use source::ReadySource;
pub(super) use sync::Changed;

use super::inbox::Inbox;
use super::target::Target;
use crate::clock::Clock;
use crate::id::Key;
use crate::os::RawFd;
use crate::poller::{PollSet, Poller, ReadyEvent, Watch};
use crate::{Action, Interest, Mode, Priority, Ready};

pub(super) struct Handlers {
    attached: Attached,
    limits: Limits,
    /// Number of changes so far.
    changes: u64,
}

impl Handlers {
    pub(super) fn new(inbox: Arc<Inbox>) -> Handlers {
        Handlers {
            attached: Attached::new(inbox),
            limits: Limits::default(),
            changes: 0,
        }
    }

    /// Registers a handler. Its callback follows by `set_callback`.
    pub(super) fn add(
        &mut self,
        poller: &Poller,
        on: Target,
        interest: Interest,
        mode: Mode,
        location: &'static Location<'static>,
    ) -> io::Result<Key> {
        if let Target::Fd(fd) | Target::Socket(fd) = on {
            poller.supports(Watch { interest, mode })?;
            poller.allows(fd)?;
        }
        let key = self
            .attached
            .synced
            .table
            .insert(interest, mode, location)?;
        let attached = match on {
            Target::Fd(fd) => self.attached.attach(poller, key, fd, false),
            Target::Socket(fd) => self.attached.attach(poller, key, fd, true),
            Target::Virtual(source) => {
                self.attached.synced.watch(key, &source);
                Ok(())
            }
        };
        let synced = &mut self.attached.synced;
        if let Err(error) = attached {
            synced.table.remove(key);
            return Err(error);
        }
        if !synced.table.both(key).1.is_told_by_kernel() {
            synced.call_if_ready(key);
        }
        synced.table.count(key);
        self.changes += 1;
        Ok(key)
    }

    pub(super) fn set_callback(&mut self, key: Key, callback: Callback) {
        self.attached.synced.table.handler(key).callback = Some(callback);
    }

    /// Replaces the interest, and arms edge and one-shot handlers again.
    pub(super) fn update(
        &mut self,
        poller: &Poller,
        key: Key,
        interest: Interest,
    ) -> Option<Changed> {
        let changed = change::update(&mut self.attached, &mut self.limits, poller, key, interest)?;
        self.changes += u64::from(changed.is_ok());
        Some(changed)
    }

    /// Like `update`, and makes a level-triggered handler edge-triggered or the other way round.
    #[cfg(feature = "futures")]
    pub(super) fn set_mode(
        &mut self,
        poller: &Poller,
        key: Key,
        interest: Interest,
        mode: Mode,
    ) -> Option<Changed> {
        let before = self.attached.synced.table.get(key)?.mode;
        self.attached.synced.table.set_mode(key, mode);
        let changed = self.update(poller, key, interest)?;
        if changed.is_err() {
            self.attached.synced.table.set_mode(key, before);
        }
        Some(changed)
    }

    /// Registers the handler's descriptor with the kernel again, even if nothing seems to have changed.
    pub(super) fn rearm(&mut self, poller: &Poller, key: Key) -> Option<Changed> {
        let changed = change::rearm(&mut self.attached, &mut self.limits, poller, key)?;
        self.changes += 1;
        Some(changed)
    }

    /// Moves a handler to another descriptor, and arms it.
    pub(super) fn move_to(&mut self, poller: &Poller, key: Key, fd: RawFd) -> Option<Changed> {
        let changed = change::move_to(&mut self.attached, &mut self.limits, poller, key, fd)?;
        self.changes += 1;
        Some(changed)
    }

    /// Removes a handler. Returns its callback for the caller to drop, unless the callback is running.
    #[inline(never)]
    pub(super) fn remove(&mut self, poller: &Poller, key: Key) -> Option<Option<Callback>> {
        self.attached.synced.table.get(key)?;
        self.attached.detach(poller, key);
        self.limits.remove(key);
        self.changes += 1;
        let handler = self.attached.synced.table.remove(key);
        Some(handler.callback)
    }

    pub(super) fn set_referenced(&mut self, key: Key, is_referenced: bool) -> Option<()> {
        let table = &mut self.attached.synced.table;
        table.get(key)?.unreferenced = !is_referenced;
        table.count(key);
        Some(())
    }

    pub(super) fn set_priority(&mut self, key: Key, priority: Priority) -> Option<()> {
        let known = self.contains(key);
        known.then(|| self.attached.synced.table.set_priority(key, priority))
    }

    pub(super) fn limit(
        &mut self,
        poller: &Poller,
        key: Key,
        calls: u32,
        per: Duration,
    ) -> Option<()> {
        self.attached.synced.table.get(key)?;
        self.limits.set(&mut self.attached, poller, key, calls, per);
        Some(())
    }

    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.attached.synced.table.get(key).is_some()
    }

    pub(super) fn fd_of(&mut self, key: Key) -> Option<RawFd> {
        let known = self.contains(key);
        known.then(|| self.attached.synced.table.both(key).1.fd)
    }

    /// Returns the readiness of which a handler is told in this turn.
    pub(super) fn ready_of(&mut self, key: Key) -> Option<Ready> {
        self.attached.synced.table.get(key).map(|it| it.ready())
    }

    /// Returns the handlers in these slots, with their descriptors and limits. Returns `None` beyond the last slot.
    pub(super) fn some(
        &self,
        slots: Range<usize>,
    ) -> Option<impl Iterator<Item = (&Handler, &Descriptor, Option<&Limit>)>> {
        let some = self.attached.synced.table.some(slots)?;
        Some(some.map(|(one, on)| (one, on, self.limits.of(one.key.index()))))
    }

    /// Returns the number of handlers of a mode.
    pub(super) fn len(&self, mode: Mode) -> usize {
        self.attached.synced.table.len(mode)
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the number of handlers that keep `run` going.
    #[inline]
    pub(super) fn active(&self) -> usize {
        self.attached.synced.table.active()
    }

    /// Takes all descriptors out of the kernel's sets.
    pub(super) fn forget_in_kernel(&mut self, poller: &Poller) {
        self.attached.synced.table.forget_in_kernel(poller);
    }

    /// Takes all handlers out, and tells the kernel nothing.
    pub(super) fn take(&mut self) -> Handlers {
        let mut none = Handlers::new(self.attached.synced.place.inbox.clone());
        none.attached.synced.defer = self.attached.synced.defer;
        none.attached.synced.turn = self.attached.synced.turn;
        none.changes = self.changes;
        std::mem::replace(self, none)
    }

    // The driver calls the methods below.

    /// Begins a turn. Empties the batch, except for left-over calls.
    #[inline]
    pub(super) fn begin_turn(&mut self, turn: u16, batch: &mut Batch) {
        self.attached.synced.turn = turn;
        batch.begin(&mut self.attached.synced);
    }

    /// Decides whether the kernel learns of changes only before the next wait, or at once.
    #[inline]
    pub(super) fn set_deferred(&mut self, is_deferred: bool) {
        self.attached.synced.defer = is_deferred;
    }

    #[inline]
    pub(super) fn gather(&mut self, poller: &Poller, fired: ReadyEvent, batch: &mut Batch) -> bool {
        batch.gather(&mut self.attached.synced, poller, fired)
    }

    pub(super) fn take_ready_sources(
        &mut self,
        poller: &Poller,
        ready_sources: &mut Vec<Key>,
        batch: &mut Batch,
    ) {
        batch.take_ready_sources(&mut self.attached.synced, poller, ready_sources);
    }

    /// Returns true if a handler is in the ready queue.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        !self.attached.synced.ready.is_empty()
    }

    pub(super) fn gather_next(&mut self, batch: &mut Batch) {
        batch.gather_queued(&mut self.attached.synced);
    }

    #[inline]
    pub(super) fn has_priorities(&self) -> bool {
        self.attached.synced.table.has_priorities()
    }

    pub(super) fn sort(&self, batch: &mut Batch) {
        batch.sort(&self.attached.synced);
    }

    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        self.attached.synced.is_dirty()
    }

    pub(super) fn flush(&mut self, poller: &Poller) -> Changed {
        self.attached.synced.flush(poller)
    }

    /// Flushes like `flush`, for callers that cannot report errors. Returns true if an error was not reported yet.
    pub(super) fn tell_kernel(&mut self, poller: &Poller) -> bool {
        self.attached.synced.tell_kernel(poller).is_some()
    }

    pub(super) fn rebuild_set(&mut self, poller: &Poller, set: PollSet) -> io::Result<()> {
        self.attached.synced.rebuild_set(poller, set)
    }

    #[cfg(pollable)]
    pub(super) fn nest(&mut self, poller: &Poller) {
        self.attached.synced.nest(poller);
    }

    /// Returns the time at which the next handler is no longer held.
    #[inline]
    pub(super) fn next_release(&self) -> u64 {
        self.limits.next_release()
    }

    pub(super) fn release_due(&mut self, poller: &Poller, now: u64) {
        self.limits.release_due(&mut self.attached, poller, now);
    }

    /// Takes the callback of a handler in the batch. Returns `None` if the handler was removed or paused meanwhile, or
    /// has reached its limit.
    #[inline]
    pub(super) fn start(&mut self, poller: &Poller, key: Key, clock: &Clock) -> Option<Call> {
        let handler = self.attached.synced.table.get(key)?;
        let ready = handler.take_pending();
        if ready.is_empty() {
            return None;
        }
        // One branch for all rare cases, because every call pays for it.
        if handler.again | handler.counts_calls {
            return self.start_counted(poller, key, ready, clock);
        }
        handler.call(ready)
    }

    #[cold]
    #[inline(never)]
    fn start_counted(
        &mut self,
        poller: &Poller,
        key: Key,
        ready: Ready,
        clock: &Clock,
    ) -> Option<Call> {
        let attached = &mut self.attached;
        if !self.limits.admit(attached, poller, key, ready, clock) {
            return None;
        }
        let synced = &mut attached.synced;
        let handler = synced.table.get(key)?;
        let call = handler.call(ready)?;
        // `Action::Again` asks for one call only.
        handler.again = false;
        if handler.mode == Mode::Oneshot {
            let d = handler.descriptor;
            synced.table.alter(key, |handler| handler.armed = false);
            synced.mark(d, false);
        }
        synced.table.count(key);
        Some(call)
    }

    /// Puts the callback back. Returns it for the caller to drop if its handler is gone.
    #[inline]
    pub(super) fn finish(
        &mut self,
        poller: &Poller,
        key: Key,
        callback: Callback,
        action: Action,
    ) -> Option<Callback> {
        let synced = &mut self.attached.synced;
        let Some(handler) = synced.table.get(key) else {
            return Some(callback);
        };
        if action == Action::Remove {
            self.remove(poller, key);
            return Some(callback);
        }
        handler.callback = Some(callback);
        let (mode, d) = (handler.mode, handler.descriptor);
        if action == Action::Again {
            handler.again = true;
            synced.call_next_turn(key);
            synced.table.count(key);
        } else if mode == Mode::Level && !synced.table.descriptor(d).is_told_by_kernel() {
            synced.call_if_ready(key);
        }
        None
    }

    /// Follows the source of a handler to another descriptor.
    pub(super) fn follow(&mut self, poller: &Poller, key: Key, fd: RawFd) {
        self.attached.follow(poller, key, fd);
    }
}
