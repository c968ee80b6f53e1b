//! `Async` and `Timer`: on every host, from any executor.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use oneloop::futures::{Async, Timer};
use oneloop::{Interest, LocalReactor, Mode, Reactor, Ready, Source, TestClock, VirtualSource};

const MS: Duration = Duration::from_millis(1);
const LOCALHOST: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Says how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn wakes() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

fn look(reactor: &Reactor) {
    while !reactor.turn(Some(Duration::ZERO)).unwrap().idle {}
}

/// Two ends of a socket pair; the second is the test's.
fn pair(reactor: &Reactor) -> (Async<UnixStream>, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    b.set_nonblocking(true).unwrap();
    (Async::new(reactor, a).unwrap(), b)
}

/// Fifty clients that talk to a server, all of them tasks.
async fn conversations(reactor: &Reactor) {
    const CLIENTS: usize = 50;
    let executor = Rc::new(LocalExecutor::new());
    let listener = Async::<TcpListener>::bind(reactor, LOCALHOST).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    let spawner = executor.clone();
    let server = async move {
        let mut incoming = listener.incoming().take(CLIENTS);
        let mut served = Vec::new();
        while let Some(stream) = incoming.next().await {
            let stream = stream.unwrap();
            served.push(spawner.spawn(async move {
                let copied = futures_lite::io::copy(&stream, &stream).await.unwrap();
                (&stream).close().await.unwrap();
                copied
            }));
        }
        let mut copied = 0;
        for one in served {
            copied += one.await;
        }
        copied
    };
    let server = executor.spawn(server);
    let client = |number: usize| async move {
        let mut stream = Async::<TcpStream>::connect(reactor, address).await.unwrap();
        let mut sent = 0;
        for size in [1, 10, 1000, 30_000].map(|size| size + number) {
            let bytes = vec![number as u8; size];
            stream.write_all(&bytes).await.unwrap();
            let mut back = vec![0; size];
            stream.read_exact(&mut back).await.unwrap();
            assert!(back == bytes);
            sent += size as u64;
            Timer::after(reactor, Duration::from_micros(50)).await;
        }
        stream.close().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        sent
    };
    let clients = async {
        let tasks = (0..CLIENTS).map(|number| Box::pin(client(number)));
        let mut tasks: Vec<_> = tasks.collect();
        let mut sums = vec![None; CLIENTS];
        poll_fn(|cx| {
            for (task, sum) in tasks.iter_mut().zip(&mut sums) {
                if sum.is_none() {
                    if let Poll::Ready(sent) = task.as_mut().poll(cx) {
                        *sum = Some(sent);
                    }
                }
            }
            match sums.iter().copied().sum::<Option<u64>>() {
                Some(sum) => Poll::Ready(sum),
                None => Poll::Pending,
            }
        })
        .await
    };
    let (copied, sent) = executor.run(zip(server, clients)).await;
    assert_eq!(copied, sent);
}

#[test]
fn tasks_on_the_built_in_loop() {
    let reactor = Reactor::new().unwrap();
    reactor.block_on(conversations(&reactor)).unwrap();
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn tasks_on_the_polling_crate() {
    let builder = Reactor::builder().poller(oneloop::PollerKind::Polling);
    let reactor = builder.build().unwrap();
    reactor.block_on(conversations(&reactor)).unwrap();
}

#[test]
fn tasks_on_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let reactor = Reactor::new().unwrap();
        let driver = tokio::spawn(oneloop_tokio::drive(&reactor));
        conversations(&reactor).await;
        reactor.stop();
        driver.await.unwrap().unwrap();
    });
}

#[test]
fn tasks_on_async_io() {
    async_io::block_on(async {
        let reactor = Reactor::new().unwrap();
        let driver = oneloop_async_io::drive(&reactor);
        let talk = async {
            conversations(&reactor).await;
            reactor.stop();
        };
        zip(driver, talk).await.0.unwrap();
    });
}

