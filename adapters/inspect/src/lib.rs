//! A live page of a [`oneloop`] reactor: what runs on it, what it waits for, and what holds it up.
//!
//! One line serves the page from the loop itself, under every host:
//!
//! ```
//! use oneloop::Reactor;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! let server = oneloop_inspect::serve(&reactor, ([127, 0, 0, 1], 0))?;
//! println!("the loop's page is on http://{}", server.address());
//! reactor.run()?; // returns at once: the server alone keeps nothing going
//! # Ok(())
//! # }
//! ```
//!
//! # Paths
//!
//! | path | answer |
//! |---|---|
//! | `/` | the page, which asks for the others |
//! | `/snapshot` | JSON: the counters, and all that is registered, with the file behind each descriptor |
//! | `/timeline?since=CURSOR` | JSON: the turns and calls since a cursor, at most 16384 |
//! | `/trace?seconds=N` | records for up to 60 seconds, in Chrome's trace event format, which Perfetto reads, too |
//!
//! Times are in microseconds. `time` and `ts` count from the start of the server. The `records` of a timeline are a
//! list of numbers. Each begins with `ts`, `dur` and the place of a callback in `sources`. A turn has -1 for that, and
//! then the times before it in which the loop waited and in which its host or the kernel worked.
//!
//! # Cost
//!
//! While no page is open, the server is one more handler that waits, and the loop times nothing. A page that is open
//! asks twice a second, and callbacks are timed from the first request of `/timeline` or `/trace` until three seconds
//! after the last. Recording takes about 2.5 % of the loop's time at most: if a loop is so busy that timing each
//! call would take more, only the beginning of each tenth of a second is timed. Answers are made piece by piece, one
//! in a turn.
//!
//! A loop whose clock is a [`TestClock`](oneloop::TestClock) records only while that clock advances.
//!
//! # Safety of the loop
//!
//! The server keeps 32 connections at most. A connection is closed 30 seconds after its last request. A request has
//! 16 KiB at most, and no body that is read. Nothing can be changed by it.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

#[cfg(not(unix))]
compile_error!("descriptors and their files are shown as Unix has them");

mod address;
mod answer;
mod connection;
mod inspectable;
mod recorder;
mod respond;
mod server;
mod text;

pub use address::Address;
pub use inspectable::Inspectable;
pub use server::{Builder, Server, serve};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
