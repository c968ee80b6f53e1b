use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_lite::future::zip;
use oneloop::{Reactor, Remote, Shared, Step, Threading};
use tokio::runtime::{Builder, Runtime};

use crate::wait_readable;

/// Drives a reactor until it is stopped.
pub type Drive<M = Shared> = fn(&Reactor<M>) -> io::Result<()>;

/// The hosts that oneloop has itself, each with its name.
pub const HOSTS: [(&str, Drive); 3] = [
    ("built-in", built_in),
    ("tokio", tokio),
    ("async-io", async_io),
];

/// Drives by the loop's own wait. Returns also when nothing is left.
///
/// # Errors
///
/// Returns the error of the driver.
pub fn built_in<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    Ok(reactor.run()?)
}

/// Drives in a tokio runtime of its own.
///
/// # Errors
///
/// Returns the error of the driver.
pub fn tokio<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    runtime()?.block_on(oneloop_tokio::drive(reactor))
}

/// Drives in async-io.
///
/// # Errors
///
/// Returns the error of the driver.
pub fn async_io<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    async_io::block_on(oneloop_async_io::drive(reactor))
}

/// Drives in a loop on poll(2), which watches one descriptor and knows nothing else of the reactor.
///
/// # Errors
///
/// Returns the error of the driver.
pub fn on_poll<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    let mut host = reactor.host("a loop on poll")?;
    loop {
        match host.step(100)? {
            Step::Sleep => wait_readable(&host),
            Step::Watch | Step::Unwatch | Step::Yield => {}
            Step::Done => return Ok(()),
        }
    }
}

/// As [`on_poll`], until a future is ready, which runs on the same thread.
///
/// # Errors
///
/// Returns the error of the driver.
fn on_poll_until(reactor: &Reactor, future: impl Future<Output = ()>) -> io::Result<()> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true), reactor.remote()));
    let waker = Waker::from(woken.clone());
    let mut host = reactor.host("a loop on poll")?;
    loop {
        let is_woken = woken.0.swap(false, SeqCst);
        if is_woken
            && future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        {
            return Ok(());
        }
        let step = host.step(100)?;
        if step == Step::Sleep && !woken.0.load(SeqCst) {
            wait_readable(&host);
        }
    }
}

/// The waker of a task of [`on_poll_until`].
struct Woken(AtomicBool, Remote);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
        self.1.wake();
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs `test` as a task beside what drives its reactor: by the loop's own wait, in tokio, in async-io and in a loop
/// on poll(2).
///
/// # Panics
///
/// If driving fails.
pub fn on_each_host(test: impl AsyncFn(Reactor)) {
    let reactor = Reactor::new().expect("a reactor");
    let ended = reactor.block_on(test(reactor.clone()));
    ended.expect("driving");

    runtime().expect("a runtime").block_on(async {
        let reactor = Reactor::new().expect("a reactor");
        let driver = tokio::spawn(oneloop_tokio::drive(&reactor));
        test(reactor.clone()).await;
        reactor.stop();
        driver.await.expect("no panic").expect("driving");
    });

    async_io::block_on(async {
        let reactor = Reactor::new().expect("a reactor");
        let test = async {
            test(reactor.clone()).await;
            reactor.stop();
        };
        let (driven, ()) = zip(oneloop_async_io::drive(&reactor), test).await;
        driven.expect("driving");
    });

    let reactor = Reactor::new().expect("a reactor");
    let ended = on_poll_until(&reactor, test(reactor.clone()));
    ended.expect("driving");
}

/// Takes turns, which do not wait, until there is nothing to do.
///
/// # Panics
///
/// If a turn fails.
pub fn look<M: Threading>(reactor: &Reactor<M>) {
    while !reactor.turn(Some(Duration::ZERO)).expect("a turn").idle {}
}
