use std::future::Future;
use std::hint::black_box;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};

use crate::Number;

/// The number lies beside, as there is no closure.
pub fn handlers(fds: Vec<OwnedFd>) -> io::Result<Vec<(Async<OwnedFd>, Number)>> {
    let mut all = Vec::with_capacity(fds.len());
    for (number, fd) in fds.into_iter().enumerate() {
        all.push((Async::new_nonblocking(fd)?, number));
    }
    Ok(all)
}

pub fn handling_tasks(fds: Vec<OwnedFd>) -> io::Result<LocalExecutor<'static>> {
    let executor = LocalExecutor::new();
    let awaiting = |fd: OwnedFd, number: Number| async move {
        let fd = Async::new_nonblocking(fd).expect("it is open");
        while fd.readable().await.is_ok() {
            black_box(number);
        }
    };
    for (number, fd) in fds.into_iter().enumerate() {
        executor.spawn(awaiting(fd, number)).detach();
    }
    poll_all(&executor);
    Ok(executor)
}

pub fn timers(deadlines: Vec<Instant>) -> io::Result<Vec<(Timer, Number)>> {
    let mut all = Vec::with_capacity(deadlines.len());
    for (number, deadline) in deadlines.into_iter().enumerate() {
        let mut timer = Timer::at(deadline);
        // Has it waited for, which is when it is set.
        let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(Waker::noop()));
        all.push((timer, number));
    }
    Ok(all)
}

pub fn timing_tasks(deadlines: Vec<Instant>) -> io::Result<LocalExecutor<'static>> {
    let executor = LocalExecutor::new();
    for (number, deadline) in deadlines.into_iter().enumerate() {
        let task = executor.spawn(async move {
            Timer::at(deadline).await;
            black_box::<Number>(number);
        });
        task.detach();
    }
    poll_all(&executor);
    Ok(executor)
}

/// Lets each task begin to wait.
fn poll_all(executor: &LocalExecutor<'static>) {
    while executor.try_tick() {}
}
