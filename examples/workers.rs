//! A use of edge mode: a handler gives its connection to a pool of threads and returns, and the
//! loop goes on while a worker reads. In level mode it would be called in every turn meanwhile.
//! In each round a message comes while the connection is idle, one while a worker reads, and one
//! when the worker has found nothing more, but has not given the connection back yet.

mod help;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{mem, thread};

use oneloop::{Action, Event, Interest, Mode, Reactor};

const WORKERS: usize = 2;
const CONNECTIONS: usize = 4;
const MESSAGES: u32 = 600;

struct Connection {
    stream: Arc<UnixStream>,
    peer: UnixStream,
    /// How many messages, locked by the worker that reads.
    received: Mutex<u32>,
    duty: Mutex<Duty>,
}

/// The race: an edge may come while a worker drains the connection. Handing it over again would set
/// two workers on it. Forgetting the edge would lose a wake: the worker may have found nothing just
/// before the bytes came, and they make no other edge. So it is noted, and the worker gives the
/// connection back only if there is no note; else it drains again.
#[derive(Default)]
struct Duty {
    busy: bool,
    more: bool,
    /// How many messages the peer has sent. A message is its number.
    sent: u32,
    edges: u32,
    hand_overs: u32,
    turns: u64,
}

impl Connection {
    /// Sends the next message, or hangs up after the last.
    fn send(&self) {
        let mut duty = self.duty.lock().unwrap();
        duty.sent += 1;
        if duty.sent <= MESSAGES {
            (&self.peer).write_all(&duty.sent.to_ne_bytes()).unwrap()
        } else {
            self.peer.shutdown(Shutdown::Both).unwrap()
        }
    }

    /// Reads until there is nothing, slowly. Gives the connection back, or says that there is more.
    fn drain(self: &Arc<Connection>, reactor: &Reactor) -> bool {
        let mut received = self.received.try_lock().expect("one worker at a time");
        let (before, mut number) = (reactor.stats().turns, [0; 4]);
        while (&*self.stream).read_exact(&mut number).is_ok() {
            *received += 1;
            assert_eq!(u32::from_ne_bytes(number), *received, "each exactly once");
            if *received % 3 == 1 {
                self.send_on_the_loop(reactor);
            }
        }
        if *received % 3 == 2 {
            self.send_on_the_loop(reactor);
        }
        drop(received);
        let mut duty = self.duty.lock().unwrap();
        duty.turns += reactor.stats().turns - before;
        duty.busy = mem::take(&mut duty.more);
        duty.busy
    }

    /// Returns a turn later, so that the message's edge was there.
    fn send_on_the_loop(self: &Arc<Connection>, reactor: &Reactor) {
        let (called, wait) = channel();
        let (connection, remote) = (self.clone(), reactor.remote());
        let post = move || {
            connection.send();
            remote.call_soon(move || called.send(()).unwrap()).unwrap();
        };
        reactor.call_soon(post).unwrap();
        wait.recv().unwrap();
    }
}

fn work(jobs: &Mutex<Receiver<Arc<Connection>>>, reactor: &Reactor) {
    let next = || jobs.lock().unwrap().recv();
    while let Ok(connection) = next() {
        while connection.drain(reactor) {}
        // The next round: this edge comes after the drain.
        reactor.call_soon(move || connection.send()).unwrap();
    }
}

const HELP: &str = "\
Gives connections in edge mode to a pool of threads, and checks that each message was read once.

Usage: cargo run --release --example workers

  --help   this text";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    help::print_if_asked(HELP);
    let reactor = Reactor::new()?;
    // Not done after ten seconds means that a wake was lost.
    reactor.set_referenced(
        reactor.call_later(Duration::from_secs(10), || std::process::abort())?,
        false,
    )?;
    let (pool, jobs) = channel();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let (stream, peer) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let (stream, pool) = (Arc::new(stream), pool.clone());
        let connection = Arc::new(Connection {
            stream: stream.clone(),
            peer,
            received: Mutex::default(),
            duty: Mutex::default(),
        });
        connection.send();
        connections.push(connection.clone());
        let edge = move |_: &mut _, event: Event| {
            if event.is_hangup() {
                return Action::Remove;
            }
            let mut duty = connection.duty.lock().unwrap();
            duty.edges += 1;
            duty.more = duty.busy;
            if !mem::replace(&mut duty.busy, true) {
                duty.hand_overs += 1;
                pool.send(connection.clone()).unwrap();
            }
            Action::Continue
        };
        reactor.add_handler(stream, Interest::READABLE, Mode::Edge, edge)?;
    }
    drop(pool); // The last handler ends the workers.
    let jobs = Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(&jobs, &reactor));
        }
        reactor.run()
    })?;
    println!("messages   edges   hand-overs   edges while busy   turns while busy");
    for connection in connections {
        let received = *connection.received.lock().unwrap();
        let duty = connection.duty.lock().unwrap();
        let (edges, hand_overs, turns) = (duty.edges, duty.hand_overs, duty.turns);
        let (busy, rounds) = (edges - hand_overs, MESSAGES / 3);
        println!("{received:8} {edges:7} {hand_overs:12} {busy:18} {turns:18}");
        assert_eq!(received, MESSAGES);
        assert!(hand_overs >= rounds && busy >= 2 * rounds && turns >= u64::from(2 * rounds));
    }
    Ok(())
}
