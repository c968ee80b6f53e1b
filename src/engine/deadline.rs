//! Deadlines are nanoseconds since a time long ago: see `Clock`. Two of them are no times.

/// Deadline of a wait that does not sleep.
pub(crate) const NO_WAIT: u64 = 0;

/// Deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;
