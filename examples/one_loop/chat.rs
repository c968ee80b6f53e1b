//! A chat server in the old style: a callback per descriptor, buffers of its own, no async.
//!
//! The first line of a connection is `JOIN <room> <name>`. Each line after that goes to all
//! in the room, the sender included, as `<name>: <line>`. Lines of the server's own begin with `*`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::{Rc, Weak};
use std::time::Duration;

use oneloop::{Event, HandlerId, Interest, LocalReactor, Mode, Reactor};

use crate::figures::Figures;

/// The longest line, its end not counted.
const LINE: usize = 1024;
/// A client that has more than this to read yet is too slow.
const BACKLOG: usize = 256 * 1024;
/// How many connections one call accepts, to be fair to those that are there.
const ACCEPTS: usize = 64;
/// How long to wait with accepting when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a connection that has to go may take to read what it was sent.
const LINGER: Duration = Duration::from_secs(5);

type Text = Rc<[u8]>;

struct Chat {
    /// For its callbacks, which own it.
    this: Weak<RefCell<Chat>>,
    /// Members by handler. Ids are never used twice, so a late timer cannot meet another member.
    peers: HashMap<HandlerId, Peer>,
    rooms: HashMap<Text, Vec<HandlerId>>,
    /// The clients that have got output in this turn.
    fresh: Vec<HandlerId>,
    buffer: Box<[u8]>,
    figures: Rc<Figures>,
}

struct Peer {
    /// Shared with its handler.
    stream: Rc<TcpStream>,
    /// The interest of its handler.
    interest: Interest,
    /// The beginning of a line whose end has not come yet.
    input: Vec<u8>,
    /// Bytes that are not written yet: either they are fresh, or there is an interest in writing.
    output: Vec<u8>,
    /// Room and name.
    member: Option<(Text, Text)>,
    /// To be closed when the output is written.
    leaving: bool,
    /// It has said that nothing more comes.
    ended: bool,
}

/// Serves the chat on `listener` for as long as the reactor lives.
pub fn open(reactor: &LocalReactor, listener: TcpListener, figures: Rc<Figures>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // The standard library's backlog of 128 is short for a thousand at once.
    rustix::net::listen(&listener, 4096)?;
    let chat = Rc::new_cyclic(|this| {
        RefCell::new(Chat {
            this: this.clone(),
            peers: HashMap::new(),
            rooms: HashMap::new(),
            fresh: Vec::new(),
            buffer: vec![0; 64 * 1024].into(),
            figures,
        })
    });
    let accept = move |listener: &mut TcpListener, event: Event| {
        chat.borrow_mut().accept(listener, event.handler());
    };
    reactor.add_handler(listener, Interest::READABLE, Mode::Level, accept)?;
    Ok(())
}

impl Chat {
    /// Inside its callbacks the chat is always there, and so is the loop: `reactor`.
    fn this(&self) -> Rc<RefCell<Chat>> {
        self.this.upgrade().unwrap()
    }

    fn accept(&mut self, listener: &TcpListener, listening: HandlerId) {
        for _ in 0..ACCEPTS {
            let accepted = listener.accept();
            let error = match accepted.and_then(|(stream, _)| self.add(stream)) {
                Ok(()) => continue,
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::WouldBlock => return,
                // Gone before it was accepted.
                ErrorKind::ConnectionAborted => {}
                // No descriptors left, mostly. The level stays up: going on at once would spin.
                _ => {
                    eprintln!("chat: cannot accept: {error}; again in {PAUSE:?}");
                    let reactor = reactor();
                    reactor.update_handler(listening, Interest::NONE).unwrap();
                    let resume = move || {
                        let resumed = self::reactor().update_handler(listening, Interest::READABLE);
                        resumed.unwrap();
                    };
                    reactor.call_later(PAUSE, resume).unwrap();
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let (stream, interest, chat) = (Rc::new(stream), Interest::READABLE, self.this());
        let ready = move |_: &mut Rc<TcpStream>, event| chat.borrow_mut().ready(event);
        let id = reactor().add_handler(stream.clone(), interest, Mode::Level, ready)?;
        let peer = Peer {
            stream,
            interest,
            input: Vec::new(),
            output: Vec::new(),
            member: None,
            leaving: false,
            ended: false,
        };
        self.peers.insert(id, peer);
        self.figures.connections.set(self.peers.len() as u64);
        Ok(())
    }

    fn ready(&mut self, event: Event) {
        if event.is_readable() {
            self.read(event.handler());
        }
        if event.is_writable() {
            self.write(event.handler());
        }
    }

    /// Reads once: what is left keeps the level up, and is read in the next turn.
    fn read(&mut self, id: HandlerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        match (&*peer.stream).read(&mut self.buffer) {
            Ok(0) => {
                peer.ended = true;
                self.dismiss(id, "");
            }
            Ok(length) => {
                let mut input = mem::take(&mut peer.input);
                input.extend_from_slice(&self.buffer[..length]);
                let rest = self.lines(id, &input).to_vec();
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.input = rest;
                }
            }
            Err(error) if is_momentary(&error) => {}
            Err(_) => self.close(id),
        }
    }

    /// Takes whole lines, and gives back what comes after them.
    fn lines<'a>(&mut self, id: HandlerId, mut input: &'a [u8]) -> &'a [u8] {
        while let Some(peer) = self.peers.get(&id).filter(|peer| !peer.leaving) {
            let end = input.iter().position(|&byte| byte == b'\n');
            if end.unwrap_or(input.len()) > LINE {
                self.dismiss(id, "that line is too long");
            } else if let Some(end) = end {
                let line = input[..end].trim_ascii_end();
                match peer.member.clone() {
                    Some((room, name)) => self.say(&room, &name, line),
                    None => self.join(id, line),
                }
                input = &input[end + 1..];
            } else {
                return input;
            }
        }
        &[]
    }

