//! polling, level-triggered.

use std::io;
use std::sync::Arc;

use oneloop_benches::Stopwatch;
use polling::{Event, Events, PollMode, Poller};

use crate::station::{Station, pass};

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let poller = Poller::new()?;
    let watched = watch(&poller, &stations).and_then(|()| pass_on(&poller, &stations, stopwatch));
    for station in &stations {
        // Fails for those that were not added, if adding failed.
        let _ = poller.delete(&station.source);
    }
    watched
}

fn watch(poller: &Poller, stations: &[Station]) -> io::Result<()> {
    for (key, station) in stations.iter().enumerate() {
        let event = Event::readable(key);
        // SAFETY: the only caller deletes all stations from the poller, and only then drops them.
        // A panic in between drops the poller first, which was made after the stations.
        unsafe { poller.add_with_mode(&station.source, event, PollMode::Level) }?;
    }
    Ok(())
}

fn pass_on(poller: &Poller, stations: &[Station], stopwatch: &Stopwatch) -> io::Result<()> {
    let mut events = Events::new();
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            let station = &stations[event.key];
            pass(&station.source, &station.next)?;
            if !stopwatch.count() {
                return Ok(());
            }
        }
    }
}
