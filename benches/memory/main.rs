//! The memory of a loop for each handler and each timer.

mod allocator;
mod async_io;
#[cfg(feature = "c-peers")]
mod c_memory;
mod calloop;
mod oneloop;
mod tokio;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use allocator::Counting;
use oneloop_benches::{Bench, Measured, Peer, descriptors};
use rustix::event::{EventfdFlags, eventfd};

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// A workload.
#[derive(Clone, Copy)]
enum Many {
    Handlers(usize),
    Timers(usize),
}

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Many::Handlers(number) => write!(f, "{number} handlers"),
            Many::Timers(number) => write!(f, "{number} timers"),
        }
    }
}

const THOUSANDS: usize = 10_000;
const MILLION: usize = 1_000_000;

fn main() -> ExitCode {
    let most = descriptors().max(THOUSANDS);
    let bench = Bench {
        name: "memory",
        about: "\
Bytes that a loop takes for each handler, of a descriptor that it watches for reading, and for each
timer: as it asks the allocator for them, without what that adds to each, and without what the kernel
keeps. Tables that double when they are full have room to spare, which is counted: more at 10,000 than
at 1,000,000, which is nearly a power of two. There are not more handlers than descriptors that the
process may open. The source and eight bytes of closure are left out; what C has instead, the words for
a callback and its data in each structure, is counted. The yardstick is oneloop. tokio and async-io are
measured with the object alone, which calls nothing, and with a task that awaits it. mio and polling have
neither handlers nor timers; calloop has no row with a million, as it looks through all to add one.
libev, libevent and libuv, with the feature c-peers, allocate by a counting function of theirs, and
their events or handles are counted as well.",
        // From small to large, as some room is kept; and it is the handlers that keep most.
        workloads: vec![
            Many::Timers(THOUSANDS),
            Many::Timers(MILLION),
            Many::Handlers(THOUSANDS),
            Many::Handlers(most),
        ],
        yardstick: peer("oneloop", oneloop::handlers, oneloop::timers),
        peers: vec![
            peer("calloop", calloop::handlers, calloop::timers),
            peer("tokio", tokio::handlers, tokio::timers),
            peer("tokio, a task each", tokio::handling_tasks, tokio::timing_tasks),
            peer("async-io", async_io::handlers, async_io::timers),
            peer(
                "async-io, a task each",
                async_io::handling_tasks,
                async_io::timing_tasks,
            ),
            #[cfg(feature = "c-peers")]
            Peer::new("libev", c_memory::libev),
            #[cfg(feature = "c-peers")]
            Peer::new("libevent", c_memory::libevent),
            #[cfg(feature = "c-peers")]
            Peer::new("libuv", c_memory::libuv),
        ],
    };
    bench.main()
}

/// The contents of closures.
type Number = usize;

/// Fills a loop, which it gives away to be dropped when all is counted.
type Handlers<L> = fn(Vec<OwnedFd>) -> io::Result<L>;
type Timers<L> = fn(Vec<Instant>) -> io::Result<L>;

fn peer<L: 'static, M: 'static>(
    name: &'static str,
    handlers: Handlers<L>,
    timers: Timers<M>,
) -> Peer<Many> {
    let kept = Cell::new(0);
    Peer::new(name, move |&many: &Many, _| match many {
        Many::Handlers(number) => {
            let own = size_of::<OwnedFd>() + size_of::<Number>();
            let bytes = taken(&kept, || handlers(fds(number)?))? as f64 / number as f64;
            Ok(Measured::untimed().with(PER_HANDLER, bytes - own as f64))
        }
        Many::Timers(number) => {
            let own = size_of::<Number>();
            let bytes = taken(&kept, || timers(deadlines(number)))? as f64 / number as f64;
            Ok(Measured::untimed().with(PER_TIMER, bytes - own as f64))
        }
    })
}

const PER_HANDLER: &str = "bytes_per_handler";
const PER_TIMER: &str = "bytes_per_timer";

/// How many bytes are taken while there is what `fill` makes, with those that earlier ones have `kept`:
/// async-io has one loop, which keeps its room.
fn taken<L>(kept: &Cell<usize>, fill: impl FnOnce() -> io::Result<L>) -> io::Result<usize> {
    let before = ALLOCATOR.bytes() - kept.get();
    let filled = fill()?;
    let bytes = ALLOCATOR.bytes() - before;
    drop(filled);
    kept.set(ALLOCATOR.bytes().saturating_sub(before));
    Ok(bytes)
}

/// Descriptors of which none ever becomes ready.
fn fds(number: usize) -> io::Result<Vec<OwnedFd>> {
    let one = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    (0..number).map(|_| one.try_clone()).collect()
}

fn deadlines(number: usize) -> Vec<Instant> {
    let later = Instant::now() + Duration::from_secs(3600);
    let after = |n| later + Duration::from_micros(n);
    (0..number as u64).map(after).collect()
}
