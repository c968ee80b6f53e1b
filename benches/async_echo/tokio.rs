//! tokio on one thread.

use std::io;
use std::sync::Arc;

use async_executor::LocalExecutor;
use oneloop::Reactor;
use oneloop_benches::Stopwatch;
use oneloop_tokio::TokioGuest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_local;

use crate::talk::{Connection, Socket, ask, echo};

struct Stream(TcpStream);

impl Socket for Stream {
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

/// On its own scheduler, by plain `spawn`: a `LocalSet` is a little slower.
pub fn run(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    runtime()?.block_on(async {
        for connection in connections {
            let (client, server) = streams(connection)?;
            tokio::spawn(ask(client, stopwatch.clone()));
            tokio::spawn(echo(server));
        }
        stopwatch.over().await;
        Ok(())
    })
}

/// Its sockets under the executor of the others, which leaves the loop as the only difference.
pub fn same_executor(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    runtime()?.block_on(async {
        let executor = LocalExecutor::new();
        for connection in connections {
            let (client, server) = streams(connection)?;
            executor.spawn(ask(client, stopwatch.clone())).detach();
            executor.spawn(echo(server)).detach();
        }
        executor.run(stopwatch.over()).await;
        Ok(())
    })
}

/// Its tasks and sockets on the thread of a reactor, whose guest tokio is.
pub fn as_guest(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = Reactor::new_local()?;
    let guest = TokioGuest::new(&reactor)?;
    let (stopper, stopwatch) = (reactor.clone(), stopwatch.clone());
    let all = guest.spawn_local(async move {
        for connection in connections {
            let (client, server) = streams(connection)?;
            spawn_local(ask(client, stopwatch.clone()));
            spawn_local(echo(server));
        }
        stopwatch.over().await;
        stopper.stop();
        io::Result::Ok(())
    });
    reactor.run()?;
    // The measurement fails if it ended early.
    drop((guest, all));
    Ok(())
}

pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

fn streams(Connection { client, server }: Connection) -> io::Result<(Stream, Stream)> {
    let stream = |end| TcpStream::from_std(end).map(Stream);
    Ok((stream(client)?, stream(server)?))
}
