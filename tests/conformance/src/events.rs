//! Clauses 9 to 12: when handlers are called, and with what.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use oneloop::{Action, Event, HandlerId, Interest, Mode, Priority, Reactor};

use crate::os;
use crate::{Log, Stage};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

/// A connected pair of TCP sockets.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
    let (server, _) = listener.accept().expect("connected");
    (client, server)
}

// Clause 9.

/// Level: called in every turn until the data is read.
pub fn level_repeats_until_drained(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    b.write_all(b"12345").expect("room");
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |stream, _| {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("readable");
            seen.push(byte[0]);
        })
        .expect("add_handler");
    stage.turns(10);
    log.expect(b"12345");
}

/// Level is once a turn, not more.
pub fn level_is_once_a_turn(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    let before = stage.reactor.stats().turns;
    stage.turns(10);
    let turns = stage.reactor.stats().turns - before;
    let calls = calls.take() as u64;
    assert!(
        (10..=turns).contains(&calls),
        "{calls} calls in {turns} turns"
    );
}

/// Level under a host that sleeps in between: data left unread is reported again.
pub fn level_data_left_unread_is_reported_again(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    b.write_all(&[7; 100]).expect("room");
    let stopper = stage.reactor.clone();
    let mut left = 100;
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |stream, _| {
            stream.read_exact(&mut [0]).expect("readable");
            left -= 1;
            if left == 0 {
                stopper.stop();
            }
        })
        .expect("add_handler");
    stage.run();
}

/// Edge: data that is not read is not reported in every turn.
pub fn edge_is_not_repeated(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Edge);
    b.write_all(b"x").expect("room");
    stage.turns(10);
    let count = calls.take();
    assert!((1..5).contains(&count), "{count}");
}

/// Edge: each new readiness is reported, drained or not.
pub fn edge_reports_each_new_readiness(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Edge);
    for _ in 0..5 {
        b.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(calls.take() >= 1);
    }
}

/// Edge: what is ready at registration counts.
pub fn edge_counts_what_is_ready_at_registration(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ | WRITE, Mode::Edge);
    stage.turns(3);
    let events = calls.events();
    assert!(
        events
            .iter()
            .any(|event| event.is_readable() && event.is_writable())
    );
}

/// Edge: a handler that drains sees every byte, however they come.
pub fn an_edge_handler_that_drains_misses_nothing(stage: &mut Stage) {
    let sources = stage.sources;
    const BYTES: usize = 200_000;
    let (a, mut b) = sources.pair();
    let stopper = stage.reactor.clone();
    let mut got = 0;
    stage
        .reactor
        .add_handler(a, READ, Mode::Edge, move |stream, _| {
            let mut buffer = [0; 4096];
            while let Ok(n) = stream.read(&mut buffer) {
                got += n;
                if n == 0 || got == BYTES {
                    assert_eq!(got, BYTES);
                    stopper.stop();
                    return;
                }
            }
        })
        .expect("add_handler");
    b.set_nonblocking(false).expect("blocking");
    let writer = std::thread::spawn(move || {
        for size in (1..700).cycle().scan(0, |sum, size| {
            let size = size.min(BYTES - *sum);
            *sum += size;
            (size > 0).then_some(size)
        }) {
            b.write_all(&vec![1; size]).expect("connected");
        }
        b
    });
    stage.run();
    drop(writer.join().expect("no panic"));
}

/// One-shot: at most one call an arming.
pub fn oneshot_is_at_most_once_an_arming(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.readable();
    let calls = stage.watch(a, READ | WRITE, Mode::Oneshot);
    stage.turns(5);
    assert_eq!(calls.take(), 1);
    b.write_all(b"y").expect("room");
    stage.turns(5);
    assert_eq!(calls.take(), 0);
    drop(b);
    stage.turns(5);
    assert_eq!(calls.take(), 0, "not even for a hang-up");
}

