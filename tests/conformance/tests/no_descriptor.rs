//! The contract where the poller is no descriptor that a host could watch: on Windows, and on Linux in a build with
//! `RUSTFLAGS="--cfg polling_test_poll_backend"`, in which the `polling` crate uses poll(2). Elsewhere there is nothing
//! in here.
//!
//! A thread waits and wakes these hosts.
#![cfg(any(windows, polling_test_poll_backend))]

#[path = "../../hosts/main.rs"]
mod hosts;
