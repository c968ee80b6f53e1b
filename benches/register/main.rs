//! Adding a descriptor and removing it again, outside of callbacks and in them.

mod async_io;
mod batches;
mod calloop;
mod epoll;
mod mio;
mod oneloop;
mod polling;
mod tokio;

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oneloop_benches::{Bench, Measured, Peer};

/// A workload.
struct Register {
    place: Place,
    /// How many others are registered meanwhile.
    others: usize,
}

#[derive(Clone, Copy)]
enum Place {
    Outside,
    Callback,
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Outside => "outside",
            Place::Callback => "in callbacks",
        };
        write!(f, "{place}, beside {}", self.others)
    }
}

/// In a measurement.
const EVENTS: u64 = 100_000;

fn main() -> ExitCode {
    let register = |place, others| Register { place, others };
    let bench = Bench {
        name: "register",
        about: "\
A descriptor is added and removed again, beside others that stay: 100,000 times outside of callbacks,
where each is in force when the call returns, or in callbacks, a thousand times in each. An event is one
adding and one removing. On tokio and async-io the oneloop reactor is driven meanwhile, and outside of
callbacks means in a task beside it. The yardstick is epoll_ctl alone, twice for each event; beside it is
the same in a function for each, which is the least that a library can be. mio and polling, tokio's AsyncFd and async-io's Async have no callbacks, and so no rows there.",
        workloads: vec![
            register(Place::Outside, 10),
            register(Place::Outside, 1000),
            register(Place::Callback, 1000),
        ],
        yardstick: peer("bare epoll", epoll::run),
        peers: vec![
            peer("bare epoll, in functions", epoll::run_behind_functions),
            peer("oneloop built-in", oneloop::built_in),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
            peer("tokio AsyncFd", |it| outside(it, tokio::run)),
            peer("async-io Async", |it| outside(it, async_io::run)),
            peer("calloop", calloop::run),
            peer("mio", |it| outside(it, mio::run)),
            peer("polling", |it| outside(it, polling::run)),
        ],
    };
    bench.main()
}

struct Work {
    place: Place,
    others: Vec<UnixStream>,
    /// The one that is added and removed.
    one: UnixStream,
    /// Always readable, for loops that must be called back.
    ready: UnixStream,
}

/// Registers the others for good, and the one again and again.
type Run = fn(Work) -> io::Result<Duration>;

fn peer(name: &'static str, run: Run) -> Peer<Register> {
    Peer::new(name, move |register: &Register, _| {
        let pair = || {
            let (a, b) = UnixStream::pair()?;
            a.set_nonblocking(true)?;
            b.set_nonblocking(true)?;
            Ok([a, b])
        };
        let pairs: io::Result<Vec<_>> = (0..register.others.div_ceil(2)).map(|_| pair()).collect();
        let ([one, _other_end], [ready, waker]) = (pair()?, pair()?);
        rustix::io::write(&waker, b"w")?;
        let work = Work {
            place: register.place,
            others: pairs?.into_iter().flatten().take(register.others).collect(),
            one,
            ready,
        };
        Ok(Measured::of(EVENTS, run(work)?))
    })
}

/// For loops that have no callbacks.
fn outside(
    work: Work,
    run: fn(Vec<UnixStream>, UnixStream) -> io::Result<Duration>,
) -> io::Result<Duration> {
    match work.place {
        Place::Outside => run(work.others, work.one),
        Place::Callback => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Does it some times outside of the time.
fn timed(mut once: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    for _ in 0..EVENTS / 8 {
        once()?;
    }
    let start = Instant::now();
    for _ in 0..EVENTS {
        once()?;
    }
    Ok(start.elapsed())
}