    fn join(&mut self, id: HandlerId, line: &[u8]) {
        let words: Vec<_> = line.split(|&byte| byte == b' ').collect();
        let [b"JOIN", room @ [_, ..], name @ [_, ..]] = words[..] else {
            return self.dismiss(id, "the first line has to be: JOIN <room> <name>");
        };
        let (room, name): (Text, Text) = (room.into(), name.into());
        let members = self.rooms.entry(room.clone()).or_default();
        let mut others = members
            .iter()
            .filter_map(|id| self.peers[id].member.as_ref());
        if others.any(|(_, other)| *other == name) {
            return self.dismiss(id, "that name is taken in the room");
        }
        members.push(id);
        let welcome = format!("* joined, members: {}\n", members.len());
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.member = Some((room, name));
        }
        self.send(id, welcome.as_bytes());
    }

    fn say(&mut self, room: &[u8], name: &[u8], line: &[u8]) {
        let text = [name, b": ", line, b"\n"].concat();
        let members = self.rooms[room].clone();
        let Figures { received, sent, .. } = &*self.figures;
        received.set(received.get() + 1);
        sent.set(sent.get() + members.len() as u64);
        for id in members {
            self.send(id, &text);
        }
    }

    fn send(&mut self, id: HandlerId, text: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let was_empty = peer.output.is_empty();
        peer.output.extend_from_slice(text);
        if peer.output.len() > BACKLOG {
            self.dismiss(id, "you read too slowly");
        } else if was_empty {
            self.write_soon(id);
        }
    }

    /// Writes at the end of this turn: what many handlers send to one peer goes in one write.
    fn write_soon(&mut self, id: HandlerId) {
        self.fresh.push(id);
        if self.fresh.len() == 1 {
            let chat = self.this();
            let flush = move || chat.borrow_mut().flush();
            reactor().call_soon(flush).unwrap();
        }
    }

    fn flush(&mut self) {
        for id in mem::take(&mut self.fresh) {
            self.write(id);
        }
    }

    /// Writes what goes. Only if that is not all, there is an interest in writing.
    fn write(&mut self, id: HandlerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !peer.output.is_empty() {
            match (&*peer.stream).write(&peer.output) {
                Ok(length) => drop(peer.output.drain(..length)),
                Err(error) if is_momentary(&error) => {}
                Err(_) => return self.close(id),
            }
        }
        match (peer.output.is_empty() && peer.leaving, peer.ended) {
            (true, true) => return self.close(id),
            // Closing now, with unread input, would reset the connection and lose the last words.
            (true, false) => drop(peer.stream.shutdown(Shutdown::Write)),
            _ => {}
        }
        let mut interest = Interest::NONE;
        if !peer.ended {
            interest |= Interest::READABLE;
        }
        if !peer.output.is_empty() {
            interest |= Interest::WRITABLE;
        }
        if mem::replace(&mut peer.interest, interest) != interest {
            reactor().update_handler(id, interest).unwrap();
        }
    }

    /// Takes a peer out of its room, tells it why unless it ended itself, and closes it when it
    /// has read that and ended too; or after `LINGER`.
    fn dismiss(&mut self, id: HandlerId, why: &str) {
        self.leave(id);
        self.write_soon(id);
        let peer = self.peers.get_mut(&id).filter(|peer| !peer.leaving);
        if let Some(peer) = peer {
            peer.leaving = true;
            if !why.is_empty() {
                peer.output.extend([b"* ", why.as_bytes(), b"\n"].concat());
            }
            let chat = self.this();
            let close = move || chat.borrow_mut().close(id);
            reactor().call_later(LINGER, close).unwrap();
        }
    }

    fn leave(&mut self, id: HandlerId) {
        let peer = self.peers.get_mut(&id);
        if let Some((room, _)) = peer.and_then(|peer| peer.member.take()) {
            let members = self.rooms.get_mut(&room).unwrap();
            members.retain(|member| *member != id);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    fn close(&mut self, id: HandlerId) {
        self.leave(id);
        if self.peers.contains_key(&id) {
            reactor().remove_handler(id).unwrap();
            self.peers.remove(&id);
            self.figures.connections.set(self.peers.len() as u64);
        }
    }
}

/// The loop that calls the chat.
fn reactor() -> LocalReactor {
    Reactor::current_local().unwrap()
}

fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
