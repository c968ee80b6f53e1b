//! Drives a [`oneloop`] reactor inside async-io, and thus inside smol.
//!
//! ```
//! use oneloop::Reactor;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! reactor.call_later(Duration::from_millis(1), || Reactor::current().unwrap().stop())?;
//!
//! async_io::block_on(oneloop_async_io::drive(&reactor))?;
//! # Ok(())
//! # }
//! ```
//!
//! In `async_io::block_on`, the thread that runs the callbacks is normally the one that waits. Under another
//! executor, and when that thread has been busy for a while, async-io's helper thread waits. It then wakes
//! the other thread, which costs some ten microseconds each time.

mod drive;

pub use drive::{Drive, drive, run};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
