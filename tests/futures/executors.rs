//! Any executor polls, and any host drives.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use futures_lite::future::{self, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use oneloop::futures::{Async, Timer};
use oneloop::{Interest, Reactor};
use tokio::runtime::Runtime;

use crate::{LOCALHOST, MS, on_each_host, pair};

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
fn tasks_on_each_host() {
    on_each_host(async |reactor| conversations(&reactor).await);
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
    let reactor = Reactor::new_local().unwrap();
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
fn futures_are_send_for_a_reactor() {
    fn is_send<T: Send>(_: &T) {}
    let reactor = Reactor::new().unwrap();
    let (stream, _peer) = pair(&reactor);
    is_send(&stream);
    is_send(&stream.readable());
    is_send(&stream.ready(Interest::READABLE));
    is_send(&stream.read_with(|_| Ok(())));
    is_send(&Async::<TcpStream>::connect(&reactor, LOCALHOST));
    is_send(&Timer::after(&reactor, MS));
}

/// A host's own work: a woken task has its turn before the loop looks again.
#[test]
fn a_conversation_costs_no_more_under_a_host_than_alone() {
    const ECHOES: u64 = 500;
    on_each_host(async |reactor| {
        let (mut client, mut server) = Async::<UnixStream>::pair(&reactor).unwrap();
        let ask = async {
            for _ in 0..ECHOES {
                client.write_all(b"?").await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
            }
            client.close().await.unwrap();
        };
        let answer = async {
            while server.read(&mut [0; 9]).await.unwrap() == 1 {
                server.write_all(b"!").await.unwrap();
            }
        };
        let before = reactor.stats();
        zip(ask, answer).await;
        let after = reactor.stats();
        let turns = after.turns - before.turns;
        let calls = after.handler_calls - before.handler_calls;
        let changes = after.kernel_changes - before.kernel_changes;
        println!("{turns} turns, {calls} calls, {changes} changes");
        // One for each message, and some to begin with and to end.
        assert!(turns < 2 * ECHOES + 30, "{turns} turns");
        assert!(calls < 2 * ECHOES + 30, "{calls} calls");
        assert!(changes < 30, "{changes} changes told to the kernel");
    });
}

/// The loop reports again before the task has read, on another thread.
#[test]
fn a_conversation_on_other_threads_costs_no_kernel_changes() {
    const ECHOES: u32 = 2000;
    let reactor = Reactor::new().unwrap();
    let (mut client, mut server) = Async::<UnixStream>::pair(&reactor).unwrap();
    let keep = reactor.call_every(Duration::from_secs(60), || {}).unwrap();
    let driven = reactor.clone();
    let driver = thread::spawn(move || driven.run().unwrap());
    let answer = thread::spawn(move || {
        future::block_on(async {
            while server.read(&mut [0; 9]).await.unwrap() > 0 {
                server.write_all(b"!").await.unwrap();
            }
        });
    });
    future::block_on(async {
        for _ in 0..ECHOES {
            client.write_all(b"?").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        }
        client.close().await.unwrap();
    });
    answer.join().unwrap();
    let changes = reactor.stats().kernel_changes;
    // On a busy machine a descriptor may stay level-triggered. Then at most one report is unheard for each four
    // that a task waits for, and each costs two changes. Without that limit there were 3,762.
    let limit = 2 * 2 * (ECHOES / 4 + 10);
    assert!(
        changes < limit.into(),
        "{changes} changes told to the kernel"
    );
    reactor.cancel_timer(keep).unwrap();
    reactor.stop();
    driver.join().unwrap();
}

/// All at once: tasks on two threads, the loop on a third, and pieces of any size.
#[test]
fn many_conversations_between_threads() {
    let reactor = Reactor::new().unwrap();
    let keep = reactor.call_every(Duration::from_secs(60), || {}).unwrap();
    let driven = reactor.clone();
    let driver = thread::spawn(move || driven.run().unwrap());
    converse_on_two_threads(&reactor, &two_threads());
    reactor.cancel_timer(keep).unwrap();
    reactor.stop();
    driver.join().unwrap();
}

/// The loop is one of the tasks.
#[test]
fn many_conversations_beside_the_loop() {
    let reactor = Reactor::new().unwrap();
    let runtime = two_threads();
    let driver = runtime.spawn(oneloop_tokio::drive(&reactor));
    converse_on_two_threads(&reactor, &runtime);
    reactor.stop();
    runtime.block_on(driver).unwrap().unwrap();
}

fn two_threads() -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build();
    runtime.unwrap()
}

fn converse_on_two_threads(reactor: &Reactor, runtime: &Runtime) {
    const PAIRS: usize = 20;
    const BYTES: usize = 200_000;
    let talks = (0..PAIRS).map(|pair| {
        let (mut a, b) = Async::<UnixStream>::pair(reactor).unwrap();
        // Both directions of one end, by two tasks.
        let b = Arc::new(b);
        let copy = b.clone();
        runtime.spawn(async move {
            futures_lite::io::copy(&*copy, &*copy).await.unwrap();
            (&*copy).close().await.unwrap();
        });
        runtime.spawn(async move {
            let mut random = pair as u32;
            let mut pick = |most: usize| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 8) as usize % most + 1
            };
            let (mut sent, mut back) = (0, 0);
            while back < BYTES {
                let piece = pick(20_000).min(BYTES - sent);
                a.write_all(&vec![7; piece]).await.unwrap();
                sent += piece;
                while back < sent {
                    if pick(3) == 1 {
                        a.readable().await.unwrap();
                    }
                    let mut bytes = vec![0; pick(9000)];
                    back += a.read(&mut bytes).await.unwrap();
                }
            }
            a.close().await.unwrap();
            assert_eq!(a.read(&mut [0]).await.unwrap(), 0);
            drop(b);
        })
    });
    let talks: Vec<_> = talks.collect();
    for talk in talks {
        runtime.block_on(talk).unwrap();
    }
}
