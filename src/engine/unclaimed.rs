//! Events that concern no handler.

use crate::id::Key;

/// Consecutive turns with unclaimed events of one key after which the set is rebuilt. The key then belongs to a stale
/// registration.
const REBUILD_AFTER: u32 = 8;

/// The key that had unclaimed events in one set, and the number of consecutive turns with them.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclaimed {
    key: Option<Key>,
    turns: u32,
}

impl Unclaimed {
    /// Returns true if the last turn had no unclaimed event.
    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.key.is_none()
    }

    /// Notes an unclaimed event of this turn in `met_now`. Prefers the key of the previous turns.
    #[cold]
    pub(super) fn meet(&self, key: Key, met_now: &mut Option<Key>) {
        if met_now.is_none() || self.key == Some(key) {
            *met_now = Some(key);
        }
    }

    /// Counts the turn. Returns true if the set must be rebuilt, and then counts from zero again.
    pub(super) fn end_turn(&mut self, met_now: Option<Key>) -> bool {
        // A handler that another thread has just removed may have one such event, so several keys do not count.
        self.turns = match met_now {
            Some(_) if self.key == met_now => self.turns + 1,
            _ => u32::from(met_now.is_some()),
        };
        self.key = met_now;
        let is_stale = self.turns >= REBUILD_AFTER;
        if is_stale {
            *self = Unclaimed::default();
        }
        is_stale
    }

    /// Makes the next such event ask for a rebuild again, because this one has failed.
    pub(super) fn ask_again(&mut self, met_now: Option<Key>) {
        self.key = met_now;
        self.turns = REBUILD_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_events_of_one_key_ask_for_a_rebuild() {
        let [a, b] = [1, 2].map(|index| Some(Key::new(index)));
        let mut unclaimed = Unclaimed::default();
        for key in [a, b, a, b, a, b, a, b, a, b] {
            assert!(!unclaimed.end_turn(key));
        }
        assert!(!unclaimed.end_turn(None) && unclaimed.is_none());
        let turns = [(); 8].map(|()| unclaimed.end_turn(a));
        assert_eq!(turns.map(u8::from), [0, 0, 0, 0, 0, 0, 0, 1]);
        unclaimed.ask_again(a);
        assert!(!unclaimed.end_turn(b) && !unclaimed.end_turn(a));
        unclaimed.ask_again(a);
        assert!(unclaimed.end_turn(a));
    }

    #[test]
    fn the_key_of_the_turns_before_is_met_whatever_else_is() {
        let [a, b] = [1, 2].map(Key::new);
        let mut unclaimed = Unclaimed::default();
        unclaimed.end_turn(Some(a));
        for keys in [[a, b], [b, a]] {
            let mut met = None;
            for key in keys {
                unclaimed.meet(key, &mut met);
            }
            assert_eq!(met, Some(a));
        }
    }
}
