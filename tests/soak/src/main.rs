//! All that a loop can do, at once and for minutes, with the books kept: of everything that is given to
//! the loop it is written down that it came back, once, in its order, and not too early. In waves, after
//! each of which the process must be where it was: memory, descriptors, and what the kernel watches.

mod books;
mod children;
mod client;
mod conductor;
mod crowd;
mod endpoint;
mod footprint;
mod gate;
mod hosts;
mod idle;
mod line;
mod manner;
mod message;
mod options;
mod outside;
mod periods;
mod posts;
mod report;
mod sabotage;
mod server;
mod signals;
mod sleepers;
mod stream;
mod timers;
mod virtual_sources;

use std::error::Error;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oneloop::{Priority, Reactor, Shared, WeakReactor};

use books::Books;
use crowd::Crowd;
use gate::Gate;
use sabotage::Sabotage;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{}", options::HELP);
        return Ok(());
    }
    let options = options::parse(&words)?;
    conductor::run(&options)
}

/// Shared by all parts of the program.
struct Soak {
    reactor: WeakReactor<Shared>,
    books: Books,
    gate: Gate,
    crowd: Crowd,
    sabotage: Sabotage,
    /// How long nothing may come before that counts as a loss.
    patience: Duration,
}

impl Soak {
    /// Waits until the loop had a turn with nothing else to do: what has not come by then is lost, and not
    /// just late because the machine is busy.
    fn wait_until_idle(&self) {
        let (sender, idle) = channel();
        let post = move || {
            let _ = sender.send(());
        };
        let posted = self
            .reactor()
            .map(|reactor| reactor.call_soon_with(Priority::Idle, post).is_ok());
        if posted == Some(true) {
            let _ = idle.recv();
        }
    }

    /// The reactor, which is there as long as anybody takes part.
    fn reactor(&self) -> Option<Reactor> {
        self.reactor.upgrade()
    }
}

/// A panic in a callback is a fault of its own, and not one of all that come after it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
