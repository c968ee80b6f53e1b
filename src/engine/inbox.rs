//! The way in from other threads: posted callbacks, readiness of virtual sources, and the wake.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::panic::Location;
use std::sync::{PoisonError, Weak};

use crate::error::Cause;
use crate::id::Key;
use crate::outcome::Failure;
use crate::poller::{Report, Wake};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, IntoResult, PostError, PostId, PostInfo, Priority, fork};

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
/// ...that the loop may be asleep, so that whoever sets a signal has to wake it...
const ASLEEP: u8 = 32;
/// ...and that posts were cancelled which no turn has come to.
const CANCELLED: u8 = 64;

/// What a post of each priority sets.
const SIGNAL_OF: [u8; 3] = [URGENT, POSTS, POSTS];

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
    /// Of each priority, the id of the next post to be called. Only the driving thread writes it; others may
    /// see an earlier one.
    begun: [AtomicU64; 3],
    /// The process that it belongs to.
    forks: u32,
}

/// Posts of one priority.
struct Line {
    posts: VecDeque<Post>,
    /// The id of the next post.
    next: PostId,
    /// The posts that were cancelled, and that no turn has come to.
    cancelled: BTreeSet<u64>,
}

struct Queue {
    /// By priority.
    lines: [Line; 3],
    /// Descriptors of virtual sources that became ready.
    ready_sources: Vec<Key>,
    closed: bool,
}

impl Queue {
    fn close(&mut self) -> [VecDeque<Post>; 3] {
        self.closed = true;
        self.lines.each_mut().map(|line| {
            line.cancelled.clear();
            mem::take(&mut line.posts)
        })
    }
}

impl Line {
    /// Appends all to `to`, in no time if that is empty.
    fn move_all(&mut self, to: &mut VecDeque<Post>) {
        match to.is_empty() {
            true => mem::swap(&mut self.posts, to),
            false => to.append(&mut self.posts),
        }
        shrink(&mut self.posts, to.len());
    }

    fn move_first(&mut self, count: usize, to: &mut VecDeque<Post>) {
        let count = count.min(self.posts.len());
        to.extend(self.posts.drain(..count));
        let used = self.posts.len() + to.len();
        shrink(&mut self.posts, used);
    }

    fn put_back(&mut self, mut left_over: VecDeque<Post>) {
        left_over.append(&mut self.posts);
        self.posts = left_over;
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
        let first = PostId::first_of_each();
        let lines = first.map(|next| Line {
            posts: VecDeque::new(),
            next,
            cancelled: BTreeSet::new(),
        });
        Inbox {
            wake,
            queue: Mutex::new(Queue {
                lines,
                ready_sources: Vec::new(),
                closed: false,
            }),
            flags: AtomicU8::new(ASLEEP),
            woken: AtomicBool::new(false),
            begun: first.map(|first| AtomicU64::new(first.0)),
            forks: fork::generation(),
        }
    }

