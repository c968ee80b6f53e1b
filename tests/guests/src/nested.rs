//! Another reactor as a guest.

use std::os::fd::{AsRawFd, RawFd};
use std::thread;
use std::time::Duration;

use oneloop::{
    Action, Guest, Host, Interest, Local, LocalReactor, Mode, Priority, Reactor, Step,
    VirtualSource, Watched,
};

use crate::{ForeignLoop, Kind, once};

/// A reactor, which another reactor can drive.
pub struct Nested(LocalReactor);

impl Kind for Nested {
    const NAME: &'static str = "another reactor";

    fn new() -> Nested {
        Nested(Reactor::new_local().expect("descriptors"))
    }
}

/// The host of the inner reactor, as a guest of the outer one.
struct Inside {
    host: Host<Local>,
    /// The last step has left something to do.
    is_ready: bool,
}

impl Guest for Inside {
    fn prepare(&mut self, watched: &mut Watched) -> Option<Duration> {
        // SAFETY: the descriptor is the host's.
        unsafe { watched.add(self.host.as_raw_fd(), Interest::READABLE) };
        self.is_ready.then_some(Duration::ZERO)
    }

    fn turn(&mut self, _: &Watched) {
        self.is_ready = loop {
            match self.host.step(1).expect("a step") {
                Step::Watch | Step::Unwatch => {}
                Step::Yield => break true,
                _ => break false,
            }
        };
    }

    fn announces(&self) -> bool {
        true
    }
}

impl ForeignLoop for Nested {
    fn guest(&self) -> impl Guest + 'static {
        Inside {
            host: self.0.host("a reactor").expect("nothing drives it"),
            is_ready: true,
        }
    }

    fn after(&self, delay: Duration, call: impl FnOnce() + 'static) {
        self.0.call_later(delay, call).expect("open");
    }

    fn watch_read(&self, fd: RawFd, mut call: impl FnMut() -> bool + 'static) {
        let read = move |_| {
            if call() {
                Action::Continue
            } else {
                Action::Remove
            }
        };
        // SAFETY: the descriptor is a test's own.
        let added = unsafe {
            self.0
                .add_raw_handler(fd, Interest::READABLE, Mode::Level, read)
        };
        added.expect("a descriptor");
    }

    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send> {
        let (source, readiness) = VirtualSource::pair();
        let mut call = once(call);
        let called = move |_: &mut VirtualSource, _| {
            call();
            Action::Remove
        };
        let added = self
            .0
            .add_handler(source, Interest::READABLE, Mode::Level, called);
        added.expect("open");
        // The last one that goes is a hang-up.
        Box::new(move || drop(readiness))
    }

    fn idle(&self, call: impl FnMut() -> bool + 'static) {
        idle(self.0.clone(), call);
    }

    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static) {
        let wake = self.waker(done);
        thread::spawn(|| {
            job();
            wake();
        });
    }
}

fn idle(reactor: LocalReactor, mut call: impl FnMut() -> bool + 'static) {
    let again = reactor.clone();
    let post = move || {
        if call() {
            idle(again, call);
        }
    };
    // A loop that is closed calls nothing any more.
    let _ = reactor.call_soon_with(Priority::Idle, post);
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.0.close();
    }
}
