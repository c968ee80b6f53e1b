//! Hooks: pairs of callbacks around the loop's sleep.

use std::panic::Location;
use std::time::Duration;

use super::deadline::{NEVER, NO_WAIT};
use crate::clock::Clock;
use crate::id::Key;

/// Returns the deadline until which the loop may sleep.
pub(crate) type Prepare = Box<dyn FnMut(&Clock) -> u64>;
/// Is given the time, or zero if no deadline of a `Prepare` has come. Returns true if the call counts in
/// `Turn::called`.
pub(crate) type Check = Box<dyn FnMut(u64) -> bool>;

/// Boxes a pair of hooks.
pub(crate) fn pair(
    mut prepare: impl FnMut() -> Option<Duration> + 'static,
    mut check: impl FnMut() + 'static,
) -> (Prepare, Check) {
    let prepare = move |clock: &Clock| sleep_until(prepare(), clock);
    let check = move |_: u64| {
        check();
        false
    };
    (Box::new(prepare), Box::new(check))
}

/// Returns the deadline of a sleep that may last this long.
pub(crate) fn sleep_until(limit: Option<Duration>, clock: &Clock) -> u64 {
    match limit {
        None => NEVER,
        Some(Duration::ZERO) => NO_WAIT,
        Some(limit) => clock.deadline_in(limit),
    }
}

#[derive(Default)]
pub(super) struct Hooks {
    /// Hooks in the order of their keys' indices. A new one gets a greater index, so they are called in the order of
    /// their registration.
    slots: Vec<Slot>,
    /// Number of slots without a hook.
    gaps: usize,
    /// Number of pairs that keep `run` going.
    active: usize,
}

struct Slot {
    index: u32,
    /// `None` once it is removed.
    hook: Option<Hook>,
}

/// The pairs that a round of calls has still to come to.
pub(super) struct Round {
    next: usize,
    end: usize,
}

pub(super) struct Hook {
    pub(super) key: Key,
    /// The place of registration.
    pub(super) location: &'static Location<'static>,
    /// Calls of either callback so far.
    pub(super) calls: u64,
    /// True if the pair keeps `run` going.
    pub(super) is_referenced: bool,
    /// Each is `None` while it is being called.
    pub(super) prepare: Option<Prepare>,
    pub(super) check: Option<Check>,
}

impl Hooks {
    pub(super) fn add(
        &mut self,
        location: &'static Location<'static>,
        make: impl FnOnce(Key) -> (Prepare, Check),
    ) -> Key {
        let next = self.slots.last().map_or(0, |last| last.index + 1);
        // If the indices have run out, a free one matters more than the order.
        let is_left = (next as usize) < Key::MOST;
        let free = || (0..).find(|&index| self.position(index).is_err());
        let index = if is_left {
            next
        } else {
            free().unwrap_or(next)
        };
        let key = Key::new(index as usize);
        let (prepare, check) = make(key);
        let hook = Hook {
            key,
            location,
            calls: 0,
            is_referenced: false,
            prepare: Some(prepare),
            check: Some(check),
        };
        let at = self.position(index).unwrap_or_else(|at| at);
        let hook = Some(hook);
        self.slots.insert(at, Slot { index, hook });
        key
    }

    /// Removes a pair. The caller drops it with no lock held.
    pub(super) fn remove(&mut self, key: Key) -> Option<Hook> {
        self.set_referenced(key, false)?;
        let at = self.position(key.index()).ok()?;
        self.gaps += 1;
        self.slots[at].hook.take()
    }

    pub(super) fn set_referenced(&mut self, key: Key, is_referenced: bool) -> Option<()> {
        let hook = self.get(key)?;
        let before = std::mem::replace(&mut hook.is_referenced, is_referenced);
        self.active = self.active + usize::from(is_referenced) - usize::from(before);
        Some(())
    }

    #[inline]
    pub(super) fn active(&self) -> usize {
        self.active
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut Hook> {
        let at = self.position(key.index()).ok()?;
        let hook = self.slots[at].hook.as_mut()?;
        (hook.key == key).then_some(hook)
    }

    /// Returns the position of the slot with this index, or the one that it would have.
    fn position(&self, index: u32) -> std::result::Result<usize, usize> {
        self.slots.binary_search_by_key(&index, |slot| slot.index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.slots.iter().filter_map(|slot| slot.hook.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.gaps
    }

    /// Begins a round of calls. A pair that is added meanwhile does not belong to it.
    pub(super) fn begin(&mut self) -> Round {
        if self.gaps > 0 {
            self.slots.retain(|slot| slot.hook.is_some());
            self.gaps = 0;
        }
        Round {
            next: 0,
            end: self.slots.len(),
        }
    }

    /// Returns the next pair of a round.
    pub(super) fn next(&mut self, round: &mut Round) -> Option<&mut Hook> {
        let rest = self.slots.get_mut(round.next..round.end)?;
        let left = rest.iter().position(|slot| slot.hook.is_some())?;
        round.next += left + 1;
        rest[left].hook.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(hooks: &mut Hooks) -> Key {
        hooks.add(Location::caller(), |_| {
            (Box::new(|_| 0), Box::new(|_| false))
        })
    }

    fn rest(hooks: &mut Hooks, mut round: Round) -> Vec<Key> {
        std::iter::from_fn(|| hooks.next(&mut round).map(|hook| hook.key)).collect()
    }

    #[test]
    fn hooks_keep_the_order_in_which_they_were_added() {
        let mut hooks = Hooks::default();
        let [a, b, c, d] = [(); 4].map(|()| add(&mut hooks));
        assert!(hooks.remove(b).is_some() && hooks.remove(b).is_none());
        assert!(hooks.remove(d).is_some());
        let round = hooks.begin();
        assert_eq!(rest(&mut hooks, round), [a, c]);
        let e = add(&mut hooks);
        assert!(hooks.get(d).is_none(), "another hook has its index");
        assert!(hooks.get(e).is_some());
        let round = hooks.begin();
        assert_eq!(rest(&mut hooks, round), [a, c, e]);
    }

    #[test]
    fn a_round_leaves_out_what_is_added_or_removed_meanwhile() {
        let mut hooks = Hooks::default();
        let [a, b, c, d] = [(); 4].map(|()| add(&mut hooks));
        let mut round = hooks.begin();
        assert_eq!(hooks.next(&mut round).map(|hook| hook.key), Some(a));
        for gone in [a, b, d] {
            hooks.remove(gone).unwrap();
        }
        let e = add(&mut hooks);
        assert_eq!(rest(&mut hooks, round), [c]);
        hooks.remove(c).unwrap();
        assert!(!hooks.is_empty());
        hooks.remove(e).unwrap();
        assert!(hooks.is_empty());
    }
}
