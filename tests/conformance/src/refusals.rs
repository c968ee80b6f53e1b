//! Clause 26: what the kernel refuses comes back as an error, all else stays as it was, and the same
//! call works once the reason is gone.

use rustix::fd::{AsRawFd, RawFd};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::faulty::{Call, Fault};
use crate::os::{
    self, EBADF, EEXIST, EINTR, EINVAL, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM,
};
use oneloop::{Action, Error, ErrorKind, HandlerId, Interest, Mode, Priority, Reactor};

use crate::bystanders::Bystanders;
use crate::stage::{Drops, ours};
use crate::tools::readable;
use crate::{Calls, Log, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const MS: Duration = Duration::from_millis(1);

/// In these ways any call can fail. (EPERM, ENOENT and EEXIST say something about the descriptor.)
const REFUSALS: [i32; 6] = [EMFILE, ENFILE, ENOSPC, ENOMEM, EBADF, EINTR];

fn expect(error: &Error, call: &str, fd: Option<RawFd>, code: i32) {
    let what = (error.call(), error.fd(), error.raw_os_error());
    assert_eq!(what, (call, fd, Some(code)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Os);
}

/// Does it while no driver runs, in a callback, and on another thread while the loop sleeps.
fn everywhere(stage: &mut Stage, act: impl Fn(&Reactor) + Clone + Send + 'static) {
    act(&stage.reactor);
    let (reactor, in_callback) = (stage.reactor.clone(), act.clone());
    let post = move || {
        in_callback(&reactor);
        reactor.stop();
    };
    stage.reactor.call_soon(post).expect("open");
    stage.run();
    // It sleeps only when no handler is ready.
    stage.turns(2);
    let reactor = stage.reactor.clone();
    let (sender, actor) = std::sync::mpsc::channel();
    stage.run_beside(move || {
        let thread = thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| act(&reactor)));
            reactor.stop();
            result
        });
        sender.send(thread).expect("the case waits");
    });
    let actor = actor.recv().expect("it was beside");
    if let Err(panic) = actor.join().expect("caught") {
        resume_unwind(panic);
    }
}

/// A sandbox answers as the kernel does for regular files, which are always ready. A socket is not.
pub fn a_socket_that_a_sandbox_refuses_is_not_always_ready(stage: &mut Stage) {
    let faults = stage.faults();
    let (mut source, _b) = pair();
    let fd = source.as_raw_fd();
    faults.order_for(fd, Fault::Fails(Call::Add, EPERM), 1);
    let refused = stage
        .reactor
        .add_handler(source, READ, Mode::Level, |_, _| {});
    let refused = refused.expect_err("ordered");
    expect(refused.error(), "add_handler", Some(fd), EPERM);
    source = refused.into_source();
    let calls = stage.watch(source, READ, Mode::Level);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
}

/// A refused source comes back, its closure is dropped, and nothing is registered.
pub fn a_refused_add_leaves_no_trace(stage: &mut Stage) {
    let (faults, modes) = (stage.faults(), stage.modes());
    let mut others = Bystanders::new(stage);
    let (added, log) = (Log::default(), Log::default());
    let (peers, seen) = (added.clone(), log.clone());
    everywhere(stage, move |reactor| {
        for code in REFUSALS {
            for &mode in modes {
                let (mut source, b) = pair();
                let fd = source.as_raw_fd();
                let (drops, handlers) = (Drops::default(), reactor.stats().handlers);
                faults.order_for(fd, Fault::Fails(Call::Add, code), 2);
                for n in 1..=2 {
                    let guard = drops.guard();
                    let handle = move |_: &mut _, _| {
                        let _ = &guard;
                    };
                    let refused = reactor.add_handler(source, READ, mode, handle);
                    let refused = refused.expect_err("ordered");
                    expect(refused.error(), "add_handler", Some(fd), code);
                    source = refused.into_source();
                    assert_eq!(drops.count(), n);
                    assert_eq!(reactor.stats().handlers, handlers);
                }
                let seen = seen.clone();
                let handle = move |_: &mut _, _| {
                    seen.push(fd);
                    Action::Remove
                };
                let taken = reactor.add_handler(source, READ, mode, handle);
                taken.expect("the reason is gone");
                peers.push(b);
            }
        }
    });
    let mut peers = added.take();
    peers
        .iter_mut()
        .for_each(|b| b.write_all(b"x").expect("room"));
    // Over TCP, the bytes are there a moment later.
    while log.len() < peers.len() {
        stage.turns(1);
    }
    stage.turns(2);
    assert_eq!(log.len(), peers.len());
    others.go_on(stage);
}

