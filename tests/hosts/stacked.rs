use std::io;
use std::sync::{Arc, Mutex};

use oneloop::{Action, Event, Interest, Mode, Reactor, Shared, Step};
use oneloop_conformance::{HostUnderTest, Outside, step_inside};

use crate::tokio::CurrentThread;

/// The reactor is a handler of another reactor, and that one is driven by tokio.
pub struct Stacked(CurrentThread);

impl HostUnderTest for Stacked {
    fn new() -> Self {
        Stacked(CurrentThread::new())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        let outer = Reactor::new()?;
        let failure = Arc::new(Mutex::new(None));
        let (stopper, failed) = (outer.downgrade(), failure.clone());
        let mut host = reactor.host("another reactor")?;
        // Once at the beginning, as every host does.
        if host.step(8)? == Step::Done {
            return Ok(());
        }
        let step = move |host: &mut oneloop::Host<Shared>, event: Event| {
            let outer = stopper.upgrade().expect("it drives");
            let action = step_inside(host, &outer, event.handler()).unwrap_or_else(|error| {
                *failed.lock().expect("no panic") = Some(error);
                Action::Remove
            });
            if action == Action::Remove {
                outer.stop();
            }
            action
        };
        outer.add_handler(host, Interest::READABLE, Mode::Level, step)?;
        self.0.drive(&outer, outside)?;
        match failure.lock().expect("no panic").take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}
