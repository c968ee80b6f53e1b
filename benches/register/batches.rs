//! Doing it in callbacks, some in each.

use std::io;
use std::time::{Duration, Instant};

use crate::EVENTS;

/// In each callback.
const BATCH: u64 = 1000;
/// Callbacks before the time.
const WARM_UP: u64 = EVENTS / BATCH / 8;

#[derive(Default)]
pub struct Batches {
    calls: u64,
    start: Option<Instant>,
    took: Option<Duration>,
}

impl Batches {
    /// To be called in each callback, until it is false: the time ends in one that does nothing, so
    /// that what the loop has put off until after the last is in it.
    pub fn call(&mut self, mut once: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
        if self.calls == WARM_UP {
            self.start = Some(Instant::now());
        }
        if self.calls == WARM_UP + EVENTS / BATCH {
            self.took = self.start.map(|start| start.elapsed());
            return Ok(false);
        }
        self.calls += 1;
        for _ in 0..BATCH {
            once()?;
        }
        Ok(true)
    }

    pub fn took(&self) -> io::Result<Duration> {
        self.took.ok_or_else(|| io::Error::other("it ended early"))
    }
}
