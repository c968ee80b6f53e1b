//! Functions of certain systems.

#[cfg(unix)]
pub mod unix;

#[cfg(kqueue)]
pub mod kqueue;

#[cfg(windows)]
pub mod windows;
