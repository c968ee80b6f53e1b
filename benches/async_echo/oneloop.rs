//! oneloop under the same executor, under a queue, and inside the other runtimes.

use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use oneloop::futures::Async;
use oneloop::{Reactor, Threading};
use oneloop_benches::Stopwatch;

use crate::queue::Queue;
use crate::talk::{Connection, ask, echo};

pub fn shared(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    run(&Reactor::new()?, connections, stopwatch)
}

pub fn local(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    run(&Reactor::new_local()?, connections, stopwatch)
}

fn run<M: Threading>(
    reactor: &Reactor<M>,
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

/// Inside tokio, on its own scheduler, beside which its own sockets are measured.
pub fn on_tokio(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = Reactor::new()?;
    crate::tokio::runtime()?.block_on(async {
        for Connection { client, server } in connections {
            let client = Async::new_nonblocking(&reactor, client)?;
            let server = Async::new_nonblocking(&reactor, server)?;
            tokio::spawn(ask(client, stopwatch.clone()));
            tokio::spawn(echo(server));
        }
        tokio::spawn(oneloop_tokio::drive(&reactor));
        stopwatch.over().await;
        Ok(())
    })
}

/// Inside async-io, under the executor of the yardstick.
pub fn on_async_io(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = Reactor::new()?;
    let executor = LocalExecutor::new();
    for Connection { client, server } in connections {
        let client = Async::new_nonblocking(&reactor, client)?;
        let server = Async::new_nonblocking(&reactor, server)?;
        executor.spawn(ask(client, stopwatch.clone())).detach();
        executor.spawn(echo(server)).detach();
    }
    executor.spawn(oneloop_async_io::drive(&reactor)).detach();
    async_io::block_on(executor.run(stopwatch.over()));
    Ok(())
}

/// The echo where the executor costs as little as tokio's scheduler.
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
