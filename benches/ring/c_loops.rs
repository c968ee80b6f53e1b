//! libev, libevent and libuv: the same callback from C.

use std::io;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use oneloop_benches::c_loops::{self, Next, Watch};

use crate::station::{Station, pass};

pub fn libev(mut stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    c_loops::libev(&mut stations, |station| handle(station, stopwatch))
}

pub fn libevent(mut stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    c_loops::libevent(&mut stations, |station| handle(station, stopwatch))
}

pub fn libuv(mut stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    c_loops::libuv(&mut stations, |station| handle(station, stopwatch))
}

fn handle(station: &Station, stopwatch: &Stopwatch) -> io::Result<Next> {
    pass(&station.source, &station.next)?;
    Ok(if stopwatch.count() {
        Next::Go(Watch::READ)
    } else {
        Next::Stop
    })
}
