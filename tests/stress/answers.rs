//! Threads that ask the loop, which sleeps, and wait for the answer. Where all threads are at it all the
//! time the next wake makes up for one that is lost; here no other wake follows.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use oneloop::{
    Action, Event, HandlerId, Interest, Mode, Priority, Reactor, Ready, SetReadiness, VirtualSource,
};

use crate::books::Books;
use crate::legs::Legs;
use crate::thread::Random;

const HOUR: Duration = Duration::from_secs(3600);

/// `threads` ask until then, while the loop is on one host.
pub fn ask(reactor: &Reactor, legs: &Legs, leg: u64, books: &Books, threads: u64, end: Instant) {
    let left = AtomicUsize::new(threads as usize);
    std::thread::scope(|scope| {
        for seed in 1..=threads {
            let (mut asker, left) = (Asker::new(reactor, leg * threads + seed), &left);
            scope.spawn(move || {
                while Instant::now() < end {
                    asker.ask();
                    asker.answers.recv().unwrap();
                    books.progress();
                }
                if left.fetch_sub(1, SeqCst) == 1 {
                    asker.reactor.stop();
                }
                asker.reactor.remove_handler(asker.told).unwrap();
                asker.reactor.remove_handler(asker.paused).unwrap();
            });
        }
        legs.drive_until_stopped(leg).unwrap();
    });
}

struct Asker {
    reactor: Reactor,
    random: Random,
    answer: Sender<()>,
    answers: Receiver<()>,
    /// A handler on a source, which answers when that becomes ready.
    told: HandlerId,
    readiness: SetReadiness,
    /// One whose source is ready, and that answers when it is resumed.
    paused: HandlerId,
    /// Of a socket that is always ready.
    ready: Arc<UnixStream>,
}

impl Asker {
    fn new(reactor: &Reactor, seed: u64) -> Asker {
        let (answer, answers) = channel();
        let (source, readiness) = VirtualSource::pair();
        let (answers_to, clear) = (answer.clone(), readiness.clone());
        let handler = move |_: &mut VirtualSource, _| {
            clear.clear(Ready::READABLE);
            answers_to.send(()).unwrap();
        };
        let told = reactor.add_handler(source, Interest::READABLE, Mode::Level, handler);
        let (source, always) = VirtualSource::pair();
        always.set(Ready::READABLE);
        let (answers_to, weak) = (answer.clone(), reactor.downgrade());
        let handler = move |_: &mut VirtualSource, event: Event| {
            let _ready = &always;
            let reactor = weak.upgrade().unwrap();
            reactor
                .update_handler(event.handler(), Interest::NONE)
                .unwrap();
            answers_to.send(()).unwrap();
        };
        let paused = reactor.add_handler(source, Interest::NONE, Mode::Level, handler);
        Asker {
            reactor: reactor.clone(),
            random: Random::new(seed),
            answer,
            answers,
            told: told.unwrap(),
            readiness,
            paused: paused.unwrap(),
            ready: Arc::new(UnixStream::pair().unwrap().0),
        }
    }

    fn ask(&mut self) {
        let (reactor, answer) = (&self.reactor, self.answer.clone());
        match self.random.below(8) {
            0 | 1 => {
                let priorities = [Priority::Normal, Priority::High, Priority::Idle];
                let priority = priorities[self.random.below(3) as usize];
                let post = move || answer.send(()).unwrap();
                reactor.remote().call_soon_with(priority, post).unwrap();
            }
            2 | 3 => assert!(self.readiness.set(Ready::READABLE)),
            4 => {
                let delay = Duration::from_micros(self.random.below(50));
                let fire = move || answer.send(()).unwrap();
                reactor.call_later(delay, fire).unwrap();
            }
            5 => {
                let fire = move || answer.send(()).unwrap();
                let timer = reactor.call_later(HOUR, fire).unwrap();
                reactor.reset_timer(timer, reactor.now()).unwrap();
            }
            6 => {
                let resumed = reactor.update_handler(self.paused, Interest::READABLE);
                resumed.unwrap();
            }
            _ => {
                let handler = move |_: &mut Arc<UnixStream>, _| {
                    answer.send(()).unwrap();
                    Action::Remove
                };
                let (ready, what) = (self.ready.clone(), Interest::WRITABLE);
                reactor
                    .add_handler(ready, what, Mode::Level, handler)
                    .unwrap();
            }
        }
    }
}
