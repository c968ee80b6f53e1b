//! The sources of an `Async`.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oneloop::futures::{Async, Timer};
use oneloop::{Reactor, Ready, Source, VirtualSource};

use crate::{MS, on_each_host, pair};

#[test]
fn a_virtual_source_can_be_awaited() {
    let reactor = Reactor::new().unwrap();
    let (source, readiness) = VirtualSource::pair();
    let source = Async::new(&reactor, source).unwrap();
    let (asked, waits) = std::sync::mpsc::channel();
    let setter = thread::spawn(move || {
        for _ in waits {
            readiness.set(Ready::READABLE);
        }
    });
    for _ in 0..100 {
        asked.send(()).unwrap();
        reactor
            .block_on(source.read_with(|source| {
                if source.ready().contains(Ready::READABLE) {
                    Ok(())
                } else {
                    Err(ErrorKind::WouldBlock.into())
                }
            }))
            .unwrap()
            .unwrap();
    }
    drop(asked);
    setter.join().unwrap();
    // No reader is left to make it writable: a hang-up, which ends the wait.
    reactor.block_on(source.writable()).unwrap().unwrap();
}

#[test]
fn the_source_comes_back_and_nothing_is_left() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    assert_eq!(reactor.stats().handlers, 1);
    let mut socket = stream.into_inner();
    assert_eq!(reactor.stats().handlers, 0);
    peer.write_all(b"x").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    assert_eq!(
        socket.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "it was made non-blocking"
    );
}

#[test]
fn a_refused_source_comes_back() {
    /// Says that it has a descriptor, and has none.
    #[derive(Debug)]
    struct Broken;
    impl Source for Broken {
        fn kind(&self) -> oneloop::SourceKind<'_> {
            use std::os::fd::BorrowedFd;
            // SAFETY: a number that is never open, for calls that answer EBADF.
            oneloop::SourceKind::Descriptor(unsafe { BorrowedFd::borrow_raw(1_000_000_000) })
        }
    }
    let reactor = Reactor::new().unwrap();
    let refused = Async::new(&reactor, Broken).unwrap_err();
    assert_eq!(refused.error().fd(), Some(1_000_000_000));
    assert!(refused.to_string().contains("Async::new"), "{refused}");
    let Broken = refused.into_source();
}

/// A file that the kernel refuses to watch is always ready.
#[test]
fn a_regular_file_can_be_awaited() {
    let reactor = Reactor::new().unwrap();
    let path = file!();
    let expected = std::fs::read_to_string(path).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let mut file = Async::new(&reactor, file).unwrap();
    let mut text = String::new();
    let read = async {
        file.readable().await.unwrap();
        file.read_to_string(&mut text).await.unwrap();
    };
    reactor.block_on(read).unwrap();
    assert_eq!(text, expected);
}

/// One message a read, and more inside: as TLS has records.
struct Messages {
    socket: UnixStream,
    bytes: Vec<u8>,
}

impl Source for Messages {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.socket.kind()
    }
}

impl Read for Messages {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; 100];
            let n = self.socket.read(&mut self.bytes);
            self.bytes.truncate(*n.as_ref().unwrap_or(&0));
            n?;
        }
        let end = self.bytes.iter().position(|&byte| byte == b';').unwrap() + 1;
        buffer[..end].copy_from_slice(&self.bytes[..end]);
        self.bytes.drain(..end);
        Ok(end)
    }
}

#[test]
fn a_source_that_keeps_bytes_inside_is_read_until_it_has_none() {
    let reactor = Reactor::new().unwrap();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let bytes = Vec::new();
    let mut messages = Async::new(&reactor, Messages { socket, bytes }).unwrap();
    peer.write_all(b"one;two;").unwrap();
    let mut buffer = [0; 100];
    reactor
        .block_on(async {
            assert_eq!(messages.read(&mut buffer).await.unwrap(), 4);
            assert_eq!(messages.read(&mut buffer).await.unwrap(), 4);
        })
        .unwrap();
}

/// Counts the attempts to read.
struct Counted {
    socket: UnixStream,
    reads: usize,
    is_direct: bool,
}

impl Source for Counted {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.socket.kind()
    }

    fn is_direct(&self) -> bool {
        self.is_direct
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        self.socket.read(buffer)
    }
}

#[test]
fn a_short_read_saves_the_attempt_that_would_say_that_there_is_no_more() {
    for (is_direct, expected) in [(true, 1), (false, 2)] {
        let reactor = Reactor::new().unwrap();
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let counted = Counted {
            socket,
            reads: 0,
            is_direct,
        };
        let mut counted = Async::new(&reactor, counted).unwrap();
        peer.write_all(b"short").unwrap();
        let mut buffer = [0; 100];
        reactor
            .block_on(async {
                assert_eq!(counted.read(&mut buffer).await.unwrap(), 5);
                let more = future::poll_once(counted.read(&mut buffer)).await;
                assert!(more.is_none());
            })
            .unwrap();
        assert_eq!(counted.get_ref().reads, expected);
    }
}

