//! Pairs of connected ends, real or virtual: what holds for descriptors holds for virtual sources.

use crate::os::Socket;
use rustix::fd::AsFd;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use oneloop::{Ready, SetReadiness, Source, SourceKind, VirtualSource};

use crate::pair;

/// The sources of a case's handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Sockets of the kernel.
    Descriptors,
    /// Sockets without a descriptor.
    Virtual,
}

impl Sources {
    /// A non-blocking pair of connected ends.
    pub fn pair(self) -> (End, End) {
        match self {
            Sources::Descriptors => {
                let (a, b) = pair();
                (End::Socket(Arc::new(a)), End::Socket(Arc::new(b)))
            }
            Sources::Virtual => {
                let (a, b) = virtual_pair();
                (End::Virtual(Arc::new(a)), End::Virtual(Arc::new(b)))
            }
        }
    }

    /// The first of a pair in which a byte waits to be read.
    pub fn readable(self) -> (End, End) {
        let (a, mut b) = self.pair();
        b.write_all(b"x").expect("room for a byte");
        (a, b)
    }
}

/// One end of a pair. Clones are the same end.
#[derive(Clone)]
pub enum End {
    /// A socket of the kernel.
    Socket(Arc<Socket>),
    /// A socket without a descriptor.
    Virtual(Arc<VirtualEnd>),
}

impl End {
    /// Whether reading and writing wait.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            End::Socket(socket) => socket.set_nonblocking(nonblocking),
            End::Virtual(end) => {
                end.nonblocking.store(nonblocking, SeqCst);
                Ok(())
            }
        }
    }
}

impl Source for End {
    fn kind(&self) -> SourceKind<'_> {
        match self {
            End::Socket(socket) => SourceKind::Descriptor(socket.as_fd()),
            End::Virtual(end) => SourceKind::Virtual(&end.source),
        }
    }
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Socket(socket) => socket.as_ref().read(buffer),
            End::Virtual(end) => end.read(buffer),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::Socket(socket) => socket.as_ref().write(bytes),
            End::Virtual(end) => end.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An end of a socket pair that the kernel knows nothing of.
pub struct VirtualEnd {
    source: VirtualSource,
    /// 0 or 1; the other end is the other one.
    me: usize,
    nonblocking: AtomicBool,
    pair: Arc<(Mutex<Pair>, Condvar)>,
}

struct Pair {
    /// Bytes on their way to each end.
    queues: [VecDeque<u8>; 2],
    ready: [SetReadiness; 2],
    closed: [bool; 2],
    /// The other end was closed with bytes unread.
    reset: [bool; 2],
}

const ROOM: usize = 64 * 1024;

fn virtual_pair() -> (VirtualEnd, VirtualEnd) {
    let (a, ready_a) = VirtualSource::pair();
    let (b, ready_b) = VirtualSource::pair();
    ready_a.set(Ready::WRITABLE);
    ready_b.set(Ready::WRITABLE);
    let pair = Arc::new((
        Mutex::new(Pair {
            queues: Default::default(),
            ready: [ready_a, ready_b],
            closed: [false; 2],
            reset: [false; 2],
        }),
        Condvar::new(),
    ));
    let end = |source, me| VirtualEnd {
        source,
        me,
        nonblocking: AtomicBool::new(true),
        pair: pair.clone(),
    };
    (end(a, 0), end(b, 1))
}

impl VirtualEnd {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let me = self.me;
        self.when_possible(|pair| {
            if std::mem::take(&mut pair.reset[me]) {
                return Err(ErrorKind::ConnectionReset.into());
            }
            let queue = &mut pair.queues[me];
            let was_full = queue.len() >= ROOM;
            let n = queue.read(buffer)?;
            if n == 0 && !buffer.is_empty() && !pair.closed[1 - me] {
                return Err(ErrorKind::WouldBlock.into());
            }
            if queue.is_empty() && !pair.closed[1 - me] {
                pair.ready[me].clear(Ready::READABLE);
            }
            if was_full && n > 0 {
                pair.ready[1 - me].set(Ready::WRITABLE);
            }
            Ok(n)
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let me = self.me;
        self.when_possible(|pair| {
            if pair.closed[1 - me] {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let queue = &mut pair.queues[1 - me];
            let n = bytes.len().min(ROOM - queue.len());
            if n == 0 && !bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            queue.extend(&bytes[..n]);
            if queue.len() == ROOM {
                pair.ready[me].clear(Ready::WRITABLE);
            }
            pair.ready[1 - me].set(Ready::READABLE);
            Ok(n)
        })
    }

    /// Tries until it would not block, if this end blocks.
    fn when_possible(
        &self,
        mut attempt: impl FnMut(&mut Pair) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let (pair, changed) = &*self.pair;
        let mut pair = pair.lock().expect("no panic in a pair");
        loop {
            match attempt(&mut pair) {
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && !self.nonblocking.load(SeqCst) =>
                {
                    pair = changed.wait(pair).expect("no panic in a pair");
                }
                result => {
                    changed.notify_all();
                    return result;
                }
            }
        }
    }
}

impl Drop for VirtualEnd {
    fn drop(&mut self) {
        let (pair, changed) = &*self.pair;
        let mut pair = pair.lock().expect("no panic in a pair");
        let (me, other) = (self.me, 1 - self.me);
        pair.closed[me] = true;
        pair.reset[other] = !pair.queues[me].is_empty();
        pair.ready[other].set(Ready::HANGUP | Ready::READABLE | Ready::WRITABLE);
        changed.notify_all();
    }
}
