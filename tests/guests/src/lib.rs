//! Other loops as tests use them: each with a loop of its own, inside a reactor or around one.

pub mod calloop;
pub mod compio;
pub mod glib;
pub mod glue;
pub mod nested;
pub mod uv;

use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use oneloop::adapter::End;
use oneloop::{Guest, Host, Reactor, Threading};

/// A kind of loops.
pub trait Kind: Sized + 'static {
    /// Its name.
    const NAME: &'static str;

    /// Makes a loop.
    fn new() -> Self;
}

/// A loop that can drive a reactor.
pub trait OuterLoop: Kind {
    /// Has the loop drive a reactor, until the result is dropped.
    ///
    /// # Errors
    ///
    /// Returns the error of attaching.
    fn attach(
        &self,
        reactor: &Reactor,
        exits_when_empty: bool,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>>;

    /// Takes a turn of the loop, as a program that runs it does.
    fn iterate(&self, may_block: bool);
}

/// A loop that has an adapter in Rust, which drives a reactor of either kind.
pub trait AdaptedLoop: OuterLoop {
    /// Has the loop drive the reactor of `host`, until the result is dropped.
    ///
    /// # Errors
    ///
    /// Returns the error of attaching.
    fn attach_host<M: Threading>(
        &self,
        host: Host<M>,
        on_end: impl FnOnce(End) + 'static,
    ) -> io::Result<Box<dyn Any>>;
}

/// The `attach` of such a loop.
fn attach_adapted<L: AdaptedLoop>(
    outer: &L,
    reactor: &Reactor,
    exits_when_empty: bool,
    on_end: impl FnOnce(End) + 'static,
) -> io::Result<Box<dyn Any>> {
    let host = reactor.host(L::NAME)?;
    let host = if exits_when_empty {
        host.exit_when_empty()
    } else {
        host
    };
    outer.attach_host(host, on_end)
}

/// A loop that a reactor can drive.
pub trait ForeignLoop: Kind {
    /// Makes a guest of the loop.
    fn guest(&self) -> impl Guest + 'static;

    /// Calls once, after a delay in whole milliseconds.
    fn after(&self, delay: Duration, call: impl FnOnce() + 'static);

    /// Calls while the descriptor is readable, until the callback returns false.
    fn watch_read(&self, fd: RawFd, call: impl FnMut() -> bool + 'static);

    /// Makes a function that wakes the loop from any thread, so that it calls once. It must be called once.
    fn waker(&self, call: impl FnOnce() + 'static) -> Box<dyn FnOnce() + Send>;

    /// Calls again and again, whenever there is nothing else to do, until the callback returns false.
    fn idle(&self, call: impl FnMut() -> bool + 'static);

    /// Does `job` in a pool of threads, and calls `done` afterwards.
    fn work(&self, job: impl FnOnce() + Send + 'static, done: impl FnOnce() + 'static);
}

/// Compares a table with that of `docs/loops.md`, between two comments. With `ONELOOP_WRITE=1` it is written instead.
///
/// # Panics
///
/// Panics if the page has another table.
pub fn expect_table(name: &str, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/loops.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = page.split_once(&begin).expect("a place for the table");
    let (found, after) = rest.split_once(&end).expect("its end");
    if std::env::var_os("ONELOOP_WRITE").is_some() {
        let page = format!("{before}{begin}{table}{end}{after}");
        std::fs::write(path, page).expect("a page to write to");
    } else {
        assert!(found == table, "ONELOOP_WRITE=1 writes it");
    }
}

/// Turns a closure into a pointer for C.
pub(crate) fn boxed<F>(call: Box<F>) -> *mut libc::c_void
where
    F: ?Sized,
{
    Box::into_raw(Box::new(call)).cast()
}

/// Makes a callback that asks not to be called again.
pub(crate) fn once(call: impl FnOnce()) -> impl FnMut() -> bool {
    let mut call = Some(call);
    move || {
        if let Some(call) = call.take() {
            call();
        }
        false
    }
}

/// Moves what is not `Send` to a thread that only moves it back.
pub struct AssertSend<T>(pub T);

// SAFETY: tests use it only where the value is used on one thread.
unsafe impl<T> Send for AssertSend<T> {}

impl<T> AssertSend<T> {
    /// Returns the value. A method, so that closures take the whole.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Makes a callback `Send`, for a reactor that stays on its thread all the same.
pub fn sent(call: impl FnOnce() + 'static) -> impl FnOnce() + Send {
    let call = AssertSend(call);
    move || call.into_inner()()
}

impl<G: Guest> Guest for AssertSend<G> {
    fn prepare(&mut self, watched: &mut oneloop::Watched) -> Option<Duration> {
        self.0.prepare(watched)
    }

    fn turn(&mut self, watched: &oneloop::Watched) {
        self.0.turn(watched)
    }

    fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    fn announces(&self) -> bool {
        self.0.announces()
    }
}
