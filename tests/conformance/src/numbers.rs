//! Clause 7: numbers that mean another file than before.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use oneloop::{Action, Event, Interest, Mode, Priority};

use crate::os;
use crate::stage::after_turns;
use crate::tools::readable;
use crate::{Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

/// A closed number can be registered again at once, and is then armed.
pub fn a_reused_number_is_really_armed(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        drop(a);
        let old = stage.watch_number(number.get(), READ, mode);
        stage.turns(2);
        old.take();
        number.mean(&c);
        let new = stage.watch_number(number.get(), READ, mode);
        stage.turns(2);
        assert_eq!(new.take(), 0, "the old one's byte is not the new one's");
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(new.take() > 0, "{mode:?}");
        assert_eq!(old.take(), 0);
        // Removing the stale id does not touch the new owner.
        stage.reactor.remove_handler(old.id).expect("no error");
        stage.reactor.update_handler(new.id, READ).expect("known");
        stage.turns(2);
        assert!(new.take() > 0);
        stage.reactor.remove_handler(new.id).expect("known");
        number.close();
    }
}

/// Closes a handler's number, which an update or the next wait finds out. A handler of another file under
/// the number does not revive it.
pub fn a_closed_handler_stays_quiet_when_its_number_is_registered_again(stage: &mut Stage) {
    for later in [false, true] {
        for &mode in stage.modes() {
            let (a, _b) = pair();
            let (c, mut d) = readable();
            let number = Arc::new(Number::of(&a));
            drop(a);
            let quiet = stage.watch_number(number.get(), READ, mode);
            if later {
                let (reactor, id, number) = (stage.reactor.clone(), quiet.id, number.clone());
                let post = stage.reactor.call_soon(move || {
                    let update = reactor.update_handler(id, READ | WRITE);
                    update.expect("it is open, and the kernel is told later");
                    number.close();
                });
                post.expect("open");
                stage.turns(2);
            } else {
                number.close();
                let update = stage.reactor.update_handler(quiet.id, READ | WRITE);
                update.expect_err("closed");
            }
            number.mean(&c);
            let new = stage.watch_number(number.get(), READ, mode);
            d.write_all(b"x").expect("room");
            stage.turns(2);
            assert!(new.take() > 0, "{mode:?}");
            assert_eq!(quiet.take(), 0, "{mode:?}");
            for one in [quiet, new] {
                stage.reactor.remove_handler(one.id).expect("no error");
            }
            number.close();
        }
    }
}

/// Gives a handler's number to another file within the batch. The handler would read the new owner's data.
pub fn a_handler_whose_number_is_taken_in_the_batch_is_not_called(stage: &mut Stage) {
    let (a, _b) = readable();
    let (c, _d) = readable();
    let number = Arc::new(Number::of(&a));
    drop(a);
    let (log, c) = (Log::default(), Arc::new(c));
    let taken = Arc::new(AtomicBool::new(false));
    // Two takers around it, so that one of them comes before it in any order.
    let add_taker = || {
        let (taker, peer) = readable();
        let (reactor, number) = (stage.reactor.clone(), number.clone());
        let (log, c, taken) = (log.clone(), c.clone(), taken.clone());
        let added = stage
            .reactor
            .add_handler(taker, READ, Mode::Level, move |_, _| {
                if !taken.swap(true, SeqCst) {
                    log.push("taken");
                    number.mean(&*c);
                    // SAFETY: the number was made to mean `c` just now.
                    let added =
                        unsafe { reactor.add_raw_handler(number.get(), READ, Mode::Level, |_| {}) };
                    added.expect("the number again");
                }
                Action::Remove
            });
        added.expect("add_handler");
        peer
    };
    let _before = add_taker();
    let seen = log.clone();
    // SAFETY: the number is open; that another takes it is the test.
    let old = unsafe {
        stage
            .reactor
            .add_raw_handler(number.get(), READ, Mode::Level, move |_| seen.push("old"))
    };
    let _after = add_taker();
    stage.turns(3);
    let log = log.take();
    assert_eq!(log.last(), Some(&"taken"), "{log:?}");
    let old = old.expect("add_raw_handler");
    stage.reactor.remove_handler(old).expect("no error");
}

