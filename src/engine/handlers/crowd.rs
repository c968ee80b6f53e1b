//! The merged interest of all handlers on one descriptor.

use super::handler::{Handler, HandlerIndex};
use crate::poller::Watch;
use crate::{Interest, Mode};

/// Interest of all handlers on a descriptor together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merged {
    /// The interest of the level handlers, and of the one-shots that are armed.
    pub(super) level: Interest,
    /// True if `level` comes from one-shots alone, so that the kernel can disarm them.
    pub(super) only_oneshots: bool,
    /// True if there are handlers that are not edge-triggered, paused ones included.
    pub(super) has_level: bool,
    pub(super) edge: Interest,
}

impl Merged {
    pub(super) const NONE: Merged = Merged {
        level: Interest::NONE,
        only_oneshots: true,
        has_level: false,
        edge: Interest::NONE,
    };

    /// Returns the interest of a handler that is alone on its descriptor.
    pub(super) fn of(handler: &Handler) -> Merged {
        let mut wanted = Merged::NONE;
        match handler.mode {
            Mode::Edge if handler.held => {}
            Mode::Edge => wanted.edge |= handler.interest,
            mode => {
                wanted.has_level = true;
                if handler.is_watched() {
                    wanted.level |= handler.interest;
                    wanted.only_oneshots &= mode == Mode::Oneshot;
                }
            }
        }
        wanted
    }

    pub(super) fn interest(self) -> Interest {
        self.level | self.edge
    }

    /// Returns the registrations in the primary set and in the second one. Edge handlers use the primary set if they
    /// have the descriptor to themselves. Beside others, paused or not, they use the second set.
    pub(super) fn split(self) -> (Option<Watch>, Option<Watch>) {
        let watch =
            |interest: Interest, mode| (!interest.is_empty()).then_some(Watch { interest, mode });
        let edge = watch(self.edge, Mode::Edge);
        match (self.has_level, self.only_oneshots) {
            (false, _) => (edge, None),
            (true, true) => (watch(self.level, Mode::Oneshot), edge),
            (true, false) => (watch(self.level, Mode::Level), edge),
        }
    }
}

/// Several handlers on one descriptor. It counts their interest bit by bit, so that adding or removing a handler
/// costs the same however many there are.
pub(super) struct Crowd {
    pub(super) last: HandlerIndex,
    level: Tally,
    edge: Tally,
    /// Number of handlers that are not edge-triggered, paused ones included.
    not_edge: u32,
    /// Number of level-triggered handlers that are watched.
    repeating: u32,
}

/// Number of handlers with each bit of an interest.
#[derive(Default)]
struct Tally([u32; 6]);

impl Tally {
    fn change(&mut self, interest: Interest, change: impl Fn(u32) -> u32) {
        for (bit, count) in self.0.iter_mut().enumerate() {
            if interest.bits() & 1 << bit != 0 {
                *count = change(*count);
            }
        }
    }

    fn interest(&self) -> Interest {
        let set = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        Interest::from_bits(set.fold(0, |bits, (bit, _)| bits | 1 << bit))
    }
}

impl Crowd {
    /// Makes a crowd of one handler.
    pub(super) fn new(handler: &Handler) -> Crowd {
        let mut crowd = Crowd {
            last: HandlerIndex::of(handler.key),
            level: Tally::default(),
            edge: Tally::default(),
            not_edge: 0,
            repeating: 0,
        };
        crowd.add(handler);
        crowd
    }

    pub(super) fn add(&mut self, handler: &Handler) {
        self.change(handler, |count| count + 1);
    }

    /// Subtracts a handler that goes, or whose interest is about to change.
    pub(super) fn subtract(&mut self, handler: &Handler) {
        self.change(handler, |count| count - 1);
    }

    fn change(&mut self, handler: &Handler, change: impl Fn(u32) -> u32) {
        let one = Merged::of(handler);
        self.edge.change(one.edge, &change);
        self.level.change(one.level, &change);
        if one.has_level {
            self.not_edge = change(self.not_edge);
        }
        if !one.only_oneshots {
            self.repeating = change(self.repeating);
        }
    }

    pub(super) fn wanted(&self) -> Merged {
        Merged {
            level: self.level.interest(),
            only_oneshots: self.repeating == 0,
            has_level: self.not_edge > 0,
            edge: self.edge.interest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::id::Key;

    fn edge() -> Handler {
        let place = Location::caller();
        Handler::new(Key::new(0), Interest::READABLE, Mode::Edge, place)
    }

    #[test]
    fn an_edge_handler_that_is_held_wants_nothing() {
        let mut handler = edge();
        handler.held = true;
        assert_eq!(Merged::of(&handler), Merged::NONE);
    }

    #[test]
    fn a_crowd_of_edge_handlers_needs_no_second_set() {
        let mut crowd = Crowd::new(&edge());
        crowd.add(&edge());
        let watch = Watch {
            interest: Interest::READABLE,
            mode: Mode::Edge,
        };
        assert_eq!(crowd.wanted().split(), (Some(watch), None));
    }
}
