//! For bindings to other languages, such as `oneloop-c`. No part of the interface: all of it may change
//! with any version.
//!
//! Callbacks of other languages need two things that Rust's closures do without. Their id has to be
//! written to where the caller wants it before they can be called: afterwards that place may be gone.
//! And what is removed is dropped in a turn, never inside the call that removes it, because libraries
//! hold their locks there.

use std::collections::HashSet;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
#[cfg(all(unix, feature = "signal"))]
use std::{io, process::ExitStatus};

#[cfg(pollable)]
use crate::Step;
#[cfg(all(unix, feature = "signal"))]
use crate::child::ExitWatch;
use crate::engine::{Fired, Outcome, Target, When, boxed};
#[cfg(pollable)]
use crate::os::AsRawFd;
use crate::os::RawFd;
use crate::{
    Action, Event, HandlerId, HookId, Interest, Mode, PostId, Priority, Reactor, Result, TimerId,
    VirtualSource,
};

/// What [`Reactor::as_raw`] points to. A pointer may come to another copy of oneloop in the process, of
/// another version or compiler: up to `functions` this stays as it is, or `MAGIC` changes.
#[derive(Debug)]
#[repr(C)]
pub struct Head {
    magic: [u8; 8],
    /// The address of something of which each copy has its own.
    copy: usize,
    functions: AtomicPtr<()>,
    /// The ids of callbacks that are not to be dropped inside the call that removes them.
    lingering: OnceLock<Mutex<HashSet<u64>>>,
}

const MAGIC: [u8; 8] = *b"oneloop1";
static COPY: AtomicUsize = AtomicUsize::new(0);

/// Which copy of oneloop has made a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// This one.
    This,
    /// Another, with the functions that it has [published](Head::publish).
    Other(*const ()),
    /// One of which nothing is known, if it is a loop at all.
    Unknown,
}

impl Head {
    pub(crate) fn new() -> Head {
        Head {
            magic: MAGIC,
            copy: ptr::from_ref(&COPY).addr(),
            functions: AtomicPtr::default(),
            lingering: OnceLock::new(),
        }
    }

    /// Says who has made the loop.
    pub fn maker(&self) -> Maker {
        if self.magic != MAGIC {
            Maker::Unknown
        } else if self.copy == ptr::from_ref(&COPY).addr() {
            Maker::This
        } else {
            Maker::Other(self.functions.load(Relaxed))
        }
    }

    /// Makes a table of functions known, by which other copies can use the loop.
    pub fn publish<T>(&self, functions: &'static T) {
        let functions = ptr::from_ref(functions).cast_mut();
        self.functions.store(functions.cast(), Relaxed);
    }

