//! Descriptors about which the kernel is to be told something before the next wait.

/// Indices of these descriptors. Each has a [`Mark`] of its own, so that it is listed once.
#[derive(Default)]
pub(super) struct DirtyList(Vec<u32>);

/// Entry of a descriptor in the list.
#[derive(Default)]
pub(super) struct Mark {
    is_listed: bool,
    /// A call to the kernel is due even if nothing seems changed.
    force: bool,
    /// The kernel has refused the change, and the driver was told.
    is_reported: bool,
}

impl DirtyList {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists a descriptor, which has this index and this mark.
    pub(super) fn add(&mut self, d: u32, mark: &mut Mark, force: bool) {
        mark.force |= force;
        mark.is_reported = false;
        if !std::mem::replace(&mut mark.is_listed, true) {
            self.0.push(d);
        }
    }

    /// Lists a descriptor once more whose change the kernel has refused.
    pub(super) fn retry(&mut self, d: u32, mark: &mut Mark, force: bool) {
        mark.force = force;
        self.relist(d, mark);
    }

    /// Empties the list. All descriptors are to be listed again by `relist`.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Lists a descriptor that was forgotten with its set.
    pub(super) fn relist(&mut self, d: u32, mark: &mut Mark) {
        mark.is_listed = true;
        self.0.push(d);
    }

    /// Takes all indices. The descriptor of one may be gone.
    pub(super) fn take(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.0)
    }

    /// Gives back the room of a list that was taken, if that is still empty.
    pub(super) fn put_back(&mut self, mut taken: Vec<u32>) {
        if self.0.is_empty() {
            taken.clear();
            self.0 = taken;
        }
    }
}

impl Mark {
    /// Takes the descriptor out of the list. Returns whether a call is forced, or nothing if it was not
    /// listed.
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