/// One-shot: armed again in its own callback, it is called in the next turn.
pub fn a_oneshot_can_rearm_itself(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (log, reactor) = (Log::default(), stage.reactor.clone());
    let seen = log.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Oneshot, move |_, event| {
            seen.push(());
            if seen.len() < 4 {
                reactor
                    .update_handler(event.handler(), READ)
                    .expect("known");
            }
        })
        .expect("add_handler");
    stage.turns(10);
    assert_eq!(log.len(), 4);
}

/// Two one-shots on one descriptor that wait for different things.
pub fn oneshots_for_different_things_stay_armed_apart(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    let reader = stage.watch(a.clone(), READ, Mode::Oneshot);
    let writer = stage.watch(a, WRITE, Mode::Oneshot);
    stage.turns(3);
    assert_eq!((reader.take(), writer.take()), (0, 1));
    b.write_all(b"x").expect("room");
    stage.turns(3);
    assert_eq!((reader.take(), writer.take()), (1, 0));
}

/// A one-shot is not armed by a neighbour that rearms the descriptor.
pub fn a_neighbour_that_rearms_calls_no_oneshot_twice(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let reactor = stage.reactor.clone();
    stage
        .reactor
        .add_handler(a.clone(), READ, Mode::Level, move |_, event| {
            reactor.rearm_handler(event.handler()).expect("known");
        })
        .expect("add_handler");
    let calls = stage.watch(a, READ, Mode::Oneshot);
    stage.turns(5);
    assert_eq!(calls.take(), 1);
}

// Clause 10.

/// A hang-up reaches a reader as readable.
pub fn a_hangup_reaches_a_reader(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, b) = sources.pair();
        let calls = stage.watch(a, READ, mode);
        drop(b);
        stage.turns(2);
        let events = calls.events();
        assert!(!events.is_empty(), "{mode:?}");
        assert!(
            events
                .iter()
                .all(|event| event.is_readable() && event.is_hangup())
        );
        assert!(events.iter().all(|event| !event.is_writable()));
    }
}

/// A hang-up reaches a writer as writable.
pub fn a_hangup_reaches_a_writer(stage: &mut Stage) {
    let sources = stage.sources;
    let (mut a, b) = sources.pair();
    // Full, so that only the hang-up can make it writable.
    while a.write(&[0; 4096]).is_ok() {}
    let calls = stage.watch(a, WRITE, Mode::Level);
    stage.turns(2);
    assert_eq!(calls.take(), 0);
    drop(b);
    stage.turns(2);
    let events = calls.events();
    assert!(!events.is_empty());
    assert!(
        events
            .iter()
            .all(|event| event.is_writable() && !event.is_readable())
    );
    assert!(events.iter().all(|event| event.is_hangup()));
}

/// A hang-up reaches every handler that has an interest.
pub fn a_hangup_reaches_every_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = sources.pair();
    let handlers = [
        (READ, Mode::Level),
        (WRITE, Mode::Level),
        (READ, stage.edge_or_oneshot()),
    ]
    .map(|(interest, mode)| stage.watch(a.clone(), interest, mode));
    let paused = stage.watch(a, Interest::NONE, Mode::Level);
    drop(b);
    stage.turns(2);
    for handler in handlers {
        assert!(handler.events().iter().any(|event| event.is_hangup()));
    }
    assert_eq!(paused.take(), 0);
}

/// An error reaches reader and writer: a connection refused.
pub fn an_error_reaches_reader_and_writer(stage: &mut Stage) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let socket = os::connecting(address);
    let socket = Arc::new(socket);
    let reader = stage.watch(socket.clone(), READ, Mode::Oneshot);
    let stopper = stage.reactor.clone();
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .add_handler(socket, WRITE, Mode::Oneshot, move |_, event| {
            seen.push(event);
            stopper.stop();
        })
        .expect("add_handler");
    stage.run();
    stage.turns(1);
    let [writer] = log.take().try_into().expect("one call");
    assert!(writer.is_writable() && writer.is_error());
    let [reader] = reader.events().try_into().expect("one call");
    assert!(reader.is_readable() && reader.is_error());
}

