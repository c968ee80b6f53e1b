//! compio: a runtime of its own, on io_uring.

use std::os::fd::{BorrowedFd, RawFd};
use std::task::Poll;
use std::time::Duration;

use compio_driver::DriverType;
use compio_runtime::fd::PollFd;
use compio_runtime::time::sleep;
use compio_runtime::{Runtime, spawn_blocking};
use oneloop::Guest;
use oneloop_compio::RuntimeGuest;
use tokio::sync::oneshot;

use crate::{ForeignLoop, Kind};

/// A runtime of compio's.
pub struct Compio(RuntimeGuest);

impl Compio {
    /// Makes a runtime with one task polled in a turn, as other loops call an idle callback once.
    fn runtime() -> Runtime {
        let runtime = Runtime::builder().event_interval(1).build();
        let runtime = runtime.expect("a kernel that allows io_uring_setup(2)");
        assert_eq!(runtime.driver_type(), DriverType::IoUring);
        runtime
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task).detach();
    }
}

impl Kind for Compio {
    const NAME: &'static str = "compio";

    fn new() -> Compio {
        Compio(RuntimeGuest::new(Compio::runtime()))
    }
}

impl ForeignLoop for Compio {
    fn guest(&self) -> impl Guest + 'static {
        self.0.clone()
    }

    fn after(&self, delay: Duration, call: impl FnOnce() + 'static) {
        let delay = sleep(delay);
        self.spawn(async {
            delay.await;
            call();
        });
    }

    fn watch_read(&self, fd: RawFd, mut call: impl FnMut() -> bool + 'static) {
        // SAFETY: the descriptor is a test's own, and is closed by the callback at the earliest.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        self.spawn(async move {
            let fd = PollFd::new(fd).expect("a descriptor");
            loop {
                fd.read_ready().await.expect("readiness");
                if !call() {
                    return;
                }
            }
        });
    }

    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        let (sender, woken) = oneshot::channel();
        self.spawn(async {
            woken.await.expect("a wake");
            call();
        });
        Box::new(move || sender.send(()).expect("a task"))
    }

    fn idle(&self, mut call: impl FnMut() -> bool + 'static) {
        self.spawn(std::future::poll_fn(move |context| {
            if call() {
                context.waker().wake_by_ref();
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        self.spawn(async {
            spawn_blocking(job).await.expect("no panic");
            done();
        });
    }
}
