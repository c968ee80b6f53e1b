//! The way in from other threads: posts, readiness of virtual sources, and the wake.

use std::mem;
use std::panic::Location;
use std::sync::{PoisonError, Weak};

use super::posts::{Posts, Run};
use crate::error::Cause;
use crate::id::Key;
use crate::poller::{Report, Wake};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicBool, AtomicU8};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, IntoResult, PostError, PostId, Priority, fork};

// The flags of an inbox.
/// Posts of normal or idle priority came.
const POSTS: u8 = 1;
/// Posts of high priority came.
const URGENT: u8 = 2;
/// Virtual sources became ready.
const NEWS: u8 = 4;
/// Another turn is asked for.
const WAKE: u8 = 8;
/// The flags for which the loop takes another turn before it sleeps.
const SIGNALS: u8 = POSTS | URGENT | NEWS | WAKE;
/// The driver is to stop.
const STOP: u8 = 16;
/// The loop may be asleep, so that a thread that sets a signal has to wake it.
const ASLEEP: u8 = 32;

const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Idle];

/// The flag of each priority.
const SIGNAL_OF: [u8; 3] = [URGENT, POSTS, POSTS];

/// The part of a reactor that outlives it in a `Remote`. After the reactor's end it holds no callback: see `close`.
pub(crate) struct Inbox {
    /// Weak, so that a `Remote` that outlives its loop keeps no descriptor of it open.
    wake: Weak<dyn Wake>,
    pub(super) posts: Posts,
    /// Descriptors of virtual sources that became ready.
    ready_sources: Mutex<Vec<Key>>,
    /// In one word: a thread that sets a signal and a loop that falls asleep each write first and look then, so that
    /// the second of them sees the first.
    flags: AtomicU8,
    /// A callback of this turn has woken a task. Only the driving thread looks.
    woken: AtomicBool,
    /// The process that it belongs to.
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
            forks: fork::generation(),
        }
    }

    /// This is a child of the process that it belongs to.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != fork::seen()
    }

    /// Posts a callback. Gives it back if the reactor is gone.
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

    /// Posts a callback that `make` makes for the id.
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
                // The poster of the first one tells the driver of those above it, too. It may have tried in vain to
                // wake the loop, or not come to it yet.
                if posted.is_first || self.has(ASLEEP) {
                    self.signal(SIGNAL_OF[priority as usize]);
                }
                Ok(posted.id)
            }
            Err(callback) => Err(PostError::new(Error::new(call, Cause::Closed), callback)),
        }
    }

    /// Takes the callback of a post that waits, for the caller to drop with no lock held. An error if the post was
    /// begun, or cancelled before.
    pub(super) fn cancel(&self, call: &'static str, id: PostId) -> Result<Box<dyn Run>, Error> {
        self.posts.cancel(id).ok_or_else(|| {
            let cause = if self.posts.is_closed() {
                Cause::Closed
            } else {
                Cause::UnknownId
            };
            Error::new(call, cause)
        })
    }

    /// A virtual source is ready, on which the descriptor `key` is. True if the loop sleeps, and the
    /// caller has to `unpark` it.
    pub(crate) fn tell(&self, key: Key) -> bool {
        if self.is_forked() {
            return false;
        }
        self.ready_sources().push(key);
        self.ask_for(NEWS)
    }

    /// Makes the loop take another turn, and wakes it if it sleeps. Any thread.
    pub(crate) fn wake(&self) {
        // The parent is not a child's to wake.
        if !self.is_forked() {
            self.signal(WAKE);
        }
    }

    #[inline]
    fn signal(&self, what: u8) {
        if self.ask_for(what) {
            self.unpark();
        }
    }

    /// Asks for another turn. True if the loop sleeps, and it is up to the caller to `unpark` it.
    fn ask_for(&self, what: u8) -> bool {
        let before = self.flags.fetch_or(what, AcqRel);
        // Of several threads one wakes the loop.
        before & ASLEEP != 0 && self.take_flags(ASLEEP) != 0
    }

    /// Wakes a loop that sleeps.
    pub(crate) fn unpark(&self) {
        // Without a strong count nothing sleeps: the loop is gone.
        if self.wake.upgrade().is_some_and(|wake| wake.wake().is_err()) {
            // For no reason that the caller could mend; but the next who asks tries again.
            self.flags.fetch_or(ASLEEP, AcqRel);
        }
    }

    pub(crate) fn stop(&self) {
        if !self.is_forked() {
            self.signal(STOP | WAKE);
        }
    }

    /// A callback has woken a task.
    #[cfg(feature = "futures")]
    pub(crate) fn set_woken(&self) {
        self.woken.store(true, Relaxed);
    }

    /// Whether one has since the last look.
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

    /// Whether `stop` was called since the last look.
    #[inline]
    pub(super) fn take_stop(&self) -> bool {
        self.take_flags(STOP) != 0
    }

    /// To be called before the loop sleeps: from now on `wake` wakes. False: do not sleep.
    #[inline]
    pub(super) fn fall_asleep(&self) -> bool {
        self.flags.fetch_or(ASLEEP, AcqRel);
        !self.is_signalled()
    }

    /// The loop is up again. That another thread may not have seen it yet costs a wake at most.
    #[inline]
    pub(super) fn wake_up(&self) {
        if self.has(ASLEEP) {
            self.flags.fetch_and(!ASLEEP, AcqRel);
        }
    }

    #[inline]
    pub(super) fn is_signalled(&self) -> bool {
        self.has(SIGNALS)
    }

    /// Returns whether posts came, or wait.
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

    /// Gathers the posts of normal and idle priority that came. Gives how many of normal priority wait.
    /// `None` if none came.
    #[inline]
    pub(super) fn take_posts(&self) -> Option<usize> {
        if self.take_flags(WAKE | POSTS) & POSTS == 0 {
            return None;
        }
        self.posts.gather(Priority::Idle);
        Some(self.posts.gather(Priority::Normal))
    }

    /// Gathers the posts of high priority that came. Gives how many wait. `None` if none came.
    #[inline]
    pub(super) fn take_urgent(&self) -> Option<usize> {
        let told = self.take_flags(URGENT) != 0;
        told.then(|| self.posts.gather(Priority::High))
    }

    /// Sets the signals of the posts that wait, for the next driver.
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

    /// The virtual sources that became ready since the last look, in the place of `ready_sources`, which is
    /// empty. False if there are none.
    #[inline]
    pub(super) fn take_ready_sources(&self, ready_sources: &mut Vec<Key>) -> bool {
        let told = self.take_flags(NEWS) != 0;
        if told {
            mem::swap(ready_sources, &mut self.ready_sources());
        }
        told
    }

    /// Which of these flags were set.
    #[inline]
    fn take_flags(&self, flags: u8) -> u8 {
        // Most often there are none, and looking costs less than writing.
        match self.flags.load(Relaxed) & flags {
            0 => 0,
            _ => self.flags.fetch_and(!flags, AcqRel) & flags,
        }
    }

    #[inline]
    fn ready_sources(&self) -> MutexGuard<'_, Vec<Key>> {
        self.ready_sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Inbox {
    fn report(&self, key: Key) {
        if self.tell(key) {
            self.unpark();
        }
    }
}
