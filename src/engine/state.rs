//! The state of a loop behind one lock, which is never held while user code runs.

use std::mem;
use std::thread::ThreadId;

use super::claim::Claim;
use super::details::{Detail, Details};
use super::handlers::Handlers;
use super::hooks::{Hook, Hooks};
use super::kept::Kept;
use super::sleep::{Phase, Sleep};
use super::system::SystemWatch;
use super::timers::Timers;
use crate::id::Key;
use crate::{Id, Stats};

pub(super) struct State {
    pub(super) handlers: Handlers,
    pub(super) timers: Timers,
    pub(super) system: SystemWatch,
    pub(super) hooks: Hooks,
    pub(super) details: Details,
    pub(super) kept: Kept,
    pub(super) sleep: Sleep,
    /// The call that is driving now, and its thread.
    pub(super) driver: Option<(&'static str, ThreadId)>,
    /// True if the driver only asks the hooks.
    pub(super) asks_hooks: bool,
    /// The driver ends its turn as soon as another wants to drive.
    pub(super) gives_way: bool,
    /// Number of drivers that wait for one which gives way.
    pub(super) waiting_drivers: u32,
    pub(super) host: Option<Claim>,
    pub(super) closed: bool,
    pub(super) stats: Stats,
}

pub(super) type Registered = (Handlers, Timers, Hooks, Kept);

impl State {
    pub(super) fn new(handlers: Handlers) -> State {
        State {
            handlers,
            timers: Timers::default(),
            system: SystemWatch::default(),
            hooks: Hooks::default(),
            details: Details::default(),
            kept: Kept::default(),
            sleep: Sleep::default(),
            driver: None,
            asks_hooks: false,
            gives_way: false,
            waiting_drivers: 0,
            host: None,
            closed: false,
            stats: Stats::default(),
        }
    }

    /// Begins a phase. While callbacks are called, changes for the kernel are collected.
    #[inline]
    pub(super) fn begin(&mut self, phase: Phase) {
        self.sleep.phase = phase;
        self.handlers.set_deferred(phase == Phase::Calling);
    }

    /// Returns true if a handler or timer that counts could still be called.
    pub(super) fn can_call(&self) -> bool {
        self.handlers.active() > 0 || self.timers.active() > 0 || self.hooks.active() > 0
    }

    /// Returns the earliest time at which a timer is due, or a handler is no longer held.
    #[inline]
    pub(super) fn next_deadline(&mut self) -> u64 {
        let release = self.handlers.next_release();
        self.timers.next_deadline().min(release)
    }

    /// Returns the details of a registration, if the registration exists.
    pub(super) fn detail(&mut self, id: Id) -> Option<&mut Detail> {
        let exists = match id {
            Id::Handler(id) => self.handlers.contains(id.0),
            Id::Timer(id) => self.timers.contains(id.0),
            Id::Hook(id) => self.hooks.get(id.0).is_some(),
            Id::Post(_) => false,
        };
        exists.then(|| self.details.entry(id))
    }

    /// Removes a pair of hooks. The caller drops it with no lock held.
    pub(super) fn remove_hook(&mut self, key: Key) -> Option<Hook> {
        let removed = self.hooks.remove(key);
        if self.hooks.is_empty() {
            self.sleep.prepared = None;
        }
        removed
    }

    /// Removes all registrations and tells the kernel nothing. The caller drops them with no lock held.
    pub(super) fn take_registered(&mut self) -> Registered {
        let handlers = self.handlers.take();
        let timers = mem::take(&mut self.timers);
        let hooks = mem::take(&mut self.hooks);
        (handlers, timers, hooks, mem::take(&mut self.kept))
    }
}
