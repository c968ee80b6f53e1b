//! The locks and atomics that threads meet at: the standard library's, or loom's, which tries the
//! orders in which threads can come to them (`tests/loom`).

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
