//! How an endpoint goes about it.

use oneloop::Mode;

/// The part of a line that is a handler's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Both,
    Reading,
    Writing,
}

/// The handlers it has, and how it uses them.
pub struct Manner {
    pub shape: Shape,
    /// It writes only when it is told that it can, as many C libraries do.
    pub toggles: bool,
}

pub enum Shape {
    One(Mode),
    /// One handler that reads and one that writes.
    Two(Mode, Mode),
    /// By number. The descriptor is closed before the handler is removed.
    Raw(Mode),
}

impl Manner {
    pub fn any() -> Manner {
        let mode = || match fastrand::u8(0..3) {
            0 => Mode::Level,
            1 => Mode::Edge,
            _ => Mode::Oneshot,
        };
        let shape = match fastrand::u8(0..4) {
            0 | 1 => Shape::One(mode()),
            2 => Shape::Two(mode(), mode()),
            _ => Shape::Raw(mode()),
        };
        Manner {
            shape,
            toggles: fastrand::bool(),
        }
    }
}
