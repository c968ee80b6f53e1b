//! Everything on a reactor of the program's. One test, because it is about the whole process.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use async_io::{Async, Timer, block_on};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use oneloop::{Action, Interest, Mode, Reactor};

const MS: Duration = Duration::from_millis(1);

async fn echo() {
    let (mut one, mut other) = Async::<UnixStream>::pair().unwrap();
    one.write_all(b"ping").await.unwrap();
    Timer::after(MS).await;
    other.read_exact(&mut [0; 4]).await.unwrap();
}

/// Returns true if async-io has a thread of its own.
fn has_helper() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(Result::ok).any(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "async-io")
    })
}

#[test]
fn an_installed_reactor() {
    let reactor = Reactor::new().unwrap();
    async_io::install(&reactor).unwrap();
    let refused = async_io::install(&reactor).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);

    // The reactor's own driver, beside a callback of the program's.
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut read = 0;
    reactor
        .add_handler(ours, Interest::READABLE, Mode::Level, move |stream, _| {
            read += stream.read(&mut [0; 8]).unwrap();
            if read == 4 {
                Action::Remove
            } else {
                Action::Continue
            }
        })
        .unwrap();
    reactor
        .block_on(async {
            let mut theirs = Async::new(theirs).unwrap();
            theirs.write_all(b"ping").await.unwrap();
            echo().await;
            theirs.readable().await.unwrap(); // the end
        })
        .unwrap();
    assert_eq!(reactor.stats().handlers, 0);

    // Nothing drives it: `block_on` does.
    block_on(echo());
    assert!(!has_helper());

    // Another thread drives it.
    let driver = thread::spawn({
        let reactor = reactor.clone();
        move || reactor.run_forever()
    });
    future::block_on(echo());
    block_on(echo());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| block_on(echo()));
        }
    });
    assert!(!has_helper());
    reactor.stop();
    driver.join().unwrap().unwrap();

    // It ends while a call waits, which then drives.
    let driver = thread::spawn({
        let reactor = reactor.clone();
        move || reactor.block_on(Timer::after(2 * MS))
    });
    block_on(async {
        for _ in 0..5 {
            echo().await;
        }
    });
    driver.join().unwrap().unwrap();
    assert!(!has_helper());
}
