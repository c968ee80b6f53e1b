//! oneloop, on three hosts.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use oneloop::{Interest, LocalReactor, Mode, Reactor};

use crate::batches::Batches;
use crate::{EVENTS, Place, Work, timed};

pub fn built_in(work: Work) -> io::Result<Duration> {
    let reactor = reactor(work.others)?;
    match work.place {
        Place::Outside => timed(|| once(&reactor, work.one.as_raw_fd())),
        Place::Callback => in_callbacks(&reactor, (work.ready, work.one), |reactor| {
            Ok(reactor.run()?)
        }),
    }
}

pub fn on_tokio(work: Work) -> io::Result<Duration> {
    let runtime = crate::tokio::runtime()?;
    let reactor = reactor(work.others)?;
    match work.place {
        Place::Outside => {
            let task = outside(&reactor, work.one.as_raw_fd(), tokio::task::yield_now);
            runtime.block_on(beside(oneloop_tokio::drive(&reactor), task))
        }
        Place::Callback => in_callbacks(&reactor, (work.ready, work.one), |reactor| {
            runtime.block_on(oneloop_tokio::drive(reactor))
        }),
    }
}

pub fn on_async_io(work: Work) -> io::Result<Duration> {
    let reactor = reactor(work.others)?;
    match work.place {
        Place::Outside => {
            let task = outside(
                &reactor,
                work.one.as_raw_fd(),
                futures_lite::future::yield_now,
            );
            async_io::block_on(beside(oneloop_async_io::drive(&reactor), task))
        }
        Place::Callback => in_callbacks(&reactor, (work.ready, work.one), |reactor| {
            async_io::block_on(oneloop_async_io::drive(reactor))
        }),
    }
}

fn reactor(others: Vec<UnixStream>) -> io::Result<LocalReactor> {
    let reactor = Reactor::new_local()?;
    for socket in others {
        reactor.add_handler(socket, Interest::READABLE, Mode::Level, |_, _| {})?;
    }
    Ok(reactor)
}

fn once(reactor: &LocalReactor, fd: RawFd) -> io::Result<()> {
    // SAFETY: it is open for as long as this runs, and removed at once.
    let id = unsafe { reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, |_| {}) };
    Ok(reactor.remove_handler(id?)?)
}

/// In a task, which lets the others have their turn now and then.
async fn outside<Y: Future>(
    reactor: &LocalReactor,
    fd: RawFd,
    yield_now: impl Fn() -> Y,
) -> io::Result<Duration> {
    let mut start = Instant::now();
    for event in 0..EVENTS / 8 + EVENTS {
        if event == EVENTS / 8 {
            start = Instant::now();
        }
        if event % 64 == 0 {
            yield_now().await;
        }
        once(reactor, fd)?;
    }
    Ok(start.elapsed())
}

/// The driver begins, so that the task finds a loop that sleeps.
async fn beside<T>(
    drive: impl Future<Output = io::Result<()>>,
    task: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let driving = async {
        drive.await?;
        Err(io::Error::other("the loop ended before it was stopped"))
    };
    or(driving, task).await
}

fn in_callbacks(
    reactor: &LocalReactor,
    (ready, one): (UnixStream, UnixStream),
    drive: impl FnOnce(&LocalReactor) -> io::Result<()>,
) -> io::Result<Duration> {
    let batches = Rc::new(RefCell::new(Batches::default()));
    let (own, weak) = (batches.clone(), reactor.downgrade());
    reactor.add_handler(ready, Interest::READABLE, Mode::Level, move |_, _| {
        let reactor = weak.upgrade().expect("it runs");
        let more = own.borrow_mut().call(|| once(&reactor, one.as_raw_fd()));
        if !more.expect("it is open") {
            reactor.stop();
        }
    })?;
    drive(reactor)?;
    batches.borrow().took()
}
