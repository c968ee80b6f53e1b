//! 4-ary min-heap of numbers by deadline. `positions` locates each number, so one that is removed leaves no
//! tombstone that would have to be cleared away.

/// Number of children. Siblings are usually in one cache line, and the heap is half as deep as with two children.
const CHILDREN: usize = 4;

#[derive(Default)]
pub(super) struct Heap {
    entries: Vec<Entry>,
    /// The position in `entries` of each number. Each step of an entry changes one of them at random, so they are
    /// small and in a list of their own.
    positions: Vec<u32>,
    /// A removed number that is still in the heap, until an insertion takes its place or the heap is read. The former
    /// is common, and then no other entry moves.
    removed: Option<u32>,
}

/// An entry. Packing makes it twelve bytes long instead of sixteen.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Entry {
    deadline: u64,
    number: u32,
}

impl Heap {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns a number with the earliest deadline.
    pub(super) fn first(&mut self) -> Option<(u64, u32)> {
        self.clear();
        let first = self.entries.first()?;
        Some((first.deadline, first.number))
    }

    /// Returns the deadline of a number in the heap.
    pub(super) fn deadline(&self, number: u32) -> u64 {
        self.entries[self.position(number)].deadline
    }

    /// Inserts a number that is not in the heap.
    pub(super) fn insert(&mut self, number: u32, deadline: u64) {
        while self.positions.len() <= number as usize {
            push(&mut self.positions, 0);
        }
        let entry = Entry { deadline, number };
        if let Some(removed) = self.removed.take() {
            return self.replace(self.position(removed), entry);
        }
        push(&mut self.entries, entry);
        self.rise(self.entries.len() - 1, entry);
    }

    /// Changes the deadline of a number in the heap.
    pub(super) fn shift(&mut self, number: u32, deadline: u64) {
        self.replace(self.position(number), Entry { deadline, number });
    }

    /// Removes a number that is in the heap.
    pub(super) fn remove(&mut self, number: u32) {
        self.clear();
        self.removed = Some(number);
    }

    /// Takes the entry of the removed number out.
    fn clear(&mut self) {
        let Some(removed) = self.removed.take() else {
            return;
        };
        let hole = self.position(removed);
        match self.entries.pop() {
            Some(last) if hole < self.entries.len() => self.replace(hole, last),
            _ => {}
        }
    }

    /// Frees the memory that numbers below `numbers` do not need.
    pub(super) fn trim(&mut self, numbers: usize) {
        // Cleared first, because that needs the position of the removed number.
        self.clear();
        self.entries.shrink_to_fit();
        self.positions.truncate(numbers);
        self.positions.shrink_to_fit();
    }

    /// Returns the number of entries, or of positions if that is more, for which there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.entries.capacity().max(self.positions.capacity())
    }

    fn position(&self, number: u32) -> usize {
        self.positions[number as usize] as usize
    }

    /// Replaces the entry at `hole` by another, and moves that to its place.
    fn replace(&mut self, hole: usize, entry: Entry) {
        if entry.deadline < self.entries[hole].deadline {
            self.rise(hole, entry)
        } else {
            self.sink(hole, entry)
        }
    }

    fn rise(&mut self, mut hole: usize, entry: Entry) {
        while hole > 0 {
            let parent = (hole - 1) / CHILDREN;
            if self.entries[parent].deadline <= entry.deadline {
                break;
            }
            self.put(hole, self.entries[parent]);
            hole = parent;
        }
        self.put(hole, entry);
    }

    fn sink(&mut self, mut hole: usize, entry: Entry) {
        while let Some(child) = self.earliest_child(hole) {
            if self.entries[child].deadline >= entry.deadline {
                break;
            }
            self.put(hole, self.entries[child]);
            hole = child;
        }
        self.put(hole, entry);
    }

    fn put(&mut self, hole: usize, entry: Entry) {
        self.entries[hole] = entry;
        self.positions[entry.number as usize] = hole as u32;
    }

    fn earliest_child(&self, parent: usize) -> Option<usize> {
        let first = parent * CHILDREN + 1;
        let children = self.entries.get(first..)?;
        // Nearly always there are four children, which need no loop.
        if let Some(&[a, b, c, d]) = children.first_chunk::<CHILDREN>() {
            let earlier = |one: (u64, usize), other: (u64, usize)| {
                if other.0 < one.0 { other } else { one }
            };
            let left = earlier((a.deadline, first), (b.deadline, first + 1));
            let right = earlier((c.deadline, first + 2), (d.deadline, first + 3));
            return Some(earlier(left, right).1);
        }
        (first..self.entries.len()).min_by_key(|&child| self.entries[child].deadline)
    }
}

/// Appends an item. A long list grows by an eighth only, because unused memory counts, too.
pub(super) fn push<T>(to: &mut Vec<T>, one: T) {
    if to.len() == to.capacity() {
        to.reserve_exact(more(to.len()));
    }
    to.push(one);
}

/// Returns the number of items by which a full list of this length grows.
pub(super) fn more(len: usize) -> usize {
    match len {
        0..1024 => len.max(4),
        _ => len / 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_first_is_the_earliest_whatever_was_done_to_others() {
        let (mut heap, mut model) = (Heap::default(), BTreeMap::new());
        let mut random = 1u64;
        for _ in 0..100_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (number, deadline) = ((random >> 33) as u32 % 200, random >> 41 & 0xff);
            match model.get(&number) {
                Some(_) if random >> 63 == 0 => {
                    heap.remove(number);
                    model.remove(&number);
                }
                known => {
                    match known {
                        Some(_) => heap.shift(number, deadline),
                        None => heap.insert(number, deadline),
                    }
                    model.insert(number, deadline);
                }
            }
            if let Some(&deadline) = model.get(&number) {
                assert_eq!(heap.deadline(number), deadline);
            }
            // Not in each round, so that removed numbers also stay in the heap.
            if random >> 60 & 3 == 0 {
                let first = heap.first().map(|(deadline, _)| deadline);
                assert_eq!(first, model.values().min().copied());
                assert_eq!(heap.entries.len(), model.len());
            }
        }
    }

    #[test]
    fn of_many_not_more_than_an_eighth_is_free() {
        let mut heap = Heap::default();
        for number in 0..50_000 {
            heap.insert(number, 0);
            let most = (heap.entries.len() * 9 / 8).max(1024);
            let room = [heap.entries.capacity(), heap.positions.capacity()];
            assert!(room.iter().all(|&room| room <= most), "{room:?} of {most}");
        }
    }
}
