use std::future::Future;
use std::hint::black_box;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Sleep, sleep_until};

use crate::Number;

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` has one descriptor, open for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The number lies beside, as there is no closure.
type Registered = Vec<(AsyncFd<OwnedFd>, Number)>;

pub fn handlers(fds: Vec<OwnedFd>) -> io::Result<(Registered, Runtime)> {
    let runtime = runtime()?;
    let inside = runtime.enter();
    let mut all = Vec::with_capacity(fds.len());
    for (number, fd) in fds.into_iter().enumerate() {
        all.push((register(fd)?, number));
    }
    drop(inside);
    Ok((all, runtime))
}

pub fn handling_tasks(fds: Vec<OwnedFd>) -> io::Result<Runtime> {
    let runtime = runtime()?;
    let awaiting = |fd: OwnedFd, number: Number| async move {
        let fd = register(fd).expect("it is open");
        while let Ok(mut ready) = fd.readable().await {
            ready.clear_ready();
            black_box(number);
        }
    };
    for (number, fd) in fds.into_iter().enumerate() {
        runtime.spawn(awaiting(fd, number));
    }
    poll_all(&runtime);
    Ok(runtime)
}

/// In boxes, as they are pinned.
type Sleeps = Vec<(Pin<Box<Sleep>>, Number)>;

pub fn timers(deadlines: Vec<Instant>) -> io::Result<(Sleeps, Runtime)> {
    let runtime = runtime()?;
    let inside = runtime.enter();
    let mut all = Vec::with_capacity(deadlines.len());
    for (number, deadline) in deadlines.into_iter().enumerate() {
        let mut sleep = Box::pin(sleep_until(deadline.into()));
        // Has it waited for, which is when it is set.
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        all.push((sleep, number));
    }
    drop(inside);
    Ok((all, runtime))
}

pub fn timing_tasks(deadlines: Vec<Instant>) -> io::Result<Runtime> {
    let runtime = runtime()?;
    for (number, deadline) in deadlines.into_iter().enumerate() {
        runtime.spawn(async move {
            sleep_until(deadline.into()).await;
            black_box::<Number>(number);
        });
    }
    poll_all(&runtime);
    Ok(runtime)
}

/// Lets each task begin to wait: one that is spawned later comes to its turn after them.
fn poll_all(runtime: &Runtime) {
    runtime.block_on(async {
        let last = tokio::spawn(async {});
        last.await.expect("it does not panic");
    });
}