/// A one-shot that has fired is still in the kernel's set, mute. A file that gets its number is not taken
/// for its neighbour, even if he wants nothing yet.
pub fn a_number_reused_after_a_oneshot_has_fired_is_watched(stage: &mut Stage) {
    for (mode, first_interest) in [(Mode::Level, Interest::NONE), (Mode::Edge, READ)] {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        drop(a);
        let old = stage.watch_number(number.get(), READ, Mode::Oneshot);
        stage.turns(2);
        assert_eq!(old.take(), 1);
        number.mean(&c);
        let first = stage.watch_number(number.get(), first_interest, mode);
        let second = stage.watch_number(number.get(), WRITE, Mode::Level);
        stage.reactor.update_handler(first.id, READ).expect("open");
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(first.take() > 0, "{mode:?}");
        assert!(second.take() > 0);
        assert_eq!(old.take(), 0);
        for one in [old, first, second] {
            stage.reactor.remove_handler(one.id).expect("no error");
        }
        number.close();
    }
}

/// Updates a handler whose number has another owner. The update returns an error and changes nothing.
pub fn a_stale_handler_cannot_take_the_number_back(stage: &mut Stage) {
    let (a, _b) = readable();
    let (c, _d) = readable();
    let number = Number::of(&a);
    drop(a);
    let old = stage.watch_number(number.get(), READ, Mode::Level);
    number.mean(&c);
    let new = stage.watch_number(number.get(), WRITE, Mode::Level);
    let error = stage
        .reactor
        .update_handler(old.id, READ)
        .expect_err("stale");
    assert_eq!(error.raw_os_error(), Some(os::EBADF));
    stage.turns(2);
    assert_eq!(old.take(), 0);
    assert!(new.events().iter().all(|event| !event.is_readable()));
    // Unless it asks for it.
    stage
        .reactor
        .rearm_handler(old.id)
        .expect("there is a file under the number");
    stage.turns(2);
    assert!(old.take() >= 2);
    stage.reactor.remove_handler(old.id).expect("known");
    stage.reactor.remove_handler(new.id).expect("known");
    number.close();
}

/// An update finds the new file under the number of a handler that is not paused.
pub fn an_update_that_finds_a_new_file_leaves_the_old_one(stage: &mut Stage) {
    for mode in [Mode::Level, Mode::Edge] {
        let (a, mut b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, mode);
        number.mean(&c);
        stage
            .reactor
            .update_handler(calls.id, READ | Interest::PRIORITY)
            .expect("mended");
        b.write_all(b"x").expect("room");
        stage.turns(3);
        assert_eq!(calls.take(), 0, "that is another file");
        d.write_all(b"x").expect("room");
        stage.turns(3);
        assert!(calls.take() > 0);
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// A socket becomes a regular file, and the other way round, under the same number.
pub fn a_number_reused_across_kinds_of_files_is_watched(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let socket = stage.watch_number(number.get(), READ, Mode::Level);
    number.mean(os::regular_file());
    let file = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(3);
    assert!(file.take() >= 3);
    let (c, _d) = pair();
    number.mean(&c);
    let again = stage.watch_number(number.get(), WRITE, Mode::Level);
    stage.turns(3);
    assert!(again.take() >= 3);
    assert_eq!(socket.take(), 0);
    assert_eq!(file.take(), 0, "its file is gone");
    for one in [socket, file, again] {
        stage.reactor.remove_handler(one.id).expect("no error");
    }
    number.close();
}

/// A callback updates its handler after the number of a socket has come to mean a regular file: the loop goes on,
/// and the handler is on that file.
pub fn a_regular_file_takes_the_number_inside_a_callback(stage: &mut Stage) {
    for (interest, mode) in [
        (WRITE, Mode::Level),
        (NONE, Mode::Level),
        (WRITE, Mode::Oneshot),
    ] {
        let (a, _b) = readable();
        let number = Arc::new(Number::of(&a));
        drop(a);
        let (reactor, other) = (stage.reactor.clone(), number.clone());
        let log = Log::default();
        let seen = log.clone();
        let handle = move |event: Event| {
            seen.push(event);
            if event.is_readable() {
                other.mean(os::regular_file());
                let updated = reactor.update_handler(event.handler(), interest);
                updated.expect("mended");
            }
        };
        // SAFETY: the number is this case's own.
        let added = unsafe {
            stage
                .reactor
                .add_raw_handler(number.get(), READ, mode, handle)
        };
        let id = added.expect("add_raw_handler");
        stage.turns(4);
        let called = log.take().len();
        if interest.is_empty() {
            assert_eq!(called, 1);
            stage.reactor.update_handler(id, WRITE).expect("mended");
            stage.turns(2);
            assert!(!log.is_empty());
        } else {
            assert!(called > 1, "{mode:?}")
        }
        stage.reactor.remove_handler(id).expect("known");
        number.close();
    }
}

/// Removed, closed, reopened under the same number and added, all in one callback.
pub fn remove_and_add_of_one_number_in_one_callback_works(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let (c, _d) = readable();
    let log = Log::default();
    let (seen, reactor, fd) = (log.clone(), stage.reactor.clone(), number.get());
    // SAFETY: the number is open, and removed before it is reused.
    let add = unsafe {
        stage
            .reactor
            .add_raw_handler(fd, READ, Mode::Level, move |event| {
                seen.push("old");
                reactor.remove_handler(event.handler()).expect("known");
                number.mean(&c);
                let seen = seen.clone();
                // SAFETY: it was made to mean `c` just now.
                let add =
                    reactor.add_raw_handler(fd, READ, Mode::Oneshot, move |_| seen.push("new"));
                add.expect("add_raw_handler");
            })
    };
    add.expect("add_raw_handler");
    stage.turns(4);
    log.expect(&["old", "new"]);
}

/// The new file is added before the handler of the old one is removed, as libverto does.
pub fn the_new_file_is_added_before_the_old_handler_is_removed(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let old = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    let new = stage.watch_number(number.get(), READ, Mode::Level);
    stage.reactor.remove_handler(old.id).expect("no error");
    stage.turns(3);
    assert!(new.take() >= 3);
    stage.reactor.remove_handler(new.id).expect("known");
    number.close();
}

/// A library closes and reopens its socket and then changes what it wants, all under one handler.
pub fn an_update_finds_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), WRITE, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    stage
        .reactor
        .update_handler(calls.id, READ)
        .expect("mended");
    stage.turns(3);
    assert!(
        calls
            .events()
            .iter()
            .filter(|event| event.is_readable())
            .count()
            >= 3
    );
    // In a callback, too, where the kernel is told later.
    let (e, _f) = pair();
    number.mean(&e);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    after_turns(&stage.reactor, 0, move |_| {
        reactor.update_handler(id, WRITE).expect("mended");
    });
    stage.turns(4);
    assert!(
        calls
            .events()
            .iter()
            .filter(|event| event.is_writable())
            .count()
            >= 2
    );
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// The last that is not for edges goes after the number has come to mean another file, which asks the
/// kernel for the edges in another place.
pub fn a_removal_finds_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let edge = stage.watch_number(number.get(), READ, Mode::Edge);
    let paused = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    let removed = stage.reactor.remove_handler(paused.id);
    removed.expect("known");
    stage.turns(3);
    let removed = stage.reactor.remove_handler(edge.id);
    removed.expect("known");
    number.close();
}

