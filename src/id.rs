use std::cmp;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// An index into a table, and the serial number of the entry there.
///
/// Serials come from one counter for the whole process, so a stale key, or one of another reactor, fits no
/// entry. They wrap: a key would have to be kept until exactly then to be mistaken.
///
/// The index has the lower 28 bits of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

const INDEX_BITS: u32 = 28;

impl Key {
    /// The most entries that a table may have. The poller uses some of the keys beyond for itself.
    pub(crate) const MOST: usize = (1 << INDEX_BITS) - 16;

    /// Returns an error if a table with this many entries is full.
    #[inline]
    pub(crate) fn is_left(entries: usize) -> io::Result<()> {
        if entries < Key::MOST {
            Ok(())
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    /// Makes a fresh key for the entry at `index`.
    pub(crate) fn new(index: usize) -> Key {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let mut serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        if serial & Serial::LAST.0 == 0 {
            // 0 is no id: C uses it for "none".
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

    /// Returns how many serials were drawn after this one, up to `newest`.
    pub(crate) fn age(self, newest: Serial) -> u64 {
        newest.0.wrapping_sub(self.0) & Serial::LAST.0
    }

    /// Packs the serial into five bytes, which leaves room beside it in a heap entry.
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
        /// An id stays unique for the next 68 billion registrations of the process. A stale id, or one of
        /// another reactor, gives an error and never another entry's state.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) Key);

        impl $name {
            /// Returns the id as a number, such as for C. It is never 0.
            pub fn to_bits(self) -> u64 {
                self.0.to_u64()
            }

            /// Returns the id that gave this number. Any other number makes an id that is unknown.
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
    /// The id of a handler.
    HandlerId
    /// The id of a timer.
    TimerId
    /// The id of a pair of hooks.
    HookId
    /// The id of a [`Guest`](crate::Guest).
    GuestId
    /// The id of an observer of callbacks.
    ObserverId
}

/// The id of a posted callback, for [`Reactor::cancel_post`](crate::Reactor::cancel_post).
///
/// An id stays unique on its loop for the next trillion posts, and means nothing on other loops.
// The upper bits are the number of the post, so that the next id is a sum. Below them are the number of the
// loop, which is not 0 and has four million values, and the priority.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PostId(pub(crate) u64);

impl PostId {
    const PRIORITY_BITS: u32 = 2;
    const LOOP_BITS: u32 = 22;
    /// The next id is the sum of an id and this.
    pub(crate) const STEP: u64 = 1 << (Self::PRIORITY_BITS + Self::LOOP_BITS);
    /// No post has this id.
    pub(crate) const NONE: PostId = PostId(0);

    /// Returns the ids of the first posts of a loop, by priority.
    pub(crate) fn first_of_each() -> [PostId; 3] {
        static LOOPS: AtomicU64 = AtomicU64::new(0);
        let most = (1 << Self::LOOP_BITS) - 1;
        let number = LOOPS.fetch_add(1, Ordering::Relaxed) % most + 1;
        [0, 1, 2].map(|priority| PostId(number << Self::PRIORITY_BITS | priority))
    }

    /// Compares two ids of one loop and priority by age: the older one is less.
    pub(crate) fn cmp_age(self, other: PostId) -> cmp::Ordering {
        (self.0.wrapping_sub(other.0) as i64).cmp(&0)
    }

    #[inline]
    pub(crate) fn priority(self) -> usize {
        self.0 as usize & ((1 << Self::PRIORITY_BITS) - 1)
    }

    /// Returns the id as a number, for callers that can keep nothing else, such as C. It is never 0.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Returns the id that gave this number. From any other number comes an id that is unknown.
    pub fn from_bits(bits: u64) -> PostId {
        PostId(bits)
    }
}

impl fmt::Debug for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostId({:#x})", self.0)
    }
}

/// The id of anything that is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Id {
    /// A handler.
    Handler(HandlerId),
    /// A timer.
    Timer(TimerId),
    /// A pair of hooks.
    Hook(HookId),
    /// A posted callback.
    Post(PostId),
}

impl From<PostId> for Id {
    fn from(id: PostId) -> Id {
        Id::Post(id)
    }
}

impl From<HookId> for Id {
    fn from(id: HookId) -> Id {
        Id::Hook(id)
    }
}

impl From<GuestId> for Id {
    fn from(id: GuestId) -> Id {
        Id::Hook(HookId(id.0))
    }
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
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_posts_tell_loops_and_priorities_apart_and_are_ordered_by_age() {
        let [ours, theirs] = [(); 2].map(|()| PostId::first_of_each());
        let mut seen = HashSet::from([PostId::NONE]);
        for first in [ours, theirs].as_flattened() {
            for count in 0..3 {
                let id = PostId(first.0 + count * PostId::STEP);
                assert_eq!(id.priority(), first.priority());
                assert!(seen.insert(id));
            }
        }
        // They wrap.
        let last = PostId(ours[1].0.wrapping_sub(PostId::STEP));
        assert_eq!(last.cmp_age(ours[1]), cmp::Ordering::Less);
        assert_eq!(ours[1].cmp_age(last), cmp::Ordering::Greater);
        assert_eq!(last.cmp_age(last), cmp::Ordering::Equal);
    }

    #[test]
    fn a_full_table_is_an_error() {
        assert!(Key::is_left(Key::MOST - 1).is_ok());
        let error = Key::is_left(Key::MOST).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_key_holds_index_and_serial() {
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
    fn serials_that_have_wrapped_are_younger() {
        let newest = Serial(2);
        assert!(Serial::LAST.age(newest) > Serial(1).age(newest));
        assert_eq!(newest.age(newest), 0);
    }
}
