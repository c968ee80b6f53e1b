//! Step 4 of `docs/migrating.md`: each client of the chat server is an async task.
//!
//! A line goes to all other clients. `/count` is answered with the number of clients, `/quit` ends the
//! connection, and `/stop` ends the server. A client that is silent for a minute is disconnected.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use oneloop::{Interest, Local, LocalReactor, Mode, Reactor, WeakReactor};

const SILENCE: Duration = Duration::from_secs(60);

struct Client {
    output: UnboundedSender<Vec<u8>>,
}

struct Server {
    reactor: WeakReactor<Local>,
    clients: HashMap<RawFd, Client>,
}

impl Server {
    fn accept(listener: &TcpListener, shared: &Rc<RefCell<Server>>) -> io::Result<()> {
        let (stream, _) = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        spawn_local(converse(stream, shared.clone()));
        Ok(())
    }

    fn obey(&mut self, from: RawFd, line: &[u8]) {
        match line {
            b"/quit\n" => self.close(from),
            b"/stop\n" => self.stop(),
            b"/count\n" => {
                let count = format!("{}\n", self.clients.len());
                self.send(from, count.as_bytes());
            }
            _ => {
                let others: Vec<RawFd> = self.clients.keys().copied().collect();
                for fd in others.into_iter().filter(|fd| *fd != from) {
                    self.send(fd, line);
                }
            }
        }
    }

    fn send(&mut self, fd: RawFd, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&fd) {
            // It fails if the client has just gone.
            let _ = client.output.send(bytes.to_vec());
        }
    }

    fn close(&mut self, fd: RawFd) {
        self.clients.remove(&fd);
    }

    fn stop(&mut self) {
        if let Some(reactor) = self.reactor.upgrade() {
            reactor.stop();
        }
    }
}

/// Reads a client's lines, and writes what others send it, until either ends or the client is silent for long.
async fn converse(stream: TcpStream, server: Rc<RefCell<Server>>) -> io::Result<()> {
    let fd = stream.as_raw_fd();
    let (input, mut output) = tokio::net::TcpStream::from_std(stream)?.into_split();
    let (sender, mut messages) = unbounded_channel::<Vec<u8>>();
    server
        .borrow_mut()
        .clients
        .insert(fd, Client { output: sender });
    let read = async {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        while timeout(SILENCE, input.read_until(b'\n', &mut line)).await?? > 0 {
            server.borrow_mut().obey(fd, &line);
            line.clear();
        }
        io::Result::Ok(())
    };
    let write = async {
        // The server drops the sender to close the connection.
        while let Some(bytes) = messages.recv().await {
            output.write_all(&bytes).await?;
        }
        io::Result::Ok(())
    };
    let ended = tokio::select! {
        ended = read => ended,
        ended = write => ended,
    };
    server.borrow_mut().close(fd);
    ended
}

/// Registers the server with a reactor. The reactor stops when a client sends `/stop`.
fn start(reactor: &LocalReactor, listener: TcpListener) -> io::Result<Rc<RefCell<Server>>> {
    listener.set_nonblocking(true)?;
    let server = Rc::new(RefCell::new(Server {
        reactor: reactor.downgrade(),
        clients: HashMap::new(),
    }));
    let shared = server.clone();
    reactor.add_handler(
        listener,
        Interest::READABLE,
        Mode::Level,
        move |listener, _| Server::accept(listener, &shared),
    )?;
    Ok(server)
}

/// Tells each visitor of another port how many clients there are: ordinary tokio code.
async fn report(server: Rc<RefCell<Server>>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut visitor, _) = listener.accept().await?;
        let count = format!("{} clients\n", server.borrow().clients.len());
        visitor.write_all(count.as_bytes()).await?;
    }
}

/// Serves until a client sends `/stop`.
pub fn serve(listener: TcpListener, reports: TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let reactor = Reactor::new_local()?;
        let server = start(&reactor, listener)?;
        spawn_local(report(server, reports));
        oneloop_tokio::drive(&reactor).await
    }))
}