/// Bytes that arrived before the hang-up can be read in the same call.
pub fn bytes_before_a_hangup_are_read_first(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    b.write_all(b"last words").expect("room");
    drop(b);
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |stream, event| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("text and the end");
            seen.push((text, event.is_hangup()));
            Action::Remove
        })
        .expect("add_handler");
    stage.turns(2);
    log.expect(&[("last words".into(), true)]);
}

/// A half-close is the end of the stream, not a hang-up.
pub fn a_half_close_is_readable_and_no_hangup(stage: &mut Stage) {
    let (a, b) = tcp();
    let calls = stage.watch(a, READ, Mode::Level);
    b.shutdown(Shutdown::Write).expect("connected");
    let stopper = stage.reactor.clone();
    let other = stage.reactor.clone();
    stage
        .reactor
        .call_every(std::time::Duration::from_millis(1), {
            let calls = calls.clone();
            move || {
                if let Some(event) = calls.events().first() {
                    assert!(event.is_readable() && !event.is_hangup());
                    stopper.stop();
                }
            }
        })
        .expect("open");
    stage.run();
    other.remove_handler(calls.id).expect("known");
    drop(b);
}

/// The peer's closing is told without reading, to handlers that ask for it alone.
pub fn the_peers_closing_is_told_without_reading(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, mut b) = tcp();
        let a = Arc::new(a);
        let closed = stage.watch(a.clone(), Interest::READ_CLOSED, mode);
        let writer = stage.watch(a, WRITE, Mode::Oneshot);
        b.write_all(b"unread").expect("room");
        stage.turns(3);
        assert_eq!((closed.take(), writer.take()), (0, 1), "{mode:?}");
        stage
            .reactor
            .update_handler(writer.id, WRITE)
            .expect("known");
        b.shutdown(Shutdown::Write).expect("connected");
        // Loopback delivers at once.
        stage.turns(3);
        let events = closed.events();
        assert!(!events.is_empty(), "{mode:?}");
        for event in events {
            assert!(event.is_read_closed() && !event.is_readable());
            assert!(!event.is_hangup() && !event.is_error());
        }
        assert!(writer.events().iter().all(|event| !event.is_read_closed()));
        for id in [closed.id, writer.id] {
            stage.reactor.remove_handler(id).expect("known");
        }
    }
}

/// Data and the end of the stream that come together are told in one call.
pub fn data_and_the_end_of_the_stream_are_one_call(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, mut b) = tcp();
        let calls = stage.watch(a, READ, mode);
        b.write_all(b"x").expect("room");
        stage.turns(3);
        let events = calls.events();
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| !event.is_read_closed()));
        stage.reactor.update_handler(calls.id, READ).expect("known");
        b.write_all(b"y").expect("room");
        b.shutdown(Shutdown::Write).expect("connected");
        stage.turns(3);
        let event = calls.events()[0];
        assert!(event.is_readable() && event.is_read_closed(), "{event:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// No bit is delivered that was not asked for.
pub fn nothing_is_delivered_that_was_not_asked_for(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let reader = stage.watch(a.clone(), READ, Mode::Level);
    let writer = stage.watch(a, WRITE, Mode::Level);
    stage.turns(3);
    let (read, written) = (reader.events(), writer.events());
    assert!(read.len() >= 2 && written.len() >= 2);
    for event in read {
        assert!(event.is_readable() && !event.is_writable() && !event.is_priority());
        assert!(!event.is_hangup() && !event.is_error());
    }
    for event in written {
        assert!(event.is_writable() && !event.is_readable() && !event.is_priority());
    }
}

/// One call carries all that is ready.
pub fn one_call_carries_all_that_is_ready(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ | WRITE, Mode::Oneshot);
    stage.turns(3);
    let [event] = calls.events().try_into().expect("one call");
    assert!(event.is_readable() && event.is_writable());
    assert_eq!(event.handler(), calls.id);
}

