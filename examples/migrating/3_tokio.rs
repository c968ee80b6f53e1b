//! Step 3 of `docs/migrating.md`: the chat server inside tokio, beside a task that uses its state.
//!
//! A line goes to all other clients. `/count` is answered with the number of clients, `/quit` ends the
//! connection, and `/stop` ends the server. A client that is silent for a minute is disconnected.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::{LocalSet, spawn_local};

use oneloop::{Event, HandlerId, Interest, LocalReactor, Mode, Reactor};

const SILENCE: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(1);

struct Client {
    stream: Rc<TcpStream>,
    handler: HandlerId,
    input: Vec<u8>,
    output: Vec<u8>,
    heard: Instant,
}

struct Server {
    clients: HashMap<RawFd, Client>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, shared: &Rc<RefCell<Server>>) -> io::Result<()> {
        let (stream, _) = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        let (fd, stream) = (stream.as_raw_fd(), Rc::new(stream));
        let shared = shared.clone();
        let on_event = move |_: &mut Rc<TcpStream>, event: Event| {
            let mut server = shared.borrow_mut();
            if event.is_writable() {
                server.writable(fd);
            }
            if event.is_readable() {
                server.readable(fd);
            }
        };
        let handler =
            reactor().add_handler(stream.clone(), Interest::READABLE, Mode::Level, on_event)?;
        let client = Client {
            stream,
            handler,
            input: Vec::new(),
            output: Vec::new(),
            heard: Instant::now(),
        };
        self.clients.insert(fd, client);
        Ok(())
    }

    fn readable(&mut self, fd: RawFd) {
        let Some(client) = self.clients.get_mut(&fd) else {
            return;
        };
        let mut buffer = [0; 4096];
        match (&*client.stream).read(&mut buffer) {
            Ok(0) => return self.close(fd),
            Ok(n) => client.input.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.close(fd),
        }
        client.heard = Instant::now();
        while let Some(line) = self.next_line(fd) {
            self.obey(fd, &line);
        }
    }

    fn next_line(&mut self, fd: RawFd) -> Option<Vec<u8>> {
        let input = &mut self.clients.get_mut(&fd)?.input;
        let end = input.iter().position(|byte| *byte == b'\n')?;
        Some(input.drain(..=end).collect())
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
            client.output.extend_from_slice(bytes);
            self.writable(fd);
        }
    }

    fn writable(&mut self, fd: RawFd) {
        let Some(client) = self.clients.get_mut(&fd) else {
            return;
        };
        while !client.output.is_empty() {
            match (&*client.stream).write(&client.output) {
                Ok(n) => drop(client.output.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(fd),
            }
        }
        let mut interest = Interest::READABLE;
        if !client.output.is_empty() {
            interest |= Interest::WRITABLE;
        }
        // Costs no system call if nothing changes.
        let updated = reactor().update_handler(client.handler, interest);
        updated.expect("the client's handler is registered");
    }

    fn close(&mut self, fd: RawFd) {
        if let Some(client) = self.clients.remove(&fd) {
            let removed = reactor().remove_handler(client.handler);
            removed.expect("the client's handler is registered");
        }
    }

    fn stop(&mut self) {
        reactor().stop();
    }

    fn expire(&mut self) {
        let silent = |(_, client): &(&RawFd, &Client)| client.heard.elapsed() > SILENCE;
        let silent: Vec<RawFd> = self
            .clients
            .iter()
            .filter(silent)
            .map(|(fd, _)| *fd)
            .collect();
        silent.into_iter().for_each(|fd| self.close(fd));
    }
}

/// All of the server's functions run in callbacks.
fn reactor() -> LocalReactor {
    Reactor::current_local().expect("called by the reactor")
}

/// Registers the server with a reactor. The reactor stops when a client sends `/stop`.
fn start(reactor: &LocalReactor, listener: TcpListener) -> io::Result<Rc<RefCell<Server>>> {
    listener.set_nonblocking(true)?;
    let server = Rc::new(RefCell::new(Server {
        clients: HashMap::new(),
    }));
    let (shared, checked) = (server.clone(), server.clone());
    reactor.add_handler(
        listener,
        Interest::READABLE,
        Mode::Level,
        move |listener, _| shared.borrow_mut().accept(listener, &shared),
    )?;
    reactor.call_every(CHECK, move || checked.borrow_mut().expire())?;
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
