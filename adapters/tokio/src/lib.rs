//! Drives a [`oneloop`] reactor inside tokio ([`drive`], [`run`]), and lets code for tokio's traits use
//! sockets of a oneloop reactor ([`Io`]). The other way round, a reactor drives tokio's tasks ([`TokioGuest`], feature
//! `guest`).
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
//! reactor.call_later(Duration::from_millis(1), move || {
//!     sender.send("from a callback").unwrap();
//! })?;
//! assert_eq!(receiver.await?, "from a callback");
//!
//! reactor.stop();
//! driving.await??;
//! # Ok(()) })
//! # }
//! ```
//!
//! # Tasks from callbacks
//!
//! Callbacks run inside the task that drives, so a callback may call `tokio::spawn`. If that task is in a
//! `LocalSet`, a callback may also call `spawn_local`, and share an `Rc` with the new task:
//!
//! ```
//! use oneloop::Reactor;
//! use std::{cell::Cell, rc::Rc};
//! use tokio::task::{LocalSet, spawn_local, yield_now};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! let reactor = Reactor::new_local()?;
//! let seen = Rc::new(Cell::new(false));
//! let (stopper, in_callback) = (reactor.remote(), seen.clone());
//! reactor.call_soon(move || {
//!     spawn_local(async move {
//!         yield_now().await;
//!         in_callback.set(true);
//!         stopper.stop();
//!     });
//! })?;
//! runtime.block_on(LocalSet::new().run_until(oneloop_tokio::drive(&reactor)))?;
//! assert!(seen.get());
//! # Ok(())
//! # }
//! ```

mod drive;
#[cfg(feature = "guest")]
mod guest;
mod io;
mod park;

pub use drive::{Drive, drive, run};
#[cfg(feature = "guest")]
pub use guest::TokioGuest;
pub use io::Io;
pub use park::{before_park, is_asked_before_park};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
