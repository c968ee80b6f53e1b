//! The table of handlers: who is registered where, who is to be called, and when the kernel has to
//! be told. Never calls user code.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use slab::Slab;

use super::descriptors::{
    Crowd, Descriptor, HandlerIndex, Merged, OnStale, ReadySource, Watched, is, is_gone,
};
use super::limits::{Limit, Limits};
use super::{Inbox, Target};
use crate::clock::Clock;
use crate::id::Key;
use crate::os::{self, RawFd};
use crate::outcome::Failure;
use crate::poller::{PollSet, Poller, ReadyEvent, Watch, exists};
use crate::{Action, Event, HandlerId, Interest, Mode, Priority, Ready};

pub(super) type Callback = Box<dyn FnMut(Event) -> Outcome>;

/// What a call of a handler came to.
pub(crate) enum Outcome {
    Done(Action),
    /// The callback has replaced its source by another, which has this descriptor.
    Replaced(Action, RawFd),
    Failed(Failure),
}

impl From<Result<Action, Failure>> for Outcome {
    #[inline]
    fn from(result: Result<Action, Failure>) -> Outcome {
        match result {
            Ok(action) => Outcome::Done(action),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// Whether a handler was changed, or what the kernel said of which descriptor.
pub(super) type Changed = Result<(), (RawFd, io::Error)>;

pub(super) struct Handlers {
    /// Of the loop, for those who tell it that a source is ready.
    inbox: Arc<Inbox>,
    /// The loop's descriptor may be watched, so that the kernel's set is asked twice.
    nested: bool,
    pub(super) handlers: Slab<Handler>,
    pub(super) descriptors: Slab<Descriptor>,
    pub(super) limits: Limits,
    /// Who has the number now. Descriptors whose number was taken by another are not in it.
    by_fd: ByNumber,
    /// Descriptors to be synchronised with the kernel before the next wait.
    dirty: Vec<u32>,
    /// Handlers to be called in the next turn without asking the kernel.
    next: Vec<Key>,
    /// Handlers that can be called and keep `run` going.
    active: usize,
    /// How many handlers there are of each mode.
    modes: [usize; 3],
    /// How often what handlers want was changed.
    changes: u64,
    /// A turn is calling callbacks: what they change is put together for the next wait.
    pub(super) defer: bool,
    /// The number of the turn.
    pub(super) turn: u16,
}

pub(super) struct Handler {
    /// `None` while it is being called.
    callback: Option<Callback>,
    pub(super) key: Key,
    /// Where it was registered.
    pub(super) location: &'static Location<'static>,
    /// How often it was called.
    pub(super) calls: u64,
    /// Index of its descriptor.
    pub(super) descriptor: u32,
    /// The next handler on the same descriptor, and the one before.
    sibling: Option<HandlerIndex>,
    previous: Option<HandlerIndex>,
    pub(super) interest: Interest,
    pub(super) mode: Mode,
    /// False for a one-shot that was called and not armed again.
    pub(super) armed: bool,
    pub(super) unreferenced: bool,
    pub(super) priority: Priority,
    /// Each call of it counts: it is a one-shot, or it has an entry in the table of limits...
    pub(super) counts_calls: bool,
    /// ...and is not watched until its interval ends.
    pub(super) held: bool,
    /// Counted in `active`.
    pub(super) counted: bool,
    /// It returned `Action::Again` and was not called since.
    pub(super) again: bool,
    /// It is in `next`.
    queued: bool,
    /// What it is to be told in this turn.
    pending: Ready,
    /// What it was told last.
    last: Ready,
}

impl Handler {
    pub(super) fn is_active(&self) -> bool {
        !self.interest.is_empty() && self.armed
    }

    /// It is to be called when it is ready.
    pub(super) fn is_watched(&self) -> bool {
        self.is_active() && !self.held
    }

    #[inline(always)]
    fn call(&mut self, ready: Ready) -> Option<Call> {
        let callback = self.callback.take()?;
        self.last = ready;
        self.calls += 1;
        Some(Call {
            callback,
            event: Event::new(HandlerId(self.key), ready),
            location: self.location,
        })
    }

    /// Takes what it is to be told now.
    #[inline(always)]
    fn take_pending(&mut self) -> Ready {
        let pending = std::mem::take(&mut self.pending);
        match pending.seen_by(self.interest) {
            // Somebody has changed its interest meanwhile, and it is to be called again whatever that is.
            Ready::NONE if self.again && !pending.is_empty() => self.told_again(),
            ready => ready,
        }
    }

    /// What it is told if it is only called again: what it was told last, as far as it asks for it
    /// still. Nothing if it is paused.
    fn told_again(&self) -> Ready {
        match self.last.seen_by(self.interest) {
            Ready::NONE => Ready::all(self.interest),
            last => last,
        }
    }
}

/// A handler that is to be called now.
pub(super) struct Call {
    pub(super) callback: Callback,
    pub(super) event: Event,
    pub(super) location: &'static Location<'static>,
}

impl Handlers {
    pub(super) fn new(inbox: Arc<Inbox>) -> Handlers {
        Handlers {
            inbox,
            nested: false,
            handlers: Slab::new(),
            descriptors: Slab::new(),
            limits: Limits::default(),
            by_fd: ByNumber::default(),
            dirty: Vec::new(),
            next: Vec::new(),
            active: 0,
            modes: [0; 3],
            changes: 0,
            defer: false,
            turn: 0,
        }
    }

    /// Registers a handler; its callback follows by `set_callback`.
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
        // There are no more descriptors than handlers.
        Key::is_left(self.handlers.len())?;
        let entry = self.handlers.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert(Handler {
            callback: None,
            key,
            location,
            calls: 0,
            descriptor: u32::MAX,
            sibling: None,
            previous: None,
            interest,
            mode,
            armed: true,
            unreferenced: false,
            priority: Priority::Normal,
            counts_calls: mode == Mode::Oneshot,
            held: false,
            counted: false,
            again: false,
            queued: false,
            pending: Ready::NONE,
            last: Ready::NONE,
        });
        let attached = match on {
            Target::Fd(fd) => self.attach(poller, key, fd, false),
            Target::Socket(fd) => self.attach(poller, key, fd, true),
            Target::Virtual(source) => {
                let d = match source.watched_by(&self.inbox) {
                    Some(descriptor) => descriptor.index(),
                    None => {
                        let d = self.new_descriptor(os::NO_FD);
                        let descriptor = &mut self.descriptors[d as usize];
                        let watched = Watched::new(&source, &self.inbox, descriptor.key);
                        descriptor.told = ReadySource::By(Box::new(watched));
                        d
                    }
                };
                self.link(key, d);
                Ok(())
            }
        };
        if let Err(error) = attached {
            self.handlers.remove(key.slot());
            return Err(error);
        }
        let d = self.handlers[key.slot()].descriptor;
        if !self.descriptors[d as usize].is_told_by_kernel() {
            self.call_if_ready(key);
        }
        self.count(key);
        self.modes[mode as usize] += 1;
        self.changes += 1;
        Ok(key)
    }

    pub(super) fn set_callback(&mut self, key: Key, callback: Callback) {
        self.handlers[key.slot()].callback = Some(callback);
    }

    /// Replaces the interest; arms edge and one-shot handlers anew.
    pub(super) fn update(
        &mut self,
        poller: &Poller,
        key: Key,
        interest: Interest,
    ) -> Option<Changed> {
        let handler = self.get(key)?;
        let before = (handler.interest, handler.armed, handler.pending);
        let held = handler.held;
        let (mode, again, d) = (handler.mode, handler.again, handler.descriptor);
        let unchanged = handler.interest == interest && handler.armed;
        self.alter(key, |handler| {
            handler.interest = interest;
            handler.armed = true;
            // What a level handler is still to be told in this turn stands, unless it was paused: a
            // callback that toggles a neighbour's interest in every turn must not silence it.
            if interest.is_empty() | (mode != Mode::Level) {
                handler.pending = Ready::NONE;
            }
        });
        let (defer, turn) = (self.defer, self.turn);
        let descriptor = &mut self.descriptors[d as usize];
        let fd = descriptor.fd;
        if let Some(diverted) = descriptor.diverted() {
            // It is told again what it was not called for yet: nothing else would.
            diverted.put_back(mode, before.2);
            self.forget_pending(key);
        }
        let descriptor = &mut self.descriptors[d as usize];
        let mut is_new = false;
        if interest.is_empty() {
            // Nothing is looked for.
        } else if descriptor.orphaned {
            self.alter(key, |handler| {
                (handler.interest, handler.armed, handler.pending) = before;
            });
            return Some(Err((fd, io::Error::from_raw_os_error(os::EBADF))));
        } else {
            // Whatever the number means now is what the caller means. An update that changes nothing
            // may be there for a new file under it. That it is the old one is known if it was reported
            // in this very turn.
            is_new = std::mem::take(&mut descriptor.closed);
            if !descriptor.is_told_by_kernel()
                | (unchanged & !(defer & descriptor.has_fired_in(turn)))
            {
                is_new |= self.look_again(poller, d);
            }
        }
        let mut result = match self.descriptors[d as usize].is_told_by_kernel() {
            true => poller.supports(Watch { interest, mode }),
            false => Ok(()),
        };
        if interest.contains(Interest::PRIORITY) | is_new {
            result = result.and_then(|()| self.divert_new(poller, d));
        }
        result = result.and_then(|()| self.change(poller, d, mode == Mode::Edge));
        if held && !interest.is_empty() {
            result = result.and_then(|()| self.look_at_held(key));
        }
        if let Err(error) = result {
            self.alter(key, |handler| {
                (handler.interest, handler.armed, handler.pending) = before;
            });
            return Some(Err((fd, error)));
        }
        if again {
            self.call_next_turn(key);
        } else if !self.descriptors[d as usize].is_told_by_kernel() {
            self.call_if_ready(key);
        }
        self.count(key);
        self.changes += 1;
        Some(Ok(()))
    }

    /// Whether the number of a descriptor means another file by now. If it does, what was known of the old
    /// one is forgotten.
    #[cold]
    fn look_again(&mut self, poller: &Poller, d: u32) -> bool {
        let descriptor = &mut self.descriptors[d as usize];
        if descriptor.is_file_gone() {
            descriptor.forget_file();
            true
        } else if !descriptor.check(poller) {
            descriptor.closed = false;
            self.for_all_on(d, Self::forget_pending);
            true
        } else {
            false
        }
    }

    /// As `update`, with another mode.
    #[cfg(feature = "futures")]
    pub(super) fn set_mode(
        &mut self,
        poller: &Poller,
        key: Key,
        interest: Interest,
        mode: Mode,
    ) -> Option<Changed> {
        let before = self.get(key)?.mode;
        self.alter(key, |handler| handler.mode = mode);
        self.set_counts_calls(key);
        let changed = self.update(poller, key, interest)?;
        match changed {
            Ok(()) => {
                self.modes[before as usize] -= 1;
                self.modes[mode as usize] += 1;
            }
            Err(_) => {
                self.alter(key, |handler| handler.mode = before);
                self.set_counts_calls(key);
            }
        }
        Some(changed)
    }

    /// Makes the kernel take the handler's descriptor anew, even if nothing seems changed.
    pub(super) fn rearm(&mut self, poller: &Poller, key: Key) -> Option<Changed> {
        let handler = self.get(key)?;
        let before = (handler.armed, handler.pending);
        let held = handler.held;
        let (mode, d) = (handler.mode, handler.descriptor);
        self.alter(key, |handler| {
            handler.armed = true;
            if handler.mode != Mode::Level {
                handler.pending = Ready::NONE;
            }
        });
        if let Some(diverted) = self.descriptors[d as usize].diverted() {
            diverted.put_back(mode, before.1);
            self.forget_pending(key);
        }
        let fd = self.descriptors[d as usize].fd;
        let result = if self.descriptors[d as usize].orphaned {
            // The number has another owner: be his neighbour.
            self.forget_pending(key);
            self.detach(poller, key);
            self.attach(poller, key, fd, false).inspect_err(|_| {
                let d = self.new_descriptor(fd);
                self.descriptors[d as usize].orphaned = true;
                self.link(key, d);
            })
        } else {
            let descriptor = &mut self.descriptors[d as usize];
            let file = descriptor.file();
            let mut is_new = std::mem::take(&mut descriptor.closed);
            if descriptor.diverted().is_some() && descriptor.is_file_gone() {
                descriptor.forget_file();
                is_new = true;
            }
            let always_ready = match descriptor.is_always_ready() {
                true => Some(std::mem::replace(
                    &mut descriptor.told,
                    ReadySource::ByKernel,
                )),
                false => None,
            };
            let diverted = match is_new | always_ready.is_some() {
                true => self.divert_new(poller, d),
                false => Ok(()),
            };
            let result = diverted.and_then(|()| self.sync(poller, d, true));
            let descriptor = &mut self.descriptors[d as usize];
            if let (Some(told), Err(error)) = (always_ready, &result) {
                if !is_gone(error) {
                    descriptor.told = told;
                }
            }
            if descriptor.file() != file {
                self.for_all_on(d, Self::forget_pending);
            }
            result
        };
        let result = match held {
            true => result.and_then(|()| self.look_at_held(key)),
            false => result,
        };
        if result.is_err() {
            self.alter(key, |handler| (handler.armed, handler.pending) = before);
        }
        let handler = self.get(key)?;
        let (again, d) = (handler.again, handler.descriptor);
        if again {
            self.call_next_turn(key);
        }
        self.for_all_on(d, Self::call_if_ready);
        self.count(key);
        self.changes += 1;
        Some(result.map_err(|error| (fd, error)))
    }

    /// Takes the handler out, and out of the kernel's set. Gives the callback back for the caller
    /// to drop, unless it is running.
    #[inline(never)]
    pub(super) fn remove(&mut self, poller: &Poller, key: Key) -> Option<Option<Callback>> {
        self.get(key)?;
        self.detach(poller, key);
        let handler = self.handlers.remove(key.slot());
        self.active -= usize::from(handler.counted);
        if handler.counts_calls | (handler.priority != Priority::Normal) {
            self.drop_limits(key.index(), handler.priority);
        }
        self.modes[handler.mode as usize] -= 1;
        self.changes += 1;
        Some(handler.callback)
    }

    pub(super) fn set_referenced(&mut self, key: Key, is_referenced: bool) -> Option<()> {
        self.get(key)?.unreferenced = !is_referenced;
        self.count(key);
        Some(())
    }

    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn fd_of(&mut self, key: Key) -> Option<RawFd> {
        let d = self.get(key)?.descriptor;
        Some(self.descriptors[d as usize].fd)
    }

    /// Those in these slots, each with its descriptor and its limit. None if there are no such slots any more.
    pub(super) fn some(
        &self,
        slots: Range<usize>,
    ) -> Option<impl Iterator<Item = (&Handler, &Descriptor, Option<&Limit>)>> {
        let there = slots.start < self.handlers.capacity();
        let some = slots.filter_map(|slot| self.handlers.get(slot));
        there.then(|| {
            some.map(|one| {
                let limit = self.limits.of(one.key.index());
                (one, &self.descriptors[one.descriptor as usize], limit)
            })
        })
    }

    /// How many there are of a mode.
    pub(super) fn len(&self, mode: Mode) -> usize {
        self.modes[mode as usize]
    }

    /// How often what handlers want was changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// A handler is to be called without the kernel's asking.
    pub(super) fn has_next(&self) -> bool {
        !self.next.is_empty()
    }

    /// All callbacks, for the caller to drop.
    pub(super) fn clear(&mut self, poller: &Poller) -> Vec<Callback> {
        for (_, descriptor) in &mut self.descriptors {
            descriptor.release(poller);
        }
        let callbacks = self.handlers.drain().filter_map(|one| one.callback);
        let callbacks = callbacks.collect();
        self.take();
        callbacks
    }

    /// All of them, without a word to the kernel.
    pub(super) fn take(&mut self) -> Handlers {
        let none = Handlers {
            defer: self.defer,
            turn: self.turn,
            changes: self.changes,
            ..Handlers::new(self.inbox.clone())
        };
        std::mem::replace(self, none)
    }

    /// Something changed since the last wait.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Tells the kernel what changed since the last wait. A change that it refuses is an error once, and
    /// tried again before every wait: nobody else has to suffer for it.
    pub(super) fn flush(&mut self, poller: &Poller) -> Changed {
        match self.tell_kernel(poller) {
            None => Ok(()),
            Some((d, error)) => {
                let descriptor = &mut self.descriptors[d as usize];
                descriptor.refused = true;
                Err((descriptor.fd, error))
            }
        }
    }

    /// The same, for who has nobody to tell of an error. Gives the first that nobody was told of yet.
    pub(super) fn tell_kernel(&mut self, poller: &Poller) -> Option<(u32, io::Error)> {
        let mut again = Vec::new();
        let mut untold = None;
        while let Some(d) = self.dirty.pop() {
            let Some(descriptor) = self.descriptors.get_mut(d as usize) else {
                continue;
            };
            if !std::mem::take(&mut descriptor.dirty) {
                continue;
            }
            let force = std::mem::take(&mut descriptor.force);
            let result = self.sync(poller, d, force);
            let descriptor = &mut self.descriptors[d as usize];
            match result {
                Err(error) if !is_gone(&error) => {
                    (descriptor.dirty, descriptor.force) = (true, force);
                    again.push(d);
                    if !descriptor.refused && untold.is_none() {
                        untold = Some((d, error));
                    }
                }
                // Or closed behind our back: it goes quiet.
                _ => descriptor.refused = false,
            }
        }
        self.dirty.append(&mut again);
        untold
    }

    /// Of the calls that a stopped or panicked turn has left over, keeps those that nobody would
    /// report again.
    pub(super) fn keep(&mut self, key: Key) -> bool {
        let Some(handler) = self.get(key) else {
            return false;
        };
        let again = handler.again;
        let d = handler.descriptor;
        if handler.mode != Mode::Level || self.descriptors[d as usize].diverted().is_some() {
            return self
                .get(key)
                .is_some_and(|handler| !handler.pending.is_empty());
        }
        let Some(handler) = self.get(key) else {
            return false;
        };
        handler.pending = Ready::NONE;
        match again {
            true => self.call_next_turn(key),
            false => self.call_if_ready(key),
        }
        false
    }

    /// Appends to `batch` whom an event concerns. False if it concerns nobody: it is a ghost's.
    #[inline]
    pub(super) fn gather(
        &mut self,
        poller: &Poller,
        fired: ReadyEvent,
        batch: &mut Vec<Key>,
    ) -> bool {
        let descriptor = match self.descriptors.get_mut(fired.key.slot()) {
            Some(descriptor) if descriptor.key == fired.key && !descriptor.orphaned => descriptor,
            _ => return false,
        };
        if descriptor.counts(self.turn) && !descriptor.check(poller) {
            self.for_all_on(fired.key.index(), Self::forget_pending);
            return false;
        }
        let mut next = descriptor.first;
        while let Some(link) = next {
            let handler = &mut self.handlers[link.slot()];
            next = handler.sibling;
            let seen = fired.ready.seen_by(handler.interest);
            if handler.armed && !seen.is_empty() && descriptor.is_for(fired.set, handler.mode) {
                if handler.pending.is_empty() {
                    batch.push(handler.key);
                }
                handler.pending |= seen;
            }
        }
        if descriptor.fired(fired.set) {
            self.mark(fired.key.index(), false);
        }
        // It says nothing but that there is nothing: the number is closed, and it will say so again.
        #[cfg(not(pollable))]
        if fired.ready.is_empty() {
            self.mark(fired.key.index(), true);
        }
        true
    }

    /// Lays ghosts. A descriptor that was closed before its handler was removed, while a dup keeps
    /// its file open, cannot be taken out of the kernel's set any more: no number means it. If it
    /// is ready, the loop never sleeps again. So the set is made anew, with those who live.
    pub(super) fn rebuild_set(&mut self, poller: &Poller, set: PollSet) -> io::Result<()> {
        // Before, while the kernel still knows which file each was: a number that has come to mean
        // a stranger's must not be put into the fresh set.
        for d in self
            .descriptors
            .iter()
            .map(|(d, _)| d as u32)
            .collect::<Vec<_>>()
        {
            let descriptor = &mut self.descriptors[d as usize];
            if !descriptor.check(poller) {
                self.for_all_on(d, Self::forget_pending);
            }
        }
        if !poller.rebuild(set)? {
            return Ok(());
        }
        self.dirty.clear();
        for (_, descriptor) in &mut self.descriptors {
            descriptor.forget(set);
            descriptor.dirty = true;
            self.dirty.push(descriptor.key.index());
        }
        Ok(())
    }

    /// Sources that others than the kernel tell of became ready. Appends to `batch` whom that concerns
    /// now; virtual sources are looked at again by `gather_next`.
    #[inline(never)]
    pub(super) fn take_ready_sources(
        &mut self,
        poller: &Poller,
        ready_sources: &mut Vec<Key>,
        batch: &mut Vec<Key>,
    ) {
        for key in ready_sources.drain(..) {
            let descriptor = self.descriptors.get(key.slot());
            let current = descriptor.filter(|descriptor| descriptor.key == key);
            if let Some(diverted) = current.and_then(|descriptor| descriptor.diverted()) {
                let wanted = self.wanted(key.index());
                let found = diverted.take(wanted.level, wanted.edge, wanted.has_level);
                for (set, ready) in [(PollSet::Primary, found.level), (PollSet::Edge, found.edge)] {
                    if !ready.is_empty() {
                        self.gather(poller, ReadyEvent { set, key, ready }, batch);
                    }
                }
                // It is asked again once the handlers were called.
                self.mark(key.index(), false);
                continue;
            }
            let ready_sources = match self.descriptors.get(key.slot()) {
                Some(descriptor) if descriptor.key == key => descriptor.take_ready_sources(),
                _ => continue,
            };
            let mut next = self.descriptors[key.slot()].first;
            while let Some(link) = next {
                let handler = &self.handlers[link.slot()];
                next = handler.sibling;
                let key = handler.key;
                if !ready_sources.seen_by(handler.interest).is_empty() {
                    self.call_next_turn(key);
                }
            }
        }
    }

    /// Appends to `batch` who is to be called without the kernel's asking.
    #[inline(never)]
    pub(super) fn gather_next(&mut self, batch: &mut Vec<Key>) {
        // Put back empty, for its room.
        let mut next = std::mem::take(&mut self.next);
        for key in next.drain(..) {
            let handler = match self.handlers.get_mut(key.slot()) {
                Some(handler) if handler.key == key => handler,
                _ => continue,
            };
            handler.queued = false;
            let descriptor = &self.descriptors[handler.descriptor as usize];
            let gone = descriptor.is_file_gone();
            let now = match descriptor.ready() {
                Some(ready) if handler.armed && !gone => ready.seen_by(handler.interest),
                _ => Ready::NONE,
            };
            let ready = match now.is_empty() && handler.again {
                // If it is paused whoever resumes it puts it back.
                true => handler.told_again(),
                false => now,
            };
            if !ready.is_empty() {
                if handler.pending.is_empty() {
                    batch.push(key);
                }
                handler.pending |= ready;
            }
        }
        self.next = next;
    }

    /// Takes the callback of a handler in the batch, unless it was removed or paused since, or has reached its
    /// limit.
    #[inline]
    pub(super) fn start(&mut self, poller: &Poller, key: Key, clock: &Clock) -> Option<Call> {
        let handler = self.get(key)?;
        let ready = handler.take_pending();
        if ready.is_empty() {
            return None;
        }
        // An exit of its own, so that most calls pay for one look.
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
        if !self.admit(poller, key, ready, clock) {
            return None;
        }
        let call = self.get(key)?.call(ready)?;
        self.spend(key);
        Some(call)
    }

    /// What asked for this call was for one.
    fn spend(&mut self, key: Key) {
        let handler = &mut self.handlers[key.slot()];
        handler.again = false;
        if handler.mode == Mode::Oneshot {
            let d = handler.descriptor;
            self.alter(key, |handler| handler.armed = false);
            self.mark(d, false);
        }
        self.count(key);
    }

    /// Puts the callback back, or gives it back to be dropped.
    #[inline]
    pub(super) fn finish(
        &mut self,
        poller: &Poller,
        key: Key,
        callback: Callback,
        action: Action,
    ) -> Option<Callback> {
        let Some(handler) = self.get(key) else {
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
            self.call_next_turn(key);
            self.count(key);
        } else if mode == Mode::Level && !self.descriptors[d as usize].is_told_by_kernel() {
            self.call_if_ready(key);
        }
        None
    }

    /// The source of a handler has another descriptor now. If the kernel refuses that, it is asked
    /// again before each wait.
    #[cold]
    pub(super) fn follow(&mut self, poller: &Poller, key: Key, fd: RawFd) {
        if self.get(key).is_none() {
            return;
        }
        self.forget_pending(key);
        self.detach(poller, key);
        let attached = match fd {
            // What has become a virtual source cannot be followed: nothing tells which.
            os::NO_FD => Err(io::Error::from_raw_os_error(os::EBADF)),
            _ if poller.allows(fd).is_err() => {
                let d = self.new_descriptor(fd);
                self.descriptors[d as usize].told = ReadySource::Refused;
                self.link(key, d);
                self.mark(d, false);
                Ok(())
            }
            fd => self.attach(poller, key, fd, false),
        };
        if attached.is_err() {
            let known = self.by_fd.get(fd);
            let d = known.unwrap_or_else(|| self.new_descriptor(fd));
            self.descriptors[d as usize].orphaned = fd == os::NO_FD;
            self.link(key, d);
            self.by_fd.set(fd, d);
            self.mark(d, false);
        }
        self.call_if_ready(key);
        self.count(key);
    }

    /// Puts a handler on the descriptor that has the number `fd`, or on a new one if the number
    /// now means another file.
    #[inline(always)]
    fn attach(&mut self, poller: &Poller, key: Key, fd: RawFd, is_socket: bool) -> io::Result<()> {
        if let Some(d) = self.by_fd.get(fd) {
            let attached = if self.descriptors[d as usize].closed {
                exists(fd)?;
                Err(io::Error::from_raw_os_error(os::ENOENT))
            } else {
                self.attach_to(poller, key, d)
            };
            match attached {
                Err(error) if is(&error, os::ENOENT) || is(&error, os::EPERM) => {
                    self.orphan(d);
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
        let handler = &mut self.handlers[key.slot()];
        let entry = self.descriptors.vacant_entry();
        let mut descriptor = Descriptor::new(fd, Key::new(entry.key()));
        let priority = handler.interest.contains(Interest::PRIORITY);
        if (self.nested | priority) && !is_socket {
            descriptor.divert(poller, &self.inbox, handler.interest)?;
        }
        let wanted = wanted(Some(handler));
        let repair = OnStale::Repair(&self.inbox, self.nested);
        descriptor.sync(poller, wanted, false, repair)?;
        if !descriptor.is_known() && !descriptor.is_always_ready() {
            exists(fd)?;
        }
        descriptor.first = Some(HandlerIndex::new(key.index()));
        handler.descriptor = descriptor.key.index();
        (handler.previous, handler.sibling) = (None, None);
        // Not before: a number that is not open may be of any size.
        self.by_fd.set(fd, handler.descriptor);
        entry.insert(descriptor);
        Ok(())
    }

    /// Links to a descriptor that others are on, tells the kernel, and undoes both if it refuses.
    fn attach_to(&mut self, poller: &Poller, key: Key, d: u32) -> io::Result<()> {
        let descriptor = &self.descriptors[d as usize];
        let known = descriptor.is_known();
        let fd = descriptor.fd;
        if descriptor.is_file_gone() {
            exists(fd)?;
            return Err(io::Error::from_raw_os_error(os::ENOENT));
        }
        self.link(key, d);
        self.divert(poller, d).inspect_err(|_| self.unlink(key))?;
        let wanted = self.wanted(d);
        let descriptor = &mut self.descriptors[d as usize];
        let known = known && descriptor.is_known();
        // A descriptor that the kernel knows is always asked for, to find out whether the number
        // still means the same file.
        let stale = if known {
            OnStale::Fail
        } else {
            OnStale::Repair(&self.inbox, self.nested)
        };
        // Else a second edge-triggered handler would not be told what the first one knows.
        let force = known | descriptor.diverted().is_some();
        let mut result = descriptor.sync(poller, wanted, force, stale);
        if result.is_ok() && !descriptor.is_known() && !descriptor.is_always_ready() {
            result = exists(fd);
        }
        result.inspect_err(|error| {
            self.unlink(key);
            if !is_gone(error) {
                let wanted = self.wanted(d);
                let descriptor = &mut self.descriptors[d as usize];
                let undone = descriptor.sync(poller, wanted, false, OnStale::Fail);
                if undone.is_err() {
                    self.mark(d, false);
                }
            }
        })
    }

    /// From now on the loop's descriptor may be watched.
    #[cfg(pollable)]
    pub(super) fn nest(&mut self, poller: &Poller) {
        self.nested = true;
        for d in 0..self.descriptors.capacity() as u32 {
            if !self.descriptors.contains(d as usize) {
                continue;
            }
            // Without a thread to be had it stays as it is. At once, since the loop may be asleep.
            let diverted = self.divert(poller, d);
            if diverted.is_ok() && self.descriptors[d as usize].diverted().is_some() {
                let _ = self.sync(poller, d, true);
            }
        }
    }

    /// Has a descriptor polled by the thread for those that must not be asked twice, if it is one.
    #[cold]
    fn divert(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let Merged { level, edge, .. } = self.wanted(d);
        let descriptor = &mut self.descriptors[d as usize];
        if descriptor.divert(poller, &self.inbox, level | edge)? {
            self.mark(d, true);
        }
        Ok(())
    }

    /// The number of this handler means another file now, which the caller was not told of: the handler goes
    /// quiet, whatever others make of the number.
    #[cold]
    pub(super) fn disown(&mut self, poller: &Poller, key: Key) {
        let d = self.handlers[key.slot()].descriptor;
        let fd = self.descriptors[d as usize].fd;
        self.forget_pending(key);
        self.detach(poller, key);
        let d = self.new_descriptor(fd);
        self.descriptors[d as usize].orphaned = true;
        self.link(key, d);
        self.count(key);
    }

    /// As `divert`, for a file that the kernel was told nothing of yet. There may be just one who asks.
    #[cold]
    fn divert_new(&mut self, poller: &Poller, d: u32) -> io::Result<()> {
        let Merged { level, edge, .. } = self.wanted(d);
        match self.nested | (level | edge).contains(Interest::PRIORITY) {
            true => self.divert(poller, d),
            false => Ok(()),
        }
    }

    fn detach(&mut self, poller: &Poller, key: Key) {
        let d = self.handlers[key.slot()].descriptor;
        self.unlink(key);
        if self.descriptors[d as usize].first.is_none() {
            self.forget(poller, d);
        } else if self.change(poller, d, false).is_err() {
            // It is watched for too much until then. (Or closed, and quiet already.)
            self.mark(d, false);
        }
    }

    fn new_descriptor(&mut self, fd: RawFd) -> u32 {
        let entry = self.descriptors.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert(Descriptor::new(fd, key));
        key.index()
    }

    /// Takes out a descriptor that no handler is on.
    fn forget(&mut self, poller: &Poller, d: u32) {
        let mut descriptor = self.descriptors.remove(d as usize);
        descriptor.release(poller);
        if self.by_fd.get(descriptor.fd) == Some(d) {
            self.by_fd.remove(descriptor.fd);
        }
    }

    /// The number means another file now: whoever is still registered for the old one goes quiet, in
    /// this turn, too.
    fn orphan(&mut self, d: u32) {
        let descriptor = &mut self.descriptors[d as usize];
        descriptor.orphaned = true;
        descriptor.told = ReadySource::ByKernel;
        self.by_fd.remove(descriptor.fd);
        self.for_all_on(d, Self::forget_pending);
        self.for_all_on(d, Self::count);
    }

    fn link(&mut self, key: Key, d: u32) {
        let link = HandlerIndex::new(key.index());
        let descriptor = &mut self.descriptors[d as usize];
        let previous = match descriptor.first {
            None => {
                descriptor.first = Some(link);
                None
            }
            Some(first) => {
                let crowd = descriptor.crowd.get_or_insert_with(|| {
                    Box::new(Crowd::new(first, &self.handlers[first.slot()]))
                });
                crowd.add(&self.handlers[key.slot()]);
                Some(std::mem::replace(&mut crowd.last, link))
            }
        };
        if let Some(previous) = previous {
            self.handlers[previous.slot()].sibling = Some(link);
        }
        let handler = &mut self.handlers[key.slot()];
        handler.descriptor = d;
        (handler.previous, handler.sibling) = (previous, None);
    }

    fn unlink(&mut self, key: Key) {
        let handler = &self.handlers[key.slot()];
        let (previous, next) = (handler.previous, handler.sibling);
        let descriptor = &mut self.descriptors[handler.descriptor as usize];
        if let Some(crowd) = &mut descriptor.crowd {
            crowd.subtract(handler);
            if let (None, Some(previous)) = (next, previous) {
                crowd.last = previous;
            }
        }
        match previous {
            Some(previous) => self.handlers[previous.slot()].sibling = next,
            None => descriptor.first = next,
        }
        match next {
            Some(next) => self.handlers[next.slot()].previous = previous,
            None if previous.is_none() => descriptor.crowd = None,
            None => {}
        }
    }

    /// Changes what a handler wants.
    pub(super) fn alter(&mut self, key: Key, change: impl FnOnce(&mut Handler)) {
        let Some(handler) = self.handlers.get_mut(key.slot()) else {
            return;
        };
        if handler.key != key {
            return;
        }
        match &mut self.descriptors[handler.descriptor as usize].crowd {
            None => change(handler),
            Some(crowd) => {
                crowd.subtract(handler);
                change(handler);
                crowd.add(handler);
            }
        }
    }

    fn wanted(&self, d: u32) -> Merged {
        let descriptor = &self.descriptors[d as usize];
        match (&descriptor.crowd, descriptor.first) {
            (Some(crowd), _) => crowd.wanted(),
            (None, Some(link)) => wanted(Some(&self.handlers[link.slot()])),
            (None, None) => wanted(None),
        }
    }

    /// What the handlers of a descriptor want has changed. Within a turn the kernel is told before
    /// the next wait, unless it might refuse, which the caller has to know.
    pub(super) fn change(&mut self, poller: &Poller, d: u32, force: bool) -> io::Result<()> {
        // Only edge handlers, which are forced, may need another set than the main one.
        if self.defer && !force && self.descriptors[d as usize].is_in_main() {
            self.mark(d, force);
            return Ok(());
        }
        let wanted = self.wanted(d);
        let descriptor = &mut self.descriptors[d as usize];
        if self.defer && !descriptor.grows(wanted) {
            self.mark(d, force);
            return Ok(());
        }
        self.sync(poller, d, force)
    }

    /// Tells the kernel what the handlers of a descriptor want, whatever file its number means now.
    #[inline(always)]
    fn sync(&mut self, poller: &Poller, d: u32, force: bool) -> io::Result<()> {
        let wanted = self.wanted(d);
        let descriptor = &mut self.descriptors[d as usize];
        let repair = OnStale::Repair(&self.inbox, self.nested);
        let result = descriptor.sync(poller, wanted, force, repair);
        if descriptor.is_always_ready() {
            self.for_all_on(d, Self::call_if_ready);
        }
        result
    }

    #[inline(never)]
    pub(super) fn mark(&mut self, d: u32, force: bool) {
        let descriptor = &mut self.descriptors[d as usize];
        descriptor.force |= force;
        descriptor.refused = false;
        if !std::mem::replace(&mut descriptor.dirty, true) {
            self.dirty.push(d);
        }
    }

    fn for_all_on(&mut self, d: u32, each: fn(&mut Self, Key)) {
        let mut next = self.descriptors[d as usize].first;
        while let Some(link) = next {
            let handler = &self.handlers[link.slot()];
            let key = handler.key;
            next = handler.sibling;
            each(self, key);
        }
    }

    /// Has it called if that it is ready can be known without the kernel.
    #[inline(never)]
    pub(super) fn call_if_ready(&mut self, key: Key) {
        let handler = &self.handlers[key.slot()];
        let descriptor = &self.descriptors[handler.descriptor as usize];
        let ready = descriptor.ready();
        if ready.is_some_and(|ready| !ready.seen_by(handler.interest).is_empty()) {
            self.call_next_turn(key);
        }
    }

    /// What it is to be told in this turn was of another file.
    #[cold]
    fn forget_pending(&mut self, key: Key) {
        let handler = &mut self.handlers[key.slot()];
        if !handler.again {
            handler.pending = Ready::NONE;
        }
    }

    #[inline(never)]
    pub(super) fn call_next_turn(&mut self, key: Key) {
        let handler = &mut self.handlers[key.slot()];
        let due = (handler.is_active() || handler.again) && !handler.held;
        if due && !handler.interest.is_empty() && !std::mem::replace(&mut handler.queued, true) {
            self.next.push(key);
        }
    }

    /// Keeps `active` up to date with the handler.
    fn count(&mut self, key: Key) {
        let handler = &mut self.handlers[key.slot()];
        let orphaned = self.descriptors[handler.descriptor as usize].orphaned;
        let again = handler.again && !handler.interest.is_empty();
        let counts = (again || handler.is_active() && !orphaned) && !handler.unreferenced;
        let counted = std::mem::replace(&mut handler.counted, counts);
        self.active = self.active + usize::from(counts) - usize::from(counted);
    }

    #[inline]
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Handler> {
        let handler = self.handlers.get_mut(key.slot())?;
        (handler.key == key).then_some(handler)
    }
}

/// What a handler that is alone on its descriptor wants of the kernel.
fn wanted(handler: Option<&Handler>) -> Merged {
    let mut wanted = Merged {
        only_oneshots: true,
        ..Merged::default()
    };
    if let Some(handler) = handler {
        match handler.mode {
            Mode::Edge if handler.held => {}
            Mode::Edge => wanted.edge |= handler.interest,
            mode => {
                wanted.has_level = true;
                if handler.is_watched() {
                    wanted.level |= handler.interest;
                    wanted.only_oneshots &= mode == Mode::Oneshot;
                }
            }
        }
    }
    wanted
}

/// Descriptors by their number. The system gives out the smallest that is free, so that a plain table
/// does; but a caller may ask for a large one, and a table up to that would be just as large.
#[derive(Default)]
struct ByNumber {
    low: Vec<u32>,
    high: HashMap<RawFd, u32>,
}

impl ByNumber {
    const NONE: u32 = u32::MAX;
    /// Numbers from here on are high.
    const HIGH: RawFd = 1 << 16;

    fn get(&self, fd: RawFd) -> Option<u32> {
        let d = match fd < Self::HIGH {
            true => *self.low.get(usize::try_from(fd).ok()?)?,
            false => *self.high.get(&fd)?,
        };
        (d != Self::NONE).then_some(d)
    }

    fn set(&mut self, fd: RawFd, d: u32) {
        if fd >= Self::HIGH {
            self.high.insert(fd, d);
        } else if let Ok(fd) = usize::try_from(fd) {
            if fd >= self.low.len() {
                self.low.resize(fd + 1, Self::NONE);
            }
            self.low[fd] = d;
        }
    }

    fn remove(&mut self, fd: RawFd) {
        if fd >= Self::HIGH {
            self.high.remove(&fd);
        } else if let Some(d) = usize::try_from(fd).ok().and_then(|fd| self.low.get_mut(fd)) {
            *d = Self::NONE;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::PollerKind;

    /// What the handlers on a descriptor want, counted anew.
    fn counted(handlers: &Handlers) -> Merged {
        let mut all = Merged {
            only_oneshots: true,
            ..Merged::default()
        };
        for (_, handler) in &handlers.handlers {
            let one = wanted(Some(handler));
            all.level |= one.level;
            all.edge |= one.edge;
            all.has_level |= one.has_level;
            all.only_oneshots &= one.only_oneshots;
        }
        all
    }

    #[test]
    fn a_high_number_needs_no_more_room_than_a_low_one() {
        let mut by_number = ByNumber::default();
        let numbers = [3, ByNumber::HIGH - 1, ByNumber::HIGH, 999_999_999];
        for (d, fd) in (0..).zip(numbers) {
            assert_eq!(by_number.get(fd), None);
            by_number.set(fd, d);
        }
        for (d, fd) in (0..).zip(numbers) {
            assert_eq!(by_number.get(fd), Some(d));
            by_number.remove(fd);
            assert_eq!(by_number.get(fd), None);
        }
        assert_eq!(by_number.get(-1), None);
        assert!(by_number.low.len() <= 1 << 16 && by_number.high.is_empty());
    }

    #[test]
    fn what_many_handlers_want_is_kept_up_to_date() {
        let poller = Poller::new(PollerKind::BEST).unwrap();
        let inbox = Arc::new(Inbox::new(poller.waker()));
        let (a, _b) = UnixStream::pair().unwrap();
        let mut handlers = Handlers::new(inbox);
        let mut keys: Vec<Key> = Vec::new();
        let mut random = 1_u32;
        let mut pick = |of: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % of
        };
        let interests = [
            Interest::NONE,
            Interest::READABLE,
            Interest::WRITABLE,
            Interest::READABLE | Interest::WRITABLE,
        ];
        let modes = [Mode::Level, Mode::Edge, Mode::Oneshot];
        for step in 0..3000 {
            let interest = interests[pick(4)];
            match pick(if step < 2000 { 4 } else { 5 }) {
                0 | 1 => {
                    let mode = modes[pick(3)];
                    let (on, location) = (Target::Fd(a.as_raw_fd()), Location::caller());
                    let added = handlers.add(&poller, on, interest, mode, location);
                    keys.push(added.unwrap());
                }
                2 if !keys.is_empty() => {
                    let key = keys[pick(keys.len())];
                    let updated = handlers.update(&poller, key, interest);
                    updated.unwrap().unwrap();
                }
                3 if !keys.is_empty() => {
                    let key = keys[pick(keys.len())];
                    handlers.spend(key);
                }
                4 if !keys.is_empty() => {
                    let key = keys.swap_remove(pick(keys.len()));
                    handlers.remove(&poller, key).unwrap();
                }
                _ => continue,
            }
            if let Some(first) = keys.first() {
                let d = handlers.handlers[first.slot()].descriptor;
                assert_eq!(handlers.wanted(d), counted(&handlers), "step {step}");
            }
        }
        while let Some(key) = keys.pop() {
            handlers.remove(&poller, key).unwrap();
        }
        assert!(handlers.descriptors.is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_the_thread_polls_already_is_left_to_it() {
        let poller = Poller::new(PollerKind::BEST).unwrap();
        let inbox = Arc::new(Inbox::new(poller.waker()));
        let mounts = std::fs::File::open("/proc/self/mounts").unwrap();
        let mut handlers = Handlers::new(inbox);
        let (on, location) = (Target::Fd(mounts.as_raw_fd()), Location::caller());
        handlers
            .add(&poller, on, Interest::PRIORITY, Mode::Level, location)
            .unwrap();
        assert!(handlers.descriptors[0].diverted().is_some());
        handlers.nest(&poller);
        assert!(!handlers.is_dirty());
    }
}
