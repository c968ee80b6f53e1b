//! Where to read and write what is small.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A buffer that is read or written at the places of a [`Spread`] has this many bytes, and as many
/// more as are read or written at once.
pub const PAGE: usize = 4096;

/// Places in a page: another cache line each time, all in turn.
///
/// Some processors (AMD's Zen 4) copy much more slowly where the last twelve bits of the program's
/// address and of the kernel's are close: half a microsecond per byte. A loop that stayed at one
/// address would be a quarter faster or slower than its neighbour by nothing but luck.
#[derive(Debug, Default)]
pub struct Spread(AtomicUsize);

impl Spread {
    /// Begins at the first line.
    pub const fn new() -> Spread {
        Spread(AtomicUsize::new(0))
    }

    /// The next place. For one thread at a time.
    #[inline]
    pub fn place(&self) -> usize {
        let place = self.0.load(Relaxed);
        // An odd number of lines, so that all have their turn.
        self.0.store((place + 7 * 64) % PAGE, Relaxed);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_turn() {
        let spread = Spread::new();
        let mut places: Vec<_> = (0..PAGE / 64).map(|_| spread.place()).collect();
        assert_eq!(spread.place(), places[0]);
        places.sort_unstable();
        assert!(places.into_iter().eq((0..PAGE).step_by(64)));
    }
}