fn with_priority_data() -> (TcpStream, TcpStream) {
    let (a, b) = tcp();
    os::send_priority(&b);
    (a, b)
}

/// Priority data comes as priority.
pub fn priority_data_comes_as_priority(stage: &mut Stage) {
    let (a, _b) = with_priority_data();
    let log = Log::default();
    let (seen, stopper) = (log.clone(), stage.reactor.clone());
    stage
        .reactor
        .add_handler(
            a,
            READ | Interest::PRIORITY,
            Mode::Oneshot,
            move |_, event| {
                seen.push((event.is_priority(), event.is_readable()));
                stopper.stop();
            },
        )
        .expect("add_handler");
    stage.run();
    log.expect(&[(true, false)]);
}

/// Priority data is not reported to a handler that has not asked for it.
pub fn priority_data_is_not_reported_unless_asked_for(stage: &mut Stage) {
    let (a, _b) = with_priority_data();
    let a = Arc::new(a);
    let reader = stage.watch(a.clone(), READ, Mode::Level);
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .add_handler(a, Interest::PRIORITY, Mode::Oneshot, move |_, _| {
            stopper.stop()
        })
        .expect("add_handler");
    stage.run();
    stage.turns(2);
    assert_eq!(reader.take(), 0);
}

/// Pipes: the end of a pipe is seen.
pub fn the_end_of_a_pipe_is_seen(stage: &mut Stage) {
    let (reader, mut writer) = os::pipe();
    writer.write_all(b"x").expect("room");
    drop(writer);
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .add_handler(reader, READ, Mode::Level, move |pipe, _| {
            let n = pipe.read(&mut [0; 8]).expect("readable");
            seen.push(n);
            match n {
                0 => Action::Remove,
                _ => Action::Continue,
            }
        })
        .expect("add_handler");
    stage.turns(4);
    log.expect(&[1, 0]);
}

// Clause 11.

/// A handler added by a callback is first called in a later turn.
pub fn a_handler_added_in_a_callback_is_called_in_a_later_turn(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let log = Log::default();
    let (seen, reactor, shared) = (log.clone(), stage.reactor.clone(), a.clone());
    stage
        .reactor
        .add_handler(a, READ, Mode::Oneshot, move |_, _| {
            let seen_there = seen.clone();
            let child = move |_: &mut _, _| seen_there.push("child");
            reactor
                .add_handler(shared.clone(), READ, Mode::Oneshot, child)
                .expect("add_handler");
            let seen_there = seen.clone();
            reactor
                .call_soon(move || seen_there.push("end of the turn"))
                .expect("open");
        })
        .expect("add_handler");
    stage.turns(4);
    log.expect(&["end of the turn", "child"]);
}

/// Re-armed by a callback, it is called in a later turn.
pub fn a_handler_rearmed_in_a_callback_is_called_in_a_later_turn(stage: &mut Stage) {
    let sources = stage.sources;
    for mode in stage.some_of(&[Mode::Edge, Mode::Oneshot]) {
        let (a, _b) = sources.readable();
        let log = Log::default();
        let (seen, reactor) = (log.clone(), stage.reactor.clone());
        stage
            .reactor
            .add_handler(a, READ, mode, move |_, event| {
                seen.push("call");
                if seen.len() < 3 {
                    reactor
                        .update_handler(event.handler(), READ)
                        .expect("known");
                    let seen = seen.clone();
                    reactor.call_soon(move || seen.push("end")).expect("open");
                }
            })
            .expect("add_handler");
        stage.turns(4);
        log.expect(&["call", "end", "call"]);
    }
}

// Clause 12.