#[test]
fn tasks_on_an_executor_of_other_threads() {
    let reactor = Reactor::new().unwrap();
    let executor = Arc::new(Executor::new());
    let (a, b) = Async::<UnixStream>::pair(&reactor).unwrap();
    let mut echo = a;
    let served = executor.spawn(async move {
        let mut bytes = [0; 100];
        loop {
            match echo.read(&mut bytes).await.unwrap() {
                0 => return,
                n => echo.write_all(&bytes[..n]).await.unwrap(),
            }
        }
    });
    let (mut client, stopper) = (b, reactor.clone());
    let asked = executor.spawn(async move {
        for n in 0..1000_u32 {
            client.write_all(&n.to_ne_bytes()).await.unwrap();
            let mut back = [0; 4];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(u32::from_ne_bytes(back), n);
        }
        client.close().await.unwrap();
    });
    let workers = [0, 1].map(|_| {
        let executor = executor.clone();
        let (stop, stopped) = async_channel();
        let worker = thread::spawn(move || future::block_on(executor.run(stopped)));
        (stop, worker)
    });
    let all = executor.spawn(async move {
        zip(served, asked).await;
        stopper.stop();
    });
    let driven = reactor.block_on(future::pending::<()>());
    assert_eq!(driven.unwrap_err().kind(), oneloop::ErrorKind::Stopped);
    future::block_on(all);
    for (stop, worker) in workers {
        drop(stop);
        worker.join().unwrap();
    }
}

/// A future that is ready when the other half is dropped.
fn async_channel() -> (impl Sized, impl Future<Output = ()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    (sender, async { drop(receiver.await) })
}

#[test]
fn a_loop_that_stays_on_its_thread() {
    let reactor = LocalReactor::new().unwrap();
    let (mut a, mut b) = Async::<UnixStream, _>::pair(&reactor).unwrap();
    let log = Rc::new(RefCell::new(String::new()));
    let seen = log.clone();
    let talk = zip(
        async move {
            a.write_all(b"hello").await.unwrap();
            a.close().await.unwrap();
        },
        async move {
            let mut text = String::new();
            b.read_to_string(&mut text).await.unwrap();
            seen.borrow_mut().push_str(&text);
        },
    );
    reactor.block_on(talk).unwrap();
    assert_eq!(*log.borrow(), "hello");
}

#[test]
fn any_number_of_futures_wait_for_one_source() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut waits: Vec<_> = (0..10).map(|_| Box::pin(stream.readable())).collect();
    let mut cx = Context::from_waker(&waker);
    assert!(
        waits
            .iter_mut()
            .all(|wait| wait.as_mut().poll(&mut cx).is_pending())
    );
    let (polled, polling) = wakes();
    let mut poll_cx = Context::from_waker(&polling);
    assert!(stream.poll_readable(&mut poll_cx).is_pending());
    // Those who give up do no harm to the rest.
    waits.truncate(7);
    drop(waits.swap_remove(2));
    look(&reactor);
    assert_eq!((woken.take(), polled.take()), (0, 0));

    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((woken.take(), polled.take()), (6, 1));
    for mut wait in waits {
        assert!(matches!(wait.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    }
    assert!(stream.poll_readable(&mut poll_cx).is_ready());
}

#[test]
fn readable_looks_anew_each_time() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    peer.write_all(b"xy").unwrap();
    reactor
        .block_on(async {
            for _ in 0..3 {
                stream.readable().await.unwrap();
            }
            let mut bytes = [0; 8];
            assert_eq!((&stream).read(&mut bytes).await.unwrap(), 2);
            // Drained by somebody else's hand, it is not readable any more.
            let again = future::poll_once(stream.readable());
            assert!(again.await.is_none());
            let or_timer = future::or(
                async {
                    stream.readable().await.unwrap();
                    false
                },
                async {
                    Timer::after(&reactor, 3 * MS).await;
                    true
                },
            );
            assert!(or_timer.await, "it said readable");
        })
        .unwrap();
}

#[test]
fn polls_in_both_directions_have_a_waker_each() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    while { stream.get_ref() }.write(&[0; 4096]).is_ok() {}
    let ((reads, reader), (writes, writer)) = (wakes(), wakes());
    assert!(
        stream
            .poll_readable(&mut Context::from_waker(&reader))
            .is_pending()
    );
    assert!(
        stream
            .poll_writable(&mut Context::from_waker(&writer))
            .is_pending()
    );
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (0, 0));
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (1, 0));
    while peer.read(&mut [0; 65536]).is_ok() {}
    look(&reactor);
    assert_eq!((reads.take(), writes.take()), (0, 1));
}

