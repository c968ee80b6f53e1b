//! Hash tables by slot. A slot is a small number that no attacker chooses, so a fast hash is safe.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type SlotMap<K, V> = HashMap<K, V, BuildHasherDefault<SlotHasher>>;

/// A hasher by Fibonacci hashing. The table uses both the high and the low bits of the result.
#[derive(Default)]
pub(super) struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, slot: u32) {
        self.write_u64(u64::from(slot));
    }

    #[inline]
    fn write_u64(&mut self, slot: u64) {
        let hash = (self.0 ^ slot).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = hash ^ hash >> 32;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
