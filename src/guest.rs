//! Guests: a pair of hooks around the sleep, and handlers on the descriptors that the guest names.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, nanoseconds};
use crate::engine::{Check, Core, NEVER, Outcome, Prepare, Target, sleep_until};
use crate::id::Key;
use crate::os::RawFd;
use crate::sync::{Mutex, try_lock};
use crate::{Action, Event, HandlerId, HookId, Interest, Mode, Ready};

pub(crate) const CALL: &str = "add_guest";

/// Nanoseconds by which a guest may round its time up.
const ROUNDING: u64 = 1_000_000;

/// Another loop that runs inside this one, or a C library with a set of descriptors.
///
/// [`Reactor::add_guest`](crate::Reactor::add_guest) adds a guest. Before each sleep the loop calls
/// [`prepare`](Self::prepare), in which the guest lists its descriptors and says how long the loop may sleep. The
/// loop calls [`turn`](Self::turn) when one of the descriptors is ready, and when that time is over.
///
/// This fits every loop that can be asked for its descriptors and its next deadline (GLib, libuv), and every
/// library that fills an array for poll(2) or an `fd_set` before each sleep (ALSA, libusb, Net-SNMP). Only
/// differences between two lists reach the kernel.
///
/// # Rules for guests
///
/// 1. After `turn`, all that is left to do shows in the next `prepare`, as a time or on a descriptor.
/// 2. The loop may call `prepare` any number of times, also without a sleep after it.
/// 3. If another thread gives the guest something to do, a descriptor shows it.
/// 4. `turn` does not wait. It calls back about once for each source that is ready, so that the
///    loop's own callbacks get their share, and hear of [`stop`](crate::Reactor::stop) in time.
/// 5. Callbacks of the guest may use the loop. They cannot drive it.
/// 6. A descriptor may be closed before `prepare` leaves it out.
/// 7. If a callback of the loop gives the guest something to do, the loop finds it by `prepare` before it sleeps.
///    Under a host, the host's own code may do so after the loop has called `prepare`. It then has to call
///    [`wake`](crate::Reactor::wake), or the host calls [`ask_hooks`](crate::Reactor::ask_hooks) before it sleeps.
///
/// A guest that panics is removed, and the panic reaches the driver.
///
/// # Example
///
/// A loop of another library, which has one descriptor:
///
/// ```
/// use oneloop::{Guest, Interest, Reactor, Watched};
/// use std::os::fd::AsRawFd;
/// use std::{io::Read, io::Write, os::unix::net::UnixStream, time::Duration};
///
/// /// Calls back for each byte, and every 10 ms.
/// struct Library(UnixStream);
///
/// impl Guest for Library {
///     fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
///         // SAFETY: the stream lives as long as the guest.
///         unsafe { watched.add(self.0.as_raw_fd(), Interest::READABLE) };
///         Some(Duration::from_millis(10))
///     }
///
///     fn turn(&mut self, watched: &Watched) {
///         let is_ready = watched.iter().any(|fd| fd.ready.contains(oneloop::Ready::READABLE));
///         if is_ready && self.0.read(&mut [0]).unwrap() == 1 {
///             Reactor::current().unwrap().stop();
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reactor = Reactor::new()?;
/// let (library, mut peer) = UnixStream::pair()?;
/// reactor.add_guest("the library", Library(library))?;
/// peer.write_all(b"x")?;
/// reactor.run()?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "pollset")]
#[doc(alias = "pollfd")]
pub trait Guest {
    /// Lists the guest's descriptors, and returns how long the loop may sleep at most. `None` sets no limit. Zero
    /// asks for another turn at once.
    ///
    /// `watched` is empty at first. A descriptor that is not listed again is not watched any longer.
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration>;

    /// Takes a turn of the guest without waiting. `watched` has the descriptors that were listed last, with what
    /// each is ready for.
    ///
    /// A descriptor without readiness may be ready, too: it shows in a later turn.
    fn turn(&mut self, watched: &Watched);

    /// Returns true if the guest still has something to wait for, so that it keeps
    /// [`run`](crate::Reactor::run) going. The loop asks after each `prepare`.
    fn is_alive(&self) -> bool {
        true
    }

    /// Returns true if a descriptor of the guest shows whenever other code than its own gives it something
    /// to do. The loop then calls `prepare` only after the guest's own turns, which saves time.
    fn announces(&self) -> bool {
        false
    }
}

/// The descriptors of a [`Guest`].
#[derive(Debug, Default)]
pub struct Watched {
    list: Vec<WatchedFd>,
}

/// A descriptor of a [`Guest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchedFd {
    /// Its number.
    pub fd: RawFd,
    /// The readiness that the guest waits for. With [`Interest::NONE`], the descriptor is not watched.
    pub interest: Interest,
    /// The readiness that was found. Errors and the end of the connection are reported for every interest.
    pub ready: Ready,
}

