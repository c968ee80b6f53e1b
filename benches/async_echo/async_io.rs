//! The yardstick: async-io under a local executor.

use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use async_io::Async;
use oneloop_benches::Stopwatch;

use crate::talk::{Connection, ask, echo};

pub fn run(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let executor = LocalExecutor::new();
    for Connection { client, server } in connections {
        let client = Async::new_nonblocking(client)?;
        let server = Async::new_nonblocking(server)?;
        executor.spawn(ask(client, stopwatch.clone())).detach();
        executor.spawn(echo(server)).detach();
    }
    async_io::block_on(executor.run(stopwatch.over()));
    Ok(())
}
