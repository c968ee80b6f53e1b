//! Clients on threads of their own, with blocking sockets.

use std::io;
use std::sync::Arc;

use crate::Soak;
use crate::books::Kind;
use crate::client::{Ending, Plan};
use crate::gate;
use crate::line::Line;
use crate::stream::Stream;

pub fn start(soak: &Arc<Soak>, threads: usize) -> io::Result<()> {
    for _ in 0..threads {
        gate::work(soak, "outside", |soak| {
            soak.books.open(Kind::Connection);
            if let Err(error) = talk(soak) {
                soak.books.fault(format!("a client outside: {error}"));
            }
            soak.books.close(Kind::Connection);
        })?;
    }
    Ok(())
}

fn talk(soak: &Soak) -> io::Result<()> {
    let stream = loop {
        match Stream::connect(soak.crowd.address()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            other => break other?,
        }
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(soak.patience)?;
    stream.forget_when_closed()?;
    stream.set_prompt()?;
    let mut plan = Plan::any(soak, &stream);
    // More could block it in a write, while the server is blocked in another.
    plan.window = plan.window.min(2);
    let stream = Arc::new(stream);
    let mut line = Line::new(stream.clone());
    let (mut said, mut ended) = (0, false);
    let mut buffer = [0; 4096];
    for heard in 0..plan.messages {
        while said < plan.messages && said - heard < plan.window {
            line.push(&plan.message(said));
            soak.books.open(Kind::Message);
            said += 1;
        }
        line.flush()?;
        if said == plan.messages && plan.ending == Ending::Orderly && !ended {
            ended = true;
            stream.end_output()?;
        }
        let echo = loop {
            if let Some(echo) = line.next_message().map_err(io::Error::other)? {
                break echo;
            }
            if !read(soak, &mut line, &mut buffer)? {
                let what = format!("{plan:?} got no more after {heard} messages");
                return Err(io::Error::other(what));
            }
        };
        plan.check(heard, &echo).map_err(io::Error::other)?;
        soak.books.close(Kind::Message);
    }
    // Nothing but the end.
    while plan.ending != Ending::Abrupt && read(soak, &mut line, &mut buffer)? && !line.has_rest() {
    }
    match (plan.ending, line.end()) {
        (Ending::Abrupt, _) | (_, Some(_)) => Ok(()),
        (_, None) => Err(io::Error::other(format!("{plan:?} did not get the end"))),
    }
}

/// False if nothing comes any more.
fn read(soak: &Soak, line: &mut Line, buffer: &mut [u8]) -> io::Result<bool> {
    if line.read(buffer)? || line.end().is_some() {
        return Ok(line.end().is_none());
    }
    // Nothing has come for long.
    soak.wait_until_idle();
    line.read(buffer)
}
