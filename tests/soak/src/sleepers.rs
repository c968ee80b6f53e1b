//! Connections on which hardly anything happens, for as long as the soak lasts. Threads pause, resume,
//! remove and re-arm their handlers meanwhile.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oneloop::{Event, HandlerId, Interest, Mode, Reactor};

use crate::books::{Count, Kind};
use crate::{Soak, gate, lock};

pub struct Sleepers(Vec<Arc<Sleeper>>);

struct Sleeper {
    ours: UnixStream,
    theirs: Arc<UnixStream>,
    mode: Mode,
    state: Mutex<State>,
    /// The byte that comes next.
    due: Mutex<u8>,
}

struct State {
    handler: Option<HandlerId>,
    /// The byte that is sent next.
    next: u8,
}

impl Sleepers {
    pub fn new(soak: &Arc<Soak>, reactor: &Reactor, count: usize) -> io::Result<Arc<Sleepers>> {
        let mut all = Vec::new();
        for at in 0..count {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            let sleeper = Arc::new(Sleeper {
                ours,
                theirs: Arc::new(theirs),
                mode: [Mode::Level, Mode::Edge, Mode::Oneshot][at % 3],
                state: Mutex::new(State {
                    handler: None,
                    next: 0,
                }),
                due: Mutex::new(0),
            });
            sleeper.add(soak, reactor, &mut lock(&sleeper.state))?;
            all.push(sleeper);
        }
        Ok(Arc::new(Sleepers(all)))
    }

    pub fn start(self: &Arc<Sleepers>, soak: &Arc<Soak>) -> io::Result<()> {
        let sleepers = self.clone();
        gate::work(soak, "sleepers", move |soak| {
            for _ in 0..5 {
                let at = fastrand::usize(0..sleepers.0.len());
                if let Err(error) = sleepers.0[at].disturb(soak) {
                    soak.books.fault(format!("a sleeper: {error}"));
                }
            }
            thread::sleep(Duration::from_millis(1));
        })
    }

    /// No sleeper is paused any more, and each gets a byte.
    pub fn call_the_roll(&self, soak: &Soak) -> io::Result<()> {
        let Some(reactor) = soak.reactor() else {
            return Ok(());
        };
        for sleeper in &self.0 {
            let mut state = lock(&sleeper.state);
            if let Some(handler) = state.handler {
                reactor.update_handler(handler, Interest::READABLE)?;
            }
            sleeper.poke(soak, &mut state)?;
        }
        Ok(())
    }
}

impl Sleeper {
    fn add(
        self: &Arc<Sleeper>,
        soak: &Arc<Soak>,
        reactor: &Reactor,
        state: &mut State,
    ) -> io::Result<()> {
        let (around, own) = (soak.clone(), self.clone());
        let call = move |theirs: &mut Arc<UnixStream>, event| own.called(&around, theirs, event);
        let theirs = self.theirs.clone();
        state.handler = Some(reactor.add_handler(theirs, Interest::READABLE, self.mode, call)?);
        Ok(())
    }

    fn called(&self, soak: &Soak, theirs: &UnixStream, event: Event) {
        let mut bytes = [0; 64];
        let mut due = lock(&self.due);
        while let Ok(count @ 1..) = (&*theirs).read(&mut bytes) {
            for byte in &bytes[..count] {
                soak.books.close(Kind::Poke);
                if *byte != *due {
                    soak.books
                        .fault(format!("the byte {byte} came where {due} was due"));
                }
                *due = byte.wrapping_add(1);
            }
        }
        if self.mode == Mode::Oneshot {
            if let Some(reactor) = soak.reactor() {
                // Another thread may have paused it just now, which this undoes, or removed it.
                let _ = reactor.update_handler(event.handler(), Interest::READABLE);
            }
        }
    }

    /// From a thread.
    fn disturb(self: &Arc<Sleeper>, soak: &Arc<Soak>) -> io::Result<()> {
        let Some(reactor) = soak.reactor() else {
            return Ok(());
        };
        let mut state = lock(&self.state);
        let Some(handler) = state.handler else {
            return Ok(());
        };
        match fastrand::u8(0..8) {
            0 | 1 => reactor.update_handler(handler, Interest::NONE)?,
            2 | 3 => reactor.update_handler(handler, Interest::READABLE)?,
            4 => {
                reactor.remove_handler(handler)?;
                state.handler = None;
                self.add(soak, &reactor, &mut state)?;
                soak.books.count(Count::Rearmed);
            }
            5 => {
                reactor.rearm_handler(handler)?;
                soak.books.count(Count::Rearmed);
            }
            _ => self.poke(soak, &mut state)?,
        }
        Ok(())
    }

    fn poke(&self, soak: &Soak, state: &mut State) -> io::Result<()> {
        match (&self.ours).write(&[state.next]) {
            Ok(_) => {
                soak.books.open(Kind::Poke);
                state.next = state.next.wrapping_add(1);
                Ok(())
            }
            // It has been paused for long.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}
