//! A crate for async-io on a reactor under each kind of host, on one thread.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use oneloop::{Reactor, Step};
use rustix::event::{PollFd, PollFlags, poll};

#[test]
fn the_built_in_loop() {
    in_a_process("the_built_in_loop", |reactor| {
        reactor.block_on(work()).unwrap();
    });
}

#[test]
fn tokio() {
    in_a_process("tokio", |reactor| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let tasks = tokio::task::LocalSet::new();
        tasks.spawn_local(oneloop_tokio::drive(reactor));
        runtime.block_on(tasks.run_until(work()));
    });
}

/// The drop-in's own `block_on`, which takes the place of async-io's.
#[test]
fn block_on() {
    in_a_process("block_on", |_| async_io::block_on(work()));
}

#[test]
fn a_loop_on_poll() {
    in_a_process("a_loop_on_poll", |reactor| {
        let executor = LocalExecutor::new();
        let task = executor.spawn(work());
        let mut host = reactor.host("poll").unwrap();
        while !task.is_finished() {
            if executor.try_tick() {
                continue;
            }
            if host.step(100).unwrap() == Step::Sleep && !executor.try_tick() {
                poll(&mut [PollFd::new(&host, PollFlags::IN)], None).unwrap();
            }
        }
    });
}

/// Runs `drive` with an installed reactor in a process of its own, and looks at the threads of that.
fn in_a_process(test: &str, drive: impl FnOnce(&Reactor)) {
    const CHILD: &str = "ONELOOP_SMOL_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let this = std::env::current_exe().unwrap();
        let output = Command::new(this)
            .args(["--exact", test])
            .env(CHILD, "yes")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    let reactor = Reactor::new().unwrap();
    async_io::install(&reactor).unwrap();
    let (called, calls) = channel();
    let call = move || called.send(()).unwrap();
    reactor.call_later(Duration::from_millis(1), call).unwrap();
    let before = threads();
    drive(&reactor);
    calls.try_recv().expect("the callback was called");
    assert_eq!(threads(), before);
}

/// An echo by async-net, and a timer.
async fn work() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rounds = Rc::new(Cell::new(0));
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 5];
        while stream.read_exact(&mut bytes).await.is_ok() {
            stream.write_all(&bytes).await.unwrap();
            rounds.set(rounds.get() + 1);
        }
    };
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..50 {
            stream.write_all(b"hello").await.unwrap();
            stream.read_exact(&mut [0; 5]).await.unwrap();
        }
        Timer::after(Duration::from_millis(2)).await;
    };
    future::zip(server, client).await;
    assert_eq!(rounds.get(), 50);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
