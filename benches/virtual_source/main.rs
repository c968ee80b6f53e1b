//! Another thread makes a source ready, and a loop that sleeps calls its handler: the way from the
//! one to the other, and back.

mod rounds;
mod sources;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oneloop::Reactor;
use oneloop_benches::{Bench, Cores, Peer};
use rounds::Rounds;

fn main() -> ExitCode {
    let bench = Bench {
        name: "virtual_source",
        about: "\
A thread makes a source ready and sleeps; the loop, which sleeps too, calls the source's handler, and
that wakes the thread. An event is one such round. On one core that is what it costs; on two there is
added what it takes the system to wake a core. The yardstick is an eventfd, which the handler reads.",
        workloads: vec![Cores::One, Cores::Two],
        yardstick: peer("eventfd", sources::eventfd),
        peers: vec![
            peer("VirtualSource, edge", sources::edge),
            peer("VirtualSource, level", sources::level),
            peer("call_soon", sources::call_soon),
        ],
    };
    bench.main()
}

/// Makes the source ready, from any thread.
type Set = Box<dyn FnMut() + Send>;

/// Registers a source whose handler ends rounds.
type Register = fn(&Reactor, &Arc<Rounds>) -> io::Result<Set>;

fn peer(name: &'static str, register: Register) -> Peer<Cores> {
    Peer::new(name, move |&cores, events| measure(register, cores, events))
}

fn measure(register: Register, cores: Cores, events: u64) -> io::Result<Duration> {
    let reactor = Reactor::new()?;
    let rounds = Rounds::new(&reactor, events);
    let set = register(&reactor, &rounds)?;
    cores.keep_loop()?;
    let own = rounds.clone();
    let setter = thread::spawn(move || {
        cores.keep_other()?;
        own.begin_all(set);
        io::Result::Ok(())
    });
    reactor.run()?;
    setter.join().expect("it does not panic")?;
    rounds.elapsed()
}