    /// This is a child of the process that it belongs to.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != fork::seen()
    }

    /// Gives the post back if the reactor is gone.
    pub(crate) fn post<F, R>(
        &self,
        call: &'static str,
        location: &'static Location<'static>,
        priority: Priority,
        post: F,
    ) -> Result<PostId, PostError<F>>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let make = |post: F, _| -> PostCallback { Box::new(move || post().into_result()) };
        let posted = self.post_with(call, location, priority, post, make);
        posted.map_err(|(error, post)| PostError::new(error, post))
    }

    /// Gives `parts`, of which `make` would have made the post, back if the reactor is gone.
    pub(crate) fn post_with<P>(
        &self,
        call: &'static str,
        location: &'static Location<'static>,
        priority: Priority,
        parts: P,
        make: impl FnOnce(P, PostId) -> PostCallback,
    ) -> Result<PostId, (Error, P)> {
        if self.is_forked() {
            return Err((Error::new(call, Cause::Forked), parts));
        }
        let mut queue = self.queue();
        if queue.closed {
            return Err((Error::new(call, Cause::Closed), parts));
        }
        let line = &mut queue.lines[priority as usize];
        let id = line.next;
        line.next = id.plus(1);
        let callback = make(parts, id);
        line.posts.push_back(Post { callback, location });
        drop(queue);
        self.signal(SIGNAL_OF[priority as usize]);
        Ok(id)
    }

    /// Takes the callback of a post that waits, for the caller to drop with no lock held. Nothing if a driver
    /// has taken the post: then it drops it. An error if the post was begun, or cancelled before.
    pub(super) fn cancel(
        &self,
        call: &'static str,
        id: PostId,
    ) -> Result<Option<PostCallback>, Error> {
        let unknown = || Error::new(call, Cause::UnknownId);
        let mut queue = self.queue();
        if queue.closed {
            return Err(Error::new(call, Cause::Closed));
        }
        let line = queue.lines.get_mut(id.priority()).ok_or_else(unknown)?;
        let begun = self.begun(id.priority());
        let (Some(age), Some(end)) = (id.since(begun), line.next.since(begun)) else {
            return Err(unknown());
        };
        if age >= end || !line.cancelled.insert(id.0) {
            return Err(unknown());
        }
        self.flags.fetch_or(CANCELLED, AcqRel);
        let taken = end - line.posts.len() as u64;
        let waiting = age.checked_sub(taken);
        let waiting = waiting.and_then(|at| line.posts.get_mut(at as usize));
        // Of no size, so that it takes no memory.
        let nothing = || -> PostCallback { Box::new(|| Ok(())) };
        Ok(waiting.map(|post| mem::replace(&mut post.callback, nothing())))
    }

    /// The next post of a priority to be called.
    pub(super) fn begun(&self, priority: usize) -> PostId {
        PostId(self.begun[priority].load(Relaxed))
    }

    /// A post is about to be called.
    #[inline]
    pub(super) fn begin(&self, priority: Priority, id: PostId) {
        self.begun[priority as usize].store(id.plus(1).0, Relaxed);
    }

    /// The loop was told to stop, or posts were cancelled.
    #[inline]
    pub(super) fn is_interfered(&self) -> bool {
        self.has(STOP | CANCELLED)
    }

    /// Whether a post was cancelled.
    #[cold]
    pub(super) fn take_cancelled(&self, id: PostId) -> bool {
        let mut queue = self.queue();
        let cancelled = &mut queue.lines[id.priority()].cancelled;
        let is_cancelled = cancelled.remove(&id.0);
        // Those before were begun while another thread cancelled them.
        while let Some(&first) = cancelled.first() {
            if id.is_before(PostId(first)) {
                break;
            }
            cancelled.pop_first();
        }
        if queue.lines.iter().all(|line| line.cancelled.is_empty()) {
            self.flags.fetch_and(!CANCELLED, AcqRel);
        }
        is_cancelled
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

    #[inline]
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
    pub(super) fn take(&self, lines: &mut [VecDeque<Post>; 3]) -> bool {
        let told = self.take_flags(WAKE | POSTS) & POSTS != 0;
        if told {
            let mut queue = self.queue();
            for priority in [Priority::Normal, Priority::Idle] {
                let line = priority as usize;
                queue.lines[line].move_all(&mut lines[line]);
            }
        }
        told
    }

    /// Appends the first so many posts of a priority. That there are some stays said.
    pub(super) fn take_first(&self, priority: Priority, count: usize, posts: &mut VecDeque<Post>) {
        self.queue().lines[priority as usize].move_first(count, posts);
    }

    /// Appends what was posted with high priority so far. False if there is nothing.
    #[inline]
    pub(super) fn take_urgent(&self, urgent: &mut VecDeque<Post>) -> bool {
        let told = self.take_flags(URGENT) != 0;
        if told {
            self.queue().lines[Priority::High as usize].move_all(urgent);
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
        let queue = self.queue();
        queue.lines.iter().map(|line| line.posts.capacity()).sum()
    }

    /// Copies up to `count` posts of a priority that wait to be taken, from one on. Gives the one to go on from,
    /// if there are more.
    pub(super) fn copy(
        &self,
        priority: Priority,
        from: Option<PostId>,
        count: usize,
        copied: &mut Vec<PostInfo>,
    ) -> Option<PostId> {
        let queue = self.queue();
        let line = &queue.lines[priority as usize];
        let len = line.posts.len();
        // Those that a turn has taken meanwhile are not there any more.
        let left = from.and_then(|from| line.next.since(from));
        let skipped = left.map_or(0, |left| len.saturating_sub(left as usize));
        let first = line.next.minus((len - skipped) as u64);
        for (n, post) in (0..).zip(line.posts.iter().skip(skipped).take(count)) {
            let id = first.plus(n);
            if !line.cancelled.contains(&id.0) {
                copied.push(PostInfo {
                    id,
                    priority,
                    location: post.location,
                });
            }
        }
        (skipped + count < len).then(|| first.plus(count as u64))
    }

    /// How many posts wait to be called.
    pub(super) fn waiting(&self) -> usize {
        let queue = self.queue();
        let waiting = |(priority, line): (usize, &Line)| {
            let waiting = line.next.since(self.begun(priority)).unwrap_or(0) as usize;
            waiting.saturating_sub(line.cancelled.len())
        };
        queue.lines.iter().enumerate().map(waiting).sum()
    }

    /// Puts posts back that were not called, before those that came later. Gives them back to be
    /// dropped if the reactor is closed.
    pub(super) fn put_back(&self, left_over: [VecDeque<Post>; 3]) -> [VecDeque<Post>; 3] {
        let mut queue = self.queue();
        if queue.closed {
            return left_over;
        }
        let mut signal = 0;
        let lines = queue.lines.iter_mut().zip(left_over);
        for ((line, left_over), what) in lines.zip(SIGNAL_OF) {
            if !left_over.is_empty() {
                line.put_back(left_over);
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

    #[inline]
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

/// Gives the memory of a burst back, once much less is used.
#[inline]
fn shrink(line: &mut VecDeque<Post>, used: usize) {
    /// A line of so many posts is kept.
    const ROOM: usize = 1024;
    if line.capacity() > ROOM && used < line.capacity() / 8 {
        line.shrink_to(used);
    }
}
