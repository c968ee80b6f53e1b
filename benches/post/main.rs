//! Closures that other threads have a loop call: what one costs where many come, and how long one takes
//! to reach a loop that sleeps.

mod async_channel;
mod calloop;
mod epoll;
#[cfg(feature = "c-peers")]
mod libuv;
mod many;
mod one;
mod oneloop;
mod tokio;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::thread;

use many::Many;
use one::One;
use oneloop_benches::{Bench, Cores, Measured, Peer};

/// A workload.
#[derive(Clone, Copy)]
enum Posts {
    /// From this many threads, as fast as they can.
    Many(usize),
    /// Each to a loop that sleeps.
    One(Cores),
}

impl fmt::Display for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Posts::Many(1) => write!(f, "from 1 thread"),
            Posts::Many(threads) => write!(f, "from {threads} threads"),
            Posts::One(cores) => write!(f, "one to a sleeping loop, {cores}"),
        }
    }
}

/// How a loop is posted to, from any thread.
trait Post: Clone + Send + 'static {
    /// Has the loop call it.
    fn post(&self, callback: impl FnOnce() + Send + 'static);
    /// Has the loop end when it has called what was posted before.
    fn end(&self);
}

/// A message to a loop that has no queue of its own. `None` is the end.
type Message = Option<Box<dyn FnOnce() + Send>>;

fn main() -> ExitCode {
    let bench = Bench {
        name: "post",
        about: "\
Threads have a loop call a closure of eight bytes, again and again, as fast as they can: an event is one
such post, and the time is from the first post until the last was called. The loop has a core of its
own, if there are two. Or one thread posts while the loop sleeps, and then sleeps itself: there the time
is from right before the post until the call, and an event is one of these. The yardstick is std's mpsc
with an eventfd in an epoll loop, which is written to after each message; woken once, it is written to
only if the loop is not about to look anyway. tokio's Notify carries nothing, so that it has a row only
where one comes at a time, and async-io has nothing of the kind: async-channel is of its family.
libuv's uv_async_t, with the feature c-peers, carries nothing either, but calls back: it wakes a loop that
then takes from std's mpsc. libev's and libevent's are left out as the same thing once more, and so
are mio's Waker and polling's notify.",
        workloads: vec![
            Posts::Many(1),
            Posts::Many(2),
            Posts::Many(4),
            Posts::One(Cores::One),
            Posts::One(Cores::Two),
        ],
        yardstick: peer("mpsc + eventfd", epoll::each),
        peers: vec![
            peer("oneloop built-in", oneloop::built_in),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
            peer("mpsc + eventfd, woken once", epoll::once),
            peer("calloop channel", calloop::run),
            peer("tokio mpsc", tokio::mpsc),
            peer("tokio Notify", tokio::notify),
            peer("async-channel on async-io", async_channel::run),
            #[cfg(feature = "c-peers")]
            peer("libuv uv_async + mpsc", libuv::run),
        ],
    };
    bench.main()
}

/// Has `work` begin to post, and calls what is posted until the end.
type Run = fn(&Work) -> io::Result<()>;

/// Each measurement has a loop and threads of its own.
fn peer(name: &'static str, run: Run) -> Peer<Posts> {
    Peer::new(name, move |&posts: &Posts, events| {
        measure(run, posts, events)
    })
}

fn measure(run: Run, posts: Posts, events: u64) -> io::Result<Measured> {
    match posts {
        Posts::Many(threads) => {
            Cores::Two.keep_loop()?;
            let many = Many::new(threads, events);
            run(&Work::Many(many))?;
            many.result()
        }
        Posts::One(cores) => {
            cores.keep_loop()?;
            let one = One::new(cores, events);
            run(&Work::One(one.clone()))?;
            one.result()
        }
    }
}

/// The posts of a measurement.
enum Work {
    Many(&'static Many),
    One(std::sync::Arc<One>),
}

impl Work {
    /// Posts by threads of its own.
    fn begin(&self, post: impl Post) {
        match self {
            Work::Many(many) => {
                let many = *many;
                thread::spawn(move || many.post_all(&post));
            }
            Work::One(one) => {
                let one = one.clone();
                thread::spawn(move || one.post_all(&post));
            }
        }
    }
}
