//! Does one thing many times on the built-in loop, for `tests/counts.sh`, which counts instructions and
//! system calls.

use std::cell::Cell;
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oneloop::{Action, Interest, LocalReactor, Mode, Reactor, Step, TestClock};

pub fn run(workload: &str, events: usize) -> Result<(), Box<dyn Error>> {
    let reactor = Reactor::new_local()?;
    match workload {
        "ring" => {
            ring(&reactor, 1, events)?;
            Ok(reactor.run()?)
        }
        // No browser looks at the loop's page.
        "ring-inspected" => {
            oneloop_inspect::serve(&reactor, ([127, 0, 0, 1], 0))?;
            ring(&reactor, 1, events)?;
            Ok(reactor.run()?)
        }
        "ring-50" => {
            ring(&reactor, 50, events)?;
            Ok(reactor.run()?)
        }
        "ring-beside-timer" => {
            reactor.call_later(Duration::from_secs(3600), || {})?;
            ring(&reactor, 1, events)?;
            Ok(reactor.run_forever()?)
        }
        "ring-on-tokio" => {
            ring(&reactor, 1, events)?;
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_io().build()?;
            Ok(runtime.block_on(oneloop_tokio::drive(&reactor))?)
        }
        "toggle" => toggle(&reactor, events),
        "timer-fire" => timer_fire(&reactor, events),
        "timer-cancel" => timer_cancel(&reactor, events),
        "timer-reset" => timer_reset(&reactor, events),
        "post" => post(&reactor, events),
        "post-to-host" => post_to_host(&reactor, events),
        "hook" => hook(&reactor, events),
        "system-timer" => system_timer(events),
        _ => Err(format!("there is no workload {workload:?}").into()),
    }
}

/// A byte hops from one socket pair to the next.
fn ring(reactor: &LocalReactor, tokens: usize, events: usize) -> Result<(), Box<dyn Error>> {
    let pairs: Result<Vec<_>, _> = (0..100).map(|_| UnixStream::pair()).collect();
    let (sources, mut sinks): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
    for token in 0..tokens {
        (&sinks[token * sinks.len() / tokens]).write_all(b"t")?;
    }
    sinks.rotate_left(1);
    let left = Rc::new(Cell::new(events));
    for (source, mut sink) in sources.into_iter().zip(sinks) {
        let (left, weak) = (left.clone(), reactor.downgrade());
        reactor.add_handler(source, Interest::READABLE, Mode::Level, move |source, _| {
            let mut token = [0];
            if source.read(&mut token).is_ok() && sink.write(&token).is_ok() {
                left.set(left.get() - 1);
            }
            if left.get() == 0 {
                weak.upgrade()
                    .into_iter()
                    .for_each(|reactor| reactor.stop());
            }
        })?;
    }
    Ok(())
}

/// A message to and fro, with write interest on and off around each, as C clients do.
fn toggle(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(b"m")?;
    let mut left = events;
    let weak = reactor.downgrade();
    reactor.add_handler(
        theirs,
        Interest::READABLE,
        Mode::Level,
        move |theirs, event| {
            let (mut message, Some(reactor)) = ([0], weak.upgrade()) else {
                return Action::Remove;
            };
            let both = Interest::READABLE | Interest::WRITABLE;
            let changed = reactor.update_handler(event.handler(), both);
            let echoed = theirs.read(&mut message).and_then(|_| ours.write(&message));
            let again = reactor.update_handler(event.handler(), Interest::READABLE);
            left -= 1;
            if left > 0 && changed.is_ok() && echoed.is_ok() && again.is_ok() {
                Action::Continue
            } else {
                Action::Remove
            }
        },
    )?;
    Ok(reactor.run()?)
}

/// A timer that is due, among a thousand that are not.
fn timer_fire(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    others(reactor)?;
    for _ in 0..events / 100 {
        for _ in 0..100 {
            reactor.call_later(Duration::ZERO, || {})?;
        }
        reactor.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// A timer that is set and cancelled.
fn timer_cancel(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    others(reactor)?;
    for _ in 0..events {
        let timer = reactor.call_later(Duration::from_secs(60), || {})?;
        reactor.cancel_timer(timer)?;
    }
    Ok(())
}

/// A timer that is put off.
fn timer_reset(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    others(reactor)?;
    let timer = reactor.call_later(Duration::from_secs(60), || {})?;
    let start = Instant::now() + Duration::from_secs(60);
    for event in 0..events {
        reactor.reset_timer(timer, start + Duration::from_nanos(event as u64))?;
    }
    Ok(())
}

fn others(reactor: &LocalReactor) -> Result<(), Box<dyn Error>> {
    for second in 100..1100 {
        reactor.call_later(Duration::from_secs(second), || {})?;
    }
    Ok(())
}

/// A post, of a hundred in a turn.
fn post(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    let called = Rc::new(Cell::new(0));
    for _ in 0..events / 100 {
        for _ in 0..100 {
            let called = called.clone();
            let count = move || called.set(called.get() + 1);
            reactor
                .call_soon(count)
                .map_err(|error| error.to_string())?;
        }
        reactor.turn(Some(Duration::ZERO))?;
    }
    match called.get() {
        all if all == events / 100 * 100 => Ok(()),
        some => Err(format!("{some} of {events} were called").into()),
    }
}

/// A post, of so many that a host calls them in many goes.
fn post_to_host(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    for _ in 0..events {
        reactor
            .call_soon(|| {})
            .map_err(|error| error.to_string())?;
    }
    let mut host = reactor.host("count")?;
    while host.step(100)? == Step::Yield {}
    Ok(())
}

/// A pair of hooks in a turn, among many.
fn hook(reactor: &LocalReactor, events: usize) -> Result<(), Box<dyn Error>> {
    const TURNS: usize = 10;
    for _ in 0..events / TURNS {
        reactor.add_hook(|| None, || {})?;
    }
    for _ in 0..TURNS {
        reactor.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// A timer for the system clock, which an eager clock moves to.
fn system_timer(events: usize) -> Result<(), Box<dyn Error>> {
    let clock = TestClock::eager();
    let reactor = Reactor::builder().clock(clock.clone()).build_local()?;
    let start = clock.system_now();
    for event in 0..events {
        let time = start + Duration::from_secs(event as u64);
        reactor.call_at_system_time(time, || {})?;
    }
    Ok(reactor.run()?)
}
