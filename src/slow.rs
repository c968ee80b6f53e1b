use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A callback that held the loop for long; see
/// [`Builder::slow_callback`](crate::Builder::slow_callback).
///
/// As text it is a whole sentence with file, line and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowCallback {
    /// What it is.
    pub kind: CallbackKind,
    /// Where it was registered, set or posted.
    pub location: &'static Location<'static>,
    /// How long it took, in real time.
    pub took: Duration,
}

/// The kinds of callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallbackKind {
    /// A handler of a source.
    Handler,
    /// A timer.
    Timer,
    /// A posted callback.
    Post,
    /// Either of a pair of hooks.
    Hook,
}

impl CallbackKind {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            CallbackKind::Handler => "the handler added at",
            CallbackKind::Timer => "the timer set at",
            CallbackKind::Post => "the callback posted at",
            CallbackKind::Hook => "the hook added at",
        }
    }
}

impl fmt::Display for SlowCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            location,
            took,
        } = self;
        write!(f, "{} {location} held the loop for {took:?}", kind.kind())
    }
}
