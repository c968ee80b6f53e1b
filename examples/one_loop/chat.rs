//! A chat server in the old style: a callback per descriptor, buffers of its own, no async.
//!
//! The first line of a connection is `JOIN <room> <name>`. Each line after that goes to everybody
//! in the room, the sender included, as `<name>: <line>`. Lines of the server's own begin with `*`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

use oneloop::{Event, HandlerId, Interest, Local, LocalReactor, Mode, Result, WeakLoop};

use crate::figures::Figures;

/// The longest line, its end not counted.
const LINE: usize = 1024;
/// Who has more than this to read yet is too slow.
const BACKLOG: usize = 256 * 1024;
/// How many connections one call accepts, to be fair to those that are there.
const ACCEPTS: usize = 64;
/// How long to wait with accepting when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that has to go may take to read what it was sent.
const LINGER: Duration = Duration::from_secs(5);

struct Chat {
    /// Weak, because the reactor's callbacks own the chat.
    reactor: WeakLoop<Local>,
    this: Weak<RefCell<Chat>>,
    listener: TcpListener,
    /// By handler: ids are never used twice, so a late timer cannot meet somebody else here.
    connections: HashMap<HandlerId, Connection>,
    rooms: HashMap<Rc<[u8]>, Vec<HandlerId>>,
    /// Who has output that was not tried to be written yet.
    fresh: Vec<HandlerId>,
    buffer: Box<[u8]>,
    figures: Rc<Figures>,
}

struct Connection {
    stream: TcpStream,
    /// What the handler waits for.
    interest: Interest,
    /// The beginning of a line that has not ended yet.
    input: Vec<u8>,
    output: Vec<u8>,
    /// It is in `Chat::fresh`.
    fresh: bool,
    member: Option<Member>,
    /// It will be closed when its output is written.
    leaving: bool,
    /// Nothing more will come from it.
    ended: bool,
}

#[derive(Clone)]
struct Member {
    room: Rc<[u8]>,
    name: Rc<[u8]>,
}

/// Serves the chat on `listener` as long as the reactor lives.
pub fn open(reactor: &LocalReactor, listener: TcpListener, figures: Rc<Figures>) -> Result<()> {
    let _ = listener.set_nonblocking(true);
    // The standard library's backlog of 128 is short for a thousand at once.
    let _ = rustix::net::listen(&listener, 4096);
    let fd = listener.as_raw_fd();
    let chat = Rc::new_cyclic(|this| {
        RefCell::new(Chat {
            reactor: reactor.downgrade(),
            this: this.clone(),
            listener,
            connections: HashMap::new(),
            rooms: HashMap::new(),
            fresh: Vec::new(),
            buffer: vec![0; 64 * 1024].into(),
            figures,
        })
    });
    let accept = move |event: Event| chat.borrow_mut().accept(event.handler());
    // SAFETY: the listener is open now, and closed with the chat, which this callback owns.
    unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, accept)? };
    Ok(())
}

impl Chat {
    /// Inside its callbacks the loop is always there.
    fn reactor(&self) -> LocalReactor {
        self.reactor.upgrade().expect("called by the loop")
    }

    fn this(&self) -> Rc<RefCell<Chat>> {
        self.this.upgrade().expect("called by a callback")
    }

