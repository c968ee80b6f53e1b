//! Hosts whose own code uses a library between the loop's turn and the host's sleep.

use std::ffi::c_int;
use std::future::{Future, pending, poll_fn};
use std::io::{self, Result};
use std::pin::pin;
use std::task::Poll;

use oneloop::Reactor;
use oneloop_c::{
    ONELOOP_STEP_DONE, ONELOOP_STEP_SLEEP, as_ptr, oneloop_ask_hooks, oneloop_host_begin,
    oneloop_host_end, oneloop_step, oneloop_t,
};
use oneloop_c_tests::{Start, assert_over, on_a_loop};
use tokio::runtime::Builder;
use tokio::task::yield_now;

/// A step of the host's own code, in C.
pub type Step = unsafe extern "C" fn(r#loop: *mut oneloop_t);

/// The host's own code.
#[derive(Clone, Copy, Debug)]
pub struct OwnCode {
    /// Uses the library.
    pub uses: Step,
    /// Calls what the glue has for that, after it. None if nothing has to be called.
    pub wakes: Option<Step>,
    /// The glue has a hook, which finds it, too.
    pub has_hook: bool,
}

/// How the loop comes to know of what the host's own code has left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Wake,
    /// The host asks the hooks before it sleeps.
    AskedHooks,
}

type Drive = fn(&Reactor, OwnCode, By) -> Result<()>;

const HOSTS: [(&str, Drive, By); 6] = [
    ("poll(2)", foreign, By::Wake),
    ("poll(2)", foreign, By::AskedHooks),
    ("tokio", tokio, By::Wake),
    ("tokio", tokio, By::AskedHooks),
    ("async-io", async_io, By::Wake),
    ("block_on", block_on, By::AskedHooks),
];

/// Calls `test` for each host that has code of its own, with what runs something there. That code runs
/// once, when the loop sleeps.
///
/// # Panics
///
/// If a check fails, or it is not done after a minute.
pub fn beside_each_host(test: impl Fn(&dyn Fn(Start, OwnCode))) {
    for (name, drive, by) in HOSTS {
        test(&|start, own| {
            let set_up = |reactor: &Reactor| {
                // SAFETY: the C side is made for this, and the loop is alive.
                let failed = unsafe { start(as_ptr(reactor)) };
                assert_eq!(failed, 0, "at the start, on {name}");
            };
            let by = if own.has_hook { by } else { By::Wake };
            println!("on {name}, by {by:?}");
            on_a_loop(|reactor| drive(reactor, own, by), set_up);
            assert_over(name);
        });
    }
}

impl OwnCode {
    fn run(self, reactor: &Reactor, by: By) {
        self.step(self.uses, reactor);
        if by == By::Wake {
            self.wake(reactor);
        }
    }

    fn wake(self, reactor: &Reactor) {
        if let Some(wakes) = self.wakes {
            self.step(wakes, reactor);
        }
    }

    fn step(self, step: Step, reactor: &Reactor) {
        // SAFETY: the C side is made for this, and the loop is alive.
        unsafe { step(as_ptr(reactor)) };
    }
}

fn foreign(reactor: &Reactor, own: OwnCode, by: By) -> Result<()> {
    // SAFETY: the loop is alive.
    let host = unsafe { oneloop_host_begin(as_ptr(reactor), 0) };
    assert!(host >= 0);
    if steps(reactor) {
        own.step(own.uses, reactor);
        if own.wakes.is_some() {
            assert!(!is_readable(host, 0)?, "it would not have been needed");
        }
        match by {
            By::Wake => own.wake(reactor),
            // SAFETY: the loop is alive.
            By::AskedHooks => assert_eq!(unsafe { oneloop_ask_hooks(as_ptr(reactor)) }, 0),
        }
        while !is_readable(host, -1)? || steps(reactor) {}
    }
    // SAFETY: the loop is alive.
    assert_eq!(unsafe { oneloop_host_end(as_ptr(reactor)) }, 0);
    Ok(())
}

/// Steps until there is nothing to do. False if the loop was stopped.
fn steps(reactor: &Reactor) -> bool {
    loop {
        // SAFETY: the loop is alive.
        let step = unsafe { oneloop_step(as_ptr(reactor), 100) };
        assert!(step > 0);
        if step == ONELOOP_STEP_SLEEP || step == ONELOOP_STEP_DONE {
            return step == ONELOOP_STEP_SLEEP;
        }
    }
}

/// Waits for as many milliseconds.
fn is_readable(host: c_int, timeout: c_int) -> Result<bool> {
    let mut watched = libc::pollfd {
        fd: host,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one place.
    match unsafe { libc::poll(&raw mut watched, 1, timeout) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

fn tokio(reactor: &Reactor, own: OwnCode, by: By) -> Result<()> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if by == By::AskedHooks {
        builder.on_thread_park(oneloop_tokio::before_park);
    }
    let driving = oneloop_tokio::drive(reactor);
    builder.build()?.block_on(beside(driving, reactor, own, by))
}

fn async_io(reactor: &Reactor, own: OwnCode, by: By) -> Result<()> {
    let driving = oneloop_async_io::drive(reactor);
    async_io::block_on(beside(driving, reactor, own, by))
}

/// The loop's own, which asks the hooks after the future.
fn block_on(reactor: &Reactor, own: OwnCode, by: By) -> Result<()> {
    let ended = reactor.block_on(async {
        yield_now().await;
        own.run(reactor, by);
        pending::<()>().await;
    });
    assert!(ended.is_err_and(|error| error.kind() == oneloop::ErrorKind::Stopped));
    Ok(())
}

/// Polls what drives the loop, and runs the code when no turn was taken since the last time.
async fn beside(
    driving: impl Future<Output = Result<()>>,
    reactor: &Reactor,
    own: OwnCode,
    by: By,
) -> Result<()> {
    let mut driving = pin!(driving);
    let mut turns = 0;
    let mut is_done = false;
    poll_fn(|cx| {
        let polled = driving.as_mut().poll(cx);
        if polled.is_ready() || is_done {
            return polled;
        }
        let now = reactor.stats().turns;
        is_done = now > 0 && now == turns;
        if is_done {
            own.run(reactor, by);
        } else {
            turns = now;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}
