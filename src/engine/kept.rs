//! Values that a loop keeps for other code and does not use itself.

use std::any::Any;
use std::io;
use std::sync::Arc;

use slab::Slab;

use crate::id::Key;

/// Kept values. A key distinguishes a value from the next one in its slot.
#[derive(Default)]
pub(super) struct Kept(Slab<(Key, Arc<dyn Any>)>);

impl Kept {
    /// Adds a value. Returns an error if no key is left.
    pub(super) fn add(&mut self, value: Arc<dyn Any>) -> io::Result<Key> {
        Key::is_left(self.0.len())?;
        let entry = self.0.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert((key, value));
        Ok(key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Arc<dyn Any>> {
        let (known, value) = self.0.get(key.slot())?;
        (*known == key).then_some(value)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Arc<dyn Any>> {
        self.get(key)?;
        Some(self.0.remove(key.slot()).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_means_no_other_value() {
        let mut kept = Kept::default();
        let stale = kept.add(Arc::new(1)).unwrap();
        assert!(kept.remove(stale).is_some());
        let key = kept.add(Arc::new(2)).unwrap();
        assert_eq!(key.slot(), stale.slot());
        assert!(kept.get(stale).is_none() && kept.remove(stale).is_none());
        assert!(kept.get(key).is_some());
    }
}