    fn accept(&mut self, listening: HandlerId) {
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Gone before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // No descriptors, mostly. The level stays, so going on would spin.
                    eprintln!("chat: cannot accept: {error}; trying again in {PAUSE:?}");
                    let reactor = self.reactor();
                    let _ = reactor.update_handler(listening, Interest::NONE);
                    let weak = self.reactor.clone();
                    let _ = reactor.call_later(PAUSE, move || {
                        let reactor = weak.upgrade().expect("called by the loop");
                        let _ = reactor.update_handler(listening, Interest::READABLE);
                    });
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: TcpStream) {
        let chat = self.this();
        let ready = move |event: Event| chat.borrow_mut().ready(event);
        let fd = stream.as_raw_fd();
        let _ = stream.set_nonblocking(true);
        let _ = stream.set_nodelay(true);
        let reactor = self.reactor();
        // SAFETY: the stream is open now, and goes into `connections`, from where only `close`
        // takes it, which removes the handler first; or is dropped below if there is no handler.
        let added =
            unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, ready) };
        match added {
            Ok(id) => {
                let connection = Connection {
                    stream,
                    interest: Interest::READABLE,
                    input: Vec::new(),
                    output: Vec::new(),
                    fresh: false,
                    member: None,
                    leaving: false,
                    ended: false,
                };
                self.connections.insert(id, connection);
                self.count_connections();
            }
            Err(error) => eprintln!("chat: {error}"),
        }
    }

    fn ready(&mut self, event: Event) {
        if event.is_readable() {
            self.read(event.handler());
        }
        if event.is_writable() {
            self.write(event.handler());
        }
    }

    /// Reads once: what is left keeps the level, and is read in the next turn.
    fn read(&mut self, id: HandlerId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => {
                connection.ended = true;
                self.dismiss(id, "");
            }
            Ok(_) if connection.leaving => {}
            Ok(n) => {
                let mut input = std::mem::take(&mut connection.input);
                input.extend_from_slice(&self.buffer[..n]);
                self.lines(id, input);
            }
            Err(error) if is_momentary(&error) => {}
            Err(_) => self.close(id),
        }
    }

    fn lines(&mut self, id: HandlerId, mut input: Vec<u8>) {
        let mut done = 0;
        while let Some(length) = input[done..].iter().position(|&byte| byte == b'\n') {
            let line = input[done..done + length].trim_ascii_end();
            done += length + 1;
            match line.len() {
                0..=LINE => self.line(id, line),
                _ => self.dismiss(id, "that line is too long"),
            }
        }
        if input.len() - done > LINE {
            self.dismiss(id, "that line is too long");
        }
        input.drain(..done);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.input = input;
        }
    }

    fn line(&mut self, id: HandlerId, line: &[u8]) {
        match self.connections.get(&id) {
            Some(connection) if !connection.leaving => match connection.member.clone() {
                Some(member) => self.say(&member, line),
                None => self.join(id, line),
            },
            _ => {}
        }
    }

    fn join(&mut self, id: HandlerId, line: &[u8]) {
        let words: Vec<_> = line.split(|&byte| byte == b' ').collect();
        let [b"JOIN", room @ [_, ..], name @ [_, ..]] = words[..] else {
            return self.dismiss(id, "the first line has to be: JOIN <room> <name>");
        };
        let room: Rc<[u8]> = room.into();
        let members = self.rooms.entry(room.clone()).or_default();
        let names = members.iter().map(|id| &self.connections[id].member);
        if names.flatten().any(|member| *member.name == *name) {
            return self.dismiss(id, "somebody in that room has that name already");
        }
        members.push(id);
        let welcome = format!("* joined, members: {}\n", members.len());
        let name = name.into();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.member = Some(Member { room, name });
        }
        self.send(id, welcome.as_bytes());
    }

    fn say(&mut self, from: &Member, line: &[u8]) {
        let text = [&from.name, &b": "[..], line, b"\n"].concat();
        let members = self.rooms.get(&from.room).cloned().unwrap_or_default();
        let figures = &self.figures;
        figures.received.set(figures.received.get() + 1);
        figures.sent.set(figures.sent.get() + members.len() as u64);
        for id in members {
            self.send(id, &text);
        }
    }

    /// Puts `text` into the output, which is written at the end of this turn: what several
    /// handlers send to one connection goes out in one write.
    fn send(&mut self, id: HandlerId, text: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.output.extend_from_slice(text);
        let blocked = connection.interest.contains(Interest::WRITABLE);
        if !connection.fresh && !blocked {
            connection.fresh = true;
            self.fresh.push(id);
            if self.fresh.len() == 1 {
                let chat = self.this();
                let _ = self.reactor().call_soon(move || chat.borrow_mut().flush());
            }
        }
        if connection.output.len() > BACKLOG && !connection.leaving {
            self.dismiss(id, "you read too slowly");
        }
    }

    fn flush(&mut self) {
        for id in std::mem::take(&mut self.fresh) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.fresh = false;
                self.write(id);
            }
        }
    }

    /// Writes what goes, and waits for the rest: only then is there an interest in writing.
    fn write(&mut self, id: HandlerId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.output.is_empty() {
            match connection.stream.write(&connection.output) {
                Ok(n) => drop(connection.output.drain(..n)),
                Err(error) if is_momentary(&error) => {}
                Err(_) => return self.close(id),
            }
        }
        let written = connection.output.is_empty();
        if written && connection.leaving {
            if connection.ended {
                return self.close(id);
            }
            // Closing now would reset the connection if it is still sending, and lose the last
            // words: `read` waits for its end.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
        let mut interest = Interest::NONE;
        if !connection.ended {
            interest |= Interest::READABLE;
        }
        if !written {
            interest |= Interest::WRITABLE;
        }
        if interest != connection.interest {
            connection.interest = interest;
            let _ = self.reactor().update_handler(id, interest);
        }
    }

    /// Takes a connection out of its room, tells it why unless it ended itself, and closes it when
    /// it has read that, or does not read it.
    fn dismiss(&mut self, id: HandlerId, why: &str) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let first = !std::mem::replace(&mut connection.leaving, true);
        let words = match why {
            "" => String::new(),
            why => format!("* {why}\n"),
        };
        self.leave(id);
        self.send(id, words.as_bytes());
        if first {
            let chat = self.this();
            let _ = self.reactor().call_later(LINGER, move || chat.borrow_mut().close(id));
        }
    }

    fn leave(&mut self, id: HandlerId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some(Member { room, .. }) = connection.member.take()
            && let Some(members) = self.rooms.get_mut(&room)
        {
            members.retain(|member| *member != id);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    fn close(&mut self, id: HandlerId) {
        self.leave(id);
        let _ = self.reactor().remove_handler(id);
        self.connections.remove(&id);
        self.count_connections();
    }

    fn count_connections(&self) {
        self.figures.connections.set(self.connections.len() as u64);
    }
}

fn is_momentary(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