/// `Again`: called in the next turn, ready or not, with no wait in between.
pub fn again_calls_in_the_next_turn_though_nothing_is_ready(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, b) = sources.readable();
        let stopper = stage.reactor.clone();
        let mut calls = 0;
        stage
            .reactor
            .add_handler(a, READ, mode, move |stream, event| {
                let _ = &b;
                assert!(event.is_readable());
                let _ = stream.read(&mut [0; 8]);
                calls += 1;
                if calls < 5 {
                    return Action::Again;
                }
                stopper.stop();
                Action::Remove
            })
            .expect("add_handler");
        stage.run();
    }
}

/// `Again` does not starve the others.
pub fn again_does_not_starve_the_others(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    stage
        .reactor
        .add_handler(a, READ, stage.edge_or_oneshot(), |_, _| Action::Again)
        .expect("add_handler");
    let (c, _d) = sources.readable();
    let calls = stage.watch(c, READ, Mode::Level);
    stage.turns(5);
    assert!(calls.take() >= 5);
    let stopper = stage.reactor.clone();
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(2), move || stopper.stop())
        .expect("open");
    stage.run();
}

/// `Again` is kept whatever the handler has changed its interest to.
pub fn again_is_kept_when_the_interest_changes(stage: &mut Stage) {
    let sources = stage.sources;
    for interest in [WRITE, Interest::PRIORITY] {
        let (a, b) = sources.readable();
        let (reactor, log) = (stage.reactor.clone(), Log::default());
        let seen = log.clone();
        stage
            .reactor
            .add_handler(a, READ, Mode::Level, move |_, event| {
                let _ = &b;
                seen.push(());
                if seen.len() > 1 {
                    return Action::Remove;
                }
                let update = reactor.update_handler(event.handler(), interest);
                update.expect("known");
                Action::Again
            })
            .expect("add_handler");
        stage.turns(4);
        assert_eq!(log.len(), 2);
    }
}

/// The same holds if a neighbour does it, in every turn and before the handler is called.
pub fn again_is_kept_when_a_neighbour_changes_the_interest(stage: &mut Stage) {
    fn toggle(reactor: &Reactor, id: HandlerId, n: usize) {
        let next = reactor.clone();
        let post = move || {
            let interest = [READ, Interest::PRIORITY][n % 2];
            next.update_handler(id, interest).expect("known");
            if n > 0 {
                toggle(&next, id, n - 1);
            }
        };
        let posted = reactor.call_soon_with(Priority::High, post);
        posted.expect("open");
    }
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let seen = log.clone();
    let again = move |_: &mut _, _| {
        seen.push(());
        Action::Again
    };
    let added = stage.reactor.add_handler(a, READ, Mode::Level, again);
    toggle(&stage.reactor, added.expect("add_handler"), 20);
    stage.turns(20);
    assert!(log.len() >= 19, "{}", log.len());
}

/// The same holds if the handler is armed again before its turn comes.
pub fn again_is_kept_when_the_handler_is_rearmed(stage: &mut Stage) {
    const CALLS: usize = 10;
    let (a, _b) = stage.sources.readable();
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let seen = log.clone();
    let again = move |_: &mut _, event: Event| {
        let id = event.handler();
        seen.push(());
        if seen.len() == CALLS {
            return Action::Remove;
        }
        // From now on nothing that it waits for is ready.
        let updated = reactor.update_handler(id, Interest::PRIORITY);
        updated.expect("known");
        let next = reactor.clone();
        let rearm = move || next.rearm_handler(id).expect("known");
        let posted = reactor.call_soon_with(Priority::High, rearm);
        posted.expect("open");
        Action::Again
    };
    let mode = stage.edge_or_oneshot();
    let added = stage.reactor.add_handler(a, READ, mode, again);
    added.expect("add_handler");
    // Armed again in a turn, it is called in the next.
    stage.turns(2 * CALLS + 2);
    assert_eq!(log.len(), CALLS);
}

