//! Posts: callbacks that any thread hands in, and which the driver calls in order.
//!
//! Posters push onto a stack, without a lock. The driver, and callers that cancel or count posts, take a stack as
//! a whole and append its posts to a line. The lines have a lock, for which no poster waits. A child process finds
//! every stack whole, whatever the other threads of the parent did when it was forked.

use std::collections::VecDeque;
use std::mem;
use std::panic::Location;
use std::sync::PoisonError;

pub(crate) use super::stack::Run;
use super::stack::{Chain, Entry, Stack};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicU64, AtomicUsize};
use crate::sync::{Mutex, MutexGuard};
use crate::{IntoResult, PostId, PostInfo, Priority};

/// A post that the driver is to call.
pub(super) struct Post {
    pub(super) id: PostId,
    pub(super) location: &'static Location<'static>,
    pub(super) callback: Box<dyn Run>,
}

/// A post was handed in.
pub(super) struct Posted {
    pub(super) id: PostId,
    /// No other one was on the stack, whose poster would tell the driver.
    pub(super) is_first: bool,
}

/// The posts of a loop, by priority.
pub(super) struct Posts {
    stacks: [Stack; 3],
    /// The ids of the next posts.
    next: [AtomicU64; 3],
    lines: Mutex<[Line; 3]>,
    /// The lengths of the lines. Changed under the lock; the driver looks without it.
    lengths: [AtomicUsize; 3],
}

#[derive(Default)]
struct Line {
    /// In order but for posts of different threads, which may take their ids in one order and arrive in the other.
    entries: VecDeque<Entry>,
    /// How many of the entries have no callback.
    cancelled: usize,
}

// SAFETY: callbacks are the only part that is not `Send`. On a `Reactor` each is `Send`. On a `LocalReactor` only the
// loop's thread hands in others, since a `Remote` takes `Send` ones only. Another thread that takes a stack, which only
// `Reactor`s let it do, moves callbacks from place to place, and does not touch them. The driver, `cancel` and `close`
// take callbacks out, which on a `LocalReactor` happens on the loop's thread; nothing gets in after `close`.
unsafe impl Send for Posts {}
// SAFETY: as above. Stacks are atomic, and the lock guards the lines.
unsafe impl Sync for Posts {}

impl Posts {
    pub(super) fn new() -> Posts {
        Posts {
            stacks: [(); 3].map(|()| Stack::new()),
            next: PostId::first_of_each().map(|first| AtomicU64::new(first.0)),
            lines: Mutex::default(),
            lengths: [(); 3].map(|()| AtomicUsize::new(0)),
        }
    }

    /// Hands in what `make` makes. Gives it back if nothing gets in any more.
    #[inline]
    pub(super) fn push<F, R>(
        &self,
        priority: Priority,
        location: &'static Location<'static>,
        make: impl FnOnce(PostId) -> F,
    ) -> Result<Posted, F>
    where
        F: FnOnce() -> R + 'static,
        R: IntoResult,
    {
        let line = priority as usize;
        let id = PostId(self.next[line].fetch_add(PostId::STEP, Relaxed));
        let pushed = self.stacks[line].push(id, location, make(id));
        pushed.map(|is_first| Posted { id, is_first })
    }

    /// Appends what was pushed so far to the line of a priority. Gives the length of the line.
    pub(super) fn gather(&self, priority: Priority) -> usize {
        self.gathered(priority as usize, &mut self.lines())
            .entries
            .len()
    }

