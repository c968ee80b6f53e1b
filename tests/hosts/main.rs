//! The contract, on every host and every poller. The cases are in `tests/conformance/`.

#![cfg(not(any(windows, polling_test_poll_backend)))]

mod async_io;
mod examples;
mod foreign;
mod own_wait;
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
conformance!(poll_loop, foreign::PollLoop);
conformance!(epoll_loop, foreign::EpollLoop);
conformance!(wake_loop, woken::WakeLoop);
conformance!(reactor_in_reactor_in_tokio, stacked::Stacked);
