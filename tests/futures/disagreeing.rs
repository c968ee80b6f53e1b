//! Readiness that an operation does not confirm: no task spins, and nothing is lost.

use std::future::Future;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use futures_lite::future::{self, zip};
use oneloop::futures::{Async, Timer};
use oneloop::{Interest, PollerKind, Reactor};

use crate::{MS, on_each_host, pair, wakes};

/// Counts how often a future is polled.
struct Polls<F>(F, usize);

impl<F: Future + Unpin> Future for Polls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1 += 1;
        Pin::new(&mut self.0).poll(cx)
    }
}

/// How many turns the loop takes while something waits in vain.
async fn turns_in_vain<F: Future<Output: std::fmt::Debug>>(reactor: &Reactor, work: F) -> u64 {
    let mut polls = Polls(Box::pin(work), 0);
    let before = reactor.stats().turns;
    let over = future::or(
        async {
            let done = (&mut polls).await;
            panic!("it was to wait: {done:?}");
        },
        async {
            Timer::after(reactor, 100 * MS).await;
        },
    );
    over.await;
    // async-io also polls for what other tests of the process do.
    assert!(polls.1 < 400, "{} polls", polls.1);
    reactor.stats().turns - before
}

/// More than a few, and much less than without end.
const FEW: u64 = 40;

