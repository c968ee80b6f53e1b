//! Conditions that can be awaited beside reading and writing.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Waker};

use futures_lite::AsyncReadExt;
use futures_lite::future::{self, zip};
use oneloop::futures::{Async, Timer};
use oneloop::{Interest, PollerKind, Reactor, Ready, VirtualSource};
use rustix::net::SendFlags;

use crate::disagreeing::with_an_error_in_its_queue;
use crate::{MS, look, on_each_host, pair, wakes};

#[test]
fn the_peers_closing_is_awaited_without_reading() {
    on_each_host(async |reactor| {
        let (mut stream, mut peer) = pair(&reactor);
        peer.write_all(b"unread").unwrap();
        let close = async {
            Timer::after(&reactor, MS).await;
            peer.shutdown(Shutdown::Write).unwrap();
        };
        let (ready, ()) = zip(stream.ready(Interest::READ_CLOSED), close).await;
        assert_eq!(ready.unwrap(), Ready::READ_CLOSED);
        // It stays so, and does not keep the loop awake.
        assert_eq!(
            stream.ready(Interest::READ_CLOSED).await.unwrap(),
            Ready::READ_CLOSED
        );
        let before = reactor.stats().turns;
        Timer::after(&reactor, 20 * MS).await;
        let turns = reactor.stats().turns - before;
        assert!(turns < 10, "{turns} turns in which there was nothing to do");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "unread");
        drop(peer);
        let gone = stream.ready(Interest::WRITABLE).await.unwrap();
        assert_eq!(gone, Ready::WRITABLE | Ready::HANGUP);
    });
}

#[test]
fn exceptional_data_and_errors_are_awaited() {
    on_each_host(async |reactor| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let stream = Async::new(&reactor, stream).unwrap();
        let either = Interest::PRIORITY | Interest::READABLE;
        assert!(future::poll_once(stream.ready(either)).await.is_none());
        let urgent = async {
            Timer::after(&reactor, MS).await;
            rustix::net::send(&peer, b"!", SendFlags::OOB).unwrap();
        };
        let (ready, ()) = zip(stream.ready(Interest::PRIORITY), urgent).await;
        assert_eq!(ready.unwrap(), Ready::PRIORITY);

        let socket = with_an_error_in_its_queue(&reactor);
        let ready = socket.ready(Interest::PRIORITY).await.unwrap();
        assert!(ready.contains(Ready::ERROR), "{ready:?}");
    });
}

#[test]
fn the_first_of_several_conditions_counts() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut either = pin!(stream.ready(Interest::READABLE | Interest::READ_CLOSED));
    assert!(either.as_mut().poll(&mut cx).is_pending());
    look(&reactor);
    assert_eq!(woken.take(), 0);
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!(woken.take(), 1);
    let ready = either.as_mut().poll(&mut cx).map(Result::unwrap);
    assert_eq!(ready, std::task::Poll::Ready(Ready::READABLE));
    // The one that is given up harms no other.
    assert!(
        future::poll_once(stream.ready(Interest::READ_CLOSED))
            .now()
            .is_none()
    );
}

trait Now: Future + Sized {
    /// Of a future that is ready at once.
    fn now(self) -> Self::Output {
        future::block_on(self)
    }
}

impl<F: Future> Now for F {}

#[test]
fn an_interest_that_the_poller_does_not_report_is_an_error() {
    let builder = Reactor::builder().poller(PollerKind::Polling);
    let reactor = builder.build().unwrap();
    let (stream, _peer) = pair(&reactor);
    let error = stream.ready(Interest::READ_CLOSED).now().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = stream.ready(Interest::NONE).now().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // And all else goes on.
    let ready = reactor.block_on(stream.ready(Interest::WRITABLE)).unwrap();
    assert_eq!(ready.unwrap(), Ready::WRITABLE);
}

#[test]
fn a_virtual_source_has_all_conditions() {
    let reactor = Reactor::new().unwrap();
    let (source, readiness) = VirtualSource::pair();
    let source = Async::new(&reactor, source).unwrap();
    for ready in [Ready::READ_CLOSED, Ready::PRIORITY] {
        readiness.set(ready);
        let interest = Interest::READ_CLOSED | Interest::PRIORITY;
        let told = reactor.block_on(source.ready(interest)).unwrap();
        assert_eq!(told.unwrap(), ready);
        readiness.clear(ready);
    }
}

/// A short read is the last one for now, but for the end that is behind it.
#[test]
fn data_and_the_end_come_without_another_report() {
    on_each_host(async |reactor| {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut stream = Async::new(&reactor, socket).unwrap();
        let mut bytes = [0; 9];
        assert!(future::poll_once(stream.read(&mut bytes)).await.is_none());
        let send = async {
            Timer::after(&reactor, MS).await;
            peer.write_all(b"last").unwrap();
            drop(peer);
        };
        let (read, ()) = zip(stream.read(&mut bytes), send).await;
        assert_eq!(read.unwrap(), 4);
        let end = future::poll_once(stream.read(&mut bytes)).await;
        assert_eq!(end.unwrap().unwrap(), 0);
    });
}

#[test]
fn data_and_half_a_close_come_without_another_report() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let mut reader = &stream;
    let mut cx = Context::from_waker(Waker::noop());
    let mut closed = pin!(stream.ready(Interest::READ_CLOSED));
    assert!(closed.as_mut().poll(&mut cx).is_pending());
    let mut bytes = [0; 9];
    assert!(future::poll_once(reader.read(&mut bytes)).now().is_none());
    peer.write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    look(&reactor);
    assert!(closed.poll(&mut cx).is_ready());
    for expected in [4, 0] {
        let read = future::poll_once(reader.read(&mut bytes)).now();
        assert_eq!(read.unwrap().unwrap(), expected);
    }
}
