//! The language of the programs: all that can be asked of a reactor and done to what it watches.
//!
//! Numbers are taken modulo of what there is, so that every program has a meaning.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use oneloop::{Mode, Priority};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest_derive::Arbitrary;
use serde::{Deserialize, Serialize};

use crate::bits::{ERROR, PRIORITY, READABLE, WRITABLE};

/// A program, run from the first step to the last.
#[derive(Debug, Clone, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Program {
    /// The callbacks' work: the `n`th call of one registered with script `s` runs script `s + n`.
    #[proptest(strategy = "vec(any::<Script>(), 0..6)")]
    pub scripts: Vec<Script>,
    /// Steps outside of callbacks.
    #[proptest(strategy = "vec(any::<Step>(), 1..80)")]
    pub steps: Vec<Step>,
}

impl Display for Program {
    /// In one line, which `parse` takes.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&ron::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Program {
    type Err = ron::error::SpannedError;

    fn from_str(text: &str) -> Result<Program, Self::Err> {
        ron::from_str(text)
    }
}

/// The work of a callback in one call.
#[derive(Debug, Clone, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Script {
    /// First this...
    #[proptest(strategy = "vec(any::<Do>(), 0..4)")]
    pub steps: Vec<Do>,
    /// ...and then this.
    pub end: End,
}

/// How a callback ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum End {
    /// By returning.
    #[proptest(weight = 12)]
    Continue,
    /// By `Action::Again`. A prepare hook forbids to sleep, a timer resets itself to now.
    #[proptest(weight = 4)]
    Again,
    /// By `Action::Remove`. A timer cancels itself, a hook says for how long to sleep.
    #[proptest(weight = 3)]
    Remove,
    /// By a panic.
    #[proptest(weight = 1)]
    Panic,
}

/// Steps outside of callbacks.
#[derive(Debug, Clone, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Step {
    /// A step that can be taken anywhere.
    #[proptest(weight = 60)]
    Do(Do),
    /// Lets the host drive until it sleeps, or for this many turns.
    #[proptest(weight = 25)]
    Drive(#[proptest(strategy = "1u8..6")] u8),
    /// A turn that may wait, if there is something that it must not wait for.
    #[proptest(weight = 2)]
    Wait,
    /// The built-in loop, until nothing is left or an idle callback stops it.
    #[proptest(weight = 3)]
    Run,
    /// The built-in loop with a future.
    #[proptest(weight = 1)]
    BlockOn,
    /// Goes to another host.
    #[proptest(weight = 3)]
    Host(HostKind),
}

/// The host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum HostKind {
    /// `turn`, one after the other.
    Turn,
    /// A host on poll(2).
    Poll,
    /// A host on an edge-triggered epoll.
    Epoll,
    /// `oneloop_tokio::drive`.
    Tokio,
    /// `oneloop_async_io::drive`.
    AsyncIo,
    /// Another reactor.
    Nested,
}

/// Steps inside callbacks and outside.
#[derive(Debug, Clone, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Do {
    /// Other steps shrink to this.
    #[proptest(weight = 1)]
    Nothing,

    // To files.
    /// Puts a new file there, and its other end, if it has one, at the next place.
    #[proptest(weight = 30)]
    Open { kind: Kind, at: Spot },
    #[proptest(weight = 20)]
    Close { at: Spot },
    #[proptest(weight = 10)]
    Dup { from: Spot, to: Spot },
    #[proptest(weight = 80)]
    Write { at: Spot, much: Much },
    #[proptest(weight = 60)]
    Read { at: Spot, much: Much },
    #[proptest(weight = 10)]
    Shutdown { at: Spot, way: Way },

    // To virtual sources.
    #[proptest(weight = 40)]
    Set { source: Few, bits: Bits },
    #[proptest(weight = 20)]
    Clear { source: Few, bits: Bits },
    /// Drops the `SetReadiness`.
    #[proptest(weight = 4)]
    Hang { source: Few },
    /// Another source in this place.
    #[proptest(weight = 8)]
    Fresh { source: Few },

    // To handlers.
    #[proptest(weight = 100)]
    Add {
        on: On,
        want: Want,
        mode: HandlerMode,
        script: Few,
    },
    #[proptest(weight = 60)]
    Update { who: Who, want: Want },
    #[proptest(weight = 20)]
    Rearm { who: Who },
    #[proptest(weight = 40)]
    Remove { who: Who },
    #[proptest(weight = 10)]
    UnrefHandler { who: Who },
    #[proptest(weight = 10)]
    HandlerFd { who: Who },

    // To timers, in milliseconds.
    #[proptest(weight = 40)]
    After { delay: Delay, script: Few },
    #[proptest(weight = 10)]
    At { offset: Offset, script: Few },
    #[proptest(weight = 10)]
    Every { period: Delay, script: Few },
    #[proptest(weight = 5)]
    EveryAt {
        offset: Offset,
        period: Delay,
        script: Few,
    },
    #[proptest(weight = 10)]
    AtSystem { offset: Offset, script: Few },
    #[proptest(weight = 30)]
    Reset { who: Who, delay: Delay },
    #[proptest(weight = 5)]
    ResetSystem { who: Who, offset: Offset },
    #[proptest(weight = 20)]
    Cancel { who: Who },
    #[proptest(weight = 10)]
    UnrefTimer { who: Who },
    #[proptest(weight = 60)]
    Advance { time: Delay },
    #[proptest(weight = 8)]
    SetSystem { offset: Offset },

    // The rest.
    #[proptest(weight = 60)]
    Post {
        urgency: Urgency,
        remote: bool,
        script: Few,
    },
    #[proptest(weight = 8)]
    AddHook { script: Few },
    #[proptest(weight = 6)]
    RemoveHook { who: Who },
    #[proptest(weight = 10)]
    Stop,
    #[proptest(weight = 5)]
    Wake,
    /// Drives, where that is an error.
    #[proptest(weight = 5)]
    Reenter,
    /// Asks for the descriptor, and for all that can be known.
    #[proptest(weight = 10)]
    Look,
    /// Calls what must fail, with an id that nothing has.
    #[proptest(weight = 10)]
    Garbage { call: u8, bits: u64 },
    /// Closes the loop.
    #[proptest(weight = 1)]
    CloseLoop,
}

