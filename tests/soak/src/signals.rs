//! Signals to this process, one at a time.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use oneloop::{HandlerId, Reactor};
use rustix::process::{Signal, getpid, kill_process};

use crate::books::Kind;
use crate::sabotage::Harm;
use crate::{Soak, gate};

/// The handler is removed and added again after so many.
const OFTEN: u64 = 50;

pub fn start(soak: &Arc<Soak>, reactor: &Reactor) -> io::Result<()> {
    let (sender, seen) = channel();
    let mut handler = add(soak, reactor, &sender)?;
    let mut sent = 0;
    gate::work(soak, "signals", move |soak| {
        send(soak, &seen);
        sent += 1;
        if sent % OFTEN == 0 {
            if let Err(error) = rebuild(soak, &mut handler, &sender) {
                soak.books.fault(error.to_string());
            }
        }
        thread::sleep(Duration::from_millis(2));
    })
}

fn add(soak: &Arc<Soak>, reactor: &Reactor, sender: &Sender<()>) -> oneloop::Result<HandlerId> {
    let (around, sender) = (soak.clone(), sender.clone());
    reactor.add_signal(Signal::USR1.as_raw(), move |_| {
        around.books.close(Kind::Signal);
        // If no handler waits for it any more, the books will tell.
        let _ = sender.send(());
    })
}

fn rebuild(soak: &Arc<Soak>, handler: &mut HandlerId, sender: &Sender<()>) -> oneloop::Result<()> {
    if let Some(reactor) = soak.reactor() {
        reactor.remove_handler(*handler)?;
        *handler = add(soak, &reactor, sender)?;
    }
    Ok(())
}

fn send(soak: &Soak, seen: &Receiver<()>) {
    soak.books.open(Kind::Signal);
    if !soak.sabotage.strikes(Harm::Signal) {
        if let Err(error) = kill_process(getpid(), Signal::USR1) {
            soak.books.fault(format!("kill: {error}"));
        }
    }
    if seen.recv_timeout(soak.patience).is_err() {
        soak.wait_until_idle();
        if seen.try_recv().is_err() {
            soak.books.fault("a signal was not seen");
        }
    }
}
