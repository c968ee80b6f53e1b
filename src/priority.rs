/// The time in a turn at which a callback runs; see [`Reactor::call_soon_with`](crate::Reactor::call_soon_with).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// Before the handlers of the turn.
    High,
    /// After the handlers and timers of the turn.
    #[default]
    Normal,
    /// In a turn that had nothing else to do. Each such turn runs one, so that anything which has become
    /// ready meanwhile goes first. The loop does not sleep while such callbacks are left.
    Idle,
}
