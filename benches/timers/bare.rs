//! The least that timers need if any code may put them off: a lock, an id that may be stale, and a store.
//! None of these timers ever fires.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub struct Bare {
    start: Instant,
    /// Deadlines and serial numbers.
    timers: Mutex<Vec<(u64, u32)>>,
    /// The room of a timer's other parts: a closure, and a place in an order. It keeps the caches as cold as they
    /// are for other timers.
    others: Vec<[u64; 5]>,
}

impl Bare {
    pub fn new(most: usize) -> io::Result<Bare> {
        Ok(Bare {
            start: Instant::now(),
            timers: Mutex::new(Vec::with_capacity(most)),
            others: Vec::with_capacity(most),
        })
    }

    fn nanoseconds(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.start);
        since.as_nanos() as u64
    }
}

impl crate::Loop for Bare {
    /// Where it is, and its serial number.
    type Timer = (u32, u32);

    fn set(&mut self, deadline: Instant) -> io::Result<(u32, u32)> {
        let deadline = self.nanoseconds(deadline);
        let timers = self
            .timers
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let place = timers.len() as u32;
        timers.push((deadline, place));
        self.others.push([deadline; 5]);
        Ok((place, place))
    }

    fn cancel(&mut self, _: (u32, u32)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn put_off(&mut self, timer: &mut (u32, u32), deadline: Instant) -> io::Result<()> {
        let (place, serial) = *timer;
        let deadline = self.nanoseconds(deadline);
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        match timers.get_mut(place as usize) {
            Some((kept, known)) if *known == serial && deadline >= *kept => *kept = deadline,
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }
}
