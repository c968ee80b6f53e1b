//! A host's claim on the loop.
//!
//! A rebuild puts another set under the number of the loop's descriptor. A host that still watched the old set
//! would never wake again. A claim therefore records whether its host watches. While it does, the set is not
//! rebuilt, and the host is told to stop watching first.

/// The claim of a host, which lasts from turn to turn.
pub(super) struct Claim {
    /// The name of the host, for error messages.
    pub(super) name: &'static str,
    /// True if the host ends when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    pub(super) stage: Stage,
    /// True if the primary set is stale and must be rebuilt as soon as the host does not watch.
    pub(super) needs_rebuild: bool,
}

/// The host's use of the descriptor, as far as its steps tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The host does not watch the descriptor.
    Unwatched,
    /// The host watches, or was told to.
    Watching,
    /// The host was told to stop watching, and will have done so by its next step. If `ends` is true, that step is
    /// its last.
    ToldToUnwatch { ends: bool },
}

impl Claim {
    pub(super) fn new(name: &'static str) -> Claim {
        Claim {
            name,
            exits_when_empty: false,
            stage: Stage::Unwatched,
            needs_rebuild: false,
        }
    }

    /// Returns true if the host may watch, so that the descriptor must keep its meaning.
    pub(super) fn watches(&self) -> bool {
        self.stage != Stage::Unwatched
    }
}
