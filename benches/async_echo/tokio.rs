//! tokio on one thread.

use std::io;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

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

pub fn run(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        for Connection { client, server } in connections {
            let client = Stream(TcpStream::from_std(client)?);
            let server = Stream(TcpStream::from_std(server)?);
            tokio::spawn(ask(client, stopwatch.clone()));
            tokio::spawn(echo(server));
        }
        stopwatch.over().await;
        Ok(())
    })
}
pub fn local(connections: Vec<Connection>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        for Connection { client, server } in connections {
            let client = Stream(TcpStream::from_std(client)?);
            let server = Stream(TcpStream::from_std(server)?);
            tokio::task::spawn_local(ask(client, stopwatch.clone()));
            tokio::task::spawn_local(echo(server));
        }
        stopwatch.over().await;
        Ok(())
    })
}