/// `Again` and a new event are one call in the turn.
pub fn again_and_an_event_are_one_call(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let log = Log::default();
    let seen = log.clone();
    stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| {
            seen.push(());
            Action::Again
        })
        .expect("add_handler");
    let before = stage.reactor.stats().turns;
    stage.turns(10);
    let turns = stage.reactor.stats().turns - before;
    assert!(
        (10..=turns).contains(&(log.len() as u64)),
        "{} in {turns}",
        log.len()
    );
}

/// `Again` from a handler that is paused then: kept until it is resumed.
pub fn again_waits_while_the_handler_is_paused(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let log = Log::default();
    let (seen, reactor) = (log.clone(), stage.reactor.clone());
    let id = stage
        .reactor
        .add_handler(a, READ, stage.edge_or_oneshot(), move |stream, event| {
            let _ = stream.read(&mut [0; 8]);
            seen.push(());
            if seen.len() == 1 {
                reactor
                    .update_handler(event.handler(), Interest::NONE)
                    .expect("known");
                return Action::Again;
            }
            Action::Continue
        })
        .expect("add_handler");
    stage.turns(4);
    assert_eq!(log.len(), 1);
    stage.reactor.update_handler(id, READ).expect("known");
    stage.turns(4);
    assert_eq!(log.len(), 2);
}

/// `Again` keeps the loop going, also from a one-shot that is spent. A paused handler keeps it going no more.
pub fn the_loop_goes_on_for_again_and_for_no_paused_handler(stage: &mut Stage) {
    for (paused, expected) in [(false, 3), (true, 1)] {
        let (a, _b) = stage.sources.readable();
        let log = Log::default();
        let (seen, reactor) = (log.clone(), stage.reactor.clone());
        let handle = move |_: &mut _, event: Event| {
            seen.push(());
            if paused {
                let update = reactor.update_handler(event.handler(), Interest::NONE);
                update.expect("known");
            }
            if seen.len() < 3 {
                Action::Again
            } else {
                Action::Continue
            }
        };
        let id = stage.reactor.add_handler(a, READ, Mode::Oneshot, handle);
        stage.run_until_empty();
        assert_eq!(log.len(), expected, "paused: {paused}");
        let id = id.expect("add_handler");
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// Two are ready in one turn. The one that is called first updates the other, which is told in the next.
pub fn an_edge_that_is_updated_before_its_call_is_told_once(stage: &mut Stage) {
    let mode = stage.edge_or_oneshot();
    let ids = Log::default();
    let calls = Log::default();
    let mut peers = Vec::new();
    for me in 0..2 {
        let (a, b) = stage.sources.readable();
        peers.push(b);
        let (all, seen, reactor) = (ids.clone(), calls.clone(), stage.reactor.clone());
        let handle = move |_: &mut _, _| {
            let ids: Vec<HandlerId> = all.take();
            if let Some(other) = ids.get(1 - me) {
                reactor.update_handler(*other, READ).expect("known");
            }
            seen.push(me);
        };
        let added = stage.reactor.add_handler(a, READ, mode, handle);
        ids.push(added.expect("add_handler"));
    }
    stage.turns(4);
    let mut called = calls.take();
    called.sort();
    assert_eq!(called, [0, 1]);
}

/// Posts in each turn keep `Again` from none.
pub fn again_calls_in_each_turn_beside_posts(stage: &mut Stage) {
    const CALLS: usize = 10;
    let (a, _b) = stage.sources.readable();
    let log = Log::default();
    let seen = log.clone();
    let again = move |_: &mut _, _| {
        seen.push(());
        if seen.len() < CALLS {
            Action::Again
        } else {
            Action::Continue
        }
    };
    let mode = stage.edge_or_oneshot();
    let added = stage.reactor.add_handler(a, READ, mode, again);
    added.expect("add_handler");
    stage.turns(CALLS + 1);
    assert_eq!(log.len(), CALLS);
}
