//! Events of one descriptor in consecutive turns.

/// The number of events in a row after which the kernel is first asked whether the number still means the file.
const FIRST_CHECK: u16 = 4;

/// The same for edges. The question makes the kernel report an edge again if there is something unread.
const FIRST_CHECK_OF_EDGES: u16 = 16;

/// The number of consecutive turns with an event. It decides when the kernel is asked about the file.
///
/// A level-triggered handler that leaves data unread is called in every turn. The longer the row, the more rarely
/// the kernel is asked, which keeps busy descriptors cheap.
#[derive(Default)]
pub(super) struct EventRow {
    /// The turn of the last event.
    turn: u16,
    length: u16,
}

impl EventRow {
    /// Counts an event. Returns true if the row is long enough for a check. A turn without an event ends the row,
    /// unless the event is an edge.
    #[inline]
    pub(super) fn add(&mut self, turn: u16, is_edge: bool) -> bool {
        // There may be two events in a turn, of one set each.
        let goes_on = is_edge | (turn.wrapping_sub(self.turn) <= 1);
        self.turn = turn;
        self.length = if goes_on {
            self.length.wrapping_add(1)
        } else {
            1
        };
        self.length >= FIRST_CHECK
    }

    pub(super) fn is_check_due(&self, is_edge: bool) -> bool {
        let is_due = self.length & 255 == 0 || self.length.is_power_of_two();
        is_due && (!is_edge || self.length >= FIRST_CHECK_OF_EDGES)
    }

    /// Returns true if there was an event in this turn.
    pub(super) fn has_one_in(&self, turn: u16) -> bool {
        self.turn == turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(is_edge: bool, turns: impl Iterator<Item = u16>) -> Vec<u16> {
        let mut row = EventRow::default();
        let is_due = |turn: &u16| row.add(*turn, is_edge) && row.is_check_due(is_edge);
        turns.filter(is_due).collect()
    }

    #[test]
    fn a_long_row_is_checked_ever_more_rarely() {
        let expected = [4, 8, 16, 32, 64, 128, 256, 512, 768];
        assert_eq!(checks(false, 1..=800), expected);
        assert_eq!(checks(true, 1..=800), expected[2..]);
    }

    #[test]
    fn a_turn_without_an_event_ends_a_row_that_is_not_of_edges() {
        let every_second = || (3..900).step_by(2);
        assert!(checks(false, every_second()).is_empty());
        let nth = |n: u16| 1 + 2 * n;
        assert_eq!(checks(true, every_second())[..2], [nth(16), nth(32)]);
        // The turn after a pause is the first of the next row.
        assert_eq!(checks(false, (10..13).chain(20..25)), [23]);
    }

    #[test]
    fn a_row_goes_on_with_a_second_event_in_a_turn() {
        let twice = (1..9).flat_map(|turn| [turn; 2]);
        assert_eq!(checks(false, twice), [2, 4, 8]);
    }

    #[test]
    fn an_event_is_of_its_turn() {
        let mut row = EventRow::default();
        row.add(800, false);
        assert!(row.has_one_in(800) && !row.has_one_in(799));
    }
}