#[test]
fn of_those_who_poll_in_one_direction_the_last_is_woken() {
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let ((first, one), (last, two)) = (wakes(), wakes());
    for waker in [&one, &two] {
        assert!(
            stream
                .poll_readable(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    peer.write_all(b"x").unwrap();
    look(&reactor);
    assert_eq!((first.take(), last.take()), (0, 1));
}

#[test]
fn two_on_one_descriptor_beside_a_handler() {
    let reactor = Reactor::new().unwrap();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let socket = Arc::new(socket);
    let one = Async::new(&reactor, socket.clone()).unwrap();
    let two = Async::new(&reactor, socket.clone()).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    reactor
        .add_handler(socket, Interest::READABLE, Mode::Edge, move |_, _| {
            seen.fetch_add(1, SeqCst);
        })
        .unwrap();
    let both = zip(one.readable(), two.readable());
    peer.write_all(b"x").unwrap();
    let (a, b) = reactor.block_on(both).unwrap();
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(calls.load(SeqCst), 1);
    drop(one);
    peer.write_all(b"y").unwrap();
    reactor.block_on(two.readable()).unwrap().unwrap();
    assert_eq!(reactor.stats().handlers, 2);
}

#[test]
fn big_data_with_a_slow_reader_and_half_close() {
    const BYTES: usize = 5_000_000;
    let reactor = Reactor::new().unwrap();
    let (mut a, mut b) = Async::<UnixStream>::pair(&reactor).unwrap();
    let data: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let talk = zip(
        async {
            a.write_all(&data).await.unwrap();
            a.close().await.unwrap();
            // The other direction goes on.
            let mut answer = String::new();
            a.read_to_string(&mut answer).await.unwrap();
            answer
        },
        async {
            let mut got = Vec::new();
            let mut bytes = vec![0; 3000];
            loop {
                match b.read(&mut bytes).await.unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&bytes[..n]),
                }
                if got.len() % 7 == 0 {
                    future::yield_now().await;
                }
            }
            assert!(got == data);
            b.write_all(b"all of it").await.unwrap();
            drop(b);
        },
    );
    assert_eq!(reactor.block_on(talk).unwrap().0, "all of it");
}

#[test]
fn a_conversation_costs_no_kernel_changes() {
    let reactor = Reactor::new().unwrap();
    let (mut a, mut b) = Async::<UnixStream>::pair(&reactor).unwrap();
    let mut byte = [0];
    let talk = zip(
        async {
            for _ in 0..1000 {
                a.write_all(b"?").await.unwrap();
                a.read_exact(&mut byte).await.unwrap();
            }
        },
        async {
            let mut byte = [0];
            for _ in 0..1000 {
                b.read_exact(&mut byte).await.unwrap();
                b.write_all(b"!").await.unwrap();
            }
        },
    );
    reactor.block_on(talk).unwrap();
    let changes = reactor.stats().kernel_changes;
    assert!(changes < 10, "{changes}");
}

#[test]
fn what_nobody_waits_for_keeps_nobody_awake() {
    let reactor = Reactor::new().unwrap();
    let (mut stream, mut peer) = pair(&reactor);
    peer.write_all(b"x").unwrap();
    reactor
        .block_on(async {
            stream.read_exact(&mut [0]).await.unwrap();
            // Now it is registered, and more comes than is asked for.
            assert!(future::poll_once(stream.readable()).await.is_none());
            peer.write_all(b"lots").unwrap();
            let before = reactor.stats().turns;
            Timer::after(&reactor, 20 * MS).await;
            let turns = reactor.stats().turns - before;
            assert!(turns < 10, "{turns} turns in which there was nothing to do");
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"lots");
        })
        .unwrap();
}

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
fn a_closed_loop_ends_every_wait_with_an_error() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut wait = pin!(stream.readable());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    assert!(stream.poll_readable(&mut cx).is_pending());
    reactor.close();
    assert_eq!(woken.take(), 2);
    let Poll::Ready(Err(error)) = wait.poll(&mut cx) else {
        panic!("still waiting, or readable");
    };
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(matches!(stream.poll_readable(&mut cx), Poll::Ready(Err(_))));
    let late = future::block_on(stream.writable());
    assert!(late.unwrap_err().to_string().contains("closed"));
    let (socket, _) = UnixStream::pair().unwrap();
    let refused = Async::new(&reactor, socket).unwrap_err();
    assert_eq!(refused.error().kind(), oneloop::ErrorKind::Closed);
    let flags = rustix::fs::fcntl_getfl(refused.into_source()).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "untouched");
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

