use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place in a table and the serial number of what has it. The serials are drawn from one counter
/// for the whole process, so that a stale id, or one of another reactor, fits nothing. (They wrap. To
/// be mistaken, an id would have to be kept until exactly then, and its place be taken by that one.)
///
/// In one number, of which the place has the lower 28 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

const INDEX_BITS: u32 = 28;

impl Key {
    /// How many places a table may have. The poller has some of the keys beyond.
    pub(crate) const MOST: usize = (1 << INDEX_BITS) - 16;

    /// An error if a table with so many places has no other left.
    #[inline]
    pub(crate) fn is_left(places: usize) -> io::Result<()> {
        match places < Key::MOST {
            true => Ok(()),
            false => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// A fresh key for the place `index`.
    pub(crate) fn new(index: usize) -> Key {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let mut serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        if serial & Serial::LAST.0 == 0 {
            // No id is the number 0.
            serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        }
        Key::of(index as u32, Serial(serial & Serial::LAST.0))
    }

    pub(crate) fn of(index: u32, serial: Serial) -> Key {
        Key(serial.0 << INDEX_BITS | u64::from(index))
    }

    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0 as u32 & ((1 << INDEX_BITS) - 1)
    }

    #[inline]
    pub(crate) fn slot(self) -> usize {
        self.index() as usize
    }

    #[inline]
    pub(crate) fn serial(self) -> Serial {
        Serial(self.0 >> INDEX_BITS)
    }

    #[inline]
    pub(crate) fn to_u64(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_u64(bits: u64) -> Key {
        Key(bits)
    }
}

/// A serial number, of 36 bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serial(u64);

impl Serial {
    pub(crate) const LAST: Serial = Serial(u64::MAX >> INDEX_BITS);

    /// How many were drawn after this one until `newest`.
    pub(crate) fn age(self, newest: Serial) -> u64 {
        newest.0.wrapping_sub(self.0) & Serial::LAST.0
    }

    /// In the room that it needs, which leaves some beside it.
    #[inline]
    pub(crate) fn pack(self) -> [u8; 5] {
        let [a, b, c, d, e, ..] = self.0.to_le_bytes();
        [a, b, c, d, e]
    }

    #[inline]
    pub(crate) fn unpack([a, b, c, d, e]: [u8; 5]) -> Serial {
        Serial(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// An id stays unique after what it named is gone, for the next 68 billion
        /// registrations of the process: it then gives an error, never somebody else's state, on
        /// the reactor it came from and on any other.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) Key);

        impl $name {
            /// The id as a number, for those who can keep nothing else, such as C. Never 0.
            pub fn to_bits(self) -> u64 {
                self.0.to_u64()
            }

            /// The id that gave this number. From any other comes an id that is unknown.
            pub fn from_bits(bits: u64) -> $name {
                $name(Key::from_u64(bits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}#{})", stringify!($name), self.0.index(), self.0.serial().0)
            }
        }
    )*};
}

ids! {
    /// Names a handler.
    HandlerId
    /// Names a timer.
    TimerId
    /// Names a pair of hooks.
    HookId
}

/// What [`Reactor::unref`](crate::Reactor::unref) takes: a handler or a timer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Id {
    /// A handler.
    Handler(HandlerId),
    /// A timer.
    Timer(TimerId),
}

impl From<HandlerId> for Id {
    fn from(id: HandlerId) -> Id {
        Id::Handler(id)
    }
}

impl From<TimerId> for Id {
    fn from(id: TimerId) -> Id {
        Id::Timer(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_an_end() {
        assert!(Key::is_left(Key::MOST - 1).is_ok());
        let error = Key::is_left(Key::MOST).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_key_is_its_place_and_its_serial() {
        let serials = [Serial(1), Serial(1 << 32), Serial::LAST];
        for index in [0, 1, Key::MOST as u32 - 1] {
            for serial in serials {
                let key = Key::from_u64(Key::of(index, serial).to_u64());
                assert_eq!((key.index(), key.serial()), (index, serial));
                assert_eq!(Serial::unpack(serial.pack()), serial);
            }
        }
        assert_ne!(Key::of(7, Serial(1)), Key::of(7, Serial(1 + (1 << 32))));
    }

    #[test]
    fn serials_that_have_begun_again_are_the_younger_ones() {
        let newest = Serial(2);
        assert!(Serial::LAST.age(newest) > Serial(1).age(newest));
        assert_eq!(newest.age(newest), 0);
    }
}
