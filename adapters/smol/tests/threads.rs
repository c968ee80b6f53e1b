//! Which threads there are, and which of them drives the loop. One test, because it is about the whole process.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use async_io::{Async, Timer, block_on};
use futures_lite::future;
use futures_lite::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);

/// The names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks
        .filter_map(name)
        .map(|name| name.trim().into())
        .collect()
}

fn has_helper() -> bool {
    threads().iter().any(|name| name == "async-io")
}

async fn echo(times: usize) {
    let (mut one, mut other) = Async::<UnixStream>::pair().unwrap();
    let client = async {
        for _ in 0..times {
            one.write_all(b"ping").await.unwrap();
            one.read_exact(&mut [0; 4]).await.unwrap();
        }
    };
    let server = async {
        for _ in 0..times {
            other.read_exact(&mut [0; 4]).await.unwrap();
            other.write_all(b"pong").await.unwrap();
        }
    };
    future::zip(client, server).await;
}

#[test]
fn threads_of_the_loop() {
    block_on_alone_makes_no_thread();
    nested_calls_drive();
    many_threads_drive_at_once();
    a_thread_whose_future_takes_long_delays_no_other();
    the_seat_goes_on_when_a_call_returns();
    the_helper_ends_when_a_call_drives();
    tasks_that_are_left_behind_are_woken();
    tasks_outside_have_a_helper();
}

fn block_on_alone_makes_no_thread() {
    block_on(async {
        echo(100).await;
        Timer::after(MS).await;
        assert!(!has_helper(), "{:?}", threads());
    });
    // A waiting task inside another call was dropped with it.
    block_on(async {
        let (stream, _peer) = Async::<UnixStream>::pair().unwrap();
        assert!(future::poll_once(stream.readable()).await.is_none());
        assert!(
            future::poll_once(Timer::after(Duration::from_secs(9)))
                .await
                .is_none()
        );
    });
    assert!(!has_helper(), "{:?}", threads());
}

fn nested_calls_drive() {
    block_on(async {
        block_on(async {
            block_on(echo(10));
            echo(10).await;
        });
        echo(10).await;
    });
    assert!(!has_helper());
}

fn many_threads_drive_at_once() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                block_on(async {
                    for _ in 0..20 {
                        echo(20).await;
                        Timer::after(MS / 10).await;
                    }
                });
            });
        }
    });
}

fn a_thread_whose_future_takes_long_delays_no_other() {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (begun, begins) = channel();
        let is_over = &is_over;
        scope.spawn(move || {
            block_on(async {
                Timer::after(MS).await;
                begun.send(()).unwrap();
                // A poll that ends when the other thread is done.
                let start = Instant::now();
                while !is_over.load(SeqCst) {
                    assert!(
                        start.elapsed() < Duration::from_secs(20),
                        "it is not driven"
                    );
                    thread::yield_now();
                }
            });
        });
        block_on(async {
            begins.recv().unwrap();
            Timer::after(MS).await;
            echo(10).await;
        });
        is_over.store(true, SeqCst);
    });
}

fn the_seat_goes_on_when_a_call_returns() {
    for _ in 0..50 {
        thread::scope(|scope| {
            for n in 1..4 {
                scope.spawn(move || block_on(Timer::after(n * MS / 3)));
            }
        });
    }
}

fn the_helper_ends_when_a_call_drives() {
    let executor = async_executor::Executor::new();
    let wait = executor.spawn(Timer::after(3600 * 1000 * MS));
    block_on(executor.run(future::yield_now()));
    // The task that is left behind may be awaited by a thread that is not in `block_on` yet.
    while !has_helper() {
        thread::yield_now();
    }
    block_on(async {
        echo(100).await;
        while has_helper() {
            Timer::after(10 * MS).await;
        }
    });
    drop(wait);
}

fn tasks_that_are_left_behind_are_woken() {
    let executor = async_executor::Executor::new();
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let mut stream = Async::new(stream).unwrap();
    let read = executor.spawn(async move { stream.read_exact(&mut [0]).await });
    // It begins to wait in this call, which returns before the byte is there.
    block_on(executor.run(future::yield_now()));
    peer.write_all(b"x").unwrap();
    future::block_on(executor.run(read)).unwrap();
}

fn tasks_outside_have_a_helper() {
    future::block_on(async {
        Timer::after(MS).await;
        assert!(has_helper(), "{:?}", threads());
        echo(100).await;
    });
    // A call drives beside it.
    block_on(echo(100));
    let waits = thread::spawn(|| future::block_on(Timer::after(20 * MS)));
    block_on(async {
        echo(100).await;
        while !waits.is_finished() {
            Timer::after(MS).await;
        }
    });
    waits.join().unwrap();
}
