//! The way in from other threads: posts, readiness of virtual sources, and the wake.

use std::mem;
use std::panic::Location;
use std::sync::Weak;

use super::posts::Posts;
use crate::error::Cause;
use crate::id::Key;
use crate::poller::{Report, Wake};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicBool, AtomicU8};
use crate::sync::{Mutex, lock};
use crate::{Error, IntoResult, PostError, PostId, Priority, fork};

// The flags of an inbox.
/// There are new posts of normal or idle priority.
const POSTS: u8 = 1;
/// There are new posts of high priority.
const URGENT: u8 = 2;
/// There are sources that became ready.
const SOURCES: u8 = 4;
/// The loop must take another turn.
const WAKE: u8 = 8;
/// The flags after which the loop takes another turn before it sleeps.
const SIGNALS: u8 = POSTS | URGENT | SOURCES | WAKE;
/// The driver must stop.
const STOP: u8 = 16;
/// The loop may be asleep. A thread that sets a signal must wake it.
const ASLEEP: u8 = 32;

/// The number of turns without a signal after which a loop that wakes up leaves `ASLEEP` set.
const CALM: u8 = 16;

const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Idle];

/// The flag of each priority.
const SIGNAL_OF: [u8; 3] = [URGENT, POSTS, POSTS];

/// The part of a loop that a `Remote` shares, and that may outlive the loop. After `Posts::close` it holds no
/// callback.
pub(crate) struct Inbox {
    /// Weak, so that a `Remote` that outlives its loop keeps no descriptor of it open.
    wake: Weak<dyn Wake>,
    pub(super) posts: Posts,
    /// Descriptors of virtual sources, and diverted ones, that became ready.
    ready_sources: Mutex<Vec<Key>>,
    /// All flags in one word. A thread that signals, and a loop that falls asleep, both write first and read
    /// afterwards, so that the second of them sees the first.
    flags: AtomicU8,
    /// True if a callback of this turn has woken a task. Only the driving thread reads it.
    woken: AtomicBool,
    /// Number of turns since a signal was taken, up to [`CALM`].
    calm: AtomicU8,
    /// Fork generation of the process that made the loop.
    forks: u32,
}

impl Inbox {
    pub(crate) fn new(wake: Weak<dyn Wake>) -> Inbox {
        Inbox {
            wake,
            posts: Posts::new(),
            ready_sources: Mutex::default(),
            flags: AtomicU8::new(ASLEEP),
            woken: AtomicBool::new(false),
            calm: AtomicU8::new(0),
            forks: fork::generation(),
        }
    }

