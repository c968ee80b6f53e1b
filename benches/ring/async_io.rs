//! async-io under a local executor: a task per station.

use std::future::pending;
use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use async_io::Async;
use oneloop_benches::Stopwatch;

use crate::station::{Station, put, take};

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let executor = LocalExecutor::new();
    for Station { source, next } in stations {
        let source = Async::new_nonblocking(source)?;
        let stopwatch = stopwatch.clone();
        let task = executor.spawn(async move {
            loop {
                // One token for each time that it becomes ready, as everywhere else. `read_with`
                // would read first, and soon have most tokens go round in one bunch.
                let taken = source
                    .readable()
                    .await
                    .and_then(|()| take(source.get_ref()));
                match taken.and_then(|()| put(&next)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    passed => passed.expect("a token was there to be passed on"),
                }
                if !stopwatch.count() {
                    // Keeps its sockets: others may still write to them.
                    return pending().await;
                }
            }
        });
        task.detach();
    }
    async_io::block_on(executor.run(stopwatch.over()));
    Ok(())
}
