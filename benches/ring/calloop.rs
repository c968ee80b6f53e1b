//! calloop: a callback per station.

use std::io;
use std::sync::Arc;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use oneloop_benches::Stopwatch;

use crate::station::{Station, pass};

pub fn run(stations: Vec<Station>, stopwatch: &Arc<Stopwatch>) -> io::Result<()> {
    let mut events = EventLoop::<()>::try_new()?;
    for Station { source, next } in stations {
        let (stopwatch, signal) = (stopwatch.clone(), events.get_signal());
        let source = Generic::new(source, Interest::READ, Mode::Level);
        let handle = events.handle();
        let inserted = handle.insert_source(source, move |_, source, ()| {
            pass(source, &next)?;
            if !stopwatch.count() {
                signal.stop();
            }
            Ok(PostAction::Continue)
        });
        inserted.map_err(|refused| refused.error)?;
    }
    events.run(None, &mut (), |()| {})?;
    Ok(())
}
