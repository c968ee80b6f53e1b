//! A host's claim on the loop.
//!
//! A rebuild puts another set under the number of the loop's descriptor. A host that watches the old set
//! would be deaf after that. So a claim knows whether its host watches. While it does, the set is not
//! rebuilt, and the host is told to stop watching first.

/// A host that drives, from turn to turn.
pub(super) struct Claim {
    /// For error messages.
    pub(super) name: &'static str,
    /// The host ends when nothing is left that could call back.
    pub(super) exits_when_empty: bool,
    pub(super) stage: Stage,
    /// The primary set is stale, and is rebuilt once the host watches no more.
    pub(super) needs_rebuild: bool,
}

/// Progress of the host with the step it was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It does not watch the descriptor.
    Unwatched,
    /// It watches, or was told to.
    Watching,
    /// It was told to stop watching, and has done so by the time it comes back. If `ends`, it is told that
    /// it is done.
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

    /// Whether the descriptor must keep its meaning now.
    pub(super) fn watches(&self) -> bool {
        self.stage != Stage::Unwatched
    }

    pub(super) fn ask_for_rebuild(&mut self) {
        self.needs_rebuild = true;
    }
}
