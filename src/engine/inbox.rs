//! The way in from other threads: posted callbacks, readiness of virtual sources, and the wake.

use std::collections::VecDeque;
use std::mem;
use std::panic::Location;
use std::sync::{PoisonError, Weak};

use crate::error::Cause;
use crate::id::Key;
use crate::outcome::Failure;
use crate::poller::{Report, Wake};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicBool, AtomicU8};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, IntoResult, PostError, Priority, fork};

pub(crate) type PostCallback = Box<dyn FnOnce() -> Result<(), Failure>>;

/// A posted callback, and where it was posted.
pub(super) struct Post {
    pub(super) callback: PostCallback,
    pub(super) location: &'static Location<'static>,
}

// What the flags say: what is in the queue...
/// Posts of normal and idle priority.
const POSTS: u8 = 1;
/// Posts of high priority.
const URGENT: u8 = 2;
/// Virtual sources that became ready.
const NEWS: u8 = 4;
/// Nothing: only another turn is asked for.
const WAKE: u8 = 8;
/// ...that somebody wants the loop to take another turn before it sleeps...
const SIGNALS: u8 = POSTS | URGENT | NEWS | WAKE;
/// ...that whoever drives is to stop...
const STOP: u8 = 16;
/// ...and that the loop may be asleep, so that whoever sets a signal has to wake it.
const ASLEEP: u8 = 32;

/// What outlives the reactor in the hands of a `Remote`. It never holds a callback after the
/// reactor is gone: see `close`.
pub(crate) struct Inbox {
    /// Weak, so that a `Remote` that outlives its loop keeps no descriptor of it open.
    wake: Weak<dyn Wake>,
    queue: Mutex<Queue>,
    /// All in one: whoever sets a signal and the loop that falls asleep each write first and look
    /// then, so that the second of them sees the first.
    flags: AtomicU8,
    /// A callback of this turn has woken a task. Nobody but the driving thread looks.
    woken: AtomicBool,
    /// The process that it belongs to.
    forks: u32,
}

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Post>,
    posts: VecDeque<Post>,
    idle: VecDeque<Post>,
    /// Descriptors of virtual sources that became ready.
    ready_sources: Vec<Key>,
    closed: bool,
}

impl Queue {
    fn lines(&mut self) -> [&mut VecDeque<Post>; 3] {
        [&mut self.urgent, &mut self.posts, &mut self.idle]
    }

    fn close(&mut self) -> [VecDeque<Post>; 3] {
        self.closed = true;
        self.lines().map(mem::take)
    }
}

// SAFETY: the only part that is not Send is the posts. On a `Reactor` every post is Send. On a
// `LocalReactor` only the loop's thread puts posts in that are not (a `Remote` takes only Send
// ones), and only that thread takes posts out, puts them back or drops them: that does whoever
// drives, and `close` when the last handle goes, both on the loop's thread, and nothing can be put
// in after `close`. The lock makes the rest Sync.
unsafe impl Send for Inbox {}
// SAFETY: as above.
unsafe impl Sync for Inbox {}

impl Inbox {
    pub(crate) fn new(wake: Weak<dyn Wake>) -> Inbox {
        Inbox {
            wake,
            queue: Mutex::default(),
            flags: AtomicU8::new(ASLEEP),
            woken: AtomicBool::new(false),
            forks: fork::generation(),
        }
    }

