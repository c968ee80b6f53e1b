//! Values that a loop keeps for others until it ends, and does not use itself.

use std::any::Any;
use std::sync::Arc;

use slab::Slab;

use super::core::Core;
use crate::id::Key;
use crate::{Error, Result};

/// The key tells a value from the next one in its place.
#[derive(Default)]
pub(super) struct Kept(Slab<(Key, Arc<dyn Any>)>);

impl Core {
    /// Keeps a value until [`let_go`](Self::let_go), or until the loop is closed or ends.
    pub(crate) fn keep(&self, call: &'static str, value: Arc<dyn Any>) -> Result<Key> {
        let mut state = self.enter(call)?;
        let kept = &mut state.kept.0;
        Key::is_left(kept.len()).map_err(|error| Error::os(call, error))?;
        let entry = kept.vacant_entry();
        let key = Key::new(entry.key());
        entry.insert((key, value));
        Ok(key)
    }

    /// Returns a value that is kept. To be called by the driver, on whose thread it is used and dropped.
    pub(crate) fn kept(&self, key: Key) -> Option<Arc<dyn Any>> {
        let state = self.try_state()?;
        let (known, value) = state.kept.0.get(key.slot())?;
        (*known == key).then(|| value.clone())
    }

    /// Gives a value back, for the caller to drop with no lock held. To be called by the driver.
    pub(crate) fn let_go(&self, key: Key) -> Option<Arc<dyn Any>> {
        let mut state = self.try_state()?;
        let kept = &mut state.kept.0;
        let (known, _) = kept.get(key.slot())?;
        (*known == key).then(|| kept.remove(key.slot()).1)
    }
}
