//! A future that never has to wait leaves the loop, and other tasks, their turns.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::or;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use oneloop::futures::{Async, Timer};
use oneloop::{Reactor, Source, SourceKind};

use crate::{LOCALHOST, MS, look, on_each_host, pair, wakes};

/// A timer of one millisecond has to fire so often...
const FIRINGS: usize = 20;
/// ...in less than so many steps, which take many times as long as that.
const STEPS: usize = 3_000_000;

/// Takes steps that never have to wait until a timer of the loop has fired often enough.
async fn fires_beside(reactor: &Reactor, mut step: impl AsyncFnMut()) {
    let fired = Arc::new(AtomicUsize::new(0));
    let counted = fired.clone();
    let count = move || {
        counted.fetch_add(1, SeqCst);
    };
    let timer = reactor.call_every(MS, count).unwrap();
    let mut steps = 0;
    while fired.load(SeqCst) < FIRINGS {
        steps += 1;
        assert!(
            steps < STEPS,
            "{} times in {steps} steps",
            fired.load(SeqCst)
        );
        step().await;
    }
    reactor.cancel_timer(timer).unwrap();
}

fn device(reactor: &Reactor, path: &str) -> Async<std::fs::File> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    Async::new(reactor, file.unwrap()).unwrap()
}

#[test]
fn a_timer_fires_beside_a_device_that_is_always_read() {
    on_each_host(async |reactor| {
        let mut zero = device(&reactor, "/dev/zero");
        fires_beside(&reactor, async || {
            zero.read_exact(&mut [0; 64]).await.unwrap()
        })
        .await;
        let bytes = &mut [0; 64];
        let read = async || {
            let parts = &mut [IoSliceMut::new(bytes)];
            assert_eq!((&zero).read_vectored(parts).await.unwrap(), 64);
        };
        fires_beside(&reactor, read).await;
    });
}

#[test]
fn a_timer_fires_beside_a_device_that_is_always_written() {
    on_each_host(async |reactor| {
        let mut null = device(&reactor, "/dev/null");
        fires_beside(&reactor, async || null.write_all(&[0; 64]).await.unwrap()).await;
        let write = async || {
            let parts = &[IoSlice::new(&[0; 64])];
            assert_eq!((&null).write_vectored(parts).await.unwrap(), 64);
        };
        fires_beside(&reactor, write).await;
        // Most have nothing to flush.
        let flush = async || {
            null.get_ref().write_all(&[0]).unwrap();
            null.flush().await.unwrap();
        };
        fires_beside(&reactor, flush).await;
    });
}

#[test]
fn a_timer_fires_beside_attempts_that_always_succeed_or_fail() {
    on_each_host(async |reactor| {
        let zero = device(&reactor, "/dev/zero");
        let read = async || {
            let read = zero.read_with(|mut zero| zero.read(&mut [0; 64])).await;
            assert_eq!(read.unwrap(), 64);
        };
        fires_beside(&reactor, read).await;
        let fail = async || {
            let written = zero.write_with(|zero| zero.set_len(0)).await;
            written.unwrap_err();
        };
        fires_beside(&reactor, fail).await;
    });
}

#[test]
fn a_timer_fires_beside_a_busy_stream() {
    on_each_host(async |reactor| {
        let (mut a, mut b) = Async::<UnixStream>::pair(&reactor).unwrap();
        let echo = async || {
            a.write_all(b"x").await.unwrap();
            b.read_exact(&mut [0]).await.unwrap();
        };
        fires_beside(&reactor, echo).await;
    });
}

/// The task waits for something else each time, which must not count.
#[test]
fn a_timer_fires_beside_a_busy_stream_that_is_awaited_along_with_another() {
    on_each_host(async |reactor| {
        let zero = device(&reactor, "/dev/zero");
        let (idle, _peer) = Async::<UnixStream>::pair(&reactor).unwrap();
        let read = async || {
            let read = async { (&zero).read_exact(&mut [0; 64]).await.unwrap() };
            let end = async { drop((&idle).read(&mut [0]).await) };
            or(end, read).await;
        };
        fires_beside(&reactor, read).await;
    });
}

#[test]
fn a_timer_fires_beside_a_stream_that_has_ended() {
    on_each_host(async |reactor| {
        let (mut a, b) = Async::<UnixStream>::pair(&reactor).unwrap();
        drop(b);
        let read = async || assert_eq!(a.read(&mut [0]).await.unwrap(), 0);
        fires_beside(&reactor, read).await;
        fires_beside(&reactor, async || drop(a.write(&[0]).await.unwrap_err())).await;
    });
}

