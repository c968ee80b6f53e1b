//! Clause 7: descriptors that are closed behind the loop's back, and what their numbers mean then.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

use oneloop::{
    ErrorKind, Event, HandlerId, Interest, Mode, Priority, Reactor, Ready, Result, Source,
    SourceKind, VirtualSource,
};

use crate::os::regular_file;
use crate::os::{self, Socket};
use crate::stage::after_turns;
use crate::tools::readable;
use crate::{Log, Number, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

/// The most calls that a handler gets for a file that no number of its own means any more.
const BOUND: usize = 20;

/// A dup keeps a closed descriptor's file open and ready: its handler is called a few times at most.
pub fn a_handler_closed_with_a_living_dup_soon_goes_quiet(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(300);
    assert!(calls.take() >= 300, "a row of calls silences no live one");
    number.close();
    stage.turns(600);
    calls.take();
    stage.turns(100);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("no error");
}

/// It is noticed soon if the calls have just begun.
pub fn the_first_calls_after_a_close_are_few(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    number.close();
    stage.turns(100);
    let called = calls.take();
    assert!(called <= BOUND, "{called} calls for a closed descriptor");
}

/// The number means a stranger's file then, which the handler does not come to watch.
pub fn a_stranger_under_the_number_is_not_watched(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    stage.turns(100);
    let called = calls.take();
    assert!(called <= BOUND, "{called} calls for a stranger's file");
    // Registered by its owner, it is watched for that one alone.
    let owner = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(3);
    assert!(owner.take() >= 3);
    assert_eq!(calls.take(), 0);
    for id in [calls.id, owner.id] {
        stage.reactor.remove_handler(id).expect("known");
    }
    number.close();
}

/// One descriptor that cannot be removed has the whole set rebuilt. Others that were closed without a
/// word do not come to watch what their numbers mean by then.
pub fn a_rebuilt_set_watches_no_stranger(stage: &mut Stage) {
    let (a, _b) = pair();
    let number = Number::of(&a);
    drop(a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    number.mean(&c);
    let (e, _f) = readable();
    let haunting = Number::of(&e);
    let needs_rebuild = stage.watch_number(haunting.get(), READ, Mode::Level);
    haunting.close();
    stage
        .reactor
        .remove_handler(needs_rebuild.id)
        .expect("no error");
    stage.turns(100);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// An update that changes nothing finds a new file under the number all the same.
pub fn an_update_that_changes_nothing_finds_the_new_file(stage: &mut Stage) {
    for in_callback in [false, true] {
        let (a, _b) = pair();
        let number = Number::of(&a);
        drop(a);
        let calls = stage.watch_number(number.get(), READ, Mode::Level);
        stage.turns(1);
        let (c, _d) = readable();
        number.mean(&c);
        let (reactor, id) = (stage.reactor.clone(), calls.id);
        let update = move || reactor.update_handler(id, READ).expect("mended");
        if in_callback {
            stage.reactor.call_soon(update).expect("open");
        } else {
            update()
        }
        stage.turns(4);
        assert!(calls.take() >= 2, "in a callback: {in_callback}");
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// So does one of a handler that was on a regular file.
pub fn an_update_finds_the_new_file_after_a_regular_one(stage: &mut Stage) {
    let number = Number::of(regular_file());
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, mut d) = pair();
    number.mean(&c);
    stage
        .reactor
        .update_handler(calls.id, READ)
        .expect("mended");
    stage.turns(3);
    assert_eq!(calls.take(), 0, "it is not ready");
    d.write_all(b"x").expect("room");
    stage.turns(3);
    assert!(calls.take() >= 2);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// A regular file is closed, and its number taken by another file: the handler goes quiet.
pub fn a_regular_file_whose_number_is_taken_goes_quiet(stage: &mut Stage) {
    let number = Number::of(regular_file());
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(2);
    assert!(calls.take() >= 2);
    let (c, _d) = readable();
    number.mean(&c);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// A callback replaces its source by another. That one is watched, and what has the old number by then
/// is not, whatever the handler is told to wait for next.
pub fn a_source_replaced_in_its_callback_is_watched(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, _b) = readable();
        let number = Number::of(&a);
        // SAFETY: the number is this case's own, and closed by this owner alone.
        let source = unsafe { OwnedFd::from_raw_fd(number.get()) };
        let (c, mut d) = pair();
        let new = c.as_raw_fd();
        let mut next = Some(OwnedFd::from(c));
        let log = Log::default();
        let seen = log.clone();
        let replace = move |source: &mut OwnedFd, event: Event| match next.take() {
            Some(next) => *source = next,
            None => seen.push((event.is_readable(), event.is_writable())),
        };
        let added = stage.reactor.add_handler(source, READ, mode, replace);
        let id = added.expect("add_handler");
        stage.turns(2);
        assert_eq!(stage.reactor.handler_fd(id).expect("known"), new);
        let (stranger, _f) = readable();
        number.mean(&stranger);
        for interest in [READ, WRITE, READ] {
            stage.reactor.update_handler(id, interest).expect("open");
            stage.turns(2);
            let events = log.take();
            assert_eq!(events.is_empty(), interest == READ);
            assert!(events.iter().all(|event| *event == (false, true)));
        }
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(!log.is_empty(), "{mode:?}");
        stage.reactor.remove_handler(id).expect("known");
        number.close();
    }
}

/// Moves a handler of a case to another descriptor.
fn move_to(stage: &Stage, id: HandlerId, fd: RawFd) -> Result<()> {
    // SAFETY: the numbers that cases use are their own.
    unsafe { stage.reactor.move_handler(id, fd) }
}

/// `move_handler` moves a handler, which keeps its name. It is armed, and the new descriptor alone is watched.
pub fn a_handler_moved_to_another_descriptor_watches_that(stage: &mut Stage) {
    for &mode in stage.modes() {
        let ((a, _b), (c, mut d)) = (readable(), pair());
        let calls = stage.watch_number(a.as_raw_fd(), READ, mode);
        stage.reactor.set_name(calls.id, "mover").expect("known");
        stage.turns(1);
        assert!(calls.take() > 0, "{mode:?}");
        move_to(stage, calls.id, c.as_raw_fd()).expect("open");
        let fd = stage.reactor.handler_fd(calls.id);
        assert_eq!(fd.expect("known"), c.as_raw_fd());
        stage.turns(2);
        assert_eq!(calls.take(), 0, "{mode:?}");
        d.write_all(b"x").expect("room");
        stage.turns(2);
        assert!(calls.take() > 0, "{mode:?}");
        // The call has ended a one-shot.
        move_to(stage, calls.id, a.as_raw_fd()).expect("open");
        stage.turns(2);
        assert!(calls.take() > 0, "{mode:?}");
        assert!(stage.reactor.dump().contains("mover"));
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// The old descriptor may be closed by then. Its number is left to the handler of the file that has it now.
pub fn a_handler_can_be_moved_from_a_number_with_a_new_owner(stage: &mut Stage) {
    let ((a, _b), (stranger, _s), (c, _d)) = (readable(), readable(), readable());
    let number = Number::of(&a);
    drop(a);
    let moved = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(1);
    number.mean(&stranger);
    let owner = stage.watch_number(number.get(), READ, Mode::Level);
    moved.take();
    move_to(stage, moved.id, c.as_raw_fd()).expect("open");
    stage.turns(2);
    assert_eq!((moved.take() > 0, owner.take() > 0), (true, true));
    for id in [moved.id, owner.id] {
        stage.reactor.remove_handler(id).expect("known");
    }
    number.close();
}

/// A handler is moved to the number that it has: the file is looked at again.
pub fn a_move_to_the_own_number_takes_the_new_file(stage: &mut Stage) {
    let ((a, _b), (c, mut d)) = (readable(), pair());
    let number = Number::of(&a);
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(1);
    // The first file stays open, and ready.
    number.mean(&c);
    move_to(stage, calls.id, number.get()).expect("open");
    calls.take();
    stage.turns(2);
    assert_eq!(calls.take(), 0);
    d.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(calls.take() > 0);
    stage.reactor.remove_handler(calls.id).expect("known");
    number.close();
}

/// Two handlers in one batch, each of which moves the other away: one is called, and once.
pub fn a_handler_moved_in_the_batch_misses_the_old_file(stage: &mut Stage) {
    let (sources, (quiet, _q)) = ([readable(), readable()], pair());
    let (ids, log) = (Log::default(), Log::default());
    let to = quiet.as_raw_fd();
    for (source, _) in &sources {
        let (all, log, reactor) = (ids.clone(), log.clone(), stage.reactor.clone());
        let callback = move |event: Event| {
            log.push(event.handler());
            for id in all.take() {
                // SAFETY: both are open until the case ends.
                unsafe { reactor.move_handler(id, to) }.expect("open");
            }
        };
        // SAFETY: it is open until the case ends.
        let added = unsafe {
            let fd = source.as_raw_fd();
            stage
                .reactor
                .add_raw_handler(fd, READ, Mode::Level, callback)
        };
        ids.push(added.expect("add_raw_handler"));
    }
    let both: Vec<HandlerId> = ids.take();
    both.iter().for_each(|id| ids.push(*id));
    stage.turns(3);
    assert_eq!(log.len(), 1);
    for id in both {
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// A closed number and the handler of a virtual source are refused, and nothing changes.
pub fn a_refused_move_changes_nothing(stage: &mut Stage) {
    let ((a, _b), (c, _d)) = (readable(), pair());
    let number = Number::of(&c);
    number.close();
    let calls = stage.watch_number(a.as_raw_fd(), READ, Mode::Level);
    let error = move_to(stage, calls.id, number.get()).expect_err("closed");
    assert!(error.to_string().contains("move_handler"), "{error}");
    assert!(
        error.to_string().contains(&number.get().to_string()),
        "{error}"
    );
    let fd = stage.reactor.handler_fd(calls.id);
    assert_eq!(fd.expect("known"), a.as_raw_fd());
    stage.turns(2);
    assert!(calls.take() > 0);

    let on_virtual = stage.watch(VirtualSource::pair().0, READ, Mode::Level);
    let error = move_to(stage, on_virtual.id, a.as_raw_fd()).expect_err("virtual");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for id in [calls.id, on_virtual.id] {
        stage.reactor.remove_handler(id).expect("known");
    }
    let error = move_to(stage, calls.id, a.as_raw_fd()).expect_err("stale");
    assert_eq!(error.kind(), ErrorKind::UnknownId);
}

/// The numbers in a reactor's set, as Linux tells them.
#[cfg(not(any(windows, polling_test_poll_backend)))]
fn watched(reactor: &Reactor) -> Vec<RawFd> {
    let host = reactor.host("a look").expect("no other");
    let path = format!("/proc/self/fdinfo/{}", host.as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let targets = info.lines().filter(|line| line.starts_with("tfd:"));
    let number = |line: &str| line.split_whitespace().nth(1)?.parse().ok();
    targets.filter_map(number).collect()
}

/// poll(2) has no set, and Windows shows none.
#[cfg(any(windows, polling_test_poll_backend))]
fn watched(_: &Reactor) -> Vec<RawFd> {
    Vec::new()
}

/// The loop's own descriptors cannot be registered, and stay as they are.
pub fn the_loops_own_descriptors_are_refused(stage: &mut Stage) {
    for fd in watched(&stage.reactor) {
        // SAFETY: it is open, and the handler is removed at once.
        let added = unsafe { stage.reactor.add_raw_handler(fd, READ, Mode::Level, |_| {}) };
        let error = added.expect_err("the loop's own");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let (a, _b) = pair();
        let moved = stage.watch_number(a.as_raw_fd(), READ, Mode::Level);
        let refused = move_to(stage, moved.id, fd).expect_err("the loop's own");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        stage.reactor.remove_handler(moved.id).expect("known");
        assert!(error.to_string().contains("own"), "{error}");
    }
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        let post = thread::spawn(move || reactor.call_soon(move || stopper.stop()).is_ok());
        drop(post);
    });
}

/// A callback that replaces its source by a descriptor of the loop's own has that refused as `add_handler`
/// does: the driver is told, and the loop hears on.
pub fn a_source_replaced_by_the_loops_own_is_refused(stage: &mut Stage) {
    for own in watched(&stage.reactor) {
        let (a, _b) = readable();
        // SAFETY: both are open until the handler is removed.
        let [source, own] = [a.as_raw_fd(), own].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
        let log = Log::default();
        let seen = log.clone();
        let replace = move |source: &mut BorrowedFd<'static>, _: Event| {
            seen.push(());
            *source = own;
        };
        let added = stage
            .reactor
            .add_handler(source, READ, Mode::Level, replace);
        let id = added.expect("add_handler");
        let errors = stage.turns_through(3);
        assert_eq!(errors.len(), 1, "{errors:?}");
        let update = stage.reactor.update_handler(id, WRITE);
        for error in errors.iter().chain(&update.err()) {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("own"), "{error}");
            assert_eq!(error.fd(), Some(own.as_raw_fd()));
        }
        assert!(stage.reactor.update_handler(id, READ).is_err());
        assert_eq!(log.take().len(), 1);
        stage.reactor.remove_handler(id).expect("known");
    }
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        let stopper = reactor.clone();
        let post = thread::spawn(move || reactor.call_soon(move || stopper.stop()).is_ok());
        drop(post);
    });
}

/// A raw handler whose descriptor is closed, so that its number is the next to be given out.
fn stale(reactor: &Reactor) -> (RawFd, HandlerId) {
    let fd = pair().0.into_raw_fd();
    // SAFETY: open, and only updated and removed after the close to see it do no harm.
    let id = unsafe { reactor.add_raw_handler(fd, READ, Mode::Level, |_| {}) };
    // SAFETY: this case's own.
    unsafe { os::close(fd) };
    (fd, id.expect("add_raw_handler"))
}

/// Until what the loop has made has come to have the number. Another test may be quicker.
fn until_it_has_the_number(mut attempt: impl FnMut() -> bool) {
    if std::path::Path::new("/proc/self/fdinfo").exists() {
        assert!((0..1000).any(|_| attempt()), "never the number");
    }
}

/// A stale id whose number has come to be one of the loop's own does nothing to that.
pub fn a_stale_id_does_nothing_to_the_loops_own_descriptors(stage: &mut Stage) {
    type Deed = fn(&Reactor, HandlerId) -> Result<()>;
    let remove: Deed = |reactor, id| reactor.remove_handler(id);
    let update: Deed = |reactor, id| {
        let _ = reactor.update_handler(id, WRITE);
        let _ = reactor.rearm_handler(id);
        reactor.remove_handler(id)
    };
    let has_edge = stage.modes().contains(&Mode::Edge);
    for deed in [remove, update] {
        let make = || Reactor::builder().poller(stage.poller).build();
        // The second set.
        until_it_has_the_number(|| {
            if !has_edge {
                return true;
            }
            let reactor = make().expect("a reactor");
            let (ours, mut theirs) = pair();
            let ours = Arc::new(ours);
            let edges = Arc::new(AtomicUsize::new(0));
            let count = edges.clone();
            let count = move |_: &mut _, _| {
                count.fetch_add(1, SeqCst);
            };
            let (fd, id) = stale(&reactor);
            let level = reactor.add_handler(ours.clone(), READ, Mode::Level, |_, _| {});
            level.expect("add_handler");
            let edge = reactor.add_handler(ours, READ, Mode::Edge, count);
            edge.expect("add_handler");
            if !watched(&reactor).contains(&fd) {
                return false;
            }
            deed(&reactor, id).expect("no error");
            theirs.write_all(b"x").expect("room");
            reactor.turn(Some(Duration::ZERO)).expect("a turn");
            assert_eq!(edges.load(SeqCst), 1);
            assert!(watched(&reactor).contains(&fd));
            true
        });
        // The descriptor that watches the system clock.
        until_it_has_the_number(|| {
            let reactor = make().expect("a reactor");
            let (fd, id) = stale(&reactor);
            let late = SystemTime::now() + Duration::from_secs(1000);
            reactor.call_at_system_time(late, || {}).expect("open");
            if !watched(&reactor).contains(&fd) {
                return !cfg!(target_os = "linux");
            }
            deed(&reactor, id).expect("no error");
            assert!(watched(&reactor).contains(&fd));
            true
        });
    }
}

/// An edge-triggered handler beside a paused one is in the second set.
pub fn an_edge_handler_beside_a_paused_one_soon_goes_quiet(stage: &mut Stage) {
    if stage.some_of(&[Mode::Edge]).is_empty() {
        return;
    }
    let (a, mut b) = pair();
    let number = Number::of(&a);
    let paused = stage.watch_number(number.get(), Interest::NONE, Mode::Level);
    let calls = stage.watch_number(number.get(), READ, Mode::Edge);
    number.close();
    for _ in 0..100 {
        b.write_all(b"x").expect("room");
        stage.turns(1);
    }
    let called = calls.take();
    assert!(called <= BOUND, "{called} calls for a closed descriptor");
    for id in [calls.id, paused.id] {
        stage.reactor.remove_handler(id).expect("no error");
    }
}

/// A one-shot finds out by being armed, and a level-triggered handler that is called now and then is not looked
/// up each time.
pub fn handlers_that_are_called_now_and_then_cost_no_look(stage: &mut Stage) {
    const CALLS: u64 = 20;
    for (mode, each) in [(Mode::Oneshot, 1), (Mode::Level, 0)] {
        let (mut a, mut b) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, mode);
        stage.turns(1);
        let before = stage.reactor.stats().kernel_changes;
        for _ in 0..CALLS {
            b.write_all(b"x").expect("room");
            let reactor = stage.reactor.clone();
            while calls.take() == 0 {
                stage.turns(1);
            }
            a.read_exact(&mut [0]).expect("a byte");
            if mode == Mode::Oneshot {
                reactor.update_handler(calls.id, READ).expect("known");
            }
            stage.turns(2);
        }
        let changes = stage.reactor.stats().kernel_changes - before;
        assert_eq!(changes, CALLS * each, "{mode:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// A callback replaces its descriptor by a virtual source, which nothing tells of. The handler goes quiet.
pub fn a_source_that_becomes_virtual_goes_quiet(stage: &mut Stage) {
    enum Either {
        Socket(Socket),
        Virtual(VirtualSource),
    }
    impl Source for Either {
        fn kind(&self) -> SourceKind<'_> {
            match self {
                Either::Socket(socket) => socket.kind(),
                Either::Virtual(source) => source.kind(),
            }
        }
    }
    let (a, _b) = readable();
    let (source, readiness) = VirtualSource::pair();
    readiness.set(Ready::READABLE);
    let log = Log::default();
    let (seen, mut next) = (log.clone(), Some(source));
    let replace = move |source: &mut Either, _| {
        seen.push(());
        if let Some(next) = next.take() {
            *source = Either::Virtual(next);
        }
    };
    let source = Either::Socket(a);
    let added = stage
        .reactor
        .add_handler(source, READ, Mode::Level, replace);
    let id = added.expect("add_handler");
    stage.turns(4);
    assert_eq!(log.len(), 1);
    stage.reactor.update_handler(id, READ).expect_err("unknown");
    stage.reactor.remove_handler(id).expect("known");
}

/// The kernel still reports the old file, which a duplicate keeps open, as that handler's.
pub fn a_handler_whose_number_has_a_new_owner_is_quiet_at_once(stage: &mut Stage) {
    for &mode in stage.modes() {
        let (a, mut b) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, mode);
        stage.turns(2);
        let (c, _d) = readable();
        number.mean(&c);
        let owner = stage.watch_number(number.get(), READ, Mode::Level);
        b.write_all(b"x").expect("room");
        stage.turns(4);
        assert!(owner.take() >= 4 && calls.take() == 0, "{mode:?}");
        for id in [calls.id, owner.id] {
            stage.reactor.remove_handler(id).expect("known");
        }
        number.close();
    }
}

// Clause 7.

/// A descriptor closed behind the reactor's back goes quiet, and no other handler is harmed.
pub fn a_handler_whose_descriptor_was_closed_goes_quiet(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    drop(a);
    let closed = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, _d) = readable();
    let other = stage.watch(c, READ, Mode::Level);
    stage.turns(2);
    assert!(closed.take() >= 2);
    number.close();
    stage.turns(3);
    assert_eq!(closed.take(), 0);
    assert!(other.take() >= 5);
    // So quiet that the loop sleeps.
    stage.reactor.remove_handler(other.id).expect("known");
    stage.expect_sleep();
    stage.reactor.remove_handler(closed.id).expect("no error");
}

/// Closes a descriptor before its handler is removed, while a dup keeps the file open and ready. The kernel's
/// set then has an entry that no number can remove. The loop still sleeps and works.
pub fn a_closed_descriptor_with_a_living_dup_lets_the_loop_sleep(stage: &mut Stage) {
    let (a, _b) = readable();
    let number = Number::of(&a);
    let closed = stage.watch_number(number.get(), READ, Mode::Level);
    let (c, mut d) = pair();
    let c = Arc::new(c);
    let other = stage.watch(c.clone(), READ, Mode::Oneshot);
    let edge = stage.watch(c, READ, Mode::Edge);
    // The order of a turn and the look at unclaimed events do not disturb each other.
    let prior = stage.reactor.set_priority(other.id, Priority::High);
    prior.expect("known");
    stage.turns(2);
    assert!(closed.take() >= 2);
    number.close();
    stage.reactor.remove_handler(closed.id).expect("no error");
    let before = stage.reactor.stats().turns;
    let stopper = stage.reactor.clone();
    let timer = move || stopper.stop();
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(30), timer)
        .expect("open");
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    assert!(turns < 40, "{turns} turns in which there was nothing to do");
    assert_eq!((closed.take(), other.take(), edge.take()), (0, 0, 0));
    // Live handlers are still watched, also by a host that sleeps.
    let reactor = stage.reactor.clone();
    let timer = move || {
        d.write_all(b"x").expect("room");
        after_turns(&reactor, 3, |reactor| reactor.stop());
    };
    stage
        .reactor
        .call_later(std::time::Duration::from_millis(1), timer)
        .expect("open");
    stage.run();
    assert_eq!((other.take(), edge.take()), (1, 1));
}

/// Closes a descriptor with an edge and a level handler while a dup keeps it open. Only the second set, in
/// which both meet, is rebuilt.
pub fn edge_and_level_handlers_closed_with_a_living_dup_cost_few_kernel_changes(stage: &mut Stage) {
    let (a, mut b) = readable();
    let number = Number::of(&a);
    let edge = stage.watch_number(number.get(), READ, Mode::Edge);
    let level = stage.watch_number(number.get(), WRITE, Mode::Oneshot);
    let (c, mut d) = pair();
    let c = Arc::new(c);
    let others = [Mode::Edge, Mode::Level].map(|mode| stage.watch(c.clone(), READ, mode));
    stage.turns(2);
    number.close();
    stage.reactor.remove_handler(edge.id).expect("no error");
    stage.reactor.remove_handler(level.id).expect("no error");
    let before = stage.reactor.stats().kernel_changes;
    for _ in 0..100 {
        b.write_all(b"x").expect("room");
        stage.turns(1);
    }
    let changes = stage.reactor.stats().kernel_changes - before;
    assert!(changes < 20, "{changes} changes of the kernel's sets");
    d.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(others.iter().all(|other| other.take() > 0));
}

/// Closes a descriptor while a dup keeps it open, and pauses its handler. When the handler is resumed, it
/// watches the file that the number means now.
pub fn a_paused_handler_closed_with_a_living_dup_lets_the_loop_sleep(stage: &mut Stage) {
    for closed in [false, true] {
        let (a, _b) = readable();
        let (c, mut d) = pair();
        let number = Number::of(&a);
        let calls = stage.watch_number(number.get(), READ, Mode::Level);
        stage.turns(2);
        if closed {
            number.close()
        } else {
            number.mean(&c)
        }
        stage
            .reactor
            .update_handler(calls.id, Interest::NONE)
            .expect("no error");
        calls.take();
        let before = stage.reactor.stats().turns;
        let stopper = stage.reactor.clone();
        let timer = move || stopper.stop();
        stage
            .reactor
            .call_later(std::time::Duration::from_millis(30), timer)
            .expect("open");
        stage.run();
        let turns = stage.reactor.stats().turns - before;
        assert!(turns < 40, "{turns} turns in which there was nothing to do");
        number.mean(&c);
        stage
            .reactor
            .update_handler(calls.id, READ)
            .expect("mended");
        stage.turns(3);
        assert_eq!(calls.take(), 0, "that is another file");
        d.write_all(b"x").expect("room");
        stage.turns(3);
        assert!(calls.take() > 0);
        stage.reactor.remove_handler(calls.id).expect("known");
        number.close();
    }
}

/// A regular file closed behind the reactor's back goes quiet, too.
pub fn a_closed_regular_file_goes_quiet(stage: &mut Stage) {
    let number = Number::of(os::regular_file());
    let calls = stage.watch_number(number.get(), READ, Mode::Level);
    stage.turns(2);
    assert!(calls.take() >= 2);
    number.close();
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    stage.reactor.remove_handler(calls.id).expect("no error");
}
