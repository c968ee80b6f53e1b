use crate::CallbackRun;

/// What a loop has done, and what it has; see [`Reactor::stats`](crate::Reactor::stats).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Calls of handlers.
    pub handler_calls: u64,
    /// Calls of timers.
    pub timer_calls: u64,
    /// Calls of posted callbacks.
    pub post_calls: u64,
    /// How often the kernel was told that a descriptor is to be watched, differently or no more.
    pub kernel_changes: u64,
    /// How many such calls were saved by putting changes together, counting one for each change
    /// of a handler that would else have cost one.
    pub kernel_changes_saved: u64,
    /// Handlers that are registered.
    pub handlers: usize,
    /// Level-triggered ones among them.
    pub level_handlers: usize,
    /// Edge-triggered ones.
    pub edge_handlers: usize,
    /// One-shots.
    pub oneshot_handlers: usize,
    /// Timers that are pending.
    pub pending_timers: usize,
    /// Posts that wait to be called.
    pub pending_posts: usize,
    /// The call that took longest of those that were
    /// [observed](crate::Reactor::observe_callbacks). Other calls are not timed.
    pub longest_callback: Option<CallbackRun>,
}