impl Watched {
    /// Adds a descriptor, which is watched level-triggered. The same number may be added several times.
    ///
    /// If the kernel refuses, the loop reports the error as it reports a callback's
    /// ([`Builder::on_error`](crate::Builder::on_error)), and goes on without the descriptor.
    ///
    /// # Safety
    ///
    /// The descriptor must be open. If it is closed later, the guest must leave it out of the next list. The
    /// same holds as for [`add_raw_handler`](crate::Reactor::add_raw_handler).
    pub unsafe fn add(&mut self, fd: RawFd, interest: Interest) {
        self.list.push(WatchedFd {
            fd,
            interest,
            ready: Ready::NONE,
        });
    }

    /// Returns the descriptors, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = WatchedFd> {
        self.list.iter().copied()
    }
}

/// The progress of a guest, for snapshots.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) turns: AtomicU64,
    /// The time of the next turn, if the guest has set one.
    pub(crate) deadline: AtomicU64,
}

/// Makes the hooks of a guest, for the loop of `core`.
pub(crate) fn hooks<G: Guest + 'static>(
    core: Weak<Core>,
    progress: Arc<Progress>,
    name: Arc<str>,
    location: &'static Location<'static>,
    guest: G,
    hook: Key,
) -> (Prepare, Check) {
    let shared = Arc::new(Shared {
        inside: Mutex::new(Some(Inside {
            guest,
            watched: Watched::default(),
            registered: Vec::new(),
            deadline: NEVER,
            limit: NEVER,
            is_changed: true,
            is_alive: false,
            progress,
        })),
        is_removed: AtomicBool::new(false),
        core,
        hook,
        name,
        location,
    });
    let owner = Owner(shared.clone());
    let prepare: Prepare = Box::new(move |clock| shared.prepare(clock));
    let check: Check = Box::new(move |now| owner.0.check(now));
    (prepare, check)
}

/// A guest, as its hooks and its handlers see it.
struct Shared<G> {
    /// Locked while the guest runs, so that it is not called inside itself. `None` once it is removed.
    inside: Mutex<Option<Inside<G>>>,
    is_removed: AtomicBool,
    core: Weak<Core>,
    hook: Key,
    name: Arc<str>,
    location: &'static Location<'static>,
}

struct Inside<G> {
    guest: G,
    watched: Watched,
    /// The handlers of the descriptors in `watched`, in the same order.
    registered: Vec<Registered>,
    /// The time of the next turn.
    deadline: u64,
    /// The end of the loop's sleep, which may be a little earlier.
    limit: u64,
    /// The guest has taken a turn since it was prepared.
    is_changed: bool,
    is_alive: bool,
    progress: Arc<Progress>,
}

struct Registered {
    fd: RawFd,
    interest: Interest,
    /// `None` if the kernel refused the descriptor.
    handler: Option<Key>,
    /// The refusal was reported.
    is_reported: bool,
}

/// Ends the guest when its hooks are removed.
struct Owner<G: Guest + 'static>(Arc<Shared<G>>);

impl<G: Guest + 'static> Drop for Owner<G> {
    fn drop(&mut self) {
        self.0.is_removed.store(true, Ordering::Relaxed);
        self.0.end();
    }
}

impl<G: Guest + 'static> Shared<G> {
    fn prepare(self: &Arc<Self>, clock: &Clock) -> u64 {
        let asked = self.enter(|inside| inside.prepare(self, clock));
        asked.unwrap_or(NEVER)
    }

    /// Takes a turn if it is time for one.
    fn check(&self, now: u64) -> bool {
        let turned = self.enter(|inside| {
            let is_due = inside.deadline <= now;
            if is_due {
                inside.turn();
            }
            is_due
        });
        turned.unwrap_or(false)
    }

    /// Takes a turn because the descriptor of a handler is ready.
    fn ready(&self, handler: Key, ready: Ready) -> Action {
        let turned = self.enter(|inside| {
            let is_it = |registered: &Registered| registered.handler == Some(handler);
            if let Some(at) = inside.registered.iter().position(is_it) {
                inside.watched.list[at].ready = ready;
                inside.turn();
                inside.watched.list[at].ready = Ready::NONE;
            }
        });
        match turned {
            Some(()) => Action::Continue,
            None => Action::Remove,
        }
    }

    /// Calls `call` with the guest, unless that is removed.
    fn enter<R>(&self, call: impl FnOnce(&mut Inside<G>) -> R) -> Option<R> {
        let _leave = Leave(self);
        let mut inside = self.inside.try_lock().ok()?;
        inside.as_mut().map(call)
    }

    /// Removes the handlers, and drops the guest. If it is running, [`Leave`] does both afterwards.
    fn end(&self) {
        // Either this finds the lock free, or the thread that has it finds `is_removed` set.
        fence(Ordering::SeqCst);
        let inside = try_lock(&self.inside).and_then(|mut inside| inside.take());
        let (Some(inside), Some(core)) = (inside, self.core.upgrade()) else {
            return;
        };
        for handler in inside.registered.iter().filter_map(|one| one.handler) {
            // A loop that is closed has none.
            let _ = core.remove_handler(handler);
        }
    }
}

