//! The conversation of all peers' tasks.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use oneloop_benches::{PAGE, Spread, Stopwatch};
use rustix::net::sockopt::set_socket_linger;

const MESSAGE: usize = 64;
/// How much is read at once where the length is not known.
const ROOM: usize = 1024;

/// Both ends of a connection, not blocking.
pub struct Connection {
    pub client: TcpStream,
    pub server: TcpStream,
}

pub fn connections(number: usize) -> io::Result<Vec<Connection>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let connect = || {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nonblocking(true)?;
            end.set_nodelay(true)?;
            // Ended by a reset: thousands of ports would be busy for a minute otherwise.
            set_socket_linger(end, Some(Duration::ZERO))?;
        }
        Ok(Connection { client, server })
    };
    (0..number).map(|_| connect()).collect()
}

/// An end of a connection, as a peer has it.
pub trait Socket {
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }
}

/// Sends messages and awaits the reply to each.
pub async fn ask(mut socket: impl Socket, stopwatch: Arc<Stopwatch>) {
    static SPREAD: Spread = Spread::new();
    let mut buffer = vec![0; PAGE + ROOM];
    loop {
        let window = &mut buffer[SPREAD.place()..][..ROOM];
        let sent = socket.send(&window[..MESSAGE]).await;
        sent.expect("there is room for a message");
        let mut left = MESSAGE;
        while left > 0 {
            left -= receive(&mut socket, window).await;
        }
        if !stopwatch.count() {
            // Keeps its socket: others may still talk.
            return pending().await;
        }
    }
}

/// Sends back what it receives.
pub async fn echo(mut socket: impl Socket) {
    static SPREAD: Spread = Spread::new();
    let mut buffer = vec![0; PAGE + ROOM];
    loop {
        let window = &mut buffer[SPREAD.place()..][..ROOM];
        let received = receive(&mut socket, window).await;
        let sent = socket.send(&window[..received]).await;
        sent.expect("there is room for a message");
    }
}

async fn receive(socket: &mut impl Socket, buffer: &mut [u8]) -> usize {
    match socket.receive(buffer).await {
        Ok(0) => panic!("the other end was closed"),
        received => received.expect("the other end is open"),
    }
}
