//! The way in from other threads: posted callbacks, and the wake.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::poller::Poller;

pub(super) type Post = Box<dyn FnOnce()>;

/// What outlives the reactor in the hands of a `Remote`. It never holds a callback after the
/// reactor is gone: see `close`.
pub(crate) struct Inbox {
    pub(super) poller: Poller,
    queue: Mutex<Queue>,
    /// Whoever drives is to stop.
    stop: AtomicBool,
    /// Somebody wants the loop to take another turn before it sleeps.
    signal: AtomicBool,
    /// The loop may be asleep, so whoever sets `signal` has to wake it. Each side writes its own
    /// flag first and reads the other's then, so that one of them always sees the other.
    asleep: AtomicBool,
}

#[derive(Default)]
struct Queue {
    posts: VecDeque<Post>,
    closed: bool,
}

// SAFETY: the only part that is not Send is the posts. On a `Reactor` every post is Send. On a
// `LocalReactor` only the loop's thread puts posts in that are not (a `Remote` takes only Send
// ones), and only that thread takes posts out or drops them: `take` is called by whoever drives,
// and `close` when the last handle goes, both on the loop's thread, and nothing can be put in after
// `close`. The lock makes the rest Sync.
unsafe impl Send for Inbox {}
// SAFETY: as above.
unsafe impl Sync for Inbox {}

impl Inbox {
    pub(super) fn new(poller: Poller) -> Inbox {
        Inbox {
            poller,
            queue: Mutex::default(),
            stop: AtomicBool::new(false),
            signal: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
        }
    }

    /// Gives the post back if the reactor is gone.
    pub(crate) fn post<F: FnOnce() + 'static>(&self, post: F) -> Result<(), F> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(post);
        }
        queue.posts.push_back(Box::new(post));
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Makes the loop take another turn, and wakes it if it sleeps. Any thread.
    pub(crate) fn wake(&self) {
        self.signal.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst) {
            // The poller's own wake cannot fail for any reason that the caller could mend.
            let _ = self.poller.wake();
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Whether `stop` was called since the last look.
    pub(super) fn take_stop(&self) -> bool {
        self.is_stopped() && self.stop.swap(false, SeqCst)
    }

    /// To be called before the loop sleeps: from now on `wake` wakes. False: do not sleep.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        !self.signal.load(SeqCst)
    }

    /// The loop is up again. That another thread may not have seen it yet costs a wake at most.
    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Release);
    }

    pub(super) fn is_signalled(&self) -> bool {
        self.signal.load(SeqCst)
    }

    /// Appends what was posted so far to `posts`.
    pub(super) fn take(&self, posts: &mut VecDeque<Post>) {
        if self.is_signalled() && self.signal.swap(false, SeqCst) {
            posts.append(&mut self.queue().posts);
        }
    }

    /// Nothing gets in from now on; gives back what nobody will call.
    pub(super) fn close(&self) -> VecDeque<Post> {
        let mut queue = self.queue();
        queue.closed = true;
        std::mem::take(&mut queue.posts)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
