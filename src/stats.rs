use crate::CallbackRun;

/// Counts of what a loop has done and of what waits. [`Reactor::stats`](crate::Reactor::stats) returns them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Turns that were taken.
    pub turns: u64,
    /// Calls of handlers.
    pub handler_calls: u64,
    /// Calls of timers.
    pub timer_calls: u64,
    /// Calls of posted callbacks.
    pub post_calls: u64,
    /// Calls that changed the kernel's set: a descriptor was added, changed or removed.
    pub kernel_changes: u64,
    /// Calls to the kernel that were saved by combining changes. Each change of a handler that would
    /// otherwise have cost a call counts as one.
    pub kernel_changes_saved: u64,
    /// Handlers that are registered.
    pub handlers: usize,
    /// Level-triggered handlers among them.
    pub level_handlers: usize,
    /// Edge-triggered handlers among them.
    pub edge_handlers: usize,
    /// One-shot handlers among them.
    pub oneshot_handlers: usize,
    /// Timers that are pending.
    pub pending_timers: usize,
    /// Posts that wait to be called.
    pub pending_posts: usize,
    /// The longest of the calls that were [observed](crate::Reactor::observe_callbacks). Other calls are not
    /// timed.
    pub longest_callback: Option<CallbackRun>,
}
