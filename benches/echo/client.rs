//! The client, which is the same for all servers: a thread with an epoll loop of its own.

use std::io::{self, ErrorKind, Read};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use oneloop_benches::{PAGE, Spread};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::cpu::CpuClock;

const MESSAGE: usize = 64;
/// For more than there is to come.
const ROOM: usize = 2 * MESSAGE;
/// For a reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// The client's end of a connection, over which one message at a time is under way.
struct Caller {
    socket: TcpStream,
    sent_at: Instant,
    /// The bytes that were sent, and how many of them have come back.
    message: [u8; MESSAGE],
    received: usize,
}

/// How it went.
pub struct Talk {
    /// Of all timed messages.
    pub time: Duration,
    /// How long each was under way.
    pub trips: Vec<Duration>,
    /// How long the server's thread ran meanwhile.
    pub busy: Duration,
}

/// Keeps all connections busy until as many `messages` have come back after the warm-up. Whatever
/// else comes back is an error, and so is nothing.
pub fn talk(sockets: Vec<TcpStream>, messages: u64, server: CpuClock) -> io::Result<Talk> {
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let mut callers = Vec::with_capacity(sockets.len());
    for (key, socket) in (0..).zip(sockets) {
        epoll::add(&set, &socket, EventData::new_u64(key), EventFlags::IN)?;
        callers.push(Caller {
            socket,
            sent_at: Instant::now(),
            message: [0; MESSAGE],
            received: 0,
        });
    }
    let mut page = vec![0; PAGE + ROOM];
    let mut log = Log::new(callers.len(), messages, server);
    for (number, caller) in (0..).zip(&mut callers) {
        caller.send(&mut page, number, Instant::now())?;
    }
    let mut number = callers.len() as u64;
    let mut under_way = callers.len();
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let patience = Timespec::try_from(PATIENCE).expect("it is short");
    while under_way > 0 {
        let found = match epoll::wait(&set, &mut buffer[..], Some(&patience)) {
            Ok((found, _)) => found,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if found.is_empty() {
            let lost = format!("no reply to {under_way} messages");
            return Err(io::Error::new(ErrorKind::TimedOut, lost));
        }
        for event in found {
            let caller = &mut callers[event.data.u64() as usize];
            if !caller.receive(&mut page)? {
                continue;
            }
            let now = Instant::now();
            if log.note(now, now - caller.sent_at)? {
                caller.send(&mut page, number, now)?
            } else {
                under_way -= 1
            }
            number += 1;
        }
    }
    end(callers)?;
    log.result()
}

impl Caller {
    /// No two messages are alike.
    #[inline(never)]
    fn send(&mut self, page: &mut [u8], number: u64, now: Instant) -> io::Result<()> {
        static SPREAD: Spread = Spread::new();
        for word in self.message.chunks_exact_mut(size_of_val(&number)) {
            word.copy_from_slice(&number.to_ne_bytes());
        }
        self.received = 0;
        self.sent_at = now;
        let window = &mut page[SPREAD.place()..][..MESSAGE];
        window.copy_from_slice(&self.message);
        match rustix::io::write(&self.socket, window)? {
            MESSAGE => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Whether the whole message is back.
    #[inline(never)]
    fn receive(&mut self, page: &mut [u8]) -> io::Result<bool> {
        static SPREAD: Spread = Spread::new();
        let window = &mut page[SPREAD.place()..][..ROOM];
        let received = rustix::io::read(&self.socket, &mut *window)?;
        let bytes = &window[..received];
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let awaited = &self.message[self.received..];
        if !awaited.starts_with(bytes) {
            let wrong = "what came back was not what was sent";
            return Err(io::Error::new(ErrorKind::InvalidData, wrong));
        }
        self.received += bytes.len();
        Ok(self.received == MESSAGE)
    }
}

/// Hangs up, and sees to it that nothing more comes back.
fn end(callers: Vec<Caller>) -> io::Result<()> {
    for Caller { socket, .. } in &callers {
        socket.shutdown(Shutdown::Write)?;
    }
    for Caller { mut socket, .. } in callers {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        match socket.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(io::Error::other("a reply without a request")),
            // So the servers' sockets are closed: see `connections`.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// When messages came back.
struct Log {
    server: CpuClock,
    /// To come before the timed ones.
    warm_up: u64,
    /// To be timed.
    messages: usize,
    /// Of these, as many as there have been.
    trips: Vec<Duration>,
    start: Option<Mark>,
    end: Option<Mark>,
}

/// A moment, and how much time the server has had until then.
type Mark = (Instant, Duration);

impl Log {
    fn new(connections: usize, messages: u64, server: CpuClock) -> Log {
        Log {
            server,
            // A few for each connection.
            warm_up: (messages / 8).max(4 * connections as u64),
            messages: messages as usize,
            trips: Vec::with_capacity(messages as usize),
            start: None,
            end: None,
        }
    }

    /// False: no more are to be sent.
    fn note(&mut self, now: Instant, trip: Duration) -> io::Result<bool> {
        if self.warm_up > 0 {
            self.warm_up -= 1;
            if self.warm_up == 0 {
                self.start = Some((now, self.server.read()?));
            }
        } else if self.trips.len() < self.messages {
            self.trips.push(trip);
            if self.trips.len() == self.messages {
                self.end = Some((now, self.server.read()?));
            }
        }
        Ok(self.end.is_none())
    }

    fn result(self) -> io::Result<Talk> {
        let (Some((start, before)), Some((end, after))) = (self.start, self.end) else {
            return Err(io::Error::other("it ended before all messages were back"));
        };
        Ok(Talk {
            time: end - start,
            trips: self.trips,
            busy: after - before,
        })
    }
}
