/// The order of callbacks in a turn.
///
/// For a post ([`Reactor::call_soon_with`](crate::Reactor::call_soon_with)), the priority decides when it
/// runs. For a handler ([`Reactor::set_priority`](crate::Reactor::set_priority)), it is the place among the
/// handlers that are ready in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// A post runs before the handlers of the turn. A handler is called before those of normal priority.
    High,
    /// A post runs after the handlers and timers of the turn. Each handler has this priority at first.
    #[default]
    Normal,
    /// A post runs in a turn that had nothing else to do. Each such turn runs one, so that anything which has
    /// become ready meanwhile goes first. The loop does not sleep while such posts are left. A handler is called
    /// after all others of the turn.
    Idle,
}
