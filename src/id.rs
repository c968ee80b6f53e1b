use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place in a table and the serial number of who has it. The serials are drawn from one counter
/// for the whole process, so that a stale id, or one of another reactor, fits nobody. (It wraps. To
/// be mistaken an id would have to be kept until exactly then, and its place be taken by that one.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

impl Key {
    /// A fresh key for the place `index`.
    pub(crate) fn new(index: usize) -> Key {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let mut serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        if serial == 0 {
            // No id is the number 0.
            serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        }
        Key {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            serial,
        }
    }

    pub(crate) fn slot(self) -> usize {
        self.index as usize
    }

    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_u64(bits: u64) -> Key {
        Key {
            index: bits as u32,
            serial: (bits >> 32) as u32,
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// An id stays unique after what it named is gone, for the next four billion
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
                write!(f, "{}({}#{})", stringify!($name), self.0.index, self.0.serial)
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

/// What [`Loop::unref`](crate::Loop::unref) takes: a handler or a timer.
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
