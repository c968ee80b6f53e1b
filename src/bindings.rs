//! Support for bindings to other languages, such as `oneloop-c`. This is not part of the public interface. It
//! may change with any version.
//!
//! Callbacks of other languages need two things that Rust's closures do not. First, the caller receives the
//! id before the callback can be called, because the place for the id may be gone afterwards. Second, removed
//! callbacks are dropped in a turn and never inside the removing call, because libraries hold their locks
//! there.

/// Chooses between code for pollers that are descriptors and code for others. Adapters are crates of their own, and
/// do not know which there is.
#[doc(hidden)]
#[cfg(pollable)]
#[macro_export]
macro_rules! __if_pollable {
    ({$($yes:tt)*} else {$($no:tt)*}) => { $($yes)* };
}

#[doc(hidden)]
#[cfg(not(pollable))]
#[macro_export]
macro_rules! __if_pollable {
    ({$($yes:tt)*} else {$($no:tt)*}) => { $($no)* };
}

use std::collections::HashSet;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
#[cfg(feature = "signal")]
use std::{io, process::ExitStatus};

#[cfg(feature = "signal")]
use crate::child::ExitWatch;
#[cfg(all(target_os = "linux", feature = "signal"))]
pub use crate::child::has_pidfds;
use crate::engine::{Fired, Outcome, Target, When, boxed, pair, repeated};
#[cfg(pollable)]
use crate::os::AsRawFd;
use crate::os::RawFd;
use crate::sync::{Mutex, lock};
use crate::{
    Action, CallbackRun, Error, Event, Guest, GuestId, HandlerId, HookId, Interest, Mode,
    ObserverId, PostError, PostId, Priority, Reactor, Result, Step, TimerId, VirtualSource,
};

/// The data that [`Reactor::as_raw`] points to. A pointer may reach another copy of oneloop in the process,
/// of another version or compiler. The layout up to `functions` therefore stays fixed, unless `MAGIC`
/// changes.
#[derive(Debug)]
#[repr(C)]
pub struct Head {
    magic: [u8; 8],
    /// An address that differs for each copy of oneloop in the process.
    copy: usize,
    functions: AtomicPtr<()>,
    /// The ids of callbacks which must not be dropped inside the call that removes them.
    lingering: OnceLock<Mutex<HashSet<u64>>>,
    /// True once a handler was moved to another descriptor.
    pub(crate) has_moved: AtomicBool,
}

const MAGIC: [u8; 8] = *b"oneloop1";
static COPY: AtomicUsize = AtomicUsize::new(0);

/// The copy of oneloop that made a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// This copy.
    This,
    /// Another copy, with the functions that it has [published](Head::publish).
    Other(*const ()),
    /// An unknown copy, if this is a loop at all.
    Unknown,
}

impl Head {
    pub(crate) fn new() -> Head {
        Head {
            magic: MAGIC,
            copy: ptr::from_ref(&COPY).addr(),
            functions: AtomicPtr::default(),
            lingering: OnceLock::new(),
            has_moved: AtomicBool::new(false),
        }
    }

    /// Returns the copy of oneloop that made the loop.
    pub fn maker(&self) -> Maker {
        if self.magic != MAGIC {
            Maker::Unknown
        } else if self.copy == ptr::from_ref(&COPY).addr() {
            Maker::This
        } else {
            Maker::Other(self.functions.load(Relaxed))
        }
    }

    /// Publishes a table of functions, through which other copies can use the loop.
    pub fn publish<T>(&self, functions: &'static T) {
        let functions = ptr::from_ref(functions).cast_mut();
        self.functions.store(functions.cast(), Relaxed);
    }

    fn lingers(&self, id: u64) -> bool {
        let lingering = self.lingering.get().map(lock);
        lingering.is_some_and(|lingering| lingering.contains(&id))
    }
}

/// Hosts for languages without destructors. The claim holds no handle of the loop.
#[doc(hidden)]
impl Reactor {
    /// Claims the loop like [`Reactor::host`] and returns the descriptor to watch. With `exits_when_empty`,
    /// it does [`Host::exit_when_empty`](crate::Host::exit_when_empty), too.
    #[cfg(pollable)]
    pub fn begin_host(&self, name: &'static str, exits_when_empty: bool) -> Result<RawFd> {
        self.core.claim_host(name)?;
        if exits_when_empty {
            self.core.exit_when_empty();
        }
        Ok(self.core.as_fd().as_raw_fd())
    }

    /// Returns an error, because there is no such descriptor.
    #[cfg(not(pollable))]
    pub fn begin_host(&self, _: &'static str, _: bool) -> Result<RawFd> {
        let why = "the poller of this system is no descriptor that a host could watch";
        let error = std::io::Error::new(std::io::ErrorKind::Unsupported, why);
        Err(Error::os("begin_host", error))
    }

    /// Steps like [`Host::step`](crate::Host::step). Returns an error if there is no claim.
    pub fn step(&self, budget: usize) -> Result<Step> {
        self.core.step(budget)
    }

    /// Ends the claim, like dropping a [`Host`](crate::Host).
    pub fn end_host(&self) {
        self.core.release_host();
    }
}

/// Registration of callbacks that know their id. `make` gets the id and returns the callback. The loop calls
/// `make` under its lock, so `make` must not use the loop. If the registration fails, the loop does not call
/// it.
#[doc(hidden)]
impl Reactor {
    /// Returns the head, with which all loops begin in memory.
    pub fn head(&self) -> &Head {
        &self.core.head
    }

