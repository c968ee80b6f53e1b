//! Hooks: pairs of callbacks around the loop's sleep.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::panic::Location;
use std::time::Duration;

use super::deadline::{NEVER, NO_WAIT};
use crate::clock::Clock;
use crate::id::Key;

/// Returns the deadline until which the loop may sleep.
pub(crate) type Prepare = Box<dyn FnMut(&Clock) -> u64>;
/// Returns true if the call counts in `Turn::called`.
pub(crate) type Check = Box<dyn FnMut(&Clock) -> bool>;

/// Boxes a pair of hooks.
pub(crate) fn pair(
    mut prepare: impl FnMut() -> Option<Duration> + 'static,
    mut check: impl FnMut() + 'static,
) -> (Prepare, Check) {
    let prepare = move |clock: &Clock| sleep_until(prepare(), clock);
    let check = move |_: &Clock| {
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
    /// Hooks by the index of their keys. A new one gets a greater index, so they are called in the order of their
    /// registration.
    by_index: BTreeMap<u32, Hook>,
    /// Number of pairs that keep `run` going.
    active: usize,
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
        let last = self.by_index.last_key_value().map(|(&last, _)| last);
        let next = last.map_or(0, |last| last.saturating_add(1));
        let next = Some(next).filter(|next| (*next as usize) < Key::MOST);
        // If the indices have run out, a free one matters more than the order.
        let free = || (0..).find(|index| !self.by_index.contains_key(index));
        let key = Key::new(next.or_else(free).unwrap_or(0) as usize);
        let (prepare, check) = make(key);
        let hook = Hook {
            key,
            location,
            calls: 0,
            is_referenced: false,
            prepare: Some(prepare),
            check: Some(check),
        };
        self.by_index.insert(key.index(), hook);
        key
    }

    /// Removes a pair. The caller drops it with no lock held.
    pub(super) fn remove(&mut self, key: Key) -> Option<Hook> {
        self.set_referenced(key, false)?;
        self.by_index.remove(&key.index())
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
        let hook = self.by_index.get_mut(&key.index())?;
        (hook.key == key).then_some(hook)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.by_index.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.by_index.first_key_value().map(|(_, hook)| hook.key)
    }

    pub(super) fn last(&self) -> Option<Key> {
        self.by_index.last_key_value().map(|(_, hook)| hook.key)
    }

    /// Returns the next pair after `key`, up to `last`. The pair of `key` may be gone.
    pub(super) fn after(&self, key: Key, last: Option<Key>) -> Option<Key> {
        let last = last.filter(|last| last.index() > key.index())?;
        let rest = (Excluded(key.index()), Included(last.index()));
        self.by_index.range(rest).next().map(|(_, hook)| hook.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(hooks: &Hooks) -> Vec<Key> {
        let last = hooks.last();
        std::iter::successors(hooks.first(), |key| hooks.after(*key, last)).collect()
    }

    #[test]
    fn hooks_keep_the_order_in_which_they_were_added() {
        let mut hooks = Hooks::default();
        let add = |hooks: &mut Hooks| {
            hooks.add(Location::caller(), |_| {
                (Box::new(|_| 0), Box::new(|_| false))
            })
        };
        let [a, b, c, d] = [(); 4].map(|()| add(&mut hooks));
        assert!(hooks.remove(b).is_some() && hooks.remove(b).is_none());
        assert!(hooks.remove(d).is_some());
        let e = add(&mut hooks);
        assert_eq!(all(&hooks), [a, c, e]);
        assert!(hooks.get(d).is_none(), "another hook has its slot");
        assert_eq!(hooks.after(b, hooks.last()), Some(c));
    }
}
