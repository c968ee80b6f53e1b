//! Descriptors whose changes the kernel must learn before the next wait.

/// The indices of the descriptors. Each descriptor has a [`Mark`], so that it is listed only once.
#[derive(Default)]
pub(super) struct DirtyList(Vec<u32>);

/// The state of a descriptor in the list.
#[derive(Default)]
pub(super) struct Mark {
    is_listed: bool,
    /// True if a call to the kernel is due even if nothing seems to have changed.
    force: bool,
    /// True if the kernel has refused the change and the driver knows.
    is_reported: bool,
}

impl DirtyList {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the descriptor with this index and this mark.
    pub(super) fn add(&mut self, d: u32, mark: &mut Mark, force: bool) {
        mark.force |= force;
        mark.is_reported = false;
        if !std::mem::replace(&mut mark.is_listed, true) {
            self.0.push(d);
        }
    }

    /// Lists a descriptor again, because the kernel has refused its change.
    pub(super) fn retry(&mut self, d: u32, mark: &mut Mark, force: bool) {
        mark.force = force;
        self.relist(d, mark);
    }

    /// Empties the list. The caller then lists all descriptors again by `relist`.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Lists a descriptor whose registration was lost with its set.
    pub(super) fn relist(&mut self, d: u32, mark: &mut Mark) {
        mark.is_listed = true;
        self.0.push(d);
    }

    /// Takes all indices. Some of the descriptors may be gone.
    pub(super) fn take(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.0)
    }

    /// Gives the memory of a taken list back, if the new list is still empty.
    pub(super) fn put_back(&mut self, mut taken: Vec<u32>) {
        if self.0.is_empty() {
            taken.clear();
            self.0 = taken;
        }
    }
}

impl Mark {
    /// Takes the descriptor out of the list. Returns true if a call is forced, and `None` if it was not listed.
    pub(super) fn take(&mut self) -> Option<bool> {
        let was_listed = std::mem::take(&mut self.is_listed);
        was_listed.then(|| std::mem::take(&mut self.force))
    }

    pub(super) fn is_reported(&self) -> bool {
        self.is_reported
    }

    pub(super) fn set_reported(&mut self, is_reported: bool) {
        self.is_reported = is_reported;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_listed_once_and_remembers_a_force() {
        let (mut list, mut mark) = (DirtyList::default(), Mark::default());
        list.add(7, &mut mark, false);
        list.add(7, &mut mark, true);
        list.add(7, &mut mark, false);
        assert_eq!(list.take(), [7]);
        assert_eq!((mark.take(), mark.take()), (Some(true), None));
        list.add(7, &mut mark, false);
        assert_eq!(mark.take(), Some(false));
    }

    #[test]
    fn a_new_change_is_reported_although_the_last_refusal_was() {
        let (mut list, mut mark) = (DirtyList::default(), Mark::default());
        mark.set_reported(true);
        list.retry(7, &mut mark, true);
        assert!(mark.is_reported() && mark.take() == Some(true));
        list.add(7, &mut mark, false);
        assert!(!mark.is_reported());
    }
}