/// Takes all that it is given, and passes it on when it is flushed.
struct Buffered {
    socket: UnixStream,
    bytes: Vec<u8>,
}

impl Source for Buffered {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.socket.kind()
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.bytes.is_empty() {
            let n = self.socket.write(&self.bytes)?;
            self.bytes.drain(..n);
        }
        Ok(())
    }
}

/// One system call for all parts, also by the owner.
#[test]
fn the_owner_reads_and_writes_in_parts() {
    let reactor = Reactor::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    let mut a = Async::new(&reactor, a).unwrap();
    let mut b = Async::new(&reactor, b).unwrap();
    let (mut one, mut other) = ([0; 3], [0; 5]);
    let exchange = async {
        let parts = [IoSlice::new(b"in "), IoSlice::new(b"parts")];
        assert_eq!(a.write_vectored(&parts).await.unwrap(), 8);
        let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        assert_eq!(b.read_vectored(&mut parts).await.unwrap(), 8);
    };
    reactor.block_on(exchange).unwrap();
    assert_eq!((&one, &other), (b"in ", b"parts"));
}

/// A source that is written to by reference, and cannot be flushed.
struct Unflushed(UnixStream);

impl Source for Unflushed {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.0.kind()
    }
}

impl Write for &Unflushed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_flush_by_reference_reaches_the_source() {
    let reactor = Reactor::new().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let unflushed = Async::new(&reactor, Unflushed(socket)).unwrap();
    let flushed = reactor.block_on((&unflushed).flush()).unwrap();
    let refused = flushed.map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::StorageFull));
}

#[test]
fn a_flush_that_would_block_is_waited_for() {
    const BYTES: usize = 1_000_000;
    let reactor = Reactor::new().unwrap();
    let (socket, peer) = UnixStream::pair().unwrap();
    let bytes = Vec::new();
    let mut buffered = Async::new(&reactor, Buffered { socket, bytes }).unwrap();
    let mut peer = Async::new(&reactor, peer).unwrap();
    let send = async {
        buffered.write_all(&[7; BYTES]).await.unwrap();
        buffered.close().await.unwrap();
    };
    let mut received = Vec::new();
    let receive = peer.read_to_end(&mut received);
    let (_, read) = reactor.block_on(zip(send, receive)).unwrap();
    assert_eq!((read.unwrap(), received), (BYTES, vec![7; BYTES]));
}

/// Goes on with the next connection when one has ended.
struct Reconnects {
    socket: UnixStream,
    next: Vec<UnixStream>,
}

impl Source for Reconnects {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.socket.kind()
    }

    fn is_direct(&self) -> bool {
        true
    }
}

impl Read for Reconnects {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.socket.read(buffer) {
            Ok(0) if !self.next.is_empty() => {
                self.socket = self.next.remove(0);
                self.socket.read(buffer)
            }
            result => result,
        }
    }
}

#[test]
fn a_source_that_reconnects_is_registered_with_its_new_descriptor() {
    on_each_host(async |reactor| {
        let [
            (one, mut peer),
            (two, mut next_peer),
            (three, mut last_peer),
        ] = [(); 3].map(|()| UnixStream::pair().unwrap());
        two.set_nonblocking(true).unwrap();
        three.set_nonblocking(true).unwrap();
        let first_number = one.as_raw_fd();
        let mut source = Async::new(
            &reactor,
            Reconnects {
                socket: one,
                next: vec![two, three],
            },
        )
        .unwrap();
        let mut bytes = [0; 9];
        peer.write_all(b"1").unwrap();
        assert_eq!(source.read(&mut bytes).await.unwrap(), 1);
        // It finds the end, and nothing in the next; that is awaited.
        drop(peer);
        assert!(future::poll_once(source.read(&mut bytes)).await.is_none());
        let write = async {
            Timer::after(&reactor, 2 * MS).await;
            next_peer.write_all(b"12").unwrap();
        };
        let (read, ()) = zip(source.read(&mut bytes), write).await;
        assert_eq!(read.unwrap(), 2);

        // The number is another's, which is called for its own events only (unless another test has taken it).
        let (mut stranger, mut other) = UnixStream::pair().unwrap();
        if other.as_raw_fd() == first_number {
            std::mem::swap(&mut stranger, &mut other);
        }
        let stranger = Async::new(&reactor, stranger).unwrap();
        assert!(future::poll_once(stranger.readable()).await.is_none());

        // The next one has something to read at once.
        last_peer.write_all(b"123").unwrap();
        drop(next_peer);
        assert_eq!(source.read(&mut bytes).await.unwrap(), 3);
        let write = async {
            Timer::after(&reactor, 2 * MS).await;
            last_peer.write_all(b"1234").unwrap();
        };
        let (read, ()) = zip(source.read(&mut bytes), write).await;
        assert_eq!(read.unwrap(), 4);
        drop(source);
        // And is still watched.
        drop(other);
        stranger.readable().await.unwrap();
    });
}

