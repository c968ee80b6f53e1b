//! The contract, on every host and every poller. The cases are in `tests/conformance/`.
//!
//! Where the poller is no descriptor, hosts that watch one are left out: `tests/conformance/tests/no_descriptor.rs` runs
//! the others there.

mod async_io;
#[cfg(not(any(windows, polling_test_poll_backend)))]
mod examples;
#[cfg(not(any(windows, polling_test_poll_backend)))]
mod foreign;
mod own_wait;
#[cfg(not(any(windows, polling_test_poll_backend)))]
mod stacked;
mod tokio;
mod woken;

use oneloop_conformance::conformance;

conformance!(built_in, own_wait::BuiltIn);
conformance!(tokio_current_thread, tokio::CurrentThread);
conformance!(tokio_multi_thread, tokio::MultiThread);
conformance!(tokio_local_set, tokio::OnLocalSet);
conformance!(async_io_block_on, async_io::BlockOn);
conformance!(smol_executor, async_io::OnExecutor);
#[cfg(not(any(windows, polling_test_poll_backend)))]
conformance!(poll_loop, foreign::PollLoop);
#[cfg(not(any(windows, polling_test_poll_backend)))]
conformance!(epoll_loop, foreign::EpollLoop);
conformance!(wake_loop, woken::WakeLoop);
#[cfg(not(any(windows, polling_test_poll_backend)))]
conformance!(reactor_in_reactor_in_tokio, stacked::Stacked);
