//! async-io's interface on a [`oneloop`] reactor.
//!
//! A program that names this package in `[patch.crates-io]` runs every crate that is made for async-io on one
//! loop with callbacks, C libraries and other runtimes. Nothing else in the program changes:
//!
//! ```toml
//! [patch.crates-io]
//! async-io = { path = "../oneloop/adapters/smol" }
//! ```
//!
//! # Which loop
//!
//! - [`install`] puts everything on a reactor of the program's. Its driver may be any host, such as tokio.
//!   There is no thread "async-io" then.
//! - Without `install`, there is a loop which every [`block_on`] drives, on any number of threads and nested.
//!   A helper thread drives it only while tasks wait and no `block_on` is there.
//!
//! ```
//! use async_io::{Async, Timer};
//! use futures_lite::{AsyncReadExt, AsyncWriteExt};
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! async_io::block_on(async {
//!     let (mut a, mut b) = Async::<UnixStream>::pair()?;
//!     Timer::after(Duration::from_millis(1)).await;
//!     a.write_all(b"on one thread").await?;
//!     let mut bytes = [0; 13];
//!     b.read_exact(&mut bytes).await
//! })
//! # }
//! ```
//!
//! # Differences from async-io
//!
//! - A child process of `fork` gets errors, as with every oneloop reactor. async-io's loop would disturb that
//!   of its parent.
//! - After [`install`], a [`block_on`] that is called on the thread of the loop's driver can wait only for
//!   what needs no loop, because nothing else drives the loop meanwhile.
//! - [`Timer::never`] that is polled and then set wakes its task.
//!
//! Only Linux was tested. For macOS, FreeBSD and Windows the package was type-checked.

mod driver;
mod handle;
mod io;
mod net;
pub mod os;
mod reactor;
mod registration;
#[cfg(windows)]
mod signalled;
mod timer;
#[cfg(unix)]
mod unix;
mod waits;

pub use driver::block_on;
pub use handle::Async;
pub use io::IoSafe;
pub use reactor::install;
pub use timer::Timer;
pub use waits::{Readable, ReadableOwned, Writable, WritableOwned};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
