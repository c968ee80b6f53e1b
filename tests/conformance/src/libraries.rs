//! Patterns of C libraries, without the libraries. Most of it is in the other topics; `docs/contract.md`
//! says where.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use oneloop::{Action, Interest, Mode};

use crate::os;
use crate::tools::readable;
use crate::{Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

/// libdbus has a watch for reading and one for writing on its socket, the latter added disabled, and
/// switches each for itself, again and again.
pub fn two_watches_on_one_descriptor_are_toggled_apart(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.readable();
    let reader = stage.watch(a.clone(), READ, Mode::Level);
    let writer = stage.watch(a, WRITE, Mode::Level);
    let reactor = stage.reactor.clone();
    for (reads, writes) in [
        (true, false),
        (true, true),
        (false, true),
        (false, false),
        (true, true),
    ] {
        for (id, interest, on) in [(reader.id, READ, reads), (writer.id, WRITE, writes)] {
            let interest = if on { interest } else { NONE };
            reactor.update_handler(id, interest).expect("known");
        }
        reader.take();
        writer.take();
        stage.turns(3);
        assert_eq!((reader.take() > 0, writer.take() > 0), (reads, writes));
        b.write_all(b"x").expect("room");
    }
}

/// hiredis' context may be freed by the read half of an event, before its write half.
pub fn the_read_half_of_an_event_may_free_the_write_half(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (reactor, log) = (stage.reactor.clone(), Log::default());
    let write_half = Log::default();
    let (seen, free) = (log.clone(), write_half.clone());
    stage
        .reactor
        .add_handler(a.clone(), READ, Mode::Level, move |_, _| {
            for id in free.take() {
                reactor.remove_handler(id).expect("known");
            }
            seen.push("read");
            Action::Remove
        })
        .expect("add_handler");
    let seen = log.clone();
    let id = stage
        .reactor
        .add_handler(a, WRITE, Mode::Level, move |_, _| seen.push("write"));
    write_half.push(id.expect("add_handler"));
    stage.turns(3);
    log.expect(&["read"]);
}

/// libdbus, c-ares and libvirt hold a lock while they tell the loop what to watch, and take the same
/// lock in their callbacks.
pub fn no_callback_is_called_from_inside_add_update_and_remove(stage: &mut Stage) {
    let (sources, modes) = (stage.sources, stage.modes());
    let lock = Arc::new(Mutex::new(0));
    let (reactor, held) = (stage.reactor.clone(), lock.clone());
    let library = move || {
        let _held = held.lock().expect("no panic");
        let mut ids = Vec::new();
        for &mode in modes {
            let (a, b) = sources.readable();
            let locked = held.clone();
            let add = reactor.add_handler(a, READ, mode, move |_, _| {
                let _ = &b;
                *locked.try_lock().expect("called from inside the library") += 1;
            });
            ids.push(add.expect("add_handler"));
        }
        for id in ids.iter().copied() {
            reactor.update_handler(id, READ | WRITE).expect("known");
            reactor.rearm_handler(id).expect("known");
        }
        let gone = ids.pop().expect("three");
        reactor.remove_handler(gone).expect("known");
        reactor
            .call_later(std::time::Duration::ZERO, || {})
            .and_then(|id| reactor.cancel_timer(id))
            .expect("known");
    };
    // By the loop's own callbacks, and from outside.
    library();
    stage.reactor.call_soon(library).expect("open");
    stage.turns(4);
    assert!(*lock.lock().expect("no panic") >= 4);
}

/// A connection that has failed by the time it is added is reported like any other.
pub fn a_connection_that_failed_before_it_was_added_is_reported(stage: &mut Stage) {
    let sources = stage.sources;
    for (interest, mode) in [
        (READ, Mode::Level),
        (WRITE, stage.edge_or_oneshot()),
        (WRITE, Mode::Oneshot),
    ] {
        let (a, b) = sources.pair();
        drop(b);
        let log = Log::default();
        let seen = log.clone();
        stage
            .reactor
            .add_handler(a, interest, mode, move |_, event| {
                seen.push((event.is_readable(), event.is_writable(), event.is_hangup()));
                Action::Remove
            })
            .expect("add_handler");
        stage.turns(2);
        log.expect(&[(interest == READ, interest == WRITE, true)]);
    }
}

/// libpq closes its socket and opens another under the same number inside one call, made from the
/// callback of the old one, and goes on wanting the same.
pub fn a_socket_replaced_under_its_number_inside_a_callback_is_watched(stage: &mut Stage) {
    let (first, first_peer) = readable();
    let number = Arc::new(Number::of(&first));
    drop(first);
    let (second, mut second_peer) = pair();
    let (reactor, stopper) = (stage.reactor.clone(), stage.reactor.clone());
    let (socket, log) = (number.clone(), Log::default());
    let seen = log.clone();
    let mut second = Some(second);
    let callback = move |event: oneloop::Event| {
        seen.push(os::read(socket.get(), &mut [0; 8]));
        match second.take() {
            Some(second) => {
                socket.close();
                socket.mean(&second);
                let rearmed = reactor.rearm_handler(event.handler());
                rearmed.expect("known");
                second_peer.write_all(b"two").expect("room");
            }
            None => stopper.stop(),
        }
    };
    // SAFETY: the number is this case's own, and is replaced only as libraries do.
    let added = unsafe {
        stage
            .reactor
            .add_raw_handler(number.get(), READ, Mode::Level, callback)
    };
    added.expect("add_raw_handler");
    stage.run();
    log.expect(&[1, 3]);
    drop(first_peer);
}

/// A library that is called for one descriptor goes on to what it has another for, and switches off what
/// it has just dealt with there.
pub fn a_direction_that_a_neighbour_switched_off_is_not_delivered(stage: &mut Stage) {
    let sources = stage.sources;
    let ends = [sources.readable(), sources.readable()];
    let (ids, log) = (Log::default(), Log::default());
    for (me, (end, _)) in ends.iter().enumerate() {
        let (both, reactor, seen) = (ids.clone(), stage.reactor.clone(), log.clone());
        let handle = move |_: &mut crate::End, event: oneloop::Event| {
            seen.push((me, event.is_readable(), event.is_writable()));
            // The callback that is called first finds them.
            if let Some(&other) = both.take().get(1 - me) {
                reactor.update_handler(other, WRITE).expect("known");
            }
        };
        let reactor = &stage.reactor;
        let id = reactor.add_handler(end.clone(), READ | WRITE, Mode::Level, handle);
        ids.push(id.expect("add_handler"));
    }
    stage.turns(3);
    let calls = log.take();
    let (first, ..) = calls[0];
    for &(me, readable, writable) in &calls {
        assert_eq!((readable, writable), (me == first, true));
    }
    assert!(calls.iter().any(|(me, ..)| *me != first));
}

/// libdbus switches its watch for writing on and off on whichever thread sends, whether or not the loop
/// is busy.
pub fn a_watch_can_be_toggled_by_another_thread(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let watch = stage.watch(a, WRITE, Mode::Level);
    let (calls, reactor) = (watch.clone(), stage.reactor.clone());
    let sender = std::thread::spawn(move || {
        for _ in 0..300 {
            reactor.update_handler(calls.id, NONE).expect("known");
            reactor.update_handler(calls.id, WRITE).expect("known");
        }
        calls.take();
        while calls.take() == 0 {
            std::thread::yield_now();
        }
        reactor.update_handler(calls.id, NONE).expect("known");
        reactor.stop();
    });
    stage.run();
    sender.join().expect("no panic");
    watch.take();
    stage.turns(3);
    assert_eq!(watch.take(), 0);
}

/// PulseAudio drops its interest, reads a part of what is there, and takes it up again.
pub fn interest_can_be_dropped_and_taken_up_around_a_partial_read(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    b.write_all(&[7; 20]).expect("room");
    let (reactor, mut left) = (stage.reactor.clone(), 20);
    let read = move |end: &mut crate::End, event: oneloop::Event| {
        let interest = |interest| reactor.update_handler(event.handler(), interest);
        interest(NONE).expect("known");
        end.read_exact(&mut [0]).expect("readable");
        interest(READ).expect("known");
        left -= 1;
        if left == 0 {
            reactor.stop();
        }
    };
    let add = stage.reactor.add_handler(a, READ, Mode::Level, read);
    add.expect("add_handler");
    stage.run();
}

/// PulseAudio frees its watch and makes another on the same descriptor in each of its callbacks.
pub fn a_watch_made_again_in_each_of_its_callbacks_misses_nothing(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    b.write_all(&[7; 20]).expect("room");
    fn watch(reactor: oneloop::Reactor, end: crate::End, left: u32) {
        let add = reactor
            .clone()
            .add_handler(end.clone(), READ, Mode::Level, {
                move |end, _| {
                    end.read_exact(&mut [0]).expect("readable");
                    match left {
                        1 => reactor.stop(),
                        _ => watch(reactor.clone(), end.clone(), left - 1),
                    }
                    Action::Remove
                }
            });
        add.expect("add_handler");
    }
    watch(stage.reactor.clone(), a, 20);
    stage.run();
    assert_eq!(stage.reactor.stats().handlers, 0);
}
