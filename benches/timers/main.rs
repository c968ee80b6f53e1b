//! Timers, of which many are pending: what it costs to set one and cancel it, to put one off, and to
//! have them fire.

mod async_io;
mod bare;
#[cfg(feature = "c-peers")]
mod c_timers;
mod calloop;
mod oneloop;
mod tokio;

use std::fmt;
use std::io;
use std::mem;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use oneloop_benches::{Bench, Measured, Peer};

/// A workload.
struct Timers {
    what: What,
    pending: usize,
}

#[derive(Clone, Copy)]
enum What {
    SetAndCancel,
    Replace,
    PutOff,
    Fire,
}

impl fmt::Display for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::SetAndCancel => write!(f, "set and cancel, {} pending", self.pending),
            What::Replace => write!(f, "set and cancel another, {} pending", self.pending),
            What::PutOff => write!(f, "put off, {} pending", self.pending),
            What::Fire => write!(f, "set and fire, {} at once", self.pending),
        }
    }
}

/// A loop with timers of which none is due; nothing they call.
trait Loop: Sized {
    type Timer;
    /// How many it can have in a time that anybody would wait.
    const MOST: usize = usize::MAX;

    fn set(&mut self, deadline: Instant) -> io::Result<Self::Timer>;
    fn cancel(&mut self, timer: Self::Timer) -> io::Result<()>;
    fn put_off(&mut self, timer: &mut Self::Timer, deadline: Instant) -> io::Result<()>;
    /// Sets `count` timers that are due and calls them all; how long that took.
    fn fire(&mut self, _count: usize) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn main() -> ExitCode {
    let timers = |what, pending| Timers { what, pending };
    let mut workloads = Vec::new();
    for what in [What::SetAndCancel, What::Replace, What::PutOff] {
        workloads.extend([1_000, 10_000, 100_000, 1_000_000].map(|pending| timers(what, pending)));
    }
    workloads.extend([1_000, 10_000, 100_000].map(|pending| timers(What::Fire, pending)));
    let bench = Bench {
        name: "timers",
        about: "\
Timers are set and cancelled while many others are pending, the same one at once or any of the others,
or are put off; or many fire at once, which calls a closure of each. An event is one timer. What oneloop leaves for later when a timer is put off is
not in it, which is to move it once when its first deadline comes. The yardstick is oneloop, since none
is bare; to put a timer off, a store is the least that it takes: under a lock, by an id that may be
stale. tokio and async-io fire timers by waking tasks, which is something else, so they have no row
there. calloop looks through all of its sources to add one, and has no row where that would take
minutes. With the feature c-peers there are libev, libevent and libuv, whose timers lie ready in an
array, as they would in structures of a program's own; libuv's have milliseconds.",
        workloads,
        yardstick: peer("oneloop", oneloop::Oneloop::new),
        peers: vec![
            peer("a store", bare::Bare::new),
            peer("calloop", calloop::Calloop::new),
            peer("async-io Timer", async_io::AsyncIo::new),
            peer("tokio Sleep", tokio::Tokio::new),
            #[cfg(feature = "c-peers")]
            peer("libev", c_timers::libev),
            #[cfg(feature = "c-peers")]
            peer("libevent", c_timers::libevent),
            #[cfg(feature = "c-peers")]
            peer("libuv", c_timers::libuv),
        ],
    };
    bench.main()
}

/// Makes a loop for this many timers at a time.
type New<L> = fn(usize) -> io::Result<L>;

fn peer<L: Loop + 'static>(name: &'static str, new: New<L>) -> Peer<Timers> {
    Peer::new(name, move |timers: &Timers, events| {
        measure(new, timers, events as usize)
    })
}

fn measure<L: Loop>(new: New<L>, timers: &Timers, events: usize) -> io::Result<Measured> {
    let Timers { what, pending } = *timers;
    if pending > L::MOST {
        return Err(io::ErrorKind::Unsupported.into());
    }
    if let What::Fire = what {
        return fire(new, pending, events);
    }
    let mut own = new(pending + 1)?;
    let start = Instant::now() + Duration::from_secs(1000);
    // Spread over a minute, in no order: 7919 and a power of ten have no common divisor.
    let deadline = |n: usize| start + Duration::from_nanos((n * 7919 % pending) as u64 * 60_000);
    let all: io::Result<Vec<_>> = (0..pending).map(|n| own.set(deadline(n))).collect();
    let mut all = all?;
    // Steps of one length come back to what is in the cache still; connections do not do that.
    let mut random = fastrand::Rng::with_seed(7);
    let begin = Instant::now();
    for event in 0..events {
        let any = random.usize(..pending);
        match what {
            What::SetAndCancel => {
                let timer = own.set(deadline(event))?;
                own.cancel(timer)?;
            }
            What::Replace => {
                let timer = own.set(deadline(event))?;
                own.cancel(mem::replace(&mut all[any], timer))?;
            }
            _ => {
                let later = start + Duration::from_secs(60) + Duration::from_micros(event as u64);
                own.put_off(&mut all[any], later)?;
            }
        }
    }
    Ok(Measured::of(events as u64, begin.elapsed()))
}

fn fire<L: Loop>(new: New<L>, count: usize, events: usize) -> io::Result<Measured> {
    let mut took = Duration::ZERO;
    let times = events.div_ceil(count);
    for _ in 0..times {
        took += new(count)?.fire(count)?;
    }
    Ok(Measured::of((times * count) as u64, took))
}
