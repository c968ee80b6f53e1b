//! Shared by the tests of several packages: hosts to drive a reactor on, a watchdog, sockets.

mod hosts;
// The conformance crate is published, and cannot depend on this one.
#[path = "../../conformance/src/tools.rs"]
mod tools;

pub use hosts::{Drive, HOSTS, async_io, built_in, look, on_each_host, on_poll, tokio};
pub use tools::{Watchdog, pair, readable, wait_readable};