/// Another descriptor, whose number no other test takes: the old one is closed.
fn far(socket: UnixStream, number: i32) -> UnixStream {
    UnixStream::from(rustix::io::fcntl_dupfd_cloexec(socket, number).unwrap())
}

#[test]
fn a_source_that_reconnects_when_it_is_first_read_waits_for_its_new_descriptor() {
    let reactor = Reactor::new().unwrap();
    let (old, peer) = UnixStream::pair().unwrap();
    let (new, mut new_peer) = UnixStream::pair().unwrap();
    drop(peer);
    new.set_nonblocking(true).unwrap();
    let source = Reconnects {
        socket: far(old, 800),
        next: vec![far(new, 810)],
    };
    let mut source = Async::new(&reactor, source).unwrap();
    let read = async {
        let mut bytes = [0; 9];
        assert!(future::poll_once(source.read(&mut bytes)).await.is_none());
        new_peer.write_all(b"12").unwrap();
        assert_eq!(source.read(&mut bytes).await.unwrap(), 2);
    };
    reactor.block_on(read).unwrap();
}

/// Says that it has a descriptor that is not open, once it was read.
#[derive(Debug)]
struct GoneAfterRead {
    socket: UnixStream,
    is_gone: bool,
    result: Option<ErrorKind>,
}

impl Source for GoneAfterRead {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        use std::os::fd::BorrowedFd;
        if self.is_gone {
            // SAFETY: a number that is never open, for calls that answer EBADF.
            return oneloop::SourceKind::Descriptor(unsafe {
                BorrowedFd::borrow_raw(1_000_000_000)
            });
        }
        self.socket.kind()
    }
}

impl Read for GoneAfterRead {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.is_gone = true;
        match self.result {
            Some(kind) => Err(kind.into()),
            None => Ok(1),
        }
    }
}

/// Bytes that were read before count.
#[test]
fn a_source_whose_new_descriptor_is_refused_says_so_when_it_has_to_wait() {
    let reactor = Reactor::new().unwrap();
    let read = |result| {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let is_gone = false;
        let source = GoneAfterRead {
            socket,
            is_gone,
            result,
        };
        let mut source = Async::new(&reactor, source).unwrap();
        let mut bytes = [0];
        let read = async { [source.read(&mut bytes).await, source.read(&mut bytes).await] };
        let results = reactor.block_on(read).unwrap();
        results.map(|result| result.map_err(|error| (error.kind(), error.raw_os_error())))
    };
    let refused = Err((
        std::io::Error::from_raw_os_error(libc::EBADF).kind(),
        Some(libc::EBADF),
    ));
    assert_eq!(read(None), [Ok(1), refused]);
    let failed = ErrorKind::InvalidData;
    assert_eq!(read(Some(failed)), [Err((failed, None)), refused]);
    assert_eq!(read(Some(ErrorKind::WouldBlock)), [refused, refused]);
}

/// Each second call is interrupted, or fails.
struct Falters {
    socket: UnixStream,
    error: ErrorKind,
    goes_on: Cell<bool>,
}

impl Falters {
    fn check(&self) -> std::io::Result<()> {
        if self.goes_on.replace(!self.goes_on.get()) {
            Ok(())
        } else {
            Err(self.error.into())
        }
    }
}

impl Source for Falters {
    fn kind(&self) -> oneloop::SourceKind<'_> {
        self.socket.kind()
    }
}

impl Read for Falters {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.check()?;
        self.socket.read(buffer)
    }
}

impl Write for Falters {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.check()
    }
}

fn falters(reactor: &Reactor, error: ErrorKind) -> (Async<Falters>, UnixStream) {
    let (socket, peer) = UnixStream::pair().unwrap();
    let falters = Falters {
        socket,
        error,
        goes_on: Cell::new(false),
    };
    (Async::new(reactor, falters).unwrap(), peer)
}

#[test]
fn an_attempt_that_is_interrupted_is_made_again() {
    let reactor = Reactor::new().unwrap();
    let (mut falters, mut peer) = falters(&reactor, ErrorKind::Interrupted);
    peer.write_all(b"xy").unwrap();
    let read = async {
        assert_eq!(falters.read(&mut [0]).await.unwrap(), 1);
        let read = |source: &Falters| {
            source.check()?;
            { &source.socket }.read(&mut [0])
        };
        assert_eq!(falters.read_with(read).await.unwrap(), 1);
    };
    reactor.block_on(read).unwrap();
}

#[test]
fn an_error_of_a_flush_is_returned() {
    let reactor = Reactor::new().unwrap();
    let (mut falters, _peer) = falters(&reactor, ErrorKind::StorageFull);
    let flushed = reactor.block_on(falters.flush()).unwrap();
    assert_eq!(flushed.unwrap_err().kind(), ErrorKind::StorageFull);
    reactor.block_on(falters.flush()).unwrap().unwrap();
}
