//! The entry for test doubles. A test decorates the backend of a loop, or replaces it.
//!
//! This exists only with the feature `__testing`, which is for oneloop's own tests. The feature does not
//! change a loop that is built without a double.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

pub use super::backend::{ALARM, Backend, Buffer, CLOCK, Found, OURS, Wake, Watch};
use super::{Poller, Set};

use crate::clock::ClockSource;
use crate::{PollerKind, TestClock};

/// Test doubles for a loop to be built.
#[derive(Clone, Default)]
pub struct Doubles {
    /// Makes the loop's backend.
    pub backend: Option<MakeBackend>,
    /// Reads the monotonic clock.
    pub clock: Option<ReadClock>,
}

/// A function that makes a backend in the place of this kind.
pub type MakeBackend = Arc<dyn Fn(PollerKind) -> io::Result<Box<dyn Backend>> + Send + Sync>;

/// A function that reads the monotonic clock.
pub type ReadClock = Arc<dyn Fn() -> Instant + Send + Sync>;

impl Doubles {
    /// Makes the parts of a loop, with the doubles among them.
    pub(crate) fn stand_in(
        self,
        kind: PollerKind,
        clock: Option<TestClock>,
    ) -> (io::Result<Poller>, ClockSource) {
        let poller = match self.backend {
            Some(make) => make(kind).map(|backend| Poller::on(Set::Other(backend))),
            None => Poller::new(kind),
        };
        let clock = match (clock, self.clock) {
            (None, Some(read)) => ClockSource::Double(read),
            (test, _) => ClockSource::from(test),
        };
        (poller, clock)
    }
}

impl fmt::Debug for Doubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubles")
    }
}

/// Makes the backend of a loop without a double.
pub fn backend(kind: PollerKind) -> io::Result<Box<dyn Backend>> {
    Ok(match Set::new(kind)? {
        Set::Native(it) => Box::new(it),
        Set::Other(it) => it,
    })
}

impl Found {
    /// Returns how many events of handlers' descriptors were found.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
