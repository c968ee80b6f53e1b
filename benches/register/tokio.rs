//! tokio on one thread.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};

use crate::EVENTS;

pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

pub fn run(others: Vec<UnixStream>, one: UnixStream) -> io::Result<Duration> {
    runtime()?.block_on(async {
        let register = |one| {
            // SAFETY: the sockets outlive what is registered, and their numbers mean nothing else.
            let registered = unsafe { AsyncFd::register_with_interest(one, Interest::READABLE) };
            registered.map_err(|refused| io::Error::other(refused.to_string()))
        };
        let others = others.iter().map(|one| register(one.as_fd()));
        let _others = others.collect::<io::Result<Vec<_>>>()?;
        let mut start = Instant::now();
        for event in 0..EVENTS / 8 + EVENTS {
            if event == EVENTS / 8 {
                start = Instant::now();
            }
            // Where it takes out what was removed is a turn of the runtime.
            if event % 64 == 0 {
                tokio::task::yield_now().await;
            }
            drop(register(one.as_fd())?);
        }
        Ok(start.elapsed())
    })
}