#[test]
fn a_connection_that_is_refused() {
    let reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connect = Async::<TcpStream>::connect(&reactor, address);
    let error = reactor.block_on(connect).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let connect = Async::<UnixStream>::connect(&reactor, "/nowhere/at/all");
    let error = reactor.block_on(connect).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn datagrams() {
    let reactor = Reactor::new().unwrap();
    let [a, b] = [(); 2].map(|()| Async::<UdpSocket>::bind(&reactor, LOCALHOST).unwrap());
    let [to_a, to_b] = [&a, &b].map(|socket| socket.get_ref().local_addr().unwrap());
    let mut bytes = [0; 10];
    reactor
        .block_on(async {
            // The answer is awaited before it is there.
            let (sent, received) = zip(
                async {
                    Timer::after(&reactor, MS).await;
                    a.send_to(b"ping", to_b).await
                },
                b.recv_from(&mut bytes),
            )
            .await;
            assert_eq!((sent.unwrap(), received.unwrap()), (4, (4, to_a)));
            a.get_ref().connect(to_b).unwrap();
            b.get_ref().connect(to_a).unwrap();
            b.send(b"pong!").await.unwrap();
            assert_eq!(a.peek_from(&mut bytes).await.unwrap(), (5, to_b));
            assert_eq!(a.peek(&mut bytes).await.unwrap(), 5);
            assert_eq!(a.recv(&mut bytes).await.unwrap(), 5);

            let (c, d) = Async::<UnixDatagram>::pair(&reactor).unwrap();
            let (received, sent) = zip(c.recv(&mut bytes), d.send(b"unix")).await;
            assert_eq!((received.unwrap(), sent.unwrap()), (4, 4));
        })
        .unwrap();
}

#[test]
fn unix_datagrams_with_and_without_a_name() {
    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-datagram-{}", std::process::id()));
    let named = Async::<UnixDatagram>::bind(&reactor, &path).unwrap();
    let nameless = Async::<UnixDatagram>::unbound(&reactor).unwrap();
    let mut bytes = [0; 10];
    let talk = zip(
        named.recv_from(&mut bytes),
        nameless.send_to(b"hello", &path),
    );
    let (received, sent) = reactor.block_on(talk).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (length, from) = received.unwrap();
    assert_eq!((length, sent.unwrap()), (5, 5));
    assert!(from.is_unnamed());
}

#[test]
fn tcp_by_ipv6_and_a_look_at_what_is_to_be_read() {
    let reactor = Reactor::new().unwrap();
    let localhost = (std::net::Ipv6Addr::LOCALHOST, 0);
    let listener = Async::<TcpListener>::bind(&reactor, localhost).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    let mut bytes = [0; 10];
    let talk = async {
        let connect = Async::<TcpStream>::connect(&reactor, address);
        let (accepted, connected) = zip(listener.accept(), connect).await;
        let ((mut server, peer), client) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(peer, client.get_ref().local_addr().unwrap());
        let (seen, sent) = zip(client.peek(&mut bytes), server.write_all(b"hello")).await;
        sent.unwrap();
        assert_eq!(seen.unwrap(), 5);
        assert_eq!((&client).read(&mut bytes).await.unwrap(), 5);
    };
    reactor.block_on(talk).unwrap();
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

#[test]
fn unix_listeners() {
    let reactor = Reactor::new().unwrap();
    let path = std::env::temp_dir().join(format!("oneloop-test-{}", std::process::id()));
    let listener = Async::<UnixListener>::bind(&reactor, &path).unwrap();
    let talk = async {
        let accepted = async {
            let (mut one, _) = listener.accept().await.unwrap();
            one.write_all(b"1").await.unwrap();
            drop(one);
            let mut two = listener.incoming().next().await.unwrap().unwrap();
            two.write_all(b"2").await.unwrap();
        };
        let connected = async {
            let mut texts = [String::new(), String::new()];
            for text in &mut texts {
                let stream = Async::<UnixStream>::connect(&reactor, &path).await;
                stream.unwrap().read_to_string(text).await.unwrap();
            }
            texts.concat()
        };
        zip(accepted, connected).await.1
    };
    let texts = reactor.block_on(talk);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(texts.unwrap(), "12");
}

#[test]
fn timers_in_order_and_cancelled_by_dropping() {
    let clock = TestClock::eager();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let executor = LocalExecutor::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let hour = Duration::from_secs(3600);
    for hours in [5, 1, 3] {
        let timer = Timer::after(&reactor, hours * hour);
        let log = log.clone();
        let wait = async move {
            timer.await;
            log.borrow_mut().push(hours);
        };
        executor.spawn(wait).detach();
    }
    let timer = Timer::after(&reactor, 2 * hour);
    let cancelled = executor.spawn(async {
        timer.await;
        unreachable!("it was dropped");
    });
    let main = executor.run(async {
        Timer::after(&reactor, hour / 2).await;
        cancelled.cancel().await;
        let mut moved = Timer::after(&reactor, 100 * hour);
        assert!(future::poll_once(&mut moved).await.is_none());
        moved.set_after(6 * hour);
        moved.await
    });
    let start = clock.now();
    let fired = reactor.block_on(main).unwrap();
    assert_eq!(fired - start, 6 * hour + hour / 2);
    assert_eq!(*log.borrow(), [1, 3, 5]);
    assert_eq!(reactor.stats().pending_timers, 0);
}

#[test]
fn ticks_keep_their_phase_and_those_that_were_missed_are_skipped() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let start = clock.now();
    let mut ticks = Timer::interval(&reactor, 10 * MS);
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut tick = |to: u32| {
        let now = clock.now() - start;
        clock.advance(to * MS - now);
        look(&reactor);
        match ticks.poll_next(&mut cx) {
            Poll::Ready(tick) => Some(tick.unwrap() - start),
            Poll::Pending => None,
        }
    };
    assert_eq!(tick(9), None);
    assert_eq!(tick(10), Some(10 * MS));
    assert_eq!(tick(10), None);
    assert_eq!(tick(47), Some(40 * MS), "the last of those that passed");
    assert_eq!(tick(49), None);
    assert_eq!(tick(50), Some(50 * MS));
    assert!(woken.take() > 0);

    let mut once = Timer::at(&reactor, start);
    assert_eq!(once.poll_next(&mut cx), Poll::Ready(Some(start)));
    assert_eq!(once.poll_next(&mut cx), Poll::Ready(None));
    let mut never = Timer::after(&reactor, Duration::MAX);
    assert_eq!(never.deadline(), None);
    assert!(never.poll_next(&mut cx).is_pending());
}

#[test]
fn a_timer_that_is_moved_wakes_who_waits_whatever_it_was_before() {
    let clock = TestClock::new();
    let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
    let (woken, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    let mut never = Timer::after(&reactor, Duration::MAX);
    let mut soon = Timer::after(&reactor, MS);
    let mut ticks = Timer::interval(&reactor, Duration::MAX);
    assert!(pin!(&mut never).poll(&mut cx).is_pending());
    assert!(pin!(&mut soon).poll(&mut cx).is_pending());
    assert!(ticks.poll_next(&mut cx).is_pending());
    soon.set_after(Duration::MAX);
    clock.advance(MS);
    look(&reactor);
    assert_eq!(woken.take(), 0);
    never.set_after(MS);
    soon.set_after(MS);
    ticks.set_after(MS);
    clock.advance(MS);
    look(&reactor);
    assert_eq!(woken.take(), 3);
}

#[test]
fn what_a_timer_waits_for_no_more_is_not_in_the_loop() {
    let reactor = Reactor::new().unwrap();
    let pending = || reactor.stats().pending_timers;
    let mut timer = Timer::after(&reactor, MS * 60_000);
    assert_eq!(pending(), 0, "nobody has polled it");
    let poll = |timer: &mut Timer| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(timer).poll(&mut cx).is_pending());
    };
    for _ in 0..3 {
        poll(&mut timer);
        assert_eq!(pending(), 1);
    }
    timer.set_after(Duration::MAX);
    assert_eq!(pending(), 0);
    timer.set_after(MS * 60_000);
    assert_eq!(pending(), 1);
    drop(timer);
    assert_eq!(pending(), 0);
}

