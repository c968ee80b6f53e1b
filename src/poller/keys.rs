//! Keys of 64 bits for the `polling` crate, whose own have the width of a pointer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use super::backend::OURS;
use crate::os::RawFd;
use crate::sync::{Mutex, MutexGuard, lock};

/// The short keys of a set. Each change of a registration gets a new one, so that an event of the previous
/// registration is never taken for one of the next.
#[derive(Default)]
pub(super) struct ShortKeys(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u32,
    keys: HashMap<u32, u64>,
    current: HashMap<RawFd, u32>,
}

impl ShortKeys {
    /// Calls `change` with a short key for `key`. If that succeeds, the descriptor's previous key is forgotten.
    pub(super) fn change(
        &self,
        fd: RawFd,
        key: u64,
        change: impl FnOnce(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        // Known before the change, because another thread may be waiting for events.
        let short = self.table().add(key);
        let changed = change(short as usize);
        let mut table = self.table();
        let obsolete = match changed {
            Ok(()) => table.current.insert(fd, short),
            Err(_) => Some(short),
        };
        obsolete.map(|short| table.keys.remove(&short));
        changed
    }

    /// Forgets the key of a descriptor.
    pub(super) fn forget(&self, fd: RawFd) {
        let mut table = self.table();
        let obsolete = table.current.remove(&fd);
        obsolete.map(|short| table.keys.remove(&short));
    }

    /// Returns the key that an event has come with, unless that was forgotten.
    pub(super) fn key(&self, short: usize) -> Option<u64> {
        // The poller's own keys end with the same bits in both widths.
        match short as u32 {
            short if short >= OURS as u32 => Some(OURS | u64::from(short)),
            short => self.table().keys.get(&short).copied(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

impl Table {
    fn add(&mut self, key: u64) -> u32 {
        loop {
            let short = self.next % OURS as u32;
            self.next = short + 1;
            if let Entry::Vacant(entry) = self.keys.entry(short) {
                entry.insert(key);
                return short;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::backend::{ALARM, EDGES};

    const FD: RawFd = 5;

    fn change(keys: &ShortKeys, key: u64, works: bool) -> usize {
        let mut short = 0;
        let changed = keys.change(FD, key, |new| {
            short = new;
            if works {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        });
        assert_eq!(changed.is_ok(), works);
        short
    }

    #[test]
    fn an_event_of_a_previous_registration_has_no_key() {
        let keys = ShortKeys::default();
        let first = change(&keys, 7 << 32, true);
        assert_eq!(keys.key(first), Some(7 << 32));
        let second = change(&keys, 8 << 32, true);
        assert_eq!((keys.key(first), keys.key(second)), (None, Some(8 << 32)));
        keys.forget(FD);
        assert_eq!(keys.key(second), None);
    }

    #[test]
    fn a_refused_change_leaves_the_key() {
        let keys = ShortKeys::default();
        let short = change(&keys, 7 << 32, true);
        let refused = change(&keys, 8 << 32, false);
        assert_eq!((keys.key(short), keys.key(refused)), (Some(7 << 32), None));
    }

    #[test]
    fn the_pollers_own_keys_are_as_long_as_before() {
        let keys = ShortKeys::default();
        for own in [ALARM, EDGES, OURS, u64::MAX] {
            assert_eq!(keys.key(own as u32 as usize), Some(own));
        }
    }

    #[test]
    fn a_key_in_use_and_the_pollers_own_are_skipped() {
        let keys = ShortKeys::default();
        let first = change(&keys, 7 << 32, true);
        keys.table().next = OURS as u32;
        let second = change(&keys, 8 << 32, true);
        assert_eq!((first, second), (0, 1));
    }
}
