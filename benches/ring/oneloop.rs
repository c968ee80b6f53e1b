//! oneloop: the same callbacks on three hosts.

use std::io;
use std::sync::Arc;

use oneloop::{Interest, Mode, Reactor};
use oneloop_benches::Stopwatch;

use crate::station::{Station, pass};

pub fn built_in(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    Ok(reactor(stations, stopwatch)?.run()?)
}

pub fn on_tokio(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = reactor(stations, stopwatch)?;
    crate::tokio::runtime()?.block_on(oneloop_tokio::drive(&reactor))
}

pub fn on_async_io(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let reactor = reactor(stations, stopwatch)?;
    async_io::block_on(oneloop_async_io::drive(&reactor))
}

fn reactor(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<Reactor> {
    let reactor = Reactor::new()?;
    for Station { source, next } in stations {
        let (stopwatch, weak) = (stopwatch.clone(), reactor.downgrade());
        reactor.add_handler(source, Interest::READABLE, Mode::Level, move |source, _| {
            pass(source, &next).expect("a token was there to be passed on");
            if !stopwatch.count() {
                weak.upgrade().expect("it runs").stop();
            }
        })?;
    }
    Ok(reactor)
}