/// A raw handler that is refused leaves no trace either.
pub fn a_refused_raw_add_leaves_no_trace(stage: &mut Stage) {
    let (faults, modes) = (stage.faults(), stage.modes());
    let mut others = Bystanders::new(stage);
    everywhere(stage, move |reactor| {
        for code in REFUSALS {
            for &mode in modes {
                // Not readable: on another thread a call could be under way.
                let (a, _b) = pair();
                let fd = a.as_raw_fd();
                let drops = Drops::default();
                let add = || {
                    let guard = drops.guard();
                    let handle = move |_| {
                        let _ = &guard;
                    };
                    // SAFETY: the descriptor is open, and the handler removed before it is closed.
                    unsafe { reactor.add_raw_handler(fd, READ, mode, handle) }
                };
                faults.order_for(fd, Fault::Fails(Call::Add, code), 1);
                expect(
                    &add().expect_err("ordered"),
                    "add_raw_handler",
                    Some(fd),
                    code,
                );
                assert_eq!(drops.count(), 1);
                let id = add().expect("the reason is gone");
                reactor.remove_handler(id).expect("known");
                assert_eq!(drops.count(), 2);
            }
        }
    });
    others.go_on(stage);
}

/// A kernel that says "not there" or "there already" is taken at its word once, since C libraries
/// close and open behind one's back, and not for ever.
pub fn a_kernel_that_contradicts_itself_is_not_argued_with(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for (call, code, answer) in [
        (Call::Add, ENOENT, ENOENT),
        // Then it is modified, and the real kernel does not know it.
        (Call::Add, EEXIST, ENOENT),
        // Then it is added, and the real kernel has it already.
        (Call::Modify, ENOENT, EEXIST),
    ] {
        let (a, _b) = readable();
        let fd = a.as_raw_fd();
        let a = Arc::new(a);
        let calls = match call {
            Call::Add => {
                faults.order_for(fd, Fault::Fails(call, code), 2);
                let refused = stage
                    .reactor
                    .add_handler(a.clone(), READ, Mode::Level, |_, _| {});
                expect(
                    refused.expect_err("ordered").error(),
                    "add_handler",
                    Some(fd),
                    answer,
                );
                faults.clear();
                stage.watch(a, READ, Mode::Level)
            }
            _ => {
                let calls = stage.watch(a, READ, Mode::Level);
                faults.order_for(fd, Fault::Fails(call, code), 1);
                let refused = stage.reactor.update_handler(calls.id, READ | WRITE);
                expect(
                    &refused.expect_err("ordered"),
                    "update_handler",
                    Some(fd),
                    answer,
                );
                calls
            }
        };
        others.go_on(stage);
        stage.turns(2);
        let events = calls.events();
        assert!(!events.is_empty(), "{call:?} {code}");
        assert!(events.iter().all(|event| !event.is_writable()));
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// A second handler on a descriptor that is refused leaves the first as it was, in whatever way the
/// two modes go together.
pub fn a_refused_second_handler_leaves_the_first(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    let reactor = stage.reactor.clone();
    // The call and, after so many more, another one, with which what was done is undone.
    let ways = [
        (Call::Add, None),
        (Call::Modify, None),
        (Call::Add, Some((Call::Modify, 1))),
        (Call::Add, Some((Call::Modify, 0))),
        (Call::Modify, Some((Call::Modify, 1))),
        (Call::Modify, Some((Call::Delete, 0))),
    ];
    for &first in stage.modes() {
        for &second in stage.modes() {
            for (call, undoing) in ways {
                let (a, mut b) = pair();
                let fd = a.as_raw_fd();
                let a = Arc::new(a);
                let read = stage.watch(a.clone(), READ, first);
                faults.order_for(fd, Fault::Fails(call, ENOSPC), 1);
                if let Some((call, skip)) = undoing {
                    faults.order_after(skip, fd, Fault::Fails(call, ENOMEM));
                }
                let log = Log::default();
                let add = || {
                    let seen = log.clone();
                    let handle = move |_: &mut _, event| seen.push(event);
                    reactor.add_handler(a.clone(), WRITE, second, handle)
                };
                let case = format!("{first:?} {second:?} {call:?} {undoing:?}");
                let mut write = add();
                if let Err(refused) = &write {
                    let error = refused.error();
                    assert_eq!((error.call(), error.fd()), ("add_handler", Some(fd)));
                    assert_eq!(Arc::strong_count(&a), 3, "{case}: given back");
                }
                faults.clear();
                b.write_all(b"x").expect("room");
                stage.turns(2);
                assert!(read.take() > 0, "{case}");
                if write.is_err() {
                    assert!(log.is_empty(), "{case}: called though refused");
                    sleeps_but_for(stage, &read);
                    write = add();
                }
                let write = write.expect("the reason is gone");
                stage.turns(2);
                assert!(!log.is_empty(), "{case}");
                for id in [read.id, write] {
                    stage.reactor.remove_handler(id).expect("known");
                }
                assert_eq!(Arc::strong_count(&a), 1, "{case}: dropped once");
            }
        }
    }
    others.go_on(stage);
}

/// The second set cannot be made, or not be nested in the first.
pub fn a_second_set_that_cannot_be_made_refuses_the_handler(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    let (a, mut b) = pair();
    let fd = a.as_raw_fd();
    let a = Arc::new(a);
    let level = stage.watch(a.clone(), READ, Mode::Level);
    for (call, code) in [
        (Call::Create, EMFILE),
        (Call::Create, ENFILE),
        (Call::Nest, ENOSPC),
        (Call::Nest, ENOMEM),
    ] {
        faults.order(Fault::Fails(call, code), 1);
        let refused = stage
            .reactor
            .add_handler(a.clone(), READ, Mode::Edge, |_, _| {});
        expect(
            refused.expect_err("ordered").error(),
            "add_handler",
            Some(fd),
            code,
        );
        assert!(!faults.is_pending());
        others.go_on(stage);
    }
    let edge = stage.watch(a, READ, Mode::Edge);
    b.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(level.take() > 0);
    assert!(edge.take() > 0);
}

/// An update that is refused leaves the handler as it was.
pub fn a_refused_update_leaves_all_as_it_was(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    // EBADF would mean that it is closed; see `adding`.
    for code in [EMFILE, ENFILE, ENOSPC, ENOMEM, EINTR] {
        for &mode in stage.modes() {
            let (a, mut b) = pair();
            let fd = a.as_raw_fd();
            let calls = stage.watch(a, READ, mode);
            faults.order_for(fd, Fault::Fails(Call::Modify, code), 1);
            let refused = stage.reactor.update_handler(calls.id, WRITE);
            expect(
                &refused.expect_err("ordered"),
                "update_handler",
                Some(fd),
                code,
            );
            b.write_all(b"x").expect("room");
            stage.turns(2);
            let events = calls.events();
            assert!(!events.is_empty(), "{mode:?} {code}");
            assert!(
                events
                    .iter()
                    .all(|event| event.is_readable() && !event.is_writable())
            );
            let update = stage.reactor.update_handler(calls.id, WRITE);
            update.expect("the reason is gone");
            stage.turns(2);
            assert!(calls.events().iter().any(|event| event.is_writable()));
            stage.reactor.remove_handler(calls.id).expect("known");
        }
    }
    others.go_on(stage);
}

/// So does one that resumes a handler.
pub fn a_refused_resumption_leaves_the_handler_paused(stage: &mut Stage) {
    let (faults, modes) = (stage.faults(), stage.modes());
    let mut others = Bystanders::new(stage);
    let log = Log::default();
    let seen = log.clone();
    everywhere(stage, move |reactor| {
        for code in REFUSALS {
            for &mode in modes {
                let (a, b) = readable();
                let fd = a.as_raw_fd();
                let seen = seen.clone();
                let handle = move |_: &mut _, _| {
                    let _ = &b;
                    seen.push(fd);
                    Action::Remove
                };
                let id = reactor.add_handler(a, Interest::NONE, mode, handle);
                let id = id.expect("add_handler");
                faults.order_for(fd, Fault::Fails(Call::Add, code), 1);
                let refused = reactor.update_handler(id, READ);
                expect(
                    &refused.expect_err("ordered"),
                    "update_handler",
                    Some(fd),
                    code,
                );
                reactor
                    .update_handler(id, READ)
                    .expect("the reason is gone");
            }
        }
    });
    stage.turns(2);
    assert_eq!(log.len(), 3 * REFUSALS.len() * modes.len());
    others.go_on(stage);
}

/// The kernel learns of a callback's change later, and the driver gets the refusal,
/// once. It is tried again, and no other handler has to wait for it.
pub fn a_change_refused_after_the_callback_reaches_the_driver(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for &mode in stage.modes() {
        for code in REFUSALS {
            // Gone is gone, and no error.
            if code == EBADF {
                continue;
            }
            let (a, mut b) = pair();
            let fd = a.as_raw_fd();
            let calls = stage.watch(a, READ, mode);
            faults.order_for(fd, Fault::Fails(Call::Modify, code), 1000);
            // And once again if it is asked for again.
            for _ in 0..2 {
                let (reactor, id) = (stage.reactor.clone(), calls.id);
                let update = move || reactor.update_handler(id, READ | WRITE).expect("noted");
                stage.reactor.call_soon(update).expect("open");
                others.send(stage);
                let mut errors = others.get_through(stage, 1);
                errors.extend(stage.turns_through(2));
                let errors: Vec<_> = errors.iter().map(|e| (e.fd(), e.raw_os_error())).collect();
                assert_eq!(errors, [(Some(fd), Some(code))], "{mode:?}");
                others.go_on(stage);
            }
            faults.clear();
            b.write_all(b"x").expect("room");
            stage.turns(2);
            let events = calls.events();
            assert!(events.iter().any(|event| event.is_readable()), "{mode:?}");
            assert!(events.iter().any(|event| event.is_writable()), "{mode:?}");
            stage.reactor.remove_handler(calls.id).expect("known");
        }
    }
}

/// A pause that is refused: an error where it is asked for outside of callbacks, and told to the driver
/// else. In a callback the handler is paused all the same.
pub fn a_refused_pause_is_told(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for &mode in stage.modes() {
        let (a, mut b) = pair();
        let fd = a.as_raw_fd();
        let calls = stage.watch(a, READ, mode);
        faults.order_for(fd, Fault::Fails(Call::Delete, ENOMEM), 1);
        let refused = stage.reactor.update_handler(calls.id, Interest::NONE);
        let refused = refused.expect_err("ordered");
        expect(&refused, "update_handler", Some(fd), ENOMEM);
        b.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(calls.take() > 0, "{mode:?}: not paused");
        if mode == Mode::Oneshot {
            // It has paused itself in the kernel.
            stage.reactor.remove_handler(calls.id).expect("known");
            continue;
        }
        faults.order_for(fd, Fault::Fails(Call::Delete, ENOMEM), 5);
        let (reactor, id) = (stage.reactor.clone(), calls.id);
        let pause = move || {
            let paused = reactor.update_handler(id, Interest::NONE);
            paused.expect("noted");
        };
        let urgent = Priority::High;
        stage.reactor.call_soon_with(urgent, pause).expect("open");
        let errors = stage.turns_through(10);
        let errors: Vec<_> = errors.iter().map(|e| (e.fd(), e.raw_os_error())).collect();
        assert_eq!(errors, [(Some(fd), Some(ENOMEM))], "{mode:?}");
        assert!(!faults.is_pending());
        assert_eq!(calls.take(), 0, "{mode:?}: paused");
        stage.expect_sleep();
        stage.reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(2);
        assert!(calls.take() > 0, "{mode:?}: resumed");
        stage.reactor.remove_handler(calls.id).expect("known");
        others.go_on(stage);
    }
}

/// A removal is never refused: the handler is gone, its closure dropped, and its number can be
/// registered again, even if the kernel keeps the descriptor.
pub fn a_removal_that_the_kernel_refuses_is_one_all_the_same(stage: &mut Stage) {
    let (faults, modes) = (stage.faults(), stage.modes());
    let mut others = Bystanders::new(stage);
    let (added, log) = (Log::default(), Log::default());
    let (peers, seen) = (added.clone(), log.clone());
    everywhere(stage, move |reactor| {
        for code in REFUSALS.into_iter().chain([ENOENT, EPERM]) {
            for &mode in modes {
                let (a, b) = pair();
                let (a, drops) = (Arc::new(a), Drops::default());
                let guard = drops.guard();
                let handle = move |_: &mut _, _| {
                    let _ = &guard;
                };
                let id = reactor.add_handler(a.clone(), READ, mode, handle);
                let id = id.expect("add_handler");
                faults.order_for(a.as_raw_fd(), Fault::Fails(Call::Delete, code), 1);
                reactor.remove_handler(id).expect("known");
                assert_eq!((drops.count(), Arc::strong_count(&a)), (1, 1));
                let seen = seen.clone();
                let handle = move |_: &mut _, _| {
                    seen.push(());
                    Action::Remove
                };
                let added = reactor.add_handler(a, READ, mode, handle);
                added.expect("the number is free");
                peers.push(b);
            }
        }
    });
    let mut peers = added.take();
    peers
        .iter_mut()
        .for_each(|b| b.write_all(b"x").expect("room"));
    // Over TCP, the bytes are there a moment later.
    while log.len() < peers.len() {
        stage.turns(1);
    }
    stage.turns(2);
    assert_eq!(log.len(), peers.len());
    others.go_on(stage);
}

/// And it leaves the other handler on the descriptor alone, and lets the loop sleep.
pub fn a_refused_removal_leaves_the_neighbour_and_lets_the_loop_sleep(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for code in [ENOMEM, EINTR] {
        let (a, mut b) = pair();
        let fd = a.as_raw_fd();
        let a = Arc::new(a);
        let read = stage.watch(a.clone(), READ, Mode::Level);
        let write = stage.watch(a, WRITE, Mode::Level);
        faults.order_for(fd, Fault::Fails(Call::Modify, code), 1);
        stage.reactor.remove_handler(write.id).expect("known");
        write.take();
        stage.expect_sleep();
        assert_eq!((read.take(), write.take()), (0, 0));
        b.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(read.take() > 0);
        stage.reactor.remove_handler(read.id).expect("known");
    }
    others.go_on(stage);
}

/// It is not called in vain for an event that no handler waits for any more.
fn sleeps_but_for(stage: &mut Stage, level: &Calls) {
    stage
        .reactor
        .update_handler(level.id, Interest::NONE)
        .expect("known");
    stage.expect_sleep();
    stage.reactor.update_handler(level.id, READ).expect("known");
    level.take();
}

/// The kernel fails to remove a registration and goes on reporting it, until the loop removes it later.
pub fn a_registration_that_the_kernel_failed_to_remove_is_removed_later(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for &mode in stage.modes() {
        let (a, _b) = readable();
        let a = Arc::new(a);
        let calls = stage.watch(a.clone(), READ, mode);
        faults.order_for(a.as_raw_fd(), Fault::Fails(Call::Delete, ENOMEM), 1);
        stage.reactor.remove_handler(calls.id).expect("known");
        stage.expect_sleep();
        assert_eq!(calls.take(), 0);
        others.go_on(stage);
    }
}

/// A rearm that is refused says so and can be repeated.
pub fn a_refused_rearm_can_be_repeated(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for code in REFUSALS {
        for &mode in stage.modes() {
            let (a, _b) = readable();
            let fd = a.as_raw_fd();
            let calls = stage.watch(a, READ, mode);
            stage.turns(2);
            assert!(calls.take() > 0);
            faults.order_for(fd, Fault::Fails(Call::Modify, code), 1);
            let refused = stage.reactor.rearm_handler(calls.id);
            expect(
                &refused.expect_err("ordered"),
                "rearm_handler",
                Some(fd),
                code,
            );
            if mode == Mode::Oneshot {
                // It is not armed, and delays no other.
                stage.turns(2);
                assert_eq!(calls.take(), 0);
            }
            let rearmed = stage.reactor.rearm_handler(calls.id);
            rearmed.expect("the reason is gone");
            stage.turns(2);
            assert!(calls.take() > 0, "{mode:?} {code}");
            stage.reactor.remove_handler(calls.id).expect("known");
        }
    }
    others.go_on(stage);
}

/// A refused rearm does not make `run` wait for a one-shot that is not armed, nor forget a regular file.
pub fn a_refused_rearm_leaves_all_as_it_was(stage: &mut Stage) {
    let faults = stage.faults();
    let (a, _b) = readable();
    let fd = a.as_raw_fd();
    let calls = stage.watch(a, READ, Mode::Oneshot);
    stage.turns(2);
    assert_eq!(calls.take(), 1);
    faults.order_for(fd, Fault::Fails(Call::Modify, ENOMEM), 1);
    stage.reactor.rearm_handler(calls.id).expect_err("ordered");
    stage.reactor.run().expect("nothing is left to wait for");
    assert_eq!(calls.take(), 0);

    let file = os::regular_file();
    let fd = file.as_raw_fd();
    let calls = stage.watch(file, READ, Mode::Level);
    faults.order_for(fd, Fault::Fails(Call::Add, ENOMEM), 1);
    stage.reactor.rearm_handler(calls.id).expect_err("ordered");
    stage.turns(3);
    assert!(calls.take() > 1);
}

/// Callbacks that a stop has left due are still due after a change that was refused.
pub fn a_refused_change_leaves_due_what_is(stage: &mut Stage) {
    type Change = fn(&Reactor, HandlerId) -> Result<(), Error>;
    let changes: [Change; 2] = [
        |reactor, id| reactor.update_handler(id, READ | WRITE),
        |reactor, id| reactor.rearm_handler(id),
    ];
    let faults = stage.faults();
    for change in changes {
        for &mode in stage.modes() {
            let log = Log::default();
            let peers: Vec<_> = (0..2)
                .map(|n| {
                    let (a, b) = readable();
                    let fd = a.as_raw_fd();
                    let (seen, stopper) = (log.clone(), stage.reactor.clone());
                    let handle = move |_: &mut _, _| {
                        seen.push(n);
                        stopper.stop();
                        Action::Remove
                    };
                    let added = stage.reactor.add_handler(a, READ, mode, handle);
                    (fd, added.expect("add_handler"), b)
                })
                .collect();
            stage.run();
            let first = log.take()[0];
            let (fd, id, _) = peers[1 - first];
            faults.order_for(fd, Fault::Fails(Call::Modify, ENOMEM), 1);
            change(&stage.reactor, id).expect_err("ordered");
            stage.run();
            log.expect(&[1 - first]);
        }
    }
}

/// A wait that fails ends the drive with an error; the next one finds all that was to do.
pub fn a_failing_wait_loses_nothing(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for code in [ENOMEM, EBADF, EINVAL, ENOENT] {
        for times in 1..=3 {
            faults.order(Fault::Fails(Call::Wait, code), times);
            others.send(stage);
            let errors = others.get_through(stage, times as usize);
            assert!(!errors.is_empty(), "no driver was told");
            for error in errors {
                assert_eq!(error.raw_os_error(), Some(code), "{error}");
                assert!(!error.call().is_empty());
            }
            faults.clear();
            others.go_on(stage);
        }
    }
}

/// Nor does one of the second set only, which comes after the first has given away its events.
pub fn a_failing_wait_for_the_second_set_loses_nothing(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    let (a, mut b) = pair();
    let a = Arc::new(a);
    let level = stage.watch(a.clone(), READ, Mode::Level);
    let edge = stage.watch(a, READ, Mode::Edge);
    for times in 1..=3 {
        faults.order(Fault::Fails(Call::WaitForEdges, ENOMEM), times);
        b.write_all(b"x").expect("room");
        others.send(stage);
        let mut errors = others.get_through(stage, times as usize);
        errors.extend(stage.turns_through(5));
        for error in errors {
            assert_eq!(error.raw_os_error(), Some(ENOMEM), "{error}");
        }
        assert!(!faults.is_pending());
        assert!(level.take() > 0);
        assert!(edge.take() > 0, "{times}");
    }
    others.go_on(stage);
}

/// A wake that fails loses no post, and the next wake wakes.
pub fn a_failing_wake_loses_no_post(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for code in [EBADF, EINTR, ENOMEM] {
        let (reactor, log) = (stage.reactor.clone(), Log::default());
        let (seen, ordered) = (log.clone(), faults.clone());
        stage.run_beside(move || {
            thread::spawn(move || {
                // While the loop sleeps: only then is it woken.
                ordered.order(Fault::Fails(Call::Wake, code), 1);
                let first = seen.clone();
                while ordered.is_pending() {
                    let (first, called) = (first.clone(), seen.len());
                    reactor.call_soon(move || first.push(1)).expect("open");
                    // With posts in a row it would never sleep.
                    while ordered.is_pending() && seen.len() == called {
                        thread::yield_now();
                    }
                }
                let stopper = reactor.clone();
                let last = move || {
                    seen.push(2);
                    stopper.stop();
                };
                reactor.call_soon(last).expect("open");
            });
        });
        let log = log.take();
        assert_eq!(log.iter().filter(|n| **n == 2).count(), 1);
        assert_eq!(log.last(), Some(&2));
        assert!(log.len() > 1);
    }
    others.go_on(stage);
}

/// An alarm that cannot be set puts no timer off for ever.
pub fn a_failing_alarm_loses_no_timer(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for times in 1..=3 {
        // Set before the loop is driven, in a callback, and while it sleeps.
        faults.order(Fault::Fails(Call::Alarm, ENOMEM), times);
        others.send(stage);
        for error in others.get_through(stage, times as usize) {
            assert_eq!(error.raw_os_error(), Some(ENOMEM), "{error}");
        }
        faults.clear();
        let (reactor, ordered) = (stage.reactor.clone(), faults.clone());
        let log = Log::default();
        let seen = log.clone();
        let beside = move || {
            ordered.order(Fault::Fails(Call::Alarm, ENOMEM), times);
            let stopper = reactor.clone();
            let timer = move || {
                seen.push(());
                stopper.stop();
            };
            reactor.call_later(MS, timer).expect("open");
        };
        let mut result = stage.try_run(Box::new(beside));
        while let Err(error) = result {
            let error = ours(error);
            assert_eq!(error.raw_os_error(), Some(ENOMEM), "{error}");
            result = stage.try_run(Box::new(|| {}));
        }
        assert_eq!(log.len(), 1);
        faults.clear();
    }
    others.go_on(stage);
}

/// The timerfd that tells when the system clock is set cannot be made, or be armed again.
pub fn a_clock_that_cannot_be_watched_is_an_error(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    let soon = SystemTime::now() + 5 * MS;
    let drops = Drops::default();
    let log = Log::default();
    let add = |stage: &Stage| {
        let (guard, seen) = (drops.guard(), log.clone());
        let timer = move || {
            let _ = &guard;
            seen.push(());
        };
        stage.reactor.call_at_system_time(soon, timer)
    };
    for (n, code) in [EMFILE, ENFILE, ENOMEM].into_iter().enumerate() {
        faults.order(Fault::Fails(Call::Clock, code), 1);
        expect(
            &add(stage).expect_err("ordered"),
            "call_at_system_time",
            None,
            code,
        );
        assert_eq!(drops.count(), n + 1);
    }
    add(stage).expect("the reason is gone");
    assert_eq!(stage.reactor.stats().pending_timers, 1);
    for times in 1..=3 {
        // It was set, and so it has to be armed again.
        faults.order(Fault::ClockSet, 1);
        faults.order(Fault::Fails(Call::Clock, ENOMEM), times);
        others.send(stage);
        for error in others.get_through(stage, times as usize) {
            assert_eq!(error.raw_os_error(), Some(ENOMEM), "{error}");
        }
        faults.clear();
    }
    while log.is_empty() {
        others.go_on(stage);
    }
    assert_eq!(log.len(), 1);
}

/// A set has to be rebuilt and cannot be. The driver goes on, and the loop tries again.
pub fn a_set_that_cannot_be_rebuilt_ends_no_driver(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    faults.order(Fault::Fails(Call::Renew, EMFILE), 5);
    faults.order(Fault::Gone, 200);
    // Each of these would panic at an error.
    while faults
        .injected()
        .get(&Fault::Gone)
        .is_none_or(|&count| count < 200)
    {
        stage.turns(20);
    }
    let refused = faults.injected();
    let refused = refused.get(&Fault::Fails(Call::Renew, EMFILE));
    assert_eq!(refused, Some(&5), "it is tried again");
    others.go_on(stage);
    stage.expect_sleep();
}

/// Each call that rebuilding a set needs fails in turn, and the loop tries again.
pub fn a_set_that_cannot_be_rebuilt_is_tried_again(stage: &mut Stage) {
    let faults = stage.faults();
    let mut others = Bystanders::new(stage);
    for call in [Call::Renew, Call::Nest, Call::Add] {
        for times in 1..=3 {
            let (a, mut b) = pair();
            let a = Arc::new(a);
            let level = stage.watch(a.clone(), READ, Mode::Level);
            let edge = stage.watch(a, READ, Mode::Edge);
            // The second set has something to report in every turn.
            let ((c, _d), mut sender) = (pair(), b.try_clone().expect("dup"));
            let send = move |_: &mut _, _| sender.write_all(b"x").expect("room");
            let sending = stage.reactor.add_handler(c, WRITE, Mode::Level, send);
            let sending = sending.expect("add_handler");
            faults.order(Fault::Fails(call, EMFILE), times);
            faults.order(Fault::Gone, 40);
            for error in stage.turns_through(40) {
                assert_eq!(error.raw_os_error(), Some(EMFILE), "{error}");
            }
            faults.clear();
            stage.reactor.remove_handler(sending).expect("known");
            stage.turns(2);
            level.take();
            edge.take();
            b.write_all(b"x").expect("room");
            stage.turns(2);
            assert!(level.take() > 0, "{call:?} {times}");
            assert!(edge.take() > 0, "{call:?} {times}");
            others.go_on(stage);
            for id in [level.id, edge.id] {
                stage.reactor.remove_handler(id).expect("known");
            }
        }
    }
}

/// The first is paused, so the kernel has not heard of the descriptor.
pub fn a_refused_handler_beside_a_paused_one_is_told(stage: &mut Stage) {
    let faults = stage.faults();
    let (a, _b) = readable();
    let a = Arc::new(a);
    let fd = a.as_raw_fd();
    let paused = stage.watch(a.clone(), Interest::NONE, Mode::Level);
    faults.order_for(fd, Fault::Fails(Call::Add, ENOMEM), 1);
    let refused = stage
        .reactor
        .add_handler(a.clone(), READ, Mode::Level, |_, _| {});
    let refused = refused.expect_err("ordered");
    expect(refused.error(), "add_handler", Some(fd), ENOMEM);
    assert_eq!(stage.reactor.stats().handlers, 1);
    let calls = stage.watch(a, READ, Mode::Level);
    stage.turns(3);
    assert!(calls.take() >= 3 && paused.take() == 0);
}

/// In a callback, too: an edge handler beside a level one needs the second set.
pub fn a_refused_edge_beside_a_level_handler_is_told_at_once(stage: &mut Stage) {
    if stage.some_of(&[Mode::Edge]).is_empty() {
        return;
    }
    let faults = stage.faults();
    let (a, _b) = readable();
    let a = Arc::new(a);
    let level = stage.watch(a.clone(), READ, Mode::Level);
    let edge = stage.watch(a, Interest::NONE, Mode::Edge);
    let (reactor, id) = (stage.reactor.clone(), edge.id);
    faults.order(Fault::Fails(Call::Create, EMFILE), 1);
    let update = move || {
        let refused = reactor.update_handler(id, READ).expect_err("ordered");
        assert_eq!(refused.raw_os_error(), Some(EMFILE));
        reactor
            .update_handler(id, READ)
            .expect("the reason is gone");
    };
    stage.reactor.call_soon(update).expect("open");
    stage.turns(3);
    assert!(level.take() >= 3 && edge.take() == 1);
}

/// A source that was replaced in its callback is asked for again before each wait.
pub fn a_replaced_source_that_is_refused_is_watched_later(stage: &mut Stage) {
    let faults = stage.faults();
    let (a, _b) = readable();
    let (c, _d) = readable();
    let new = c.as_raw_fd();
    let log = Log::default();
    let (seen, mut next) = (log.clone(), Some(c));
    let replace = move |source: &mut _, _| match next.take() {
        Some(next) => *source = next,
        None => seen.push(()),
    };
    let added = stage.reactor.add_handler(a, READ, Mode::Level, replace);
    added.expect("add_handler");
    faults.order_for(new, Fault::Fails(Call::Add, ENOMEM), 3);
    let errors = stage.turns_through(6);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].raw_os_error(), Some(ENOMEM));
    assert!(!log.is_empty());
}
