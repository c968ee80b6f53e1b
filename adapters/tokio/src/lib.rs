//! Drives a [`oneloop`] reactor inside tokio ([`drive`], [`run`]), and lets code for tokio's traits use
//! sockets of a oneloop reactor ([`Io`]).
//!
//! ```
//! use oneloop::Reactor;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! # runtime.block_on(async {
//! let reactor = Reactor::new()?;
//! let driving = tokio::spawn(oneloop_tokio::drive(&reactor));
//!
//! let (sender, receiver) = tokio::sync::oneshot::channel();
//! let mut sender = Some(sender);
//! reactor.call_later(Duration::from_millis(1), move || {
//!     sender.take().unwrap().send("from a callback").unwrap();
//! })?;
//! assert_eq!(receiver.await?, "from a callback");
//!
//! reactor.stop();
//! driving.await??;
//! # Ok(()) })
//! # }
//! ```

#[cfg_attr(not(unix), path = "nowhere.rs")]
mod drive;
mod io;
#[cfg_attr(not(unix), allow(dead_code))]
mod park;

pub use drive::{Drive, drive, run};
pub use io::Io;
pub use park::{before_park, is_asked_before_park};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
