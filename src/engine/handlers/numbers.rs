//! Descriptors by number.

use std::collections::HashMap;

use crate::os::RawFd;

/// The indices of descriptors by their number. The system gives out the smallest free number, so a plain table
/// serves. A caller may choose a large number by `dup2`. Such a number goes into a map, to keep the table small.
#[derive(Default)]
pub(super) struct ByNumber {
    low: Vec<u32>,
    high: HashMap<RawFd, u32>,
}

impl ByNumber {
    const NONE: u32 = u32::MAX;
    /// The first number that goes into the map.
    const HIGH: RawFd = 1 << 16;

    pub(super) fn get(&self, fd: RawFd) -> Option<u32> {
        let d = if fd < Self::HIGH {
            *self.low.get(usize::try_from(fd).ok()?)?
        } else {
            *self.high.get(&fd)?
        };
        (d != Self::NONE).then_some(d)
    }

    pub(super) fn set(&mut self, fd: RawFd, d: u32) {
        if fd >= Self::HIGH {
            self.high.insert(fd, d);
        } else if let Ok(fd) = usize::try_from(fd) {
            if fd >= self.low.len() {
                self.low.resize(fd + 1, Self::NONE);
            }
            self.low[fd] = d;
        }
    }

    pub(super) fn remove(&mut self, fd: RawFd) {
        if fd >= Self::HIGH {
            self.high.remove(&fd);
        } else if let Some(d) = usize::try_from(fd).ok().and_then(|fd| self.low.get_mut(fd)) {
            *d = Self::NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_number_needs_no_more_room_than_a_low_one() {
        let mut by_number = ByNumber::default();
        let numbers = [3, ByNumber::HIGH - 1, ByNumber::HIGH, 999_999_999];
        for (d, fd) in (0..).zip(numbers) {
            assert_eq!(by_number.get(fd), None);
            by_number.set(fd, d);
        }
        for (d, fd) in (0..).zip(numbers) {
            assert_eq!(by_number.get(fd), Some(d));
            by_number.remove(fd);
            assert_eq!(by_number.get(fd), None);
        }
        assert_eq!(by_number.get(-1), None);
        assert!(by_number.low.len() <= 1 << 16 && by_number.high.is_empty());
    }
}
