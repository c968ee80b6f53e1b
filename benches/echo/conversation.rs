//! The work of all servers: they send back what they receive.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;

use oneloop_benches::{PAGE, Spread};
use rustix::io::Errno;

/// How much is read at once.
const ROOM: usize = 1024;

/// The server's end of a connection, not blocking.
pub struct Conversation {
    pub socket: TcpStream,
    pub replies: Replies,
}

/// The bytes that have been received and not been sent back yet. There are nearly always none.
#[derive(Default)]
pub struct Replies {
    unsent: Vec<u8>,
}

/// A condition for which a conversation waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Read,
    /// Room for the rest of a reply.
    Write,
    /// Nothing: the client is gone.
    End,
}

impl Conversation {
    pub fn new(socket: TcpStream) -> Conversation {
        Conversation {
            socket,
            replies: Replies::default(),
        }
    }
}

impl Replies {
    /// Reads and writes until one of the two would block. A short read means that there is no more.
    // Not inlined: the same code at the same place for all servers.
    #[inline(never)]
    pub fn serve(&mut self, socket: &TcpStream) -> io::Result<Next> {
        match self.exchange(socket) {
            // The client has given up, and says why.
            Err(Errno::CONNRESET | Errno::PIPE) => Ok(Next::End),
            next => Ok(next?),
        }
    }

    fn exchange(&mut self, socket: &TcpStream) -> Result<Next, Errno> {
        static SPREAD: Spread = Spread::new();
        let mut page = [MaybeUninit::uninit(); PAGE + ROOM];
        if !self.unsent.is_empty() {
            let sent = send(socket, &self.unsent)?;
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return Ok(Next::Write);
            }
        }
        loop {
            let window = &mut page[SPREAD.place()..][..ROOM];
            let received = match rustix::io::read(socket, window) {
                Ok((received, _)) => &*received,
                Err(Errno::AGAIN) => return Ok(Next::Read),
                Err(error) => return Err(error),
            };
            if received.is_empty() {
                return Ok(Next::End);
            }
            let sent = send(socket, received)?;
            if sent < received.len() {
                self.unsent.extend_from_slice(&received[sent..]);
                return Ok(Next::Write);
            }
            if received.len() < ROOM {
                return Ok(Next::Read);
            }
        }
    }
}

fn send(socket: &TcpStream, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::io::write(socket, bytes) {
        Err(Errno::AGAIN) => Ok(0),
        sent => sent,
    }
}