    fn lingers(&self, id: u64) -> bool {
        let lingering = self.lingering.get().map(lock);
        lingering.is_some_and(|lingering| lingering.contains(&id))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hosts of languages in which nothing is dropped. The claim holds no handle of the loop.
#[cfg(pollable)]
#[doc(hidden)]
impl Reactor {
    /// As [`Reactor::host`], and [`Host::exit_when_empty`](crate::Host::exit_when_empty) if that is asked for.
    /// Gives the descriptor to watch.
    pub fn begin_host(&self, name: &'static str, exits_when_empty: bool) -> Result<RawFd> {
        self.core.claim_host(name)?;
        if exits_when_empty {
            self.core.exit_when_empty();
        }
        Ok(self.core.as_fd().as_raw_fd())
    }

    /// As [`Host::step`](crate::Host::step). Fails if there is no claim.
    pub fn step(&self, budget: usize) -> Result<Step> {
        self.core.step(budget)
    }

    /// As dropping a [`Host`](crate::Host).
    pub fn end_host(&self) {
        self.core.release_host();
    }
}

/// Registers what `make` makes when the id is known. It is called under the loop's lock, and must not
/// use the loop. If registering fails, it is not called.
#[doc(hidden)]
impl Reactor {
    /// What all loops begin with.
    pub fn head(&self) -> &Head {
        &self.core.head
    }

    /// Whether the loop's time is that of a [`TestClock`](crate::TestClock).
    pub fn has_test_clock(&self) -> bool {
        self.core.clock.is_test()
    }

    /// As [`Reactor::add_raw_handler`].
    ///
    /// # Safety
    ///
    /// As there.
    #[track_caller]
    pub unsafe fn add_raw_handler_with<F>(
        &self,
        fd: RawFd,
        interest: Interest,
        mode: Mode,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnMut(Event) -> Action + Send + 'static,
    {
        let location = Location::caller();
        let added = self.core.add_handler(
            "add_raw_handler",
            Target::Fd(fd),
            (interest, mode),
            location,
            (),
            |(), key| {
                let mut callback = make(HandlerId(key));
                Box::new(move |event| Outcome::Done(callback(event)))
            },
        );
        added.map(HandlerId).map_err(|(error, ())| error)
    }

    /// As [`Reactor::add_handler`] for a virtual source.
    #[track_caller]
    pub fn add_virtual_handler_with<F>(
        &self,
        source: VirtualSource,
        interest: Interest,
        mode: Mode,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnMut(Event) -> Action + Send + 'static,
    {
        let location = Location::caller();
        let added = self.core.add_handler(
            "add_handler",
            Target::Virtual(source.clone()),
            (interest, mode),
            location,
            source,
            |source, key| {
                let mut callback = make(HandlerId(key));
                boxed(source, move |_, event| callback(event))
            },
        );
        added.map(HandlerId).map_err(|(error, _)| error)
    }

    /// As [`Reactor::add_signal`].
    #[cfg(all(unix, feature = "signal"))]
    #[track_caller]
    pub fn add_signal_with<F>(
        &self,
        signal: i32,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnMut(i32) -> Action + Send + 'static,
    {
        self.add_signal_by(signal, Location::caller(), make)
    }

    /// As [`Reactor::add_child`].
    #[cfg(all(unix, feature = "signal"))]
    #[track_caller]
    pub fn add_child_with<F>(
        &self,
        child: u32,
        make: impl FnOnce(HandlerId) -> F,
    ) -> Result<HandlerId>
    where
        F: FnOnce(io::Result<ExitStatus>) + Send + 'static,
    {
        self.add_child_by(ExitWatch::of, child, Location::caller(), make)
            .map_err(crate::Error::from)
    }

    /// As [`Reactor::call_every`], but for the first call; as [`Reactor::add_timer`] if there is no period.
    #[track_caller]
    pub fn add_timer_with<F>(
        &self,
        first: Instant,
        period: Option<Duration>,
        make: impl FnOnce(TimerId) -> F,
    ) -> Result<TimerId>
    where
        F: FnMut() -> Action + Send + 'static,
    {
        let when = match period {
            None => When::At(first),
            Some(period) => When::Every(first, period),
        };
        let location = Location::caller();
        let make = |key| {
            let mut callback = make(TimerId(key));
            Box::new(move || Ok(callback())) as _
        };
        let add = "add_timer";
        let added = (self.core).add_timer_with(add, when, Fired::Kept, location, make);
        added.map(TimerId)
    }

    /// As [`Reactor::call_soon_with`].
    #[track_caller]
    pub fn post_with<F>(&self, priority: Priority, make: impl FnOnce(PostId) -> F) -> Result<PostId>
    where
        F: FnOnce() + Send + 'static,
    {
        let make = |(), id| {
            let callback = make(id);
            Box::new(move || {
                callback();
                Ok(())
            }) as _
        };
        let posted = self
            .core
            .inbox
            .post_with("call_soon", Location::caller(), priority, (), make);
        posted.map_err(|(error, ())| error)
    }

    /// As [`Reactor::add_hook`].
    #[track_caller]
    pub fn add_hook_with<P, C>(&self, make: impl FnOnce(HookId) -> (P, C)) -> Result<HookId>
    where
        P: FnMut() -> Option<Duration> + Send + 'static,
        C: FnMut() + Send + 'static,
    {
        let added = self.core.add_hook(|key| {
            let (prepare, check) = make(HookId(key));
            (Box::new(prepare), Box::new(check))
        });
        added.map(HookId)
    }
}

/// Removes what has an id. If that [lingers](Reactor::add_lingering), it is dropped by a turn to come, or
/// by the end of the loop.
#[doc(hidden)]
impl Reactor {
    /// Notes that what has this id is not to be dropped inside the call that removes it. To be called
    /// before the id is known.
    pub fn add_lingering(&self, id: u64) {
        let lingering = self.core.head.lingering.get_or_init(Mutex::default);
        lock(lingering).insert(id);
    }

    /// To be called when it is dropped.
    pub fn drop_lingering(&self, id: u64) {
        // A thread that is not in a child process may have the lock, for ever.
        if self.core.check_process("").is_err() {
            return;
        }
        if let Some(lingering) = self.core.head.lingering.get() {
            lock(lingering).remove(&id);
        }
    }

    /// As [`Reactor::remove_handler`].
    pub fn retire_handler(&self, id: HandlerId) -> Result<()> {
        match self.lingers("remove_handler", id.to_bits())? {
            true => self.core.retire_handler(id.0),
            false => self.core.remove_handler(id.0),
        }
    }

    /// As [`Reactor::cancel_timer`].
    pub fn retire_timer(&self, id: TimerId) -> Result<()> {
        match self.lingers("cancel_timer", id.to_bits())? {
            true => self.core.retire_timer(id.0),
            false => self.core.cancel_timer(id.0),
        }
    }

    /// As [`Reactor::remove_hook`].
    pub fn retire_hook(&self, id: HookId) -> Result<()> {
        match self.lingers("remove_hook", id.to_bits())? {
            true => self.core.retire_hook(id.0),
            false => self.core.remove_hook(id.0),
        }
    }

    /// As [`Reactor::cancel_post`]. The callback is dropped in a turn to come, or by the end of the loop.
    pub fn retire_post(&self, id: PostId) -> Result<()> {
        self.core.retire_post(id)
    }

    fn lingers(&self, call: &'static str, id: u64) -> Result<bool> {
        self.core.check_process(call)?;
        Ok(self.core.head.lingers(id))
    }
}
