use crate::os::Socket;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oneloop::{Interest, Mode, Ready, SetReadiness, VirtualSource};

use crate::{Stage, pair};

/// Those whom a fault does not concern: handlers of each kind, timers and posts.
pub(crate) struct Bystanders {
    peers: Vec<Socket>,
    readiness: SetReadiness,
    /// The bystanders that were sent something and have not got it.
    waiting: Arc<AtomicUsize>,
    poster: Option<JoinHandle<()>>,
}

impl Bystanders {
    pub(crate) fn new(stage: &Stage) -> Bystanders {
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut peers = Vec::new();
        for &mode in stage.modes() {
            let (a, b) = pair();
            let (reactor, waiting) = (stage.reactor.clone(), waiting.clone());
            let handle = move |stream: &mut Socket, event: oneloop::Event| {
                let mut bytes = [0; 16];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    (0..n).for_each(|_| got(&waiting, &reactor));
                }
                if mode == Mode::Oneshot {
                    // In a callback it is only noted, and cannot be refused.
                    let armed = reactor.update_handler(event.handler(), Interest::READABLE);
                    armed.expect("known");
                }
            };
            let added = stage
                .reactor
                .add_handler(a, Interest::READABLE, mode, handle);
            added.expect("add_handler");
            peers.push(b);
        }
        let (source, readiness) = VirtualSource::pair();
        let (reactor, cleared, waits) = (stage.reactor.clone(), readiness.clone(), waiting.clone());
        let handle = move |_: &mut _, _| {
            cleared.clear(Ready::READABLE);
            got(&waits, &reactor);
        };
        let added = stage
            .reactor
            .add_handler(source, Interest::READABLE, Mode::Level, handle);
        added.expect("add_handler");
        Bystanders {
            peers,
            readiness,
            waiting,
            poster: None,
        }
    }

    /// Has something for each of them. Once all have got theirs, the loop is stopped.
    pub(crate) fn send(&mut self, stage: &Stage) {
        assert_eq!(self.waiting(), 0, "sent before they had it all");
        self.waiting.store(self.peers.len() + 3, SeqCst);
        for peer in &mut self.peers {
            peer.write_all(b"x").expect("room");
        }
        self.readiness.set(Ready::READABLE);
        let (reactor, waiting) = (stage.reactor.clone(), self.waiting.clone());
        let timer = move || got(&waiting, &reactor);
        let timer = stage.reactor.call_later(Duration::from_millis(1), timer);
        timer.expect("open");
        let (reactor, waiting) = (stage.reactor.clone(), self.waiting.clone());
        let post = move || got(&waiting, &reactor);
        let remote = stage.reactor.remote();
        let poster = thread::spawn(move || {
            remote.call_soon(post).expect("open");
        });
        self.poster = Some(poster);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// No bystander has noticed anything: all get what they are sent, without an error on the way.
    pub(crate) fn go_on(&mut self, stage: &mut Stage) {
        self.send(stage);
        self.get(stage);
    }

    /// They get what they were sent, without an error on the way.
    pub(crate) fn get(&mut self, stage: &mut Stage) {
        let errors = self.get_through(stage, 0);
        assert!(errors.is_empty());
    }

    /// They get what they were sent, after no more than so many errors of the driver, which it
    /// gives.
    pub(crate) fn get_through(&mut self, stage: &mut Stage, most: usize) -> Vec<oneloop::Error> {
        let errors = stage.run_through(most);
        assert_eq!(self.waiting(), 0, "something was lost");
        let poster = self.poster.take().expect("sent before");
        poster.join().expect("no panic");
        errors
    }
}

/// One has got something; the last one stops the loop.
fn got(waiting: &AtomicUsize, reactor: &oneloop::Reactor) {
    if waiting.fetch_sub(1, SeqCst) == 1 {
        reactor.stop();
    }
}