    /// Returns true in a child of the process that made the loop.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != fork::seen()
    }

    /// Posts a callback. Gives it back if the loop is gone.
    #[inline]
    pub(crate) fn post<F, R>(
        &self,
        call: &'static str,
        location: &'static Location<'static>,
        priority: Priority,
        callback: F,
    ) -> Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        self.post_with(call, location, priority, |_| callback)
    }

    /// Posts the callback that `make` returns for the id.
    #[inline]
    pub(crate) fn post_with<F, R>(
        &self,
        call: &'static str,
        location: &'static Location<'static>,
        priority: Priority,
        make: impl FnOnce(PostId) -> F,
    ) -> Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        if self.is_forked() {
            let error = Error::new(call, Cause::Forked);
            return Err(PostError::new(error, make(PostId::NONE)));
        }
        match self.posts.push(priority, location, make) {
            Ok(posted) => {
                // The poster of the first post signals for those above it, too. It may not have done so yet, or
                // may have failed to wake the loop.
                if posted.is_first || self.has(ASLEEP) {
                    self.signal(SIGNAL_OF[priority as usize]);
                }
                Ok(posted.id)
            }
            Err(callback) => Err(PostError::new(Error::new(call, Cause::Closed), callback)),
        }
    }

    /// Notes that a virtual source or a diverted descriptor is ready. Returns true if the caller must `unpark` the
    /// loop.
    pub(crate) fn add_ready_source(&self, key: Key) -> bool {
        if self.is_forked() {
            return false;
        }
        lock(&self.ready_sources).push(key);
        self.set_signals(SOURCES)
    }

    /// Makes the loop take another turn, and wakes it if it sleeps. Any thread may call this.
    pub(crate) fn wake(&self) {
        // A child must not wake its parent.
        if !self.is_forked() {
            self.signal(WAKE);
        }
    }

    #[inline]
    fn signal(&self, signals: u8) {
        if self.set_signals(signals) {
            self.unpark();
        }
    }

    /// Sets signals. Returns true if the loop sleeps and the caller must `unpark` it.
    fn set_signals(&self, signals: u8) -> bool {
        let before = self.flags.fetch_or(signals, AcqRel);
        // If several threads signal at once, only one of them wakes the loop.
        before & ASLEEP != 0 && self.take_flags(ASLEEP) != 0
    }

    /// Wakes a loop that sleeps.
    pub(crate) fn unpark(&self) {
        // If the wake is gone, so is the loop.
        if self.wake.upgrade().is_some_and(|wake| wake.wake().is_err()) {
            // The caller cannot repair this. The next signal tries again.
            self.flags.fetch_or(ASLEEP, AcqRel);
        }
    }

    /// Makes the next driver take a turn without a wait. No loop sleeps, and no host watches.
    pub(super) fn note_work(&self) {
        self.flags.fetch_or(WAKE, AcqRel);
    }

    /// Makes the driver stop. Any thread may call this.
    pub(crate) fn stop(&self) {
        if !self.is_forked() {
            self.signal(STOP | WAKE);
        }
    }

    /// Notes that a callback has woken a task.
    #[cfg(feature = "futures")]
    pub(crate) fn set_woken(&self) {
        self.woken.store(true, Relaxed);
    }

    /// Returns true if a callback has woken a task since the last call of this.
    pub(super) fn take_woken(&self) -> bool {
        let woken = self.woken.load(Relaxed);
        if woken {
            self.woken.store(false, Relaxed);
        }
        woken
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.has(STOP)
    }

    /// Returns true if `stop` was called since the last call of this.
    #[inline]
    pub(super) fn take_stop(&self) -> bool {
        self.take_flags(STOP) != 0
    }

    /// Prepares a sleep, which signals end from now on. Returns false if the loop must not sleep.
    #[inline]
    pub(super) fn fall_asleep(&self) -> bool {
        // While the flag stays, each signal wakes the loop.
        if !self.has(ASLEEP) {
            self.flags.fetch_or(ASLEEP, AcqRel);
        }
        !self.is_signalled()
    }

    /// Returns true until a signal ends the sleep.
    #[cfg(not(pollable))]
    pub(super) fn is_asleep(&self) -> bool {
        self.has(ASLEEP)
    }

    /// Notes that the loop is awake. A thread that does not see this yet makes one needless wake.
    ///
    /// After some turns without a signal it is not noted any more, because it costs more than the next needless wake.
    #[inline]
    pub(super) fn wake_up(&self) {
        let calm = self.calm.load(Relaxed);
        if calm == CALM {
            return;
        }
        self.calm.store(calm + 1, Relaxed);
        if self.has(ASLEEP) {
            self.flags.fetch_and(!ASLEEP, AcqRel);
        }
    }

    #[inline]
    pub(super) fn is_signalled(&self) -> bool {
        self.has(SIGNALS)
    }

    /// Returns true if there are posts, on the stacks or in the lines.
    pub(super) fn has_posts(&self) -> bool {
        self.has(POSTS | URGENT)
            || PRIORITIES
                .iter()
                .any(|&priority| self.posts.is_waiting(priority))
    }

    #[inline]
    fn has(&self, flags: u8) -> bool {
        self.flags.load(Acquire) & flags != 0
    }

    /// Gathers new posts of normal and idle priority. If there are any, returns how many of normal priority wait.
    #[inline]
    pub(super) fn take_posts(&self) -> usize {
        if self.take_flags(WAKE | POSTS) & POSTS == 0 {
            return 0;
        }
        self.posts.gather(Priority::Idle);
        self.posts.gather(Priority::Normal)
    }

    /// Gathers new posts of high priority. If there are any, returns how many wait.
    #[inline]
    pub(super) fn take_urgent(&self) -> usize {
        if self.take_flags(URGENT) == 0 {
            return 0;
        }
        self.posts.gather(Priority::High)
    }

    /// Signals the posts that wait in the lines to the next driver.
    pub(super) fn leave_posts(&self) {
        let mut signals = 0;
        for priority in PRIORITIES {
            if self.posts.is_waiting(priority) {
                signals |= SIGNAL_OF[priority as usize];
            }
        }
        if signals != 0 {
            self.flags.fetch_or(signals, AcqRel);
        }
    }

    /// Takes the sources that became ready, in exchange for an empty list. Returns false if there are none.
    #[inline]
    pub(super) fn take_ready_sources(&self, ready_sources: &mut Vec<Key>) -> bool {
        let signalled = self.take_flags(SOURCES) != 0;
        if signalled {
            mem::swap(ready_sources, &mut lock(&self.ready_sources));
        }
        signalled
    }

    /// Clears flags. Returns those that were set.
    #[inline]
    fn take_flags(&self, flags: u8) -> u8 {
        // Usually none is set, and a read costs less than a write.
        if self.flags.load(Relaxed) & flags == 0 {
            return 0;
        }
        self.calm.store(0, Relaxed);
        self.flags.fetch_and(!flags, AcqRel) & flags
    }
}

impl Report for Inbox {
    fn report(&self, key: Key) {
        if self.add_ready_source(key) {
            self.unpark();
        }
    }
}

#[cfg(all(test, pollable))]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;
    use crate::{Interest, Mode, Reactor};

    #[test]
    fn a_loop_without_signals_leaves_the_flag_set_and_a_signal_ends_that() {
        let reactor = Reactor::new_local().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"x").unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (saw, weak) = (seen.clone(), reactor.downgrade());
        let see = move |_: &mut UnixStream, _| {
            let reactor = weak.upgrade().unwrap();
            saw.borrow_mut().push(reactor.core.inbox.has(ASLEEP));
        };
        reactor
            .add_handler(a, Interest::READABLE, Mode::Level, see)
            .unwrap();
        let calm = usize::from(CALM);
        for _ in 0..3 {
            reactor.call_soon(|| {}).unwrap();
            seen.borrow_mut().clear();
            for _ in 0..calm + 4 {
                reactor.turn(None).unwrap();
            }
            let seen = seen.borrow();
            let leaves = seen.iter().position(|&is_set| is_set).unwrap();
            assert!((calm..calm + 3).contains(&leaves), "after {leaves} turns");
            assert!(seen[leaves..].iter().all(|&is_set| is_set));
        }
    }
}
