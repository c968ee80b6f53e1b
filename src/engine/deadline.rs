//! Deadlines, which are nanoseconds since `Clock::base`. Two values have a special meaning.

/// The deadline of a wait that does not sleep.
pub(crate) const NO_WAIT: u64 = 0;

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;
