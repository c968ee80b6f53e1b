//! Facts about registrations that no call needs: names, and the measurements of observers. Few registrations have
//! any, so they are kept apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hash::SlotMap;
use crate::guest::Progress;
use crate::id::Key;
use crate::{CallbackRun, Id, LoopEvent};

#[derive(Default, Clone)]
pub(super) struct Detail {
    pub(super) name: Option<Arc<str>>,
    /// The event that a handler stands for.
    pub(super) event: Option<LoopEvent>,
    /// The guest that a pair of hooks belongs to.
    pub(super) guest: Option<Arc<Progress>>,
    pub(super) time_spent: Duration,
    pub(super) last_called: Option<Instant>,
}

impl Detail {
    /// Adds a call that was timed.
    pub(super) fn add(&mut self, run: &CallbackRun) {
        self.time_spent += run.took;
        self.last_called = Some(run.started);
    }
}

/// Details by kind and slot. The entry of a removed registration stays until another one gets the slot. Its key
/// shows that it is stale, so a removal does nothing here.
#[derive(Default)]
pub(super) struct Details(SlotMap<u64, (Key, Detail)>);

impl Details {
    fn get(&self, id: Id) -> Option<&Detail> {
        let (place, key) = place(id);
        let (owner, detail) = self.0.get(&place)?;
        (*owner == key).then_some(detail)
    }

    /// Returns a copy of the details of a registration.
    pub(super) fn of(&self, id: Id) -> Detail {
        self.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn name(&self, id: Id) -> Option<&Arc<str>> {
        self.get(id)?.name.as_ref()
    }

    /// Returns the details of an existing registration. Makes them if there are none yet.
    pub(super) fn entry(&mut self, id: Id) -> &mut Detail {
        let (place, key) = place(id);
        let (owner, detail) = self.0.entry(place).or_insert((key, Detail::default()));
        if *owner != key {
            (*owner, *detail) = (key, Detail::default());
        }
        detail
    }
}

fn place(id: Id) -> (u64, Key) {
    let (kind, key) = match id {
        Id::Handler(id) => (0, id.0),
        Id::Timer(id) => (1, id.0),
        Id::Hook(id) => (2, id.0),
        // Posts have no details.
        Id::Post(id) => (3, Key::from_u64(id.0)),
    };
    (u64::from(key.index()) << 2 | kind, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HandlerId, TimerId};

    #[test]
    fn a_detail_is_that_of_one_registration() {
        let mut details = Details::default();
        let [first, second] = [(); 2].map(|()| Key::new(7));
        details.entry(HandlerId(first).into()).name = Some("first".into());
        let name = |details: &Details, id: Id| details.name(id).map(|name| name.to_string());
        assert_eq!(
            name(&details, HandlerId(first).into()).as_deref(),
            Some("first")
        );
        assert_eq!(name(&details, TimerId(first).into()), None);
        assert_eq!(name(&details, HandlerId(second).into()), None);
        details.entry(HandlerId(second).into()).time_spent = Duration::from_secs(1);
        assert!(details.get(HandlerId(first).into()).is_none());
        assert_eq!(name(&details, HandlerId(second).into()), None);
        assert_eq!(details.0.len(), 1);
    }
}
