//! A TLS session as one level-triggered handler: rustls does the TLS, the loop says when the socket
//! is ready, and an [`App`] reads and writes plaintext as if from a non-blocking socket.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use oneloop::{Action, Event, HandlerId, Interest, LocalReactor, Mode, Reactor};
use rustls::Connection;

/// How much plaintext an app gets in one call, to be fair to the others on the loop.
const PIECE: usize = 16 * 1024;
/// How often one call reads from the socket. rustls takes 4 KiB at a time, so that this is room for
/// a record of the largest size.
const READS: usize = 8;

/// The protocol over a session.
pub trait App {
    /// Called when there may be something to read, or room to write. Goes on until something fails:
    /// [`ErrorKind::WouldBlock`] only says that it will be called again, so that `?` will do for it.
    ///
    /// It is called again when the peer sends something, when there is room again if a write found
    /// none, and in the next turn if its piece of the plaintext was all it could have. Who leaves
    /// bytes unread for a reason of its own calls [`Session::pause`].
    fn ready(&mut self, session: &mut Session) -> io::Result<()>;

    /// The session is over: both sides have said that they are done, or something failed.
    fn over(&mut self, how: io::Result<()>);
}

/// A TLS connection on a socket. Reads and writes plaintext.
pub struct Session {
    stream: TcpStream,
    tls: Connection,
    piece: usize,
    /// The rest of the piece.
    budget: usize,
    /// A write found less room than it had bytes.
    starved: bool,
    paused: bool,
    closed: bool,
    /// Kept until the plaintext that came before it is read.
    failure: Option<io::Error>,
}

impl Session {
    pub fn new(stream: TcpStream, tls: impl Into<Connection>) -> io::Result<Session> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Session {
            stream,
            tls: tls.into(),
            piece: PIECE,
            budget: 0,
            starved: false,
            paused: false,
            closed: false,
            failure: None,
        })
    }

    /// Gives an app less, or more, in one call.
    pub fn set_piece(&mut self, piece: usize) {
        self.piece = piece;
    }

    /// Puts the session on the loop, which owns it from now on.
    ///
    /// Code outside the app calls `update_handler` to have the app called: with an interest in
    /// writing if there is something new to send, with any interest to resume a paused session.
    pub fn open(
        self,
        reactor: &LocalReactor,
        mut app: impl App + 'static,
    ) -> io::Result<HandlerId> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let call = move |session: &mut Session, event: Event| {
            let result = session
                .call(event, &mut app)
                .and_then(|(interest, action)| {
                    let reactor = Reactor::current_local()?;
                    reactor.update_handler(event.handler(), interest)?;
                    Ok(action)
                });
            let how = match result {
                Ok(Action::Remove) => Ok(()),
                Ok(action) => return action,
                Err(error) => Err(error),
            };
            app.over(how);
            Action::Remove
        };
        Ok(reactor.add_handler(self, both, Mode::Level, call)?)
    }

    /// One call of the handler: ciphertext in, the app, ciphertext out.
    fn call(&mut self, event: Event, app: &mut impl App) -> io::Result<(Interest, Action)> {
        (self.budget, self.starved, self.paused) = (self.piece, false, false);
        if event.is_readable() {
            self.receive();
        }
        let done = match app.ready(self) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            done => done,
        };
        // During the handshake the close_notify would overtake what was written, and in the clear.
        if self.closed && !self.tls.is_handshaking() {
            self.tls.send_close_notify();
        }
        // Also after a failure: that is how the peer gets the alert that rustls has for it.
        self.send();
        done?;

        let (left, ended) = match self.tls.reader().fill_buf() {
            Ok(left) => (!left.is_empty(), left.is_empty()),
            Err(_) => (false, false),
        };
        // Its piece was all it could have, and neither what is left nor the end will show on the
        // descriptor: both are in here already.
        let again = self.budget == 0 && (left || ended);
        if let Some(failure) = self.failure.take_if(|_| !again) {
            return Err(failure);
        }
        if self.paused {
            // The loop keeps the `Again` until the handler is resumed.
            return Ok((Interest::NONE, Action::Again));
        }
        let wants_write = self.tls.wants_write();
        let mut interest = Interest::NONE;
        // `Again` needs some interest, or it is kept; this one is wanted again anyway.
        if again || self.tls.wants_read() {
            interest |= Interest::READABLE;
        }
        // During the handshake the socket may have room where rustls has none for plaintext.
        if wants_write || self.starved && !self.tls.is_handshaking() {
            interest |= Interest::WRITABLE;
        }
        let action = match again {
            true => Action::Again,
            false if self.closed && ended && !wants_write => Action::Remove,
            false => Action::Continue,
        };
        Ok((interest, action))
    }

    /// Reads ciphertext until there is plaintext: rustls wants no more then, and neither does the
    /// handler, until the app has taken it. So the peer is held back by its full socket.
    fn receive(&mut self) {
        for _ in 0..READS {
            if self.failure.is_some() || !self.tls.wants_read() {
                return;
            }
            let read = match self.tls.read_tls(&mut self.stream) {
                Ok(0) => {
                    let why = "truncated: the peer has closed the connection without close_notify";
                    Err(io::Error::new(ErrorKind::UnexpectedEof, why))
                }
                Ok(_) => match self.tls.process_new_packets() {
                    Ok(_) => Ok(()),
                    Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
                },
                Err(error) => Err(error),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.failure = Some(error),
                Ok(()) => {}
            }
        }
    }

    /// Writes ciphertext until there is none, or the socket is full.
    fn send(&mut self) {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    // An alert that the peer sent before it went away explains more.
                    self.failure.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Says that nothing more will be written. The peer may go on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Lets the session sleep, in both directions, until it is resumed.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Ciphertext that waits for room in the socket. rustls takes no more plaintext when this comes
    /// to 64 KiB.
    pub fn queued(&mut self) -> usize {
        let state = self.tls.process_new_packets();
        state.map_or(0, |state| state.tls_bytes_to_write())
    }

    /// The TLS itself.
    pub fn tls(&mut self) -> &mut Connection {
        &mut self.tls
    }
}

impl Read for Session {
    /// `Ok(0)` is the peer's close_notify; a connection that just ends is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.budget);
        if most == 0 && !buffer.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        match self.tls.reader().read(&mut buffer[..most]) {
            Ok(length) => {
                self.budget -= length;
                Ok(length)
            }
            Err(error) => Err(self.failure.take().unwrap_or(error)),
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let length = self.tls.writer().write(bytes)?;
        self.starved |= length < bytes.len();
        match length {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(length),
        }
    }

    /// Nothing to do: what is written is sent when the app returns.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
