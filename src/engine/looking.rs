//! A wait in the place of a sleeping host, where the poller is no descriptor that the host could watch.

use std::io;
use std::mem;
use std::time::Duration;

use super::core::Core;
use crate::poller::Events;
use crate::sync::{Mutex, lock};

/// The events of a look, until a driver gathers them.
pub(super) struct Seen(Mutex<(bool, Events)>);

impl Seen {
    pub(super) fn new() -> Seen {
        Seen(Mutex::new((false, Events::new())))
    }
}

impl Core {
    /// Waits until there is something to do. No driver may take a turn meanwhile. The next wait of a driver returns the events.
    pub(crate) fn look(&self, events: &mut Events) {
        // A turn that was broken off may not have waited since the last look.
        if lock(&self.seen.0).0 {
            return;
        }
        loop {
            // After an error, the driver's own wait fails, too, and reports it.
            let has_failed = self.poller.wait(events, None).is_err();
            let found = &events.found;
            if !found.events.is_empty() || found.notices.any() {
                let mut seen = lock(&self.seen.0);
                seen.0 = true;
                return mem::swap(&mut seen.1, events);
            }
            // Without a signal, only the alarm was set to another time.
            if has_failed || !self.inbox.is_asleep() {
                return;
            }
        }
    }

    /// Waits in a turn. The events of a look come first.
    pub(super) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let mut seen = lock(&self.seen.0);
        if mem::take(&mut seen.0) {
            mem::swap(&mut seen.1, events);
            return Ok(());
        }
        drop(seen);
        self.poller.wait(events, timeout)
    }
}