#[test]
fn a_timer_fires_beside_an_accept_that_always_fails() {
    use rustix::net::{AddressFamily, Shutdown, SocketType, shutdown};
    on_each_host(async |reactor| {
        let listener = Async::<TcpListener>::bind(&reactor, LOCALHOST).unwrap();
        shutdown(&listener, Shutdown::Both).unwrap();
        fires_beside(&reactor, async || {
            drop(listener.accept().await.unwrap_err())
        })
        .await;
        let mut incoming = listener.incoming();
        let next = async || drop(incoming.next().await.unwrap().unwrap_err());
        fires_beside(&reactor, next).await;

        // One that does not listen.
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None);
        let listener = UnixListener::from(socket.unwrap());
        let listener = Async::new(&reactor, listener).unwrap();
        fires_beside(&reactor, async || {
            drop(listener.accept().await.unwrap_err())
        })
        .await;
        let mut incoming = listener.incoming();
        let next = async || drop(incoming.next().await.unwrap().unwrap_err());
        fires_beside(&reactor, next).await;
    });
}

#[test]
fn a_timer_fires_beside_datagrams_that_come_at_once() {
    on_each_host(async |reactor| {
        let receiver = Async::<UdpSocket>::bind(&reactor, LOCALHOST).unwrap();
        let sender = Async::<UdpSocket>::bind(&reactor, LOCALHOST).unwrap();
        let address = receiver.get_ref().local_addr().unwrap();
        let send = async || {
            sender.send_to(&[0], address).await.unwrap();
            receiver.recv_from(&mut [0]).await.unwrap();
        };
        fires_beside(&reactor, send).await;
        sender.get_ref().connect(address).unwrap();
        let send = async || {
            sender.send(&[0]).await.unwrap();
            receiver.recv(&mut [0]).await.unwrap();
        };
        fires_beside(&reactor, send).await;
        sender.send(&[0]).await.unwrap();
        let peek = async || assert_eq!(receiver.peek(&mut [0]).await.unwrap(), 1);
        fires_beside(&reactor, peek).await;

        let (a, b) = Async::<UnixDatagram>::pair(&reactor).unwrap();
        let send = async || {
            a.send(&[0]).await.unwrap();
            b.recv(&mut [0]).await.unwrap();
        };
        fires_beside(&reactor, send).await;
    });
}

/// It connects again for each read, and is refused.
struct Reconnecting(UnixStream);

impl Source for Reconnecting {
    fn kind(&self) -> SourceKind<'_> {
        self.0.kind()
    }
}

impl Read for Reconnecting {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        let (other, _peer) = UnixStream::pair()?;
        self.0 = other;
        Err(ErrorKind::ConnectionRefused.into())
    }
}

#[test]
fn a_timer_fires_beside_a_source_that_always_takes_another_descriptor() {
    on_each_host(async |reactor| {
        let stream = Reconnecting(UnixStream::pair().unwrap().0);
        let mut stream = Async::new(&reactor, stream).unwrap();
        fires_beside(&reactor, async || {
            drop(stream.read(&mut [0]).await.unwrap_err())
        })
        .await;
    });
}

#[test]
fn a_timer_fires_beside_other_timers_that_are_always_due() {
    on_each_host(async |reactor| {
        let after = async || {
            Timer::after(&reactor, Duration::ZERO).await;
        };
        fires_beside(&reactor, after).await;
        for period in [Duration::ZERO, Duration::from_nanos(1)] {
            let mut ticks = Timer::interval(&reactor, period);
            let tick = async || assert!(ticks.next().await.is_some());
            fires_beside(&reactor, tick).await;
        }
        let mut over = Timer::after(&reactor, MS);
        let again = async || {
            (&mut over).await;
        };
        fires_beside(&reactor, again).await;
    });
}

/// It is woken for that at once, and there is no waiting where the loop reports nothing.
#[test]
fn a_task_gives_way_once_in_a_while_and_is_woken_for_it() {
    let reactor = Reactor::new().unwrap();
    let mut zero = device(&reactor, "/dev/zero");
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        for _ in 0..128 {
            let read = Pin::new(&mut zero).poll_read(&mut cx, &mut [0]);
            assert!(matches!(read, Poll::Ready(Ok(1))));
        }
        assert_eq!(woken.take(), 0);
        assert!(
            Pin::new(&mut zero)
                .poll_read(&mut cx, &mut [0])
                .is_pending()
        );
        assert_eq!(woken.take(), 1);
        // The other direction has a count of its own.
        let written = Pin::new(&mut zero).poll_write(&mut cx, &[0]);
        assert!(matches!(written, Poll::Ready(Ok(1))));
    }
}

/// A task that has to wait anyway does not have to give way as well.
#[test]
fn a_task_that_had_to_wait_begins_to_count_again() {
    let reactor = Reactor::new().unwrap();
    let (mut stream, mut peer) = pair(&reactor);
    let (_, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        peer.write_all(&[0; 100]).unwrap();
        look(&reactor);
        for _ in 0..100 {
            let read = Pin::new(&mut stream).poll_read(&mut cx, &mut [0]);
            assert!(matches!(read, Poll::Ready(Ok(1))));
        }
        let read = Pin::new(&mut stream).poll_read(&mut cx, &mut [0]);
        assert!(read.is_pending());
    }
}