/// Ends a guest that was removed while it ran, or that has panicked.
struct Leave<'a, G: Guest + 'static>(&'a Shared<G>);

impl<G: Guest + 'static> Drop for Leave<'_, G> {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Some(core) = self.0.core.upgrade() {
                // The hook that panics is removed by the driver.
                let _ = core.remove_hook(CALL, self.0.hook);
            }
        }
        fence(Ordering::SeqCst);
        if self.0.is_removed.load(Ordering::Relaxed) {
            self.0.end();
        }
    }
}

impl<G: Guest + 'static> Inside<G> {
    fn turn(&mut self) {
        self.is_changed = true;
        (self.deadline, self.limit) = (NEVER, NEVER);
        self.progress.turns.fetch_add(1, Ordering::Relaxed);
        self.guest.turn(&self.watched);
    }

    /// Asks the guest, and watches what it lists. Returns the time of its next turn.
    fn prepare(&mut self, shared: &Arc<Shared<G>>, clock: &Clock) -> u64 {
        if !self.is_changed && self.guest.announces() {
            return self.limit;
        }
        self.watched.list.clear();
        let limit = self.guest.prepare(&mut self.watched);
        self.deadline = sleep_until(limit, clock);
        // A guest that is asked again rounds up from another time. If the end of the sleep stays the same, the kernel
        // is not told of another. At that time the guest is asked once more.
        let now = self.deadline - limit.map_or(0, nanoseconds);
        let is_same = (self.limit..=self.limit.saturating_add(ROUNDING)).contains(&self.deadline);
        if !is_same || self.limit <= now {
            self.limit = self.deadline;
        }
        self.progress
            .deadline
            .store(self.deadline, Ordering::Relaxed);
        let is_alive = self.guest.is_alive();
        let is_new = self.registered.len() != self.watched.list.len()
            || self
                .watched
                .list
                .iter()
                .zip(&self.registered)
                .any(|(new, old)| {
                    (new.fd, new.interest) != (old.fd, old.interest) || old.handler.is_none()
                });
        // In its own turn, a guest may have closed a descriptor and got another one under the same number.
        if is_new | self.is_changed | (is_alive != self.is_alive) {
            if let Some(core) = shared.core.upgrade() {
                self.register(shared, &core);
                let hook = HookId(shared.hook).into();
                // It may have removed itself.
                let _ = core.set_referenced(hook, is_alive);
            }
        }
        self.is_changed = false;
        self.is_alive = is_alive;
        self.limit
    }

    /// Makes the handlers those of the list.
    fn register(&mut self, shared: &Arc<Shared<G>>, core: &Core) {
        for (at, watched) in self.watched.list.iter().enumerate() {
            let rest = &self.registered[at..];
            match rest.iter().position(|old| old.fd == watched.fd) {
                Some(later) => self.registered.swap(at, at + later),
                None => self.registered.insert(at, Registered::new(watched.fd)),
            }
            self.registered[at].watch(shared, core, watched.interest, self.is_changed);
        }
        for old in self.registered.drain(self.watched.list.len()..) {
            if let Some(handler) = old.handler {
                let _ = core.remove_handler(handler);
            }
        }
    }
}

impl Registered {
    fn new(fd: RawFd) -> Registered {
        Registered {
            fd,
            interest: Interest::NONE,
            handler: None,
            is_reported: false,
        }
    }

    /// Has the descriptor watched. With `look`, finds out whether its number means another file by now.
    fn watch<G: Guest + 'static>(
        &mut self,
        shared: &Arc<Shared<G>>,
        core: &Core,
        interest: Interest,
        look: bool,
    ) {
        if let Some(handler) = self.handler {
            let mut watched = Ok(());
            if self.interest != interest {
                watched = core.update_handler(handler, interest);
            }
            // An update in the turn in which the descriptor was ready would not look.
            if look && !interest.is_empty() {
                watched = watched.and_then(|()| core.rearm_handler(handler));
            }
            if watched.is_err() {
                let _ = core.remove_handler(handler);
                self.handler = None;
            }
        }
        self.interest = interest;
        if self.handler.is_some() {
            return;
        }
        let calls = shared.clone();
        let make = |(), key| -> Box<dyn FnMut(Event) -> Outcome> {
            Box::new(move |event| Outcome::Done(calls.ready(key, event.ready())))
        };
        let on = Target::Fd(self.fd);
        let how = (interest, Mode::Level);
        match core.add_handler(CALL, on, how, shared.location, (), make) {
            Ok(handler) => {
                self.handler = Some(handler);
                let id = HandlerId(handler).into();
                // The guest keeps `run` going, and not its descriptors.
                let _ = core.set_referenced(id, false);
                let _ = core.set_name(id, shared.name.clone());
            }
            Err((error, ())) if !self.is_reported => {
                self.is_reported = true;
                core.report_failed_hook(shared.hook, self.fd, shared.location, error);
            }
            Err(_) => {}
        }
    }
}
