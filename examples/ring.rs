//! The classic measure of an event loop: a ring of socket pairs in which tokens hop from one to
//! the next. Each hop is one event, one read and one write; whatever else it takes is the loop's.

mod help;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use oneloop::{Interest, Mode, Reactor};

const HELP: &str = "\
Times a ring of socket pairs in which tokens hop from one to the next.

Usage: cargo run --release --example ring -- [PAIRS [TOKENS [HOPS]]]

  PAIRS    socket pairs (default: 100)
  TOKENS   tokens that hop at once (default: 1)
  HOPS     after so many hops it ends (default: 1000000)
  --help   this text";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    help::print_if_asked(HELP);
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut number = |default| numbers.next().unwrap_or(Ok(default));
    let (pairs, tokens, hops) = (number(100)?.max(1), number(1)?, number(1_000_000)?);

    let reactor = Reactor::new_local()?;
    let pairs: Result<Vec<_>, _> = (0..pairs).map(|_| UnixStream::pair()).collect();
    let (outs, mut ins): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
    for start in 0..tokens {
        (&ins[start * ins.len() / tokens]).write_all(b"t")?;
    }
    ins.rotate_left(1);
    let left = Rc::new(Cell::new(hops));
    for (from, mut to) in outs.into_iter().zip(ins) {
        from.set_nonblocking(true)?;
        to.set_nonblocking(true)?;
        let left = left.clone();
        reactor.add_handler(from, Interest::READABLE, Mode::Level, move |from, _| {
            let mut token = [0];
            if from
                .read_exact(&mut token)
                .and_then(|()| to.write_all(&token))
                .is_err()
            {
                return;
            }
            left.set(left.get().saturating_sub(1));
            if left.get() == 0 {
                Reactor::current_local().unwrap().stop();
            }
        })?;
    }

    let start = Instant::now();
    reactor.run()?;
    let each = start.elapsed() / hops.max(1) as u32;
    println!(
        "{hops} hops, {each:?} each, {} turns",
        reactor.stats().turns
    );
    Ok(())
}
