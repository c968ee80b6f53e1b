//! tokio on one thread: a task per station.

use std::future::pending;
use std::io;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};

use crate::station::{Station, put, take};

pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        for Station { source, next } in stations {
            // SAFETY: a `UnixStream` has one descriptor, open for as long as it lives.
            let source = unsafe { AsyncFd::register_with_interest(source, Interest::READABLE) }?;
            let stopwatch = stopwatch.clone();
            tokio::spawn(async move {
                loop {
                    // Goes on at once while there is more, and waits only after `WouldBlock`, as
                    // edge-triggered readiness demands.
                    let taken = source.async_io(Interest::READABLE, take).await;
                    taken
                        .and_then(|()| put(&next))
                        .expect("a token was there to be passed on");
                    if !stopwatch.count() {
                        // Keeps its sockets: others may still write to them.
                        return pending().await;
                    }
                }
            });
        }
        stopwatch.over().await;
        Ok(())
    })
}