    fn gathered<'a>(&self, priority: usize, lines: &'a mut [Line; 3]) -> &'a mut Line {
        let line = &mut lines[priority];
        let stack = &self.stacks[priority];
        if !stack.is_empty() {
            let before = line.entries.len();
            line.entries.extend(stack.take());
            line.entries.make_contiguous()[before..].reverse();
            self.lengths[priority].store(line.entries.len(), Relaxed);
        }
        line
    }

    /// Takes the first of a line that was not cancelled, of the first `left` ones. Takes from `left` how far it got.
    #[inline]
    pub(super) fn pop(&self, priority: Priority, left: &mut usize) -> Option<Post> {
        let priority = priority as usize;
        let line = &mut self.lines()[priority];
        let mut post = None;
        while *left > 0 && post.is_none() {
            let Some(entry) = line.entries.pop_front() else {
                break;
            };
            *left -= 1;
            let Entry {
                id,
                location,
                callback,
            } = entry;
            match callback {
                Some(callback) => {
                    post = Some(Post {
                        id,
                        location,
                        callback,
                    })
                }
                None => line.cancelled -= 1,
            }
        }
        shrink(&mut line.entries);
        self.lengths[priority].store(line.entries.len(), Relaxed);
        post
    }

    /// Returns whether the line of a priority has posts. To be asked by the driver.
    #[inline]
    pub(super) fn is_waiting(&self, priority: Priority) -> bool {
        self.lengths[priority as usize].load(Relaxed) != 0
    }

    /// Takes the callback of a post that waits, for the caller to drop with no lock held.
    pub(super) fn cancel(&self, id: PostId) -> Option<Box<dyn Run>> {
        let priority = id.priority();
        self.stacks.get(priority)?;
        let mut lines = self.lines();
        let line = self.gathered(priority, &mut lines);
        let at = line.position(id)?;
        let callback = line.entries[at].callback.take();
        line.cancelled += usize::from(callback.is_some());
        callback
    }

    /// Copies up to `count` posts of a priority, from one on. Gives the one to go on from, if there are more.
    pub(super) fn copy(
        &self,
        priority: Priority,
        from: Option<PostId>,
        count: usize,
        copied: &mut Vec<PostInfo>,
    ) -> Option<PostId> {
        let mut lines = self.lines();
        let line = self.gathered(priority as usize, &mut lines);
        // The driver takes posts from the head. If it has taken this one, those before are gone, too.
        let skipped = from.and_then(|from| line.position(from)).unwrap_or(0);
        let mut rest = line.entries.iter().skip(skipped);
        copied.extend(
            (&mut rest)
                .take(count)
                .filter(|entry| entry.callback.is_some())
                .map(|entry| PostInfo {
                    id: entry.id,
                    priority,
                    location: entry.location,
                }),
        );
        rest.next().map(|entry| entry.id)
    }

    /// Returns how many posts wait to be called.
    pub(super) fn waiting(&self) -> usize {
        let mut lines = self.lines();
        let waiting = |priority| {
            let line = self.gathered(priority, &mut lines);
            line.entries.len() - line.cancelled
        };
        (0..3).map(waiting).sum()
    }

    /// Returns whether nothing gets in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.stacks[0].is_closed()
    }

    /// Lets nothing in from now on. Gives back what will not be called.
    pub(super) fn close(&self) -> Closed {
        self.close_lines(&mut self.lines())
    }

    /// Like `close`. `None` if another thread may have left the lines half changed.
    pub(super) fn try_close(&self) -> Option<Closed> {
        match self.lines.try_lock() {
            Ok(mut lines) => Some(self.close_lines(&mut lines)),
            Err(_) => None,
        }
    }

    fn close_lines(&self, lines: &mut [Line; 3]) -> Closed {
        for length in &self.lengths {
            length.store(0, Relaxed);
        }
        Closed {
            _lines: mem::take(lines),
            _chains: self.stacks.each_ref().map(Stack::close),
        }
    }

    /// Returns for how many posts the lines have memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.lines()
            .iter()
            .map(|line| line.entries.capacity())
            .sum()
    }

    #[inline]
    fn lines(&self) -> MutexGuard<'_, [Line; 3]> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Posts that will not be called, to be dropped with no lock held.
pub(super) struct Closed {
    _lines: [Line; 3],
    _chains: [Chain; 3],
}

impl Line {
    fn position(&self, id: PostId) -> Option<usize> {
        let found = self.entries.binary_search_by(|entry| entry.id.cmp_age(id));
        // Posts that arrived out of order may have led astray.
        let found = found.ok().filter(|&at| self.entries[at].id == id);
        found.or_else(|| self.entries.iter().position(|entry| entry.id == id))
    }
}

