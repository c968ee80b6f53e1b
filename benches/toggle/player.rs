//! The clients, which are the same on all loops.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use oneloop_benches::{PAGE, Spread};

/// When a client sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// When the loop says that there is room.
    WhenTold,
    /// Right away; write interest was for the case that there is no room.
    AtOnce,
}

impl fmt::Display for Habit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Habit::WhenTold => "write interest around each message",
            Habit::AtOnce => "changes that cancel out",
        })
    }
}

/// A client, and its socket, which is watched for reading at first.
pub struct Player {
    pub socket: UnixStream,
    pub play: Play,
}

pub struct Play {
    court: Arc<Score>,
    habit: Habit,
    /// The number of the message that is to come. Its answer has the next one.
    awaited: u64,
    /// The number of the message that is to be sent.
    holds: Option<u64>,
    sent: u64,
}

impl Play {
    /// The socket is ready: for reading or, if so much was turned on, for writing. Says whether a
    /// message was sent.
    #[inline]
    pub fn ready(
        &mut self,
        socket: &UnixStream,
        mut turn_writing: impl FnMut(bool) -> io::Result<()>,
    ) -> io::Result<bool> {
        if let Some(number) = self.holds.take() {
            self.send(socket, number)?;
            turn_writing(false)?;
            return Ok(true);
        }
        receive(socket, self.awaited)?;
        let number = self.awaited + 1;
        self.awaited += 2;
        turn_writing(true)?;
        match self.habit {
            Habit::WhenTold => {
                self.holds = Some(number);
                Ok(false)
            }
            Habit::AtOnce => {
                self.send(socket, number)?;
                turn_writing(false)?;
                Ok(true)
            }
        }
    }

    #[inline]
    fn send(&mut self, socket: &UnixStream, number: u64) -> io::Result<()> {
        self.sent += 1;
        send(socket, number)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.court.sent.fetch_add(self.sent, Relaxed);
        let held = usize::from(self.holds.is_some());
        self.court.held.fetch_add(held, Relaxed);
    }
}

/// The figures that players report when they leave.
#[derive(Default)]
struct Score {
    sent: AtomicU64,
    held: AtomicUsize,
}

/// Sees to it that no message is lost.
pub struct Court {
    score: Arc<Score>,
    sockets: Vec<UnixStream>,
}

impl Court {
    /// With pairs of players, of whom one each has a message to read.
    pub fn new(pairs: usize, habit: Habit) -> io::Result<(Court, Vec<Player>)> {
        let score = Arc::new(Score::default());
        let mut sockets = Vec::with_capacity(2 * pairs);
        let mut players = Vec::with_capacity(2 * pairs);
        for _ in 0..pairs {
            let (one, other) = UnixStream::pair()?;
            send(&other, 0)?;
            for (socket, awaited) in [(one, 0), (other, 1)] {
                socket.set_nonblocking(true)?;
                sockets.push(socket.try_clone()?);
                let play = Play {
                    court: score.clone(),
                    habit,
                    awaited,
                    holds: None,
                    sent: 0,
                };
                players.push(Player { socket, play });
            }
        }
        Ok((Court { score, sockets }, players))
    }

    /// After the loop has ended: all messages are somewhere. Says how many were sent.
    pub fn check(&self) -> io::Result<u64> {
        if Arc::strong_count(&self.score) > 1 {
            return Err(io::Error::other("the loop has kept players"));
        }
        let mut found = self.score.held.load(Relaxed);
        let mut bytes = [0; 2 * WORD];
        for socket in &self.sockets {
            match rustix::io::read(socket, &mut bytes) {
                Ok(WORD) => found += 1,
                Ok(0) | Err(rustix::io::Errno::AGAIN) => {}
                Ok(_) => return Err(io::Error::other("two messages in one place")),
                Err(error) => return Err(error.into()),
            }
        }
        if 2 * found == self.sockets.len() {
            Ok(self.score.sent.load(Relaxed))
        } else {
            Err(io::Error::other(format!("{found} messages are left")))
        }
    }
}

const WORD: usize = size_of::<u64>();

/// Takes a message, which must be the awaited one and alone.
// Not inlined, nor is `send`: the same code at the same place for all loops.
#[inline(never)]
fn receive(socket: &UnixStream, awaited: u64) -> io::Result<()> {
    static SPREAD: Spread = Spread::new();
    let mut page = [MaybeUninit::uninit(); PAGE + 2 * WORD];
    let window = &mut page[SPREAD.place()..][..2 * WORD];
    match rustix::io::read(socket, window)? {
        (bytes, _) if *bytes == awaited.to_ne_bytes() => Ok(()),
        ([], _) => Err(ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::other("another message than the awaited one")),
    }
}

#[inline(never)]
fn send(socket: &UnixStream, number: u64) -> io::Result<()> {
    static SPREAD: Spread = Spread::new();
    thread_local! {
        static WHERE: RefCell<[u8; PAGE + WORD]> = const { RefCell::new([0; PAGE + WORD]) };
    }
    let sent = WHERE.with_borrow_mut(|page| {
        let window = &mut page[SPREAD.place()..][..WORD];
        window.copy_from_slice(&number.to_ne_bytes());
        rustix::io::write(socket, window)
    });
    match sent? {
        WORD => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}
