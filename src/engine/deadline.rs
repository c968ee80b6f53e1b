//! Deadlines are nanoseconds since a time long ago: see `Clock`. Two of them are no times.

/// Deadline of a wait that does not sleep.
pub(super) const NO_WAIT: u64 = 0;

/// Deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;
