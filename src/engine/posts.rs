//! Posts: callbacks that any thread hands in, and which the driver calls in order.
//!
//! Posters push onto a stack, without a lock. The driver, and callers that cancel or count posts, take a stack as
//! a whole and append its posts to a line. The lines have a lock, for which no poster waits. A child process finds
//! every stack whole, whatever the other threads of the parent did when it was forked.

use std::collections::VecDeque;
use std::mem;
use std::panic::Location;

pub(crate) use super::stack::Run;
use super::stack::{Chain, Entry, Stack};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicU64, AtomicUsize};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::{IntoResult, PostId, PostInfo, Priority};

/// Result of a push.
pub(super) struct Posted {
    pub(super) id: PostId,
    /// True if the stack was empty before. If it was not, the poster below has signalled the driver.
    pub(super) is_first: bool,
}

/// The posts of a loop, by priority.
pub(super) struct Posts {
    stacks: [Stack; 3],
    /// Ids of the next posts.
    next: [AtomicU64; 3],
    lines: Mutex<[Line; 3]>,
    /// Lengths of the lines. They change under the lock, and the driver reads them without it.
    lengths: [AtomicUsize; 3],
}

#[derive(Default)]
struct Line {
    /// Posts by age. Two threads may draw their ids in one order and push in the other, so this order is not strict.
    entries: VecDeque<Entry>,
    /// Number of entries without a callback.
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

    /// Pushes the callback that `make` returns. Gives the callback back if the loop is closed.
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

    /// Appends the posts on the stack of a priority to its line. Returns the length of the line.
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

    /// Takes the oldest post of a line, which may have been cancelled.
    #[inline]
    pub(super) fn pop(&self, priority: Priority) -> Option<Entry> {
        let priority = priority as usize;
        let line = &mut self.lines()[priority];
        let post = line.entries.pop_front()?;
        line.cancelled -= usize::from(post.callback.is_none());
        shrink(&mut line.entries);
        self.lengths[priority].store(line.entries.len(), Relaxed);
        Some(post)
    }

    /// Returns true if the line of a priority has posts. Only the driver asks.
    #[inline]
    pub(super) fn is_waiting(&self, priority: Priority) -> bool {
        self.lengths[priority as usize].load(Relaxed) != 0
    }

    /// Takes the callback of a waiting post. The caller drops it with no lock held.
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

    /// Copies up to `count` posts of a priority, beginning with `from`. Returns the next one, if there are more.
    pub(super) fn copy(
        &self,
        priority: Priority,
        from: Option<PostId>,
        count: usize,
        copied: &mut Vec<PostInfo>,
    ) -> Option<PostId> {
        let mut lines = self.lines();
        let line = self.gathered(priority as usize, &mut lines);
        // The driver takes posts from the head. If it has taken `from`, the posts before it are gone, too.
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

    /// Refuses all posts from now on. The caller drops the result with no lock held.
    pub(super) fn close(&self) -> Closed {
        self.close_lines(&mut self.lines())
    }

    /// Closes like `close`. Returns `None` if a thread has the lock, which may have left the lines half changed.
    pub(super) fn try_close(&self) -> Option<Closed> {
        let mut lines = self.lines.try_lock().ok()?;
        Some(self.close_lines(&mut lines))
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

    /// Returns the number of posts for which the lines have memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.lines()
            .iter()
            .map(|line| line.entries.capacity())
            .sum()
    }

    #[inline]
    fn lines(&self) -> MutexGuard<'_, [Line; 3]> {
        lock(&self.lines)
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
        // Posts that arrived out of order may mislead the binary search.
        found
            .ok()
            .or_else(|| self.entries.iter().position(|entry| entry.id == id))
    }
}

/// Frees the memory of a burst when much less is in use.
#[inline]
fn shrink(entries: &mut VecDeque<Entry>) {
    /// Memory for this many posts is always kept.
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
        let all = std::iter::from_fn(|| posts.pop(Priority::Normal));
        let callbacks = all.filter_map(|post| post.callback);
        callbacks
            .map(|callback| assert!(callback.run().is_ok()))
            .count()
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
        assert!(given.is_err());
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
