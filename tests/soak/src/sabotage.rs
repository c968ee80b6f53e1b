//! A wrong done on purpose, once, to see that it is found.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A server swallows a message.
    Message,
    /// A server answers twice.
    Order,
    /// A timer is not set.
    Timer,
    /// A timer is said to have been due later than it was.
    Early,
    /// A callback is not posted.
    Post,
    /// An item that a virtual source was to bring is not there.
    Item,
    /// A child ends with another status.
    Child,
    /// A signal is not sent.
    Signal,
    /// A descriptor is left open.
    Descriptor,
    /// The kernel watches something after its handler should have been removed.
    Registration,
    /// Memory is not given back.
    Memory,
    /// A thread wakes the idle loop.
    Wake,
}

const NAMES: [(&str, Harm); 12] = [
    ("message", Harm::Message),
    ("order", Harm::Order),
    ("timer", Harm::Timer),
    ("early", Harm::Early),
    ("post", Harm::Post),
    ("item", Harm::Item),
    ("child", Harm::Child),
    ("signal", Harm::Signal),
    ("descriptor", Harm::Descriptor),
    ("registration", Harm::Registration),
    ("memory", Harm::Memory),
    ("wake", Harm::Wake),
];

impl Harm {
    pub fn named(name: &str) -> Result<Harm, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, harm)| *harm);
        found.ok_or_else(|| format!("there is no sabotage {name:?}"))
    }
}

/// Strikes once.
pub struct Sabotage {
    harm: Option<Harm>,
    armed: AtomicBool,
}

impl Sabotage {
    pub fn new(harm: Option<Harm>) -> Sabotage {
        Sabotage {
            harm,
            armed: AtomicBool::new(false),
        }
    }

    /// From now on.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Whether this is to be done now.
    pub fn strikes(&self, harm: Harm) -> bool {
        self.harm == Some(harm) && self.armed.swap(false, Ordering::Relaxed)
    }
}
