/// What a loop has done, and what it has; see [`Loop::stats`](crate::Loop::stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Calls of handlers.
    pub events: u64,
    /// Calls of timers.
    pub timers: u64,
    /// Calls of posted callbacks.
    pub posts: u64,
    /// How often the kernel was told that a descriptor is to be watched, differently or no more.
    pub kernel_changes: u64,
    /// Handlers that are registered.
    pub handlers: usize,
    /// Timers that are pending.
    pub pending_timers: usize,
}