/// The loop may fire for the waker before just when a poll brings another.
#[test]
fn a_timer_that_is_given_another_waker_as_it_fires_wakes_that_one() {
    let reactor = Reactor::new().unwrap();
    let every = reactor.call_every(Duration::ZERO, || {}).unwrap();
    let driven = reactor.clone();
    let driver = thread::spawn(move || driven.run().unwrap());
    for _ in 0..10_000 {
        let mut timer = Timer::after(&reactor, Duration::from_micros(10));
        let mut before: Option<Arc<Wakes>> = None;
        loop {
            let (woken, waker) = wakes();
            if pin!(&mut timer)
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                break;
            }
            if before.is_some_and(|before| before.take() > 0) {
                // Or this test never ends.
                while woken.take() == 0 {
                    thread::yield_now();
                }
                break;
            }
            before = Some(woken);
        }
    }
    reactor.cancel_timer(every).unwrap();
    driver.join().unwrap();
}

#[test]
fn flushing_and_closing_wait_for_nobody() {
    let reactor = Reactor::new().unwrap();
    let (mut stream, mut peer) = pair(&reactor);
    let talk = async {
        // As much as there is room for, and a wait that is given up.
        while future::poll_once(stream.write(&[7; 65536])).await.is_some() {}
        stream.flush().await.unwrap();
        stream.close().await.unwrap();
    };
    reactor.block_on(talk).unwrap();
    while peer.read(&mut [0; 65536]).unwrap() > 0 {}
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

#[test]
fn what_nobody_waits_for_any_more_does_not_keep_run_going() {
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    reactor
        .block_on(async {
            assert!(future::poll_once(stream.readable()).await.is_none());
        })
        .unwrap();
    reactor.run().unwrap();
}

#[test]
fn a_waker_that_uses_the_source_in_its_drop() {
    struct Last(std::sync::Mutex<Option<Arc<Async<UnixStream>>>>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(stream) = self.0.lock().unwrap().take() {
                let _ = stream.poll_readable(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    let stream = Arc::new(stream);
    let last = Arc::new(Last(std::sync::Mutex::new(Some(stream.clone()))));
    let poll = |waker: &Waker| {
        stream
            .poll_readable(&mut Context::from_waker(waker))
            .is_pending()
    };
    assert!(poll(&last.into()));
    assert!(poll(Waker::noop()), "and not a deadlock");
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    let reactor = Reactor::new().unwrap();
    let (stream, mut peer) = pair(&reactor);
    let panics = Waker::from(Arc::new(Panics));
    let (woken, waker) = wakes();
    let mut waits = [stream.readable(), stream.readable(), stream.readable()];
    for (wait, waker) in waits.iter_mut().zip([&waker, &panics, &waker]) {
        assert!(
            pin!(wait)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    peer.write_all(b"x").unwrap();
    let turn = || reactor.turn(Some(Duration::from_secs(20)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(turn));
    assert!(panicked.is_err(), "it reaches whoever drives");
    assert_eq!(woken.take(), 2);
    // The handler is gone, as every one is that panicked, and says so.
    let error = future::block_on(stream.writable()).unwrap_err();
    assert!(error.to_string().contains("unknown id"), "{error}");
}

#[test]
fn futures_are_send_for_a_reactor() {
    fn is_send<T: Send>(_: &T) {}
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    is_send(&stream);
    is_send(&stream.readable());
    is_send(&stream.read_with(|_| Ok(())));
    is_send(&Async::<TcpStream>::connect(&reactor, LOCALHOST));
    is_send(&Timer::after(&reactor, MS));
}
