use std::io;
use std::time::Duration;

use futures_lite::future::zip;
use oneloop::{Reactor, Shared, Threading};
use tokio::runtime::{Builder, Runtime};

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
/// What driving gives.
pub fn built_in<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    Ok(reactor.run()?)
}

/// Drives in a tokio runtime of its own.
///
/// # Errors
///
/// What driving gives.
pub fn tokio<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    runtime()?.block_on(oneloop_tokio::drive(reactor))
}

/// Drives in async-io.
///
/// # Errors
///
/// What driving gives.
pub fn async_io<M: Threading>(reactor: &Reactor<M>) -> io::Result<()> {
    async_io::block_on(oneloop_async_io::drive(reactor))
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs `test` as a task beside what drives its reactor: by the loop's own wait, in tokio and in async-io.
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
}

/// Takes turns, which do not wait, until there is nothing to do.
///
/// # Panics
///
/// If a turn fails.
pub fn look<M: Threading>(reactor: &Reactor<M>) {
    while !reactor.turn(Some(Duration::ZERO)).expect("a turn").idle {}
}
