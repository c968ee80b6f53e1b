//! The ready queue: handlers to call in the next turn without asking the kernel.

use super::descriptor::Descriptor;
use super::handler::Handler;
use crate::id::Key;

/// The keys of the handlers. `Handler::queued` is true for those in the queue.
#[derive(Default)]
pub(super) struct ReadyQueue(Vec<Key>);

impl ReadyQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a handler, unless it is paused, disarmed or held.
    #[inline(never)]
    pub(super) fn add(&mut self, handler: &mut Handler) {
        let is_armed = handler.armed || handler.again;
        let is_due = is_armed && !handler.held && !handler.interest.is_empty();
        if is_due && !std::mem::replace(&mut handler.queued, true) {
            self.0.push(handler.key);
        }
    }

    /// Adds a handler if its descriptor is known to be ready without the kernel.
    #[inline(never)]
    pub(super) fn add_if_ready(&mut self, handler: &mut Handler, descriptor: &Descriptor) {
        let ready = descriptor.ready();
        if ready.is_some_and(|ready| !ready.seen_by(handler.interest).is_empty()) {
            self.add(handler);
        }
    }

    /// Takes all keys. Some of the handlers may be gone. The caller clears `queued` of the others.
    pub(super) fn take(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.0)
    }

    /// Gives the memory of an emptied queue back.
    pub(super) fn put_back(&mut self, emptied: Vec<Key>) {
        self.0 = emptied;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::{Interest, Mode};

    #[test]
    fn a_handler_is_queued_once_unless_it_is_paused_or_spent_or_held() {
        for bits in 0..32 {
            let [armed, again, held, paused, queued] = [1, 2, 4, 8, 16].map(|bit| bits & bit != 0);
            let mut interest = Interest::READABLE;
            if paused {
                interest = Interest::NONE;
            }
            let mut handler =
                Handler::new(Key::new(0), interest, Mode::Oneshot, Location::caller());
            handler.armed = armed;
            handler.again = again;
            handler.held = held;
            handler.queued = queued;
            let mut queue = ReadyQueue::default();
            queue.add(&mut handler);
            let is_due = (armed || again) && !held && !paused;
            assert_eq!(queue.is_empty(), !is_due || queued, "{bits:b}");
        }
    }
}