/// Gives the memory of a burst back, once much less is used.
#[inline]
fn shrink(entries: &mut VecDeque<Entry>) {
    /// A line of so many posts is kept.
    const ROOM: usize = 1024;
    if entries.capacity() > ROOM && entries.len() < entries.capacity() / 8 {
        entries.shrink_to(entries.len());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn post(posts: &Posts, callback: impl FnOnce() + 'static) -> Posted {
        let posted = posts.push(Priority::Normal, Location::caller(), |_| callback);
        posted.ok().unwrap()
    }

    fn call_all(posts: &Posts) -> usize {
        posts.gather(Priority::Normal);
        let mut left = usize::MAX;
        let mut called = 0;
        while let Some(post) = posts.pop(Priority::Normal, &mut left) {
            assert!(post.callback.run().is_ok());
            called += 1;
        }
        called
    }

    #[test]
    fn posts_are_called_in_order_and_the_first_is_known() {
        let posts = Posts::new();
        let log = Rc::new(Cell::new(0));
        for n in 0..3 {
            let log = log.clone();
            let posted = post(&posts, move || assert_eq!(log.replace(n + 1), n));
            assert_eq!(posted.is_first, n == 0);
        }
        posts.gather(Priority::Normal);
        assert!(posts.is_waiting(Priority::Normal) && !posts.is_waiting(Priority::Idle));
        assert_eq!((posts.waiting(), call_all(&posts), log.get()), (3, 3, 3));
        assert!(!posts.is_waiting(Priority::Normal));
    }

    #[test]
    fn a_post_that_is_not_called_is_dropped_once() {
        for way in [
            "cancelled",
            "closed on the stack",
            "closed in the line",
            "dropped",
        ] {
            let posts = Posts::new();
            let held = Rc::new(());
            let kept = held.clone();
            let id = post(&posts, move || drop(kept)).id;
            match way {
                "cancelled" => {
                    drop(posts.cancel(id));
                    assert!(posts.cancel(id).is_none());
                    assert_eq!((posts.waiting(), call_all(&posts)), (0, 0));
                }
                "closed on the stack" => drop(posts.close()),
                "closed in the line" => {
                    posts.gather(Priority::Normal);
                    drop(posts.close());
                }
                _ => drop(posts),
            }
            assert_eq!(Rc::strong_count(&held), 1, "{way}");
        }
    }

    #[test]
    fn a_closed_stack_gives_the_callback_back_and_stays_closed() {
        let posts = Posts::new();
        drop(posts.close());
        posts.gather(Priority::Normal);
        drop(posts.close());
        let given = posts.push(Priority::Normal, Location::caller(), |_| || ());
        assert!(given.is_err() && posts.is_closed());
    }

    #[test]
    fn posts_that_arrive_out_of_order_are_found() {
        let posts = Posts::new();
        let first = post(&posts, || ()).id;
        let others: Vec<_> = (0..5).map(|_| post(&posts, || ()).id).collect();
        posts.gather(Priority::Normal);
        posts.lines()[Priority::Normal as usize].entries.swap(0, 5);
        for id in others.into_iter().chain([first]) {
            assert!(posts.cancel(id).is_some());
        }
        assert_eq!(call_all(&posts), 0);
    }

    #[test]
    fn posts_of_each_thread_stay_in_order_while_others_take_them() {
        const EACH: usize = if cfg!(miri) { 20 } else { 2000 };
        let posts = &Posts::new();
        let called = Arc::new([(); 3].map(|()| AtomicUsize::new(0)));
        thread::scope(|scope| {
            for thread in 0..3 {
                let called = &called;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let called = called.clone();
                        post(posts, move || {
                            assert_eq!(called[thread].fetch_add(1, Relaxed), n)
                        });
                        posts.waiting();
                    }
                });
            }
        });
        assert_eq!(call_all(posts), 3 * EACH);
    }
}
