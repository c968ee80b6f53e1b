//! Pairs of callbacks around the loop's sleep.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::panic::Location;
use std::time::Duration;

use crate::id::Key;

pub(super) type Prepare = Box<dyn FnMut() -> Option<Duration>>;
pub(super) type Check = Box<dyn FnMut()>;

/// By the index of their keys, which grows with each that is added: so they are called in that order.
#[derive(Default)]
pub(super) struct Hooks(BTreeMap<u32, Hook>);

pub(super) struct Hook {
    pub(super) key: Key,
    /// Where it was added.
    pub(super) location: &'static Location<'static>,
    /// How often the one or the other was called.
    pub(super) calls: u64,
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
        let last = self.0.last_key_value().map(|(&last, _)| last);
        let next = last.map_or(0, |last| last.saturating_add(1));
        let next = Some(next).filter(|next| (*next as usize) < Key::MOST);
        // After so many the order is of less interest than that the number is free.
        let free = || (0..).find(|index| !self.0.contains_key(index));
        let key = Key::new(next.or_else(free).unwrap_or(0) as usize);
        let (prepare, check) = make(key);
        let hook = Hook {
            key,
            location,
            calls: 0,
            prepare: Some(prepare),
            check: Some(check),
        };
        self.0.insert(key.index(), hook);
        key
    }

    /// Gives the hook back for the caller to drop.
    pub(super) fn remove(&mut self, key: Key) -> Option<Hook> {
        self.get(key)?;
        self.0.remove(&key.index())
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut Hook> {
        let hook = self.0.get_mut(&key.index())?;
        (hook.key == key).then_some(hook)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.0.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.0.first_key_value().map(|(_, hook)| hook.key)
    }

    pub(super) fn last(&self) -> Option<Key> {
        self.0.last_key_value().map(|(_, hook)| hook.key)
    }

    /// The one after this, which may be gone, and not beyond `last`.
    pub(super) fn after(&self, key: Key, last: Option<Key>) -> Option<Key> {
        let last = last.filter(|last| last.index() > key.index())?;
        let rest = (Excluded(key.index()), Included(last.index()));
        self.0.range(rest).next().map(|(_, hook)| hook.key)
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
            hooks.add(Location::caller(), |_| (Box::new(|| None), Box::new(|| ())))
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