/// A socket with an error in its queue, which reads and writes do not take out.
pub fn with_an_error_in_its_queue(reactor: &Reactor) -> Async<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let on: libc::c_int = 1;
    // SAFETY: the option's value is a number that outlives the call.
    let set = unsafe {
        let (value, size) = (std::ptr::from_ref(&on).cast(), size_of_val(&on));
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_RECVERR,
            value,
            size as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    socket.send_to(b"x", address).unwrap();
    // The error itself, beside the queue.
    socket.set_read_timeout(Some(200 * MS)).unwrap();
    let error = socket.recv(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    Async::new(reactor, socket).unwrap()
}

async fn send(to: &Async<UdpSocket>, bytes: &[u8]) {
    let address = to.get_ref().local_addr().unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(bytes, address).unwrap();
}

#[test]
fn an_error_that_stays_in_its_queue_wakes_no_reader_for_ever() {
    on_each_host(async |reactor| {
        let socket = with_an_error_in_its_queue(&reactor);
        let mut bytes = [0; 9];
        let turns = turns_in_vain(&reactor, socket.recv(&mut bytes)).await;
        assert!(turns < FEW, "{turns} turns");
        // All messages are received, also if several come at once.
        let mut received = [0; 9];
        let receive = async {
            for n in [3, 2, 1] {
                assert_eq!(socket.recv(&mut received).await.unwrap(), n);
            }
        };
        let sent = async {
            for bytes in ["123", "12", "1"] {
                send(&socket, bytes.as_bytes()).await;
            }
        };
        zip(receive, sent).await;
        let turns = turns_in_vain(&reactor, socket.recv(&mut bytes)).await;
        assert!(turns < FEW, "{turns} turns");
    });
}

#[test]
fn an_error_that_stays_in_its_queue_wakes_no_task_that_tries_by_hand() {
    on_each_host(async |reactor| {
        let socket = with_an_error_in_its_queue(&reactor);
        let receive = async || -> Result<usize> {
            loop {
                socket.readable().await?;
                match socket.get_ref().recv(&mut [0; 9]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
        };
        let turns = turns_in_vain(&reactor, receive()).await;
        assert!(turns < FEW, "{turns} turns");
        for bytes in ["123", "12", "1"] {
            send(&socket, bytes.as_bytes()).await;
        }
        for n in [3, 2, 1] {
            assert_eq!(receive().await.unwrap(), n);
        }
        let turns = turns_in_vain(&reactor, receive()).await;
        assert!(turns < FEW, "{turns} turns");
        let (received, ()) = zip(receive(), send(&socket, b"1234")).await;
        assert_eq!(received.unwrap(), 4);
        // And by a poll.
        let receive = async || -> Result<usize> {
            loop {
                future::poll_fn(|cx| socket.poll_readable(cx)).await?;
                match socket.get_ref().recv(&mut [0; 9]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
        };
        let turns = turns_in_vain(&reactor, receive()).await;
        assert!(turns < FEW, "{turns} turns");
        let (received, ()) = zip(receive(), send(&socket, b"1234")).await;
        assert_eq!(received.unwrap(), 4);
    });
}

#[test]
fn several_tasks_wait_beside_an_error_in_the_queue() {
    on_each_host(async |reactor| {
        let socket = with_an_error_in_its_queue(&reactor);
        let one = async || {
            let mut bytes = [0; 9];
            socket.recv(&mut bytes).await.unwrap()
        };
        let before = reactor.stats().turns;
        let all = zip(zip(one(), one()), zip(one(), one()));
        let some = async {
            Timer::after(&reactor, 50 * MS).await;
            for bytes in ["1", "1", "1", "1"] {
                send(&socket, bytes.as_bytes()).await;
            }
        };
        let (all, ()) = zip(all, some).await;
        assert_eq!(all, ((1, 1), (1, 1)));
        let turns = reactor.stats().turns - before;
        assert!(turns < 4 * FEW, "{turns} turns");
    });
}

/// An unconnected sender whose receiver is full: it can always write, and never send.
struct Full {
    sender: Async<UnixDatagram>,
    receiver: UnixDatagram,
    path: std::path::PathBuf,
}

impl Full {
    fn new(reactor: &Reactor, name: &str) -> Full {
        let path = std::env::temp_dir().join(format!("oneloop-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let receiver = UnixDatagram::bind(&path).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = Async::<UnixDatagram>::unbound(reactor).unwrap();
        // By another, whose messages do not tell our sender when they are gone.
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"x", &path).is_ok() {}
        Full {
            sender,
            receiver,
            path,
        }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn a_sender_waits_for_a_receiver_that_is_full() {
    on_each_host(async |reactor| {
        let full = Full::new(&reactor, "full");
        let turns = turns_in_vain(&reactor, full.sender.send_to(b"y", &full.path)).await;
        assert!(turns < FEW, "{turns} turns");
        // It gets on once there is room, although nothing tells the kernel's poll of that.
        let receive = async {
            Timer::after(&reactor, 5 * MS).await;
            while full.receiver.recv(&mut [0]).is_ok() {}
        };
        let (sent, ()) = zip(full.sender.send_to(b"y", &full.path), receive).await;
        assert_eq!(sent.unwrap(), 1);
    });
}

#[test]
fn an_attempt_by_hand_may_say_that_it_would_block() {
    on_each_host(async |reactor| {
        let full = Full::new(&reactor, "by-hand");
        let send = async || -> Result<usize> {
            loop {
                full.sender.writable().await?;
                let send = |sender: &UnixDatagram| sender.send_to(b"y", &full.path);
                match full.sender.try_io(Interest::WRITABLE, send) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                }
            }
        };
        let turns = turns_in_vain(&reactor, send()).await;
        assert!(turns < FEW, "{turns} turns");
        while full.receiver.recv(&mut [0]).is_ok() {}
        assert_eq!(send().await.unwrap(), 1);
    });
}

/// A task that has waited in vain once is not deaf to what a short read leaves.
#[test]
fn nothing_is_lost_after_waiting_in_vain() {
    on_each_host(async |reactor| {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut stream = Async::new(&reactor, socket).unwrap();
        peer.write_all(b"x").unwrap();
        let turns = turns_in_vain(
            &reactor,
            stream.read_with(|_| -> Result<()> { Err(ErrorKind::WouldBlock.into()) }),
        );
        let turns = turns.await;
        assert!(turns < FEW, "{turns} turns");
        // It is still there.
        stream.readable().await.unwrap();
        future::poll_fn(|cx| stream.poll_readable(cx))
            .await
            .unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let idle = future::poll_once(stream.readable()).await;
        assert!(idle.is_none(), "it was drained");
        for n in 1..100_u8 {
            peer.write_all(&vec![n; 2 * n as usize]).unwrap();
            let mut bytes = vec![0; n as usize];
            // By halves, and by what a hand has left.
            stream.read_exact(&mut bytes).await.unwrap();
            stream.readable().await.unwrap();
            { stream.get_ref() }.read_exact_by_hand(&mut bytes[1..]);
            stream.readable().await.unwrap();
            stream.read_exact(&mut bytes[..1]).await.unwrap();
            assert_eq!(bytes[0], n);
        }
    });
}

trait ReadByHand {
    fn read_exact_by_hand(self, bytes: &mut [u8]);
}

impl ReadByHand for &UnixStream {
    fn read_exact_by_hand(mut self, bytes: &mut [u8]) {
        std::io::Read::read_exact(&mut self, bytes).unwrap();
    }
}

#[test]
fn on_the_polling_crate_no_task_spins() {
    let builder = Reactor::builder().poller(PollerKind::Polling);
    let reactor = builder.build().unwrap();
    let test = async {
        let socket = with_an_error_in_its_queue(&reactor);
        let mut bytes = [0; 9];
        let turns = turns_in_vain(&reactor, socket.recv(&mut bytes)).await;
        assert!(turns < FEW, "{turns} turns");
        let (received, ()) = zip(socket.recv(&mut bytes), send(&socket, b"1234")).await;
        assert_eq!(received.unwrap(), 4);
        let full = Full::new(&reactor, "no-edges");
        let turns = turns_in_vain(&reactor, full.sender.send_to(b"y", &full.path)).await;
        assert!(turns < FEW, "{turns} turns");
        while full.receiver.recv(&mut [0]).is_ok() {}
        full.sender.send_to(b"y", &full.path).await.unwrap();
    };
    reactor.block_on(test).unwrap();
}

/// Level-triggered, the handler is called once more before its interest is taken out. As that goes on, it becomes
/// edge-triggered.
#[test]
fn reports_for_which_no_task_waits_end_soon_and_become_edges() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (_, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut calls_for_a_message = || {
        let before = reactor.stats().handler_calls;
        let mut wait = pin!(stream.readable());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        peer.write_all(b"x").unwrap();
        for _ in 0..10 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(wait.poll(&mut cx).is_ready());
        assert_eq!(stream.get_ref().read(&mut [0; 8]).unwrap(), 1);
        reactor.stats().handler_calls - before
    };
    assert_eq!(calls_for_a_message(), 2);
    let calls: Vec<u64> = (0..20).map(|_| calls_for_a_message()).collect();
    // The loop sometimes asks whether the number still means the file, and the kernel then reports the byte again.
    let once = calls[10..].iter().filter(|&&calls| calls == 1).count();
    assert!(once >= 9, "{calls:?}");
}

/// A task that reads by hand, and is busy with what it has read.
#[test]
fn reports_for_a_busy_task_end_at_once_or_are_edges() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let read = |n: usize| {
        let read = |mut stream: &UnixStream| stream.read(&mut vec![0; n]);
        stream.try_io(Interest::READABLE, read)
    };
    let turns = |count| {
        for _ in 0..count {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stream.poll_readable(&mut cx).is_pending());
    peer.write_all(b"xy").unwrap();
    turns(1);
    assert_eq!(read(1).unwrap(), 1);
    // Level-triggered. There is more, and the task does not wait.
    let before = reactor.stats().handler_calls;
    turns(5);
    assert_eq!(reactor.stats().handler_calls - before, 1);

    assert_eq!(read(1).unwrap(), 1);
    assert!(stream.poll_readable(&mut cx).is_ready());
    assert!(stream.poll_readable(&mut cx).is_pending());
    peer.write_all(b"x").unwrap();
    turns(1);
    let nothing = |_: &UnixStream| -> Result<()> { Err(ErrorKind::WouldBlock.into()) };
    stream.try_io(Interest::READABLE, nothing).unwrap_err();
    // Edge-triggered now. The task looks at each message some time, and goes on being told.
    let stats = reactor.stats();
    assert_eq!((stats.level_handlers, stats.edge_handlers), (0, 1));
    turns(1);
    let before = reactor.stats().handler_calls;
    for _ in 0..50 {
        assert_eq!(read(8).unwrap(), 1);
        peer.write_all(b"x").unwrap();
        turns(1);
    }
    let after = reactor.stats().handler_calls;
    assert_eq!(after - before, 50);
    // It looks at nothing more.
    for _ in 0..50 {
        peer.write_all(b"x").unwrap();
        turns(1);
    }
    let calls = reactor.stats().handler_calls - after;
    assert!(calls < 10, "{calls} calls");
}

/// A direction for which no task waits does not keep the loop going.
#[test]
fn a_sender_that_gives_up_is_not_asked_for_when_its_pause_is_over() {
    let reactor = Reactor::new().unwrap();
    let full = Full::new(&reactor, "gives-up");
    let send = full.sender.send_to(b"y", &full.path);
    let before = reactor.block_on(async {
        let turns = turns_in_vain(&reactor, send).await;
        assert!(turns < FEW, "{turns} turns");
        reactor.stats().handler_calls
    });
    // Until the timer of the pause is gone.
    reactor.run().unwrap();
    assert_eq!(reactor.stats().pending_timers, 0);
    assert_eq!(reactor.stats().handler_calls, before.unwrap());
}
