//! `Async` and `Timer`: on every host, from any executor.

mod conditions;
mod disagreeing;
mod executors;
mod fairness;
mod sockets;
mod sources;
mod timers;
mod waiting;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Wake, Waker};
use std::time::Duration;

use futures_lite::future::zip;
use oneloop::Reactor;
use oneloop::futures::Async;

const MS: Duration = Duration::from_millis(1);
const LOCALHOST: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Says how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn wakes() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

fn look(reactor: &Reactor) {
    while !reactor.turn(Some(Duration::ZERO)).unwrap().idle {}
}

/// Two ends of a socket pair; the second is the test's.
fn pair(reactor: &Reactor) -> (Async<UnixStream>, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    b.set_nonblocking(true).unwrap();
    (Async::new(reactor, a).unwrap(), b)
}

/// Runs a test on the loop's own wait, in tokio and in async-io.
fn on_each_host(test: impl AsyncFn(Reactor)) {
    let reactor = Reactor::new().unwrap();
    reactor.block_on(test(reactor.clone())).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let reactor = Reactor::new().unwrap();
        let driver = tokio::spawn(oneloop_tokio::drive(&reactor));
        test(reactor.clone()).await;
        reactor.stop();
        driver.await.unwrap().unwrap();
    });

    async_io::block_on(async {
        let reactor = Reactor::new().unwrap();
        let test = async {
            test(reactor.clone()).await;
            reactor.stop();
        };
        zip(oneloop_async_io::drive(&reactor), test)
            .await
            .0
            .unwrap();
    });
}
