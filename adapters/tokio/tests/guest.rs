//! tokio inside a reactor, under each driver but tokio.
#![cfg(feature = "guest")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oneloop::{Local, LocalReactor, Reactor};
use oneloop_support::{Drive, Watchdog, async_io, built_in, on_poll};
use oneloop_tokio::TokioGuest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::{spawn_blocking, spawn_local};

/// Runs a task under each driver until it has ended.
fn on_each_driver(test: impl AsyncFn(LocalReactor) + Clone + 'static) {
    for drive in [built_in as Drive<Local>, async_io, on_poll] {
        let _watchdog = Watchdog::new("a task of the guest");
        let reactor = Reactor::new_local().unwrap();
        let tokio = TokioGuest::new(&reactor).unwrap();
        let (test, inside) = (test.clone(), reactor.clone());
        let task = tokio.spawn_local(async move {
            test(inside.clone()).await;
            inside.stop();
        });
        drive(&reactor).unwrap();
        assert!(task.is_finished());
        reactor.close();
    }
}

#[test]
fn tasks_use_sockets_timers_children_and_pools() {
    on_each_driver(async |_| {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(start.elapsed() >= Duration::from_millis(5));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..200 {
            stream.write_all(b"hello").await.unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"hello");
        }
        drop(stream);
        server.await.unwrap();

        assert_eq!(spawn_blocking(|| 42).await.unwrap(), 42);
        assert!(Command::new("true").status().await.unwrap().success());
    });
}

#[test]
fn tasks_and_callbacks_share_data_on_one_thread() {
    on_each_driver(async |reactor| {
        let here = std::thread::current().id();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let shared = Rc::new(Cell::new(0));
        let in_callback = shared.clone();
        let callback = move || {
            assert_eq!(std::thread::current().id(), here);
            in_callback.set(in_callback.get() + 1);
            sender.send(()).unwrap();
        };
        reactor
            .call_later(Duration::from_millis(1), callback)
            .unwrap();
        receiver.await.unwrap();
        assert_eq!(shared.get(), 1);
        let there = tokio::spawn(async { std::thread::current().id() });
        assert_ne!(there.await.unwrap(), here);
    });
}

#[test]
fn run_ends_when_the_tasks_have_ended() {
    let reactor = Reactor::new_local().unwrap();
    let tokio = TokioGuest::new(&reactor).unwrap();
    reactor.run().unwrap();
    let ended = Rc::new(Cell::new(0));
    for millis in [1, 5] {
        let ended = ended.clone();
        tokio.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            ended.set(ended.get() + 1);
        });
    }
    reactor.run().unwrap();
    assert_eq!(ended.get(), 2);
}

#[test]
fn at_rest_the_loop_sleeps() {
    let reactor = Reactor::new_local().unwrap();
    let tokio = TokioGuest::new(&reactor).unwrap();
    let before = reactor.stats().turns;
    tokio.spawn_local(async { tokio::time::sleep(Duration::from_millis(60)).await });
    reactor.run().unwrap();
    let turns = reactor.stats().turns - before;
    assert!(turns <= 8, "{turns} turns");
}

#[test]
fn a_panic_of_a_task_goes_to_its_join_handle() {
    let reactor = Reactor::new_local().unwrap();
    let tokio = TokioGuest::new(&reactor).unwrap();
    let task = tokio.spawn_local(async { panic!("on purpose") });
    let stopper = reactor.clone();
    tokio.spawn_local(async move {
        assert!(task.await.unwrap_err().is_panic());
        stopper.stop();
    });
    reactor.run_forever().unwrap();
}

#[test]
fn the_end_of_the_guest_drops_its_tasks() {
    for in_a_task in [false, true] {
        let reactor = Reactor::new_local().unwrap();
        let tokio = Rc::new(Cell::new(Some(TokioGuest::new(&reactor).unwrap())));
        let alive = Rc::new(());
        let guest = tokio.take().unwrap();
        let (held, stopper) = (alive.clone(), reactor.clone());
        guest.spawn_local(async move {
            let _held = held;
            std::future::pending::<()>().await
        });
        let own = tokio.clone();
        guest.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if in_a_task {
                own.take();
            }
            stopper.stop();
        });
        tokio.set(Some(guest));
        reactor.run().unwrap();
        tokio.take();
        assert_eq!(Rc::strong_count(&alive), 1);
        reactor.run().unwrap();
    }
}
