//! The state of a turn. It outlives a driver, so that the next driver can continue the turn.

use super::handlers::Batch;
use super::unclaimed::Unclaimed;
use crate::id::Key;
use crate::poller::Events;

/// The data of a turn. It is whole at every time, even if a callback panics.
pub(super) struct TurnState {
    pub(super) events: Events,
    /// Sources that became ready. Empty except while they are gathered.
    pub(super) ready_sources: Vec<Key>,
    /// Handlers to be called in this turn.
    pub(super) batch: Batch,
    /// The phase in which the host's budget broke the turn off.
    pub(super) cut: Option<Cut>,
    /// Number of posts left in the phase.
    pub(super) left: usize,
    /// Events that concern no handler, for each set.
    pub(super) unclaimed: [Unclaimed; 2],
}

/// A phase in which a turn can be broken off, and in which the next step continues it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Urgent,
    Handlers,
    Timers,
    Posts,
}

impl TurnState {
    pub(super) fn new() -> TurnState {
        TurnState {
            events: Events::new(),
            ready_sources: Vec::new(),
            batch: Batch::default(),
            cut: None,
            left: 0,
            unclaimed: [Unclaimed::default(); 2],
        }
    }

    /// Returns true if a turn was stopped, broken off or ended by a panic, and has left something to call.
    #[inline]
    pub(super) fn has_left_overs(&self) -> bool {
        self.batch.is_left() | self.cut.is_some()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::{Interest, Mode, Priority, Reactor, Step};

    #[test]
    fn turns_that_are_stopped_early_leave_no_more_over_than_there_is_to_call() {
        let reactor = Reactor::new_local().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        (&b).write_all(b"x").unwrap();
        let added = reactor.add_handler(a, Interest::READABLE, Mode::Edge, |_, _| {});
        let id = added.unwrap();
        for _ in 0..100 {
            let weak = reactor.downgrade();
            let early = move || {
                let reactor = weak.upgrade().unwrap();
                reactor.update_handler(id, Interest::READABLE).unwrap();
                reactor.stop();
            };
            reactor.call_soon_with(Priority::High, early).unwrap();
            assert!(reactor.turn(Some(Duration::ZERO)).unwrap().stopped);
            let turn_state = reactor.core.turn_state.lock().unwrap();
            assert!(turn_state.batch.len() <= 1);
        }
    }

    #[test]
    fn a_turn_that_was_broken_off_among_its_handlers_has_left_overs() {
        let mut turn_state = TurnState::new();
        assert!(!turn_state.has_left_overs());
        turn_state.cut = Some(Cut::Handlers);
        assert!(turn_state.has_left_overs());
        turn_state.batch.push(Key::new(0));
        assert!(turn_state.has_left_overs());
    }

    #[test]
    fn a_burst_of_posts_keeps_no_memory() {
        let reactor = Reactor::new_local().unwrap();
        let mut host = reactor.host("a test").unwrap();
        while host.step(1).unwrap() != Step::Sleep {}
        for one_turn in [true, false] {
            for (count, priority) in [(100_000, Priority::Normal), (100_000, Priority::High)] {
                for _ in 0..count {
                    reactor.call_soon_with(priority, || {}).unwrap();
                }
                let budget = if one_turn { usize::MAX } else { 128 };
                while host.step(budget).unwrap() != Step::Sleep {}
                for _ in 0..3 {
                    reactor.call_soon_with(priority, || {}).unwrap();
                    while host.step(budget).unwrap() != Step::Sleep {}
                }
            }
            let room = reactor.core.inbox.posts.room();
            assert!(room < 10_000, "for {room} posts");
        }
    }
}
