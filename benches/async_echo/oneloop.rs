//! oneloop under the same executor, and under a queue.

use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use oneloop::futures::Async;
use oneloop::{LocalReactor, Loop, Reactor, Threads};
use oneloop_benches::Stopwatch;

use crate::queue::Queue;
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

/// What is left of the time where the executor costs as little as tokio's scheduler.
pub fn under_a_queue(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let mut queue = Queue::default();
    for Connection { client, server } in connections {
        queue.spawn(ask(
            Async::new_nonblocking(&reactor, client)?,
            stopwatch.clone(),
        ));
        queue.spawn(echo(Async::new_nonblocking(&reactor, server)?));
    }
    reactor.block_on(queue.run(stopwatch.over()))?;
    Ok(())
}
