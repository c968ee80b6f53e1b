//! What an `Async` may be on.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oneloop::futures::Async;
use oneloop::{Reactor, Ready, Source, VirtualSource};

use crate::pair;

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
            .block_on(
                source.read_with(|source| match source.ready().contains(Ready::READABLE) {
                    true => Ok(()),
                    false => Err(ErrorKind::WouldBlock.into()),
                }),
            )
            .unwrap()
            .unwrap();
    }
    drop(asked);
    setter.join().unwrap();
    // Nobody is left to make it writable: a hang-up, which ends the wait.
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
        fn origin(&self) -> oneloop::Origin<'_> {
            use std::os::fd::BorrowedFd;
            // SAFETY: a number that is never open, for calls that answer EBADF.
            oneloop::Origin::Descriptor(unsafe { BorrowedFd::borrow_raw(1_000_000_000) })
        }
    }
    let reactor = Reactor::new().unwrap();
    let refused = Async::new(&reactor, Broken).unwrap_err();
    assert_eq!(refused.error().fd(), Some(1_000_000_000));
    assert!(refused.to_string().contains("Async::new"), "{refused}");
    let Broken = refused.into_source();
}

/// What the kernel refuses to watch is always ready.
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
    fn origin(&self) -> oneloop::Origin<'_> {
        self.socket.origin()
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
    fn origin(&self) -> oneloop::Origin<'_> {
        self.socket.origin()
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
    fn origin(&self) -> oneloop::Origin<'_> {
        self.socket.origin()
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
