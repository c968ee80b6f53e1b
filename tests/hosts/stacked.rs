use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneloop::{Action, Event, Interest, Mode, Reactor};
use oneloop_conformance::{HostUnderTest, Outside};

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
        let turn = move |inner: &mut Reactor, event: Event| {
            let turn = inner.turn(Some(Duration::ZERO)).and_then(|turn| {
                if turn.needs_rebuild {
                    inner.rebuild()?;
                    let outer = stopper.upgrade().expect("it drives");
                    outer.rearm_handler(event.handler())?;
                }
                Ok(turn)
            });
            let goes_on = turn.as_ref().is_ok_and(|turn| !turn.stopped);
            if let Err(error) = turn {
                *failed.lock().expect("no panic") = Some(error);
            }
            if goes_on {
                return Action::Continue;
            }
            if let Some(outer) = stopper.upgrade() {
                outer.stop();
            }
            Action::Remove
        };
        // Once at the beginning, as every host does.
        let first = reactor.turn(Some(Duration::ZERO))?;
        if first.stopped {
            return Ok(());
        }
        outer.add_handler(reactor.clone(), Interest::READABLE, Mode::Level, turn)?;
        self.0.drive(&outer, outside)?;
        match failure.lock().expect("no panic").take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}
