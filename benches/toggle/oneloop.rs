//! oneloop: the same callbacks on three hosts.

use std::io;
use std::sync::Arc;

use oneloop::{Event, Interest, Mode, Reactor};
use oneloop_benches::Stopwatch;
use tokio::runtime::Builder;

use crate::player::Player;

pub fn built_in(players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    run(players, stopwatch, |reactor| Ok(reactor.run()?))
}

pub fn on_tokio(players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    run(players, stopwatch, |reactor| {
        runtime.block_on(oneloop_tokio::drive(reactor))
    })
}

pub fn on_async_io(players: Vec<Player>, stopwatch: &Arc<Stopwatch>) -> io::Result<u64> {
    run(players, stopwatch, |reactor| {
        async_io::block_on(oneloop_async_io::drive(reactor))
    })
}

fn run(
    players: Vec<Player>,
    stopwatch: &Arc<Stopwatch>,
    drive: impl FnOnce(&Reactor) -> io::Result<()>,
) -> io::Result<u64> {
    let reactor = Reactor::new()?;
    for Player { socket, mut play } in players {
        // As a C client has the loop at hand; `close` is what lets go of it.
        let (stopwatch, own) = (stopwatch.clone(), reactor.clone());
        let handler = move |socket: &mut _, event: Event| {
            let sent = play.ready(socket, |on| {
                let interest = if on {
                    Interest::READABLE | Interest::WRITABLE
                } else {
                    Interest::READABLE
                };
                Ok(own.update_handler(event.handler(), interest)?)
            });
            if sent.expect("it was ready") && !stopwatch.count() {
                own.stop();
            }
        };
        reactor.add_handler(socket, Interest::READABLE, Mode::Level, handler)?;
    }
    let before = reactor.stats().kernel_changes;
    drive(&reactor)?;
    let changes = reactor.stats().kernel_changes - before;
    reactor.close();
    Ok(changes)
}
