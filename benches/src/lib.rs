//! Shared by the benches: the command line, rounds that take every loop in turn, medians,
//! and how results are printed.
//!
//! A bench is a [`Bench`]: some workloads, a yardstick, and the loops that are compared with it.
//! Machines slow down and speed up while one measures, so no loop is measured in one go: each round
//! measures every loop once, each round begins with another loop, and a loop's ratio is the median
//! over the rounds of its time divided by the yardstick's of the same round.
//!
//! [`Stopwatch`] counts events inside a loop, and takes the time between two of them. [`Spread`]
//! says where to put the few bytes that an event reads or writes.

mod args;
#[cfg(feature = "c-peers")]
pub mod c_loops;
#[cfg(feature = "c-peers")]
pub mod c_memory;
#[cfg(feature = "c-peers")]
pub mod c_posts;
#[cfg(feature = "c-peers")]
pub mod c_timers;
mod cores;
mod limit;
mod measured;
mod patience;
mod report;
mod rounds;
mod spread;
mod stopwatch;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use args::Asked;
pub use cores::Cores;
pub use limit::descriptors;
use limit::raise_descriptors;
pub use measured::Measured;
use report::Report;
pub use spread::{PAGE, Spread};
pub use stopwatch::Stopwatch;

/// Handles a given number of events of a workload, and says how long that took: without what it
/// takes to set the loop up, to warm up, and to tear it down. A loop that cannot do a workload says so by
/// an error of the kind `Unsupported`, and has no row there.
pub type Measure<W> = Box<dyn Fn(&W, u64) -> io::Result<Measured>>;

/// A loop that is measured.
pub struct Peer<W> {
    name: &'static str,
    measure: Measure<W>,
}

impl<W> Peer<W> {
    /// A loop, named for the report.
    pub fn new<M: Into<Measured>>(
        name: &'static str,
        measure: impl Fn(&W, u64) -> io::Result<M> + 'static,
    ) -> Peer<W> {
        Peer {
            name,
            measure: Box::new(move |workload, events| measure(workload, events).map(M::into)),
        }
    }
}

/// A comparison of loops.
pub struct Bench<W> {
    /// As in `cargo bench --bench NAME`.
    pub name: &'static str,
    /// The text for `--help`, in a sentence or two.
    pub about: &'static str,
    /// The work of every loop. Workloads print as what they are.
    pub workloads: Vec<W>,
    /// The peer with which the others are compared.
    pub yardstick: Peer<W>,
    /// The others.
    pub peers: Vec<Peer<W>>,
}

impl<W: Display> Bench<W> {
    /// Does what the command line asks for: the `main` of a bench.
    pub fn main(mut self) -> ExitCode {
        let args = match args::parse(std::env::args().skip(1)) {
            Ok(Asked::Run(args)) => args,
            Ok(Asked::Help) => {
                print!("{}", args::help(self.name, self.about));
                return ExitCode::SUCCESS;
            }
            Err(sentence) => return self.wrong(&sentence),
        };
        if let Some(part) = &args.only {
            self.peers.retain(|peer| peer.name.contains(part.as_str()));
            if self.peers.is_empty() && !self.yardstick.name.contains(part.as_str()) {
                return self.wrong(&format!("no loop has {part:?} in its name"));
            }
        }
        raise_descriptors();
        let report = Report::new(args.json);
        for workload in &self.workloads {
            match rounds::run(&self, workload, args.rounds) {
                Ok(results) => report.print(self.name, &workload.to_string(), &results),
                Err(error) => {
                    eprintln!("{} failed: {error}", self.name);
                    return ExitCode::FAILURE;
                }
            }
        }
        ExitCode::SUCCESS
    }

    fn wrong(&self, sentence: &str) -> ExitCode {
        eprintln!("{}: {sentence}. Try --help.", self.name);
        ExitCode::from(2)
    }
}