/// A place for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Spot {
    /// A number, to which anything may be done.
    Raw(Few),
    /// An `Arc`, which handlers share.
    Shared(Few),
}

/// The target of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum On {
    /// An open file: a raw handler on a number, another on a shared descriptor.
    #[proptest(weight = 6)]
    Spot(Spot),
    /// A dup of it, which the handler owns.
    #[proptest(weight = 2)]
    Dup(Spot),
    /// A virtual source.
    #[proptest(weight = 3)]
    Virtual(Few),
    /// A number that is not open.
    #[proptest(weight = 1)]
    Nothing,
}

/// A small number: of a place, a source, a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Few(#[proptest(strategy = "0u8..6")] pub u8);

/// Which of all that were registered so far: 0 is the one that is being called, or the newest; 1
/// the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Who(#[proptest(strategy = "0u8..10")] pub u8);

/// From now, in milliseconds. The largest is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Delay(#[proptest(strategy = "0u8..17")] pub u8);

/// From now, in milliseconds, also back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Offset(#[proptest(strategy = "-8i8..9")] pub i8);

/// Bits of a virtual source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Bits {
    #[proptest(weight = 6)]
    Readable,
    #[proptest(weight = 4)]
    Writable,
    Both,
    Priority,
    Error,
    None,
}

impl Bits {
    pub(crate) fn bits(self) -> u8 {
        match self {
            Bits::Readable => READABLE,
            Bits::Writable => WRITABLE,
            Bits::Both => READABLE | WRITABLE,
            Bits::Priority => PRIORITY,
            Bits::Error => ERROR,
            Bits::None => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Want {
    #[proptest(weight = 6)]
    Readable,
    #[proptest(weight = 4)]
    Writable,
    #[proptest(weight = 2)]
    Both,
    #[proptest(weight = 2)]
    None,
    Priority,
    All,
}

impl Want {
    pub(crate) fn bits(self) -> u8 {
        match self {
            Want::Readable => READABLE,
            Want::Writable => WRITABLE,
            Want::Both => READABLE | WRITABLE,
            Want::None => 0,
            Want::Priority => PRIORITY,
            Want::All => READABLE | WRITABLE | PRIORITY,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum HandlerMode {
    #[proptest(weight = 2)]
    Level,
    Edge,
    Oneshot,
}

impl HandlerMode {
    pub(crate) fn mode(self) -> Mode {
        match self {
            HandlerMode::Level => Mode::Level,
            HandlerMode::Edge => Mode::Edge,
            HandlerMode::Oneshot => Mode::Oneshot,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Urgency {
    High,
    #[proptest(weight = 2)]
    Normal,
    Idle,
}

impl Urgency {
    pub(crate) fn priority(self) -> Priority {
        match self {
            Urgency::High => Priority::High,
            Urgency::Normal => Priority::Normal,
            Urgency::Idle => Priority::Idle,
        }
    }
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Kind {
    #[proptest(weight = 6)]
    Sockets,
    #[proptest(weight = 2)]
    Pipe,
    Counter,
    #[proptest(weight = 2)]
    Regular,
    Directory,
}

/// How many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Much {
    #[proptest(weight = 3)]
    One,
    /// As many as there are, or as there is room for.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)]
pub enum Way {
    Read,
    Write,
    Both,
}
