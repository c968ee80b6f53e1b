//! Events of one descriptor, turn after turn.

/// Events in a row after which the kernel is asked for the first time whether the number still means the
/// file.
const FIRST_CHECK: u16 = 4;

/// Count of turns in a row with an event, which decides when the kernel is asked about the file.
///
/// A level-triggered handler that leaves data unread is called in turn after turn. Asking ever more
/// rarely keeps that cheap for a busy descriptor.
#[derive(Default)]
pub(super) struct EventRow {
    /// The turn of the last event.
    turn: u16,
    length: u16,
    /// Mask of the length that is kept when a turn passes without an event.
    kept: u16,
}

impl EventRow {
    /// Counts an event. True if the row is long enough for a check.
    #[inline]
    pub(super) fn add(&mut self, turn: u16) -> bool {
        let is_next = self.turn.wrapping_add(1) == turn;
        self.turn = turn;
        self.length = if is_next {
            self.length.wrapping_add(1)
        } else {
            self.length & self.kept
        };
        self.length >= FIRST_CHECK
    }

    /// Goes on counting across turns without an event, as for edges.
    pub(super) fn keep(&mut self) {
        self.kept = u16::MAX;
    }

    pub(super) fn is_check_due(&self) -> bool {
        self.length & 255 == 0 || self.length.is_power_of_two()
    }

    /// Whether there was an event in this turn.
    pub(super) fn has_one_in(&self, turn: u16) -> bool {
        self.turn == turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(row: &mut EventRow, turns: impl Iterator<Item = u16>) -> Vec<u16> {
        let is_due = |turn: &u16| row.add(*turn) && row.is_check_due();
        turns.filter(is_due).collect()
    }

    #[test]
    fn a_long_row_is_checked_ever_more_rarely() {
        let mut row = EventRow::default();
        assert_eq!(
            checks(&mut row, 1..=800),
            [4, 8, 16, 32, 64, 128, 256, 512, 768]
        );
        assert!(row.has_one_in(800) && !row.has_one_in(799));
    }

    #[test]
    fn a_turn_without_an_event_ends_the_row_unless_it_is_kept() {
        let mut row = EventRow::default();
        assert!(checks(&mut row, (1..900).step_by(2)).is_empty());
        row.keep();
        let in_pairs = (1000..1040).filter(|turn| turn % 4 < 2);
        assert!(!checks(&mut row, in_pairs).is_empty());
    }
}
