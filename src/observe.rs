use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Id;

/// One call of a callback, as [`Reactor::observe_callbacks`](crate::Reactor::observe_callbacks) reports it.
///
/// As text, it is a sentence with name, file, line and time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackRun {
    /// The kind of the callback.
    pub kind: CallbackKind,
    /// The id of the callback.
    pub id: Id,
    /// The name that [`Reactor::set_name`](crate::Reactor::set_name) gave.
    pub name: Option<Arc<str>>,
    /// The place in the source where it was registered, set or posted.
    pub location: &'static Location<'static>,
    /// The time at which the call began, in real time.
    pub started: Instant,
    /// The time that the call took, in real time.
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
    /// Writes, for example, `the handler "reader" added at src/main.rs:1:1`.
    pub(crate) fn write(
        self,
        f: &mut fmt::Formatter<'_>,
        name: Option<&str>,
        location: &Location<'_>,
    ) -> fmt::Result {
        let (noun, verb) = match self {
            CallbackKind::Handler => ("handler", "added"),
            CallbackKind::Timer => ("timer", "set"),
            CallbackKind::Post => ("callback", "posted"),
            CallbackKind::Hook => ("hook", "added"),
        };
        write!(f, "the {noun} ")?;
        if let Some(name) = name {
            write!(f, "{name:?} ")?;
        }
        write!(f, "{verb} at {location}")
    }
}

impl fmt::Display for CallbackRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.write(f, self.name.as_deref(), self.location)?;
        write!(f, " held the loop for {:?}", self.took)
    }
}