/// A regular file under the number of a socket is found, too, and no other handler notices.
pub fn an_update_finds_a_regular_file_under_the_number(stage: &mut Stage) {
    let (a, b) = (pair().0, pair().0);
    let numbers = [Number::of(&a), Number::of(&b)];
    let watch = |number: &Number| stage.watch_number(number.get(), WRITE, Mode::Level);
    let [first, second] = numbers.each_ref().map(watch);
    numbers[0].mean(os::regular_file());
    stage
        .reactor
        .update_handler(first.id, READ)
        .expect("mended");
    stage.turns(3);
    assert!(first.take() >= 3);
    // In a callback, where the kernel is told later.
    numbers[1].mean(os::regular_file());
    let (reactor, id) = (stage.reactor.clone(), second.id);
    after_turns(&stage.reactor, 0, move |_| {
        reactor.update_handler(id, READ).expect("mended");
    });
    stage.turns(4);
    assert!(second.take() >= 3);
    for (number, one) in numbers.iter().zip([first, second]) {
        stage.reactor.remove_handler(one.id).expect("known");
        number.close();
    }
}

/// The readiness of the old file is forgotten, also in the turn in which it was to be told.
pub fn rearm_forgets_what_the_old_file_was_ready_for(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Arc::new(Number::of(&a));
    drop(a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (reactor, id, its) = (stage.reactor.clone(), calls.id, number.clone());
    let (c, _d) = pair();
    // It runs after the turn has seen what is ready.
    let replace = move || {
        its.mean(&c);
        reactor.rearm_handler(id).expect("mended");
    };
    let posted = stage.reactor.call_soon_with(Priority::High, replace);
    posted.expect("open");
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// `rearm_handler` finds the new file although nothing else has changed, as libpq needs it.
pub fn rearm_takes_the_new_file_under_the_number(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    stage.turns(2);
    assert_eq!(calls.take(), 0, "the kernel knows only the old file");
    stage.reactor.rearm_handler(calls.id).expect("rearm");
    stage.turns(2);
    assert!(calls.take() >= 2);
    number.close();
    let error = stage.reactor.rearm_handler(calls.id).expect_err("closed");
    assert_eq!(error.raw_os_error(), Some(os::EBADF));
    assert!(error.to_string().contains("rearm_handler"));
    stage.reactor.remove_handler(calls.id).expect("no error");
}
