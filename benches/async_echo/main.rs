//! Tasks that talk over TCP connections, all on one thread and one loop: the cost of a round trip of
//! a small message.

mod async_io;
mod oneloop;
mod queue;
mod talk;
mod tokio;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use oneloop_benches::{Bench, Peer, Stopwatch};
use talk::Connection;

/// A workload: how many connections there are.
struct Connections(usize);

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} connection{plural}", self.0)
    }
}

fn main() -> ExitCode {
    let bench = Bench {
        name: "async_echo",
        about: "\
Over each TCP connection on loopback, a task sends 64 bytes and awaits them back from another task;
all are on one thread. An event is one such round trip. The yardstick is async-io under a local
executor, which runs oneloop's tasks, too; tokio is measured with it and with its own scheduler,
and as the guest of a reactor; oneloop with it, with a mere queue of tasks, and inside tokio and async-io, each with the executor that
its own sockets have.",
        workloads: vec![Connections(1), Connections(100)],
        yardstick: peer("async-io Async", async_io::run),
        peers: vec![
            peer("tokio", tokio::run),
            peer("tokio, same executor", tokio::same_executor),
            peer("tokio inside oneloop", tokio::as_guest),
            peer("oneloop Reactor", oneloop::shared),
            peer("oneloop LocalReactor", oneloop::local),
            peer("oneloop, queue", oneloop::under_a_queue),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
        ],
    };
    bench.main()
}

/// Lets tasks talk until the stopwatch says that it is over.
type Run = fn(Vec<Connection>, &Arc<Stopwatch>) -> io::Result<()>;

/// Each measurement has a loop and connections of its own.
fn peer(name: &'static str, run: Run) -> Peer<Connections> {
    Peer::new(name, move |&Connections(number), events| {
        measure(run, number, events)
    })
}

fn measure(run: Run, number: usize, events: u64) -> io::Result<Duration> {
    let stopwatch = Stopwatch::new(events);
    run(talk::connections(number)?, &stopwatch)?;
    let ended_early = || io::Error::other("it ended before all events were handled");
    stopwatch.elapsed().ok_or_else(ended_early)
}