    /// This is a child of the process that it belongs to.
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != fork::seen()
    }

    /// Gives the post back if the reactor is gone.
    #[track_caller]
    pub(crate) fn post<F, R>(
        &self,
        call: &'static str,
        priority: Priority,
        post: F,
    ) -> Result<(), PostError<F>>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let make = |post: F| -> PostCallback { Box::new(move || post().into_result()) };
        let posted = self.post_with(call, priority, post, make);
        posted.map_err(|(error, post)| PostError::new(error, post))
    }

    /// Gives `parts`, of which `make` would have made the post, back if the reactor is gone.
    #[track_caller]
    pub(crate) fn post_with<P>(
        &self,
        call: &'static str,
        priority: Priority,
        parts: P,
        make: impl FnOnce(P) -> PostCallback,
    ) -> Result<(), (Error, P)> {
        let location = Location::caller();
        if self.is_forked() {
            return Err((Error::new(call, Cause::Forked), parts));
        }
        let mut queue = self.queue();
        if queue.closed {
            return Err((Error::new(call, Cause::Closed), parts));
        }
        let (line, signal) = match priority {
            Priority::High => (&mut queue.urgent, URGENT),
            Priority::Normal => (&mut queue.posts, POSTS),
            Priority::Idle => (&mut queue.idle, POSTS),
        };
        let callback = make(parts);
        line.push_back(Post { callback, location });
        drop(queue);
        self.signal(signal);
        Ok(())
    }

    /// A virtual source is ready, on which the descriptor `key` is. True if the loop sleeps, and the
    /// caller has to `unpark` it.
    pub(crate) fn tell(&self, key: Key) -> bool {
        if self.is_forked() {
            return false;
        }
        self.queue().ready_sources.push(key);
        self.ask_for(NEWS)
    }

    /// Makes the loop take another turn, and wakes it if it sleeps. Any thread.
    pub(crate) fn wake(&self) {
        // The parent is not a child's to wake.
        if !self.is_forked() {
            self.signal(WAKE);
        }
    }

    fn signal(&self, what: u8) {
        if self.ask_for(what) {
            self.unpark();
        }
    }

    /// Asks for another turn. True if the loop sleeps, and it is up to the caller to `unpark` it.
    fn ask_for(&self, what: u8) -> bool {
        self.flags.fetch_or(what, AcqRel);
        self.take_flags(ASLEEP) != 0
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

    /// Somebody has posted.
    pub(super) fn has_posts(&self) -> bool {
        self.has(POSTS | URGENT)
    }

    #[inline]
    fn has(&self, flags: u8) -> bool {
        self.flags.load(Acquire) & flags != 0
    }

    /// Appends what was posted so far. False if there is nothing.
    #[inline]
    pub(super) fn take(&self, posts: &mut VecDeque<Post>, idle: &mut VecDeque<Post>) -> bool {
        let told = self.take_flags(WAKE | POSTS) & POSTS != 0;
        if told {
            let mut queue = self.queue();
            move_all(&mut queue.posts, posts);
            move_all(&mut queue.idle, idle);
        }
        told
    }

    /// Appends the first so many posts of normal priority. That there are some stays said.
    pub(super) fn take_first(&self, count: usize, posts: &mut VecDeque<Post>) {
        move_first(&mut self.queue().posts, count, posts);
    }

    /// The same for high priority.
    pub(super) fn take_first_urgent(&self, count: usize, urgent: &mut VecDeque<Post>) {
        move_first(&mut self.queue().urgent, count, urgent);
    }

    /// Appends what was posted with high priority so far. False if there is nothing.
    #[inline]
    pub(super) fn take_urgent(&self, urgent: &mut VecDeque<Post>) -> bool {
        let told = self.take_flags(URGENT) != 0;
        if told {
            move_all(&mut self.queue().urgent, urgent);
        }
        told
    }

    /// The virtual sources that became ready since the last look, in the place of `ready_sources`, which is
    /// empty. False if there are none.
    #[inline]
    pub(super) fn take_ready_sources(&self, ready_sources: &mut Vec<Key>) -> bool {
        let told = self.take_flags(NEWS) != 0;
        if told {
            mem::swap(ready_sources, &mut self.queue().ready_sources);
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

    /// For how many posts there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        let mut queue = self.queue();
        queue.lines().map(|line| line.capacity()).iter().sum()
    }

    /// Where some of the posts of a priority were posted that wait to be taken.
    pub(super) fn locations(
        &self,
        priority: Priority,
        begin: usize,
        count: usize,
    ) -> Vec<&'static Location<'static>> {
        let queue = self.queue();
        let line = match priority {
            Priority::High => &queue.urgent,
            Priority::Normal => &queue.posts,
            Priority::Idle => &queue.idle,
        };
        let some = line.iter().skip(begin).take(count);
        some.map(|post| post.location).collect()
    }

    /// How many posts wait to be taken.
    pub(super) fn len(&self) -> usize {
        let queue = self.queue();
        queue.urgent.len() + queue.posts.len() + queue.idle.len()
    }

    /// Puts posts back that were not called, before those that came later. Gives them back to be
    /// dropped if the reactor is closed.
    pub(super) fn put_back(&self, left_over: [VecDeque<Post>; 3]) -> [VecDeque<Post>; 3] {
        let mut queue = self.queue();
        if queue.closed {
            return left_over;
        }
        let mut signal = 0;
        let lines = queue.lines().into_iter().zip(left_over);
        for ((line, mut left_over), what) in lines.zip([URGENT, POSTS, POSTS]) {
            if !left_over.is_empty() {
                left_over.append(line);
                *line = left_over;
                signal |= what;
            }
        }
        self.flags.fetch_or(signal, AcqRel);
        Default::default()
    }

    /// Nothing gets in from now on; gives back what nobody will call.
    pub(super) fn close(&self) -> [VecDeque<Post>; 3] {
        self.queue().close()
    }

    /// The same. Nothing if that is not possible in a child process.
    pub(super) fn try_close(&self) -> Option<[VecDeque<Post>; 3]> {
        if !self.is_forked() {
            return Some(self.close());
        }
        match self.queue.try_lock() {
            Ok(mut queue) => Some(queue.close()),
            Err(_) => None,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Inbox {
    fn report(&self, key: Key) {
        if self.tell(key) {
            self.unpark();
        }
    }
}

/// Appends all, in no time if that is where they go to an empty line.
fn move_all(from: &mut VecDeque<Post>, to: &mut VecDeque<Post>) {
    match to.is_empty() {
        true => mem::swap(from, to),
        false => to.append(from),
    }
    shrink(from, to.len());
}

fn move_first(from: &mut VecDeque<Post>, count: usize, to: &mut VecDeque<Post>) {
    let count = count.min(from.len());
    to.extend(from.drain(..count));
    shrink(from, from.len() + to.len());
}

/// Gives the memory of a burst back, once much less is used.
#[inline]
fn shrink(line: &mut VecDeque<Post>, used: usize) {
    /// A line of so many posts is kept.
    const ROOM: usize = 1024;
    if line.capacity() > ROOM && used < line.capacity() / 8 {
        line.shrink_to(used);
    }
}