    /// Returns true if the loop runs on a [`TestClock`](crate::TestClock).
    pub fn has_test_clock(&self) -> bool {
        self.core.clock.is_test()
    }

    /// Adds a handler like [`Reactor::add_raw_handler`].
    ///
    /// # Safety
    ///
    /// The caller must fulfil the conditions of [`Reactor::add_raw_handler`].
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

    /// Returns the descriptor of a handler that was added with `fd`, for its callback.
    pub fn fd_now(&self, id: HandlerId, fd: RawFd) -> RawFd {
        if self.core.head.has_moved.load(Relaxed) {
            self.core.handler_fd(id.0).unwrap_or(fd)
        } else {
            fd
        }
    }

    /// Adds a handler like [`Reactor::add_handler`], for a virtual source.
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

    /// Adds a handler like [`Reactor::add_signal`].
    #[cfg(feature = "signal")]
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

    /// Adds a handler like [`Reactor::add_child`].
    #[cfg(feature = "signal")]
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

    /// Sets a timer like [`Reactor::call_every`], with a first call at `first`. Without a period, it is a
    /// timer like that of [`Reactor::add_timer`].
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
            repeated(move || Ok(callback()))
        };
        let add = "add_timer";
        let added = (self.core).add_timer_with(add, when, Fired::Kept, location, make);
        added.map(TimerId)
    }

    /// Posts a callback like [`Reactor::call_soon_with`]. Gives the callback back beside the error, so that a
    /// callback of another language need not be dropped.
    #[track_caller]
    pub fn post_with<F>(
        &self,
        priority: Priority,
        make: impl FnOnce(PostId) -> F,
    ) -> std::result::Result<PostId, (Error, F)>
    where
        F: FnOnce() + Send + 'static,
    {
        let inbox = &self.core.inbox;
        let posted = inbox.post_with("call_soon", Location::caller(), priority, make);
        posted.map_err(PostError::into_parts)
    }

    /// Adds a pair of hooks like [`Reactor::add_hook`].
    #[track_caller]
    pub fn add_hook_with<P, C>(&self, make: impl FnOnce(HookId) -> (P, C)) -> Result<HookId>
    where
        P: FnMut() -> Option<Duration> + Send + 'static,
        C: FnMut() + Send + 'static,
    {
        let added = self.core.add_hook("add_hook", Location::caller(), |key| {
            let (prepare, check) = make(HookId(key));
            pair(prepare, check)
        });
        added.map(HookId)
    }

    /// Adds an observer like [`Reactor::observe_callbacks`].
    pub fn observe_callbacks_with<F>(
        &self,
        threshold: Duration,
        make: impl FnOnce(ObserverId) -> F,
    ) -> Result<ObserverId>
    where
        F: Fn(&CallbackRun) + Send + 'static,
    {
        let make = |key| -> Arc<dyn Fn(&CallbackRun)> { Arc::new(make(ObserverId(key))) };
        self.core.observe_callbacks(threshold, make).map(ObserverId)
    }

    /// Adds a guest that is made with its own id.
    #[track_caller]
    pub fn add_guest_with<G>(
        &self,
        name: impl Into<Arc<str>>,
        make: impl FnOnce(GuestId) -> G,
    ) -> Result<GuestId>
    where
        G: Guest + Send + 'static,
    {
        self.make_guest(name.into(), make)
    }
}

/// Removal by id. If the id [lingers](Reactor::add_lingering), a later turn drops the callback, or the end of
/// the loop does.
#[doc(hidden)]
impl Reactor {
    /// Notes that the callback with this id must not be dropped inside the call that removes it. The caller
    /// must do this before other code learns the id.
    pub fn add_lingering(&self, id: u64) {
        let lingering = self.core.head.lingering.get_or_init(Mutex::default);
        lock(lingering).insert(id);
    }

    /// Forgets the id of a lingering callback that is being dropped.
    pub fn drop_lingering(&self, id: u64) {
        // In a child process, the lock may belong to a thread that does not exist there, and would never be
        // free.
        if self.core.check_process("").is_err() {
            return;
        }
        if let Some(lingering) = self.core.head.lingering.get() {
            lock(lingering).remove(&id);
        }
    }

    /// Removes a handler like [`Reactor::remove_handler`].
    pub fn retire_handler(&self, id: HandlerId) -> Result<()> {
        if self.lingers("remove_handler", id.to_bits())? {
            self.core.retire_handler(id.0)
        } else {
            self.core.remove_handler(id.0)
        }
    }

    /// Cancels a timer like [`Reactor::cancel_timer`].
    pub fn retire_timer(&self, id: TimerId) -> Result<()> {
        if self.lingers("cancel_timer", id.to_bits())? {
            self.core.retire_timer(id.0)
        } else {
            self.core.cancel_timer(id.0)
        }
    }

    /// Removes a pair of hooks like [`Reactor::remove_hook`].
    pub fn retire_hook(&self, id: HookId) -> Result<()> {
        if self.lingers("remove_hook", id.to_bits())? {
            self.core.retire_hook(id.0)
        } else {
            self.core.remove_hook("remove_hook", id.0)
        }
    }

    /// Cancels a post like [`Reactor::cancel_post`]. A later turn drops the callback, or the end of the loop
    /// does.
    pub fn retire_post(&self, id: PostId) -> Result<()> {
        self.core.retire_post(id)
    }

    fn lingers(&self, call: &'static str, id: u64) -> Result<bool> {
        self.core.check_process(call)?;
        Ok(self.core.head.lingers(id))
    }
}
