//! Pairs of callbacks around the loop's sleep.

use std::panic::Location;
use std::time::Duration;

use crate::id::Key;

pub(super) type Prepare = Box<dyn FnMut() -> Option<Duration>>;
pub(super) type Check = Box<dyn FnMut()>;

#[derive(Default)]
pub(super) struct Hooks(Vec<Hook>);

pub(super) struct Hook {
    key: Key,
    /// Where it was added.
    pub(super) place: &'static Location<'static>,
    /// Each is `None` while it is being called.
    pub(super) prepare: Option<Prepare>,
    pub(super) check: Option<Check>,
}

impl Hooks {
    pub(super) fn add(
        &mut self,
        prepare: Prepare,
        check: Check,
        place: &'static Location<'static>,
    ) -> Key {
        let key = Key::new(0);
        self.0.push(Hook {
            key,
            place,
            prepare: Some(prepare),
            check: Some(check),
        });
        key
    }

    /// Gives the hook back for the caller to drop.
    pub(super) fn remove(&mut self, key: Key) -> Option<Hook> {
        let at = self.0.iter().position(|hook| hook.key == key)?;
        Some(self.0.remove(at))
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut Hook> {
        self.0.iter_mut().find(|hook| hook.key == key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is there now: what is added by a hook waits for the next time.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|hook| hook.key).collect()
    }
}
