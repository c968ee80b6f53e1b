//! The contract where the poller is no descriptor that a host could watch: on Windows, and on Linux in a build with
//! `RUSTFLAGS="--cfg polling_test_poll_backend"`, in which the `polling` crate uses poll(2). Elsewhere there is nothing
//! in here.
//!
//! A thread waits and wakes these hosts.
#![cfg(any(windows, polling_test_poll_backend))]

#[path = "../../hosts/async_io.rs"]
mod async_io;
#[path = "../../hosts/own_wait.rs"]
mod own_wait;
#[path = "../../hosts/tokio.rs"]
mod tokio;
#[path = "../../hosts/woken.rs"]
mod woken;

use oneloop_conformance::conformance;

conformance!(built_in, own_wait::BuiltIn);
conformance!(tokio_current_thread, tokio::CurrentThread);
conformance!(tokio_multi_thread, tokio::MultiThread);
conformance!(tokio_local_set, tokio::OnLocalSet);
conformance!(async_io_block_on, async_io::BlockOn);
conformance!(smol_executor, async_io::OnExecutor);
conformance!(wake_loop, woken::WakeLoop);
