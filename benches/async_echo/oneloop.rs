//! oneloop under the same executor.

use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use oneloop::futures::Async;
use oneloop::{LocalReactor, Loop, Reactor, Threads};
use oneloop_benches::Stopwatch;

use crate::talk::{Connection, ask, echo};

pub fn shared(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    run(&Reactor::new()?, connections, stopwatch)
}

pub fn local(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    run(&LocalReactor::new()?, connections, stopwatch)
}

fn run<K: Threads>(
    reactor: &Loop<K>,
    connections: Vec<Connection>,
    stopwatch: &Arc<Stopwatch>,
) -> io::Result<()> {
    let executor = LocalExecutor::new();
    for Connection { client, server } in connections {
        let client = Async::new_nonblocking(reactor, client)?;
        let server = Async::new_nonblocking(reactor, server)?;
        executor.spawn(ask(client, stopwatch.clone())).detach();
        executor.spawn(echo(server)).detach();
    }
    reactor.block_on(executor.run(stopwatch.over()))?;
    Ok(())
}
