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

use oneloop::Reactor;
use oneloop::futures::Async;
use oneloop_support::{look, on_each_host};

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

/// Two ends of a socket pair; the second is the test's.
fn pair(reactor: &Reactor) -> (Async<UnixStream>, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    b.set_nonblocking(true).unwrap();
    (Async::new(reactor, a).unwrap(), b)
}
