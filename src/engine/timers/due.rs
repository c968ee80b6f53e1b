//! Due timers, in the order in which they are called.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::engine::deadline::NEVER;
use crate::id::{Key, Serial};

/// A due timer, unless it was cancelled or reset meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) deadline: u64,
    pub(super) key: Key,
}

/// Due timers by deadline, and those of one deadline by age.
#[derive(Default)]
pub(super) struct DueQueue(VecDeque<Due>);

/// The addition of timers to the queue, in the order of their deadlines.
pub(super) struct Adding<'a> {
    queue: &'a mut VecDeque<Due>,
    begin: usize,
    last: u64,
    /// True if some of them have the same deadline.
    is_tied: bool,
}

impl DueQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn first(&self) -> Option<Due> {
        self.0.front().copied()
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Due> {
        self.0.pop_front()
    }

    pub(super) fn add(&mut self) -> Adding<'_> {
        Adding {
            begin: self.0.len(),
            queue: &mut self.0,
            last: NEVER,
            is_tied: false,
        }
    }

    pub(super) fn trim(&mut self) {
        self.0.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.capacity()
    }
}

impl Adding<'_> {
    #[inline]
    pub(super) fn push(&mut self, due: Due) {
        self.queue.push_back(due);
        self.is_tied |= due.deadline == self.last;
        self.last = due.deadline;
    }

    /// Sorts the queue. `newest` is the serial of the newest timer.
    pub(super) fn end(self, newest: Serial) {
        let (queue, begin) = (self.queue, self.begin);
        let order = |due: &Due| (due.deadline, Reverse(due.key.serial().age(newest)));
        // The heap does not order timers of one deadline.
        if self.is_tied {
            let added = &mut queue.make_contiguous()[begin..];
            for same in added.chunk_by_mut(|one, next| one.deadline == next.deadline) {
                same.sort_unstable_by_key(order);
            }
        }
        // Usually, left-overs of an earlier turn come before all new timers.
        let last_before = begin.checked_sub(1).and_then(|last| queue.get(last));
        let pair = last_before.zip(queue.get(begin));
        if pair.is_some_and(|(one, next)| order(one) > order(next)) {
            // The sort merges the two sorted runs.
            queue.make_contiguous().sort_by_key(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_timers_are_merged_with_left_overs() {
        let keys = [0, 1, 2, 3, 4].map(Key::new);
        let due = |deadline, n: usize| Due {
            deadline,
            key: keys[n],
        };
        let newest = keys[4].serial();
        let mut queue = DueQueue::default();
        let mut adding = queue.add();
        for one in [due(3, 2), due(3, 0)] {
            adding.push(one);
        }
        adding.end(newest);
        let mut adding = queue.add();
        for one in [due(2, 4), due(3, 3), due(3, 1)] {
            adding.push(one);
        }
        adding.end(newest);
        let order: Vec<Due> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            order,
            [due(2, 4), due(3, 0), due(3, 1), due(3, 2), due(3, 3)]
        );
    }
}
