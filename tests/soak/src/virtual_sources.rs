//! Virtual sources: queues that threads fill, and handlers empty.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oneloop::{Action, Event, Interest, Mode, Reactor, Ready, SetReadiness, VirtualSource};

use crate::books::Kind;
use crate::sabotage::Harm;
use crate::{Soak, gate, lock};

/// Of each thread.
const SOURCES: usize = 30;

/// So many may wait.
const MOST: usize = 100;

struct Queue {
    mode: Mode,
    readiness: SetReadiness,
    items: Mutex<VecDeque<u64>>,
    /// The item that is taken next.
    due: Mutex<u64>,
}

pub fn start(soak: &Arc<Soak>, reactor: &Reactor, threads: usize) -> io::Result<()> {
    for _ in 0..threads {
        let mut queues = Vec::new();
        for at in 0..SOURCES {
            queues.push((add(soak, reactor, at)?, 0));
        }
        gate::work(soak, "items", move |soak| {
            for _ in 0..fastrand::u8(1..20) {
                let at = fastrand::usize(0..queues.len());
                let (queue, next) = &mut queues[at];
                bring(soak, queue, next);
            }
            thread::sleep(Duration::from_micros(fastrand::u64(0..1000)));
        })?;
    }
    Ok(())
}

fn add(soak: &Arc<Soak>, reactor: &Reactor, at: usize) -> io::Result<Arc<Queue>> {
    let (source, readiness) = VirtualSource::pair();
    let mode = [Mode::Level, Mode::Edge, Mode::Oneshot][at % 3];
    let queue = Arc::new(Queue {
        mode,
        readiness,
        items: Mutex::default(),
        due: Mutex::default(),
    });
    let (around, own) = (soak.clone(), queue.clone());
    let call = move |_: &mut _, event| take(&around, &own, event);
    reactor.add_handler(source, Interest::READABLE, mode, call)?;
    Ok(queue)
}

/// From a thread.
fn bring(soak: &Soak, queue: &Queue, next: &mut u64) {
    let mut items = lock(&queue.items);
    if items.len() >= MOST {
        return;
    }
    soak.books.open(Kind::Item);
    if !soak.sabotage.strikes(Harm::Item) {
        items.push_back(*next);
    }
    *next += 1;
    // Under the lock, as in `take`: the last word is right.
    queue.readiness.set(Ready::READABLE);
}

/// Some if it is level-triggered, and else all there are.
fn take(soak: &Arc<Soak>, queue: &Queue, event: Event) -> Action {
    let most = if queue.mode == Mode::Level { 3 } else { MOST };
    let mut due = lock(&queue.due);
    for _ in 0..most {
        let mut items = lock(&queue.items);
        let item = items.pop_front();
        if items.is_empty() {
            queue.readiness.clear(Ready::READABLE);
        }
        drop(items);
        let Some(item) = item else {
            break;
        };
        soak.books.close(Kind::Item);
        if item != *due {
            soak.books
                .fault(format!("the item {item} came where {due} was due"));
        }
        *due = item + 1;
    }
    if let (Mode::Oneshot, Some(reactor)) = (queue.mode, soak.reactor()) {
        if let Err(error) = reactor.update_handler(event.handler(), Interest::READABLE) {
            soak.books.fault(error.to_string());
        }
    }
    Action::Continue
}
