//! Step 1 of `docs/migrating.md`: a chat server with callbacks and a loop of its own on poll(2).
//!
//! A line goes to all other clients. `/count` is answered with the number of clients, `/quit` ends the
//! connection, and `/stop` ends the server. A client that is silent for a minute is disconnected.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const SILENCE: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(1);

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    heard: Instant,
}

struct Server {
    listener: TcpListener,
    clients: HashMap<RawFd, Client>,
    stopped: bool,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        Ok(Server {
            listener,
            clients: HashMap::new(),
            stopped: false,
        })
    }

    fn accept(&mut self) -> io::Result<()> {
        let (stream, _) = match self.listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        let fd = stream.as_raw_fd();
        let client = Client {
            stream,
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
        match client.stream.read(&mut buffer) {
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
            match client.stream.write(&client.output) {
                Ok(n) => drop(client.output.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(fd),
            }
        }
    }

    fn close(&mut self, fd: RawFd) {
        self.clients.remove(&fd);
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn expire(&mut self) {
        let silent = |client: &Client| client.heard.elapsed() > SILENCE;
        self.clients.retain(|_, client| !silent(client));
    }
}

/// Serves until a client sends `/stop`.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let mut server = Server::new(listener)?;
    let mut checked = Instant::now();
    while !server.stopped {
        let mut watched = vec![PollFd::from_borrowed_fd(
            server.listener.as_fd(),
            PollFlags::IN,
        )];
        let mut numbers = Vec::new();
        for (fd, client) in &server.clients {
            let mut events = PollFlags::IN;
            events.set(PollFlags::OUT, !client.output.is_empty());
            watched.push(PollFd::from_borrowed_fd(client.stream.as_fd(), events));
            numbers.push(*fd);
        }
        let timeout = CHECK.saturating_sub(checked.elapsed());
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        let fired: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        if !fired[0].is_empty() {
            server.accept()?;
        }
        for (fd, fired) in numbers.into_iter().zip(&fired[1..]) {
            if fired.intersects(PollFlags::OUT) {
                server.writable(fd);
            }
            if fired.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                server.readable(fd);
            }
        }
        if checked.elapsed() >= CHECK {
            server.expire();
            checked = Instant::now();
        }
    }
    Ok(())
}
