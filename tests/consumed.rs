//! Descriptors that forget their readiness when they are asked: under every host, and beside every
//! other handler, no event of theirs is lost. Linux has them, and most need root.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use oneloop::{
    Action, Event, HandlerId, Host, Interest, Mode, PollerKind, Priority, Reactor, Shared, Step,
    TestClock,
};
use oneloop_conformance::{step_inside, wait_readable};

const EVENTS: usize = 5;
const HOSTS: [&str; 5] = ["run", "tokio", "async-io", "poll", "stacked"];
const POLLERS: [PollerKind; 2] = [PollerKind::Epoll, PollerKind::Polling];
const MODES: [Mode; 3] = [Mode::Level, Mode::Edge, Mode::Oneshot];

fn drive(host: &str, reactor: &Reactor) {
    match host {
        "run" => reactor.run().unwrap(),
        "tokio" => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_io().build().unwrap();
            runtime.block_on(oneloop_tokio::drive(reactor)).unwrap();
        }
        "async-io" => async_io::block_on(oneloop_async_io::drive(reactor)).unwrap(),
        "poll" => {
            let mut host = reactor.host("poll").unwrap();
            loop {
                match host.step(100).unwrap() {
                    Step::Watch | Step::Unwatch | Step::Yield => {}
                    Step::Sleep => wait_readable(&host),
                    Step::Done => break,
                }
            }
        }
        _ => {
            let outer = Reactor::new().unwrap();
            let mut host = reactor.host("outer").unwrap();
            let weak = outer.downgrade();
            let _ = host.step(100).unwrap();
            let step = move |host: &mut Host<Shared>, event: Event| {
                let outer = weak.upgrade().unwrap();
                let action = step_inside(host, &outer, event.handler()).unwrap();
                if action == Action::Remove {
                    outer.stop();
                }
                action
            };
            outer
                .add_handler(host, Interest::READABLE, Mode::Level, step)
                .unwrap();
            outer.run().unwrap();
        }
    }
}

/// Drives until the handler that `add` makes, which is given what to call for each event, has seen
/// `EVENTS` of them; each is caused when the one before was seen.
fn see(
    what: &str,
    host: &str,
    poller: PollerKind,
    cause: fn(usize),
    add: impl FnOnce(&Reactor, Box<dyn Fn() + Send + Sync>),
) {
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let weak = reactor.downgrade();
    let count = seen.clone();
    let one = move || {
        let reactor = weak.upgrade().unwrap();
        match count.fetch_add(1, SeqCst) + 1 {
            EVENTS => reactor.stop(),
            n if n < EVENTS => {
                let later = Duration::from_millis(2);
                reactor.call_later(later, move || cause(n)).unwrap();
            }
            _ => {}
        }
    };
    add(&reactor, Box::new(one));
    let later = Duration::from_millis(2);
    reactor.call_later(later, move || cause(0)).unwrap();
    let weak = reactor.downgrade();
    let late = move || weak.upgrade().unwrap().stop();
    reactor.call_later(Duration::from_secs(10), late).unwrap();
    drive(host, &reactor);
    let seen = seen.load(SeqCst);
    assert!(seen >= EVENTS, "{what}, {host}, {poller:?}: {seen} events");
}

/// A name space of this thread's own, under a unique name.
fn own_name_space() {
    // SAFETY: changes what this thread sees, and no memory.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUTS) }, 0, "not root?");
}

fn rename(n: usize) {
    let name = format!("h{n}");
    // SAFETY: a name and its length.
    let set = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    assert_eq!(set, 0);
}

fn hostname() -> File {
    File::open("/proc/sys/kernel/hostname").unwrap()
}

#[test]
#[ignore = "needs root"]
fn an_event_of_procfs_is_reported_once() {
    own_name_space();
    for poller in POLLERS {
        for host in HOSTS {
            for mode in MODES {
                see(
                    &format!("{mode:?}"),
                    host,
                    poller,
                    rename,
                    |reactor, one| {
                        let weak = reactor.downgrade();
                        let call = move |_: &mut File, event: Event| {
                            one();
                            if mode == Mode::Oneshot {
                                let reactor = weak.upgrade().unwrap();
                                let again =
                                    reactor.update_handler(event.handler(), Interest::PRIORITY);
                                again.unwrap();
                            }
                        };
                        reactor
                            .add_handler(hostname(), Interest::PRIORITY, mode, call)
                            .unwrap();
                    },
                );
            }
        }
    }
}

/// Both handlers see each event, whichever asks first.
#[test]
#[ignore = "needs root"]
fn level_and_edge_handlers_on_one_file_see_each_event() {
    own_name_space();
    for poller in POLLERS {
        for host in HOSTS {
            let both = Arc::new(AtomicUsize::new(0));
            let count = both.clone();
            see("level and edge", host, poller, rename, |reactor, one| {
                let file = Arc::new(hostname());
                let level = move |_: &mut _, _: Event| {
                    count.fetch_add(1, SeqCst);
                };
                reactor
                    .add_handler(file.clone(), Interest::PRIORITY, Mode::Level, level)
                    .unwrap();
                let edge = move |_: &mut _, _: Event| one();
                reactor
                    .add_handler(file, Interest::PRIORITY, Mode::Edge, edge)
                    .unwrap();
            });
            assert!(both.load(SeqCst) >= EVENTS, "{host}, {poller:?}");
        }
    }
}

/// An event that came while a handler was paused is told once, when it is resumed.
#[test]
#[ignore = "needs root"]
fn a_paused_handler_misses_nothing() {
    own_name_space();
    for host in HOSTS {
        let reactor = Reactor::new().unwrap();
        let weak = reactor.downgrade();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let call = move |_: &mut File, _: Event| {
            count.fetch_add(1, SeqCst);
            weak.upgrade().unwrap().stop();
        };
        let id = reactor
            .add_handler(hostname(), Interest::NONE, Mode::Level, call)
            .unwrap();
        let weak = reactor.downgrade();
        let resume = move || {
            rename(1);
            let reactor = weak.upgrade().unwrap();
            for interest in [Interest::PRIORITY, Interest::NONE, Interest::PRIORITY] {
                reactor.update_handler(id, interest).unwrap();
            }
        };
        reactor
            .call_later(Duration::from_millis(2), resume)
            .unwrap();
        drive(host, &reactor);
        assert_eq!(seen.load(SeqCst), 1, "{host}");
    }
}

/// The mounts of this process, which change with each of these.
fn mount(n: usize) {
    let (tmpfs, target) = (c"tmpfs".as_ptr(), c"/tmp".as_ptr());
    // SAFETY: strings that live long enough. The name space is this thread's own.
    let done = unsafe {
        match n % 2 {
            0 => libc::mount(tmpfs, target, tmpfs, 0, null_mut()),
            _ => libc::umount(target),
        }
    };
    assert_eq!(done, 0);
}

#[test]
#[ignore = "needs root"]
fn a_change_of_the_mounts_is_reported_once() {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: changes what this thread sees, and no memory.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0, "not root?");
        let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
        assert_eq!(libc::mount(none, root, null_mut(), private, null_mut()), 0);
    }
    for host in HOSTS {
        see("mounts", host, PollerKind::Epoll, mount, |reactor, one| {
            // The kernel's set is asked about the file twice, from the beginning.
            let _ = reactor.host("one before").unwrap().as_fd();
            let call = move |_: &mut File, _: Event| one();
            let mounts = File::open("/proc/thread-self/mounts").unwrap();
            reactor
                .add_handler(mounts, Interest::PRIORITY, Mode::Level, call)
                .unwrap();
        });
    }
}

/// A perf event that counts the page faults of this thread, and wakes at each.
struct Faults(OwnedFd, usize);

impl Faults {
    fn new() -> Faults {
        // Type (software) and size; config (page faults); period (1); sample type (address); flags (no
        // kernel); wake-up (1).
        let mut attributes = [0_u64; 14];
        attributes[0] = 1 | 112 << 32;
        attributes[1] = 2;
        attributes[2] = 1;
        attributes[3] = 1;
        attributes[5] = 1 << 5 | 1 << 6;
        attributes[6] = 1;
        let call = libc::SYS_perf_event_open;
        // SAFETY: the attributes are as large as they say; the descriptor is new, and the ring is
        // mapped where the kernel likes.
        unsafe {
            let fd = libc::syscall(call, attributes.as_ptr(), 0, -1, -1, 8);
            assert!(fd >= 0, "not allowed?");
            let fd = OwnedFd::from_raw_fd(fd as i32);
            let (size, shared, raw) = (4096 * 9, libc::MAP_SHARED, fd.as_raw_fd());
            let ring = libc::mmap(null_mut(), size, 3, shared, raw, 0);
            assert_ne!(ring, libc::MAP_FAILED);
            Faults(fd, ring as usize)
        }
    }

    fn drain(ring: usize) {
        // SAFETY: the ring's head and tail, in its first page, which is mapped until the process ends.
        unsafe {
            let (head, tail) = ((ring + 1024) as *const u64, (ring + 1032) as *mut u64);
            tail.write_volatile(head.read_volatile());
        }
    }

    fn cause(_: usize) {
        // SAFETY: a page of its own, written to while it is mapped.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(null_mut(), 4096, 3, flags, -1, 0);
            page.cast::<u8>().write_volatile(1);
            libc::munmap(page, 4096);
        }
    }
}

#[test]
#[ignore = "needs the right to count page faults"]
fn perf_events_are_reported_once() {
    for poller in POLLERS {
        for host in HOSTS {
            for mode in [Mode::Level, Mode::Edge] {
                let what = format!("perf, {mode:?}");
                see(&what, host, poller, Faults::cause, |reactor, one| {
                    let Faults(fd, ring) = Faults::new();
                    let call = move |_: &mut OwnedFd, _: Event| {
                        Faults::drain(ring);
                        one();
                    };
                    reactor
                        .add_handler(fd, Interest::READABLE, mode, call)
                        .unwrap();
                });
            }
        }
    }
}

/// A file that was registered before a host came is polled by the thread from then on.
#[test]
#[ignore = "needs root"]
fn registered_on_one_host_and_seen_on_the_next() {
    own_name_space();
    let reactor = Reactor::new().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let (count, weak) = (seen.clone(), reactor.downgrade());
    let Faults(fd, ring) = Faults::new();
    let call = move |_: &mut OwnedFd, _: Event| {
        Faults::drain(ring);
        count.fetch_add(1, SeqCst);
        weak.upgrade().unwrap().stop();
    };
    reactor
        .add_handler(fd, Interest::READABLE, Mode::Level, call)
        .unwrap();
    for host in HOSTS.iter().chain(HOSTS.iter()) {
        let before = seen.load(SeqCst);
        let cause = || Faults::cause(0);
        reactor.call_later(Duration::from_millis(2), cause).unwrap();
        drive(host, &reactor);
        assert!(seen.load(SeqCst) > before, "{host}");
    }
}

fn until(reactor: &Reactor, is_done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_done() && Instant::now() < end {
        reactor.turn(Some(Duration::from_millis(20))).unwrap();
    }
    is_done()
}

/// A handler that is updated or armed again between the event and its call is called for it.
#[test]
#[ignore = "needs root"]
fn an_update_takes_no_event_away() {
    own_name_space();
    type Deed = fn(&Reactor, HandlerId);
    let update: Deed = |reactor, id| reactor.update_handler(id, Interest::PRIORITY).unwrap();
    let rearm: Deed = |reactor, id| reactor.rearm_handler(id).unwrap();
    let there_and_back: Deed = |reactor, id| {
        for interest in [Interest::READ_CLOSED, Interest::PRIORITY] {
            reactor.update_handler(id, interest).unwrap();
        }
    };
    for mode in MODES {
        for deed in [update, rearm, there_and_back] {
            let reactor = Reactor::new().unwrap();
            let seen = Arc::new(AtomicUsize::new(0));
            let count = seen.clone();
            let call = move |_: &mut File, event: Event| {
                count.fetch_add(usize::from(event.is_priority()), SeqCst);
            };
            let id = reactor
                .add_handler(hostname(), Interest::PRIORITY, mode, call)
                .unwrap();
            let mut host = reactor.host("poll").unwrap();
            while host.step(1).unwrap() != Step::Sleep {}
            let fd = host.as_fd();
            rename(1);
            wait_readable(&fd);
            drop(host);
            let weak = reactor.downgrade();
            let first = move || deed(&weak.upgrade().unwrap(), id);
            reactor.call_soon_with(Priority::High, first).unwrap();
            assert!(until(&reactor, || seen.load(SeqCst) > 0), "{mode:?}");
        }
    }
}

/// An event that the thread has found for a held handler is told when the interval ends.
#[test]
#[ignore = "needs root"]
fn a_handler_that_reached_its_limit_misses_nothing() {
    own_name_space();
    for mode in [Mode::Level, Mode::Edge] {
        let clock = TestClock::new();
        let reactor = Reactor::builder().clock(clock.clone()).build().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let call = move |_: &mut File, _: Event| {
            count.fetch_add(1, SeqCst);
        };
        let id = reactor.add_handler(hostname(), Interest::PRIORITY, mode, call);
        let second = Duration::from_secs(1);
        reactor.limit_rate(id.unwrap(), 1, second).unwrap();
        rename(1);
        assert!(until(&reactor, || seen.load(SeqCst) == 1));
        rename(2);
        assert!(until(&reactor, || reactor.dump().contains("held for 1s")));
        clock.advance(second);
        assert!(until(&reactor, || seen.load(SeqCst) == 2), "{mode:?}");
    }
}

/// A handler that was removed has none of the events of one that is added after it.
#[test]
#[ignore = "needs root"]
fn a_handler_added_in_the_place_of_another_misses_no_event() {
    own_name_space();
    let reactor = Reactor::new().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let file = Arc::new(hostname());
    let add = || {
        let count = seen.clone();
        let call = move |_: &mut _, _: Event| {
            count.fetch_add(1, SeqCst);
        };
        let added = reactor.add_handler(file.clone(), Interest::PRIORITY, Mode::Level, call);
        added.unwrap()
    };
    let mut id = add();
    for n in 0..300 {
        let before = seen.load(SeqCst);
        reactor.remove_handler(id).unwrap();
        id = add();
        rename(n);
        assert!(until(&reactor, || seen.load(SeqCst) > before), "event {n}");
        while reactor.turn(Some(Duration::ZERO)).unwrap().called > 0 {}
    }
}

/// The loop's descriptor is asked for first when the loop sleeps.
#[test]
#[ignore = "needs the right to count page faults"]
fn a_host_that_comes_while_the_loop_sleeps_is_woken() {
    let reactor = Reactor::new().unwrap();
    let Faults(fd, ring) = Faults::new();
    let call = move |_: &mut OwnedFd, _: Event| Faults::drain(ring);
    reactor
        .add_handler(fd, Interest::READABLE, Mode::Level, call)
        .unwrap();
    let mut host = reactor.host("poll").unwrap();
    // The test itself has page faults, too.
    for _ in 0..100 {
        if host.step(100).unwrap() == Step::Sleep {
            break;
        }
    }
    let fd = host.as_fd();
    (0..20).for_each(Faults::cause);
    let mut asked = [rustix::event::PollFd::new(
        &fd,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    let woken = rustix::event::poll(&mut asked, Some(&timeout)).unwrap();
    assert_eq!(woken, 1);
}

/// The thread that polls them ends with the last of them, and closes nothing that is not its own.
#[test]
#[ignore = "needs root"]
fn nothing_is_left_of_them() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap();
    let polls = || {
        let name = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).unwrap_or_default()
        };
        let mut names = threads().map(|task| name(task.unwrap()));
        names.any(|name| name.trim() == "oneloop-poll")
    };
    let reactor = Reactor::new().unwrap();
    let id = reactor
        .add_handler(hostname(), Interest::PRIORITY, Mode::Level, |_, _| {})
        .unwrap();
    // It gives itself its name.
    while !polls() {
        std::thread::yield_now();
    }
    reactor.remove_handler(id).unwrap();
    // Other tests of this process may have some of their own for a while.
    while polls() {
        std::thread::yield_now();
    }
}

/// A signal that the program blocks to wait for it does not end it by way of the thread.
#[test]
#[ignore = "needs root"]
fn the_thread_takes_no_signals() {
    let reactor = Reactor::new().unwrap();
    let id = reactor
        .add_handler(hostname(), Interest::PRIORITY, Mode::Level, |_, _| {})
        .unwrap();
    let blocked = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let status = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("status")).unwrap_or_default()
        };
        let mut all = tasks.map(|task| status(task.unwrap()));
        let status = all.find(|status| status.starts_with("Name:\toneloop-poll\n"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:\t"))?;
        u64::from_str_radix(line, 16).ok()
    };
    let mask = loop {
        if let Some(mask) = blocked() {
            break mask;
        }
    };
    assert_ne!(mask & 1 << (libc::SIGTERM - 1), 0, "{mask:x}");
    reactor.remove_handler(id).unwrap();
}

/// Pressure stalls without a trigger: the file says for ever that it is ready, and in error.
fn pressure() -> Option<File> {
    File::open("/proc/pressure/cpu").ok()
}

fn calls_in(reactor: &Reactor, time: Duration, calls: &AtomicUsize) -> usize {
    let weak = reactor.downgrade();
    let stop = move || weak.upgrade().unwrap().stop();
    reactor.call_later(time, stop).unwrap();
    reactor.run().unwrap();
    calls.load(SeqCst)
}

/// An edge-triggered handler is told of a condition once while it lasts, and a level-triggered one ever
/// more rarely.
#[test]
fn a_condition_that_lasts_does_not_spin() {
    for (mode, most) in [(Mode::Edge, 1), (Mode::Level, 20)] {
        let Some(file) = pressure() else { return };
        let reactor = Reactor::new().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let call = move |_: &mut File, event: Event| {
            assert!(event.is_priority() && event.is_error());
            count.fetch_add(1, SeqCst);
        };
        reactor
            .add_handler(file, Interest::PRIORITY, mode, call)
            .unwrap();
        let calls = calls_in(&reactor, Duration::from_millis(300), &calls);
        assert!((1..=most).contains(&calls), "{mode:?}: {calls} calls");
    }
}

/// A level-triggered neighbour is told again and again; the edge-triggered handler is not.
#[test]
fn a_neighbour_repeats_no_edge() {
    let Some(file) = pressure() else { return };
    let file = Arc::new(file);
    let reactor = Reactor::new().unwrap();
    let [level, edge] = [Mode::Level, Mode::Edge].map(|mode| {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let call = move |_: &mut _, _: Event| {
            count.fetch_add(1, SeqCst);
        };
        reactor
            .add_handler(file.clone(), Interest::PRIORITY, mode, call)
            .unwrap();
        calls
    });
    let level = calls_in(&reactor, Duration::from_millis(300), &level);
    let edge = edge.load(SeqCst);
    assert!((1..=2).contains(&edge) && level > edge, "{level}, {edge}");
}

/// A second edge-triggered handler is told what the first one knows already, and so is one that is armed
/// again.
#[test]
fn a_second_edge_handler_is_told_of_what_lasts() {
    let Some(file) = pressure() else { return };
    let file = Arc::new(file);
    let reactor = Reactor::new().unwrap();
    let add = || {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let call = move |_: &mut _, _: Event| {
            count.fetch_add(1, SeqCst);
        };
        let id = reactor
            .add_handler(file.clone(), Interest::PRIORITY, Mode::Edge, call)
            .unwrap();
        (id, calls)
    };
    let (id, first) = add();
    assert!(until(&reactor, || first.load(SeqCst) > 0));
    let (_, second) = add();
    assert!(until(&reactor, || second.load(SeqCst) > 0));
    let before = first.load(SeqCst);
    reactor.rearm_handler(id).unwrap();
    assert!(until(&reactor, || first.load(SeqCst) > before));
}

/// A lasting condition ends when a trigger is set. The handler is told of that change, and not again.
#[test]
#[ignore = "needs root"]
fn a_condition_that_ends_is_a_change() {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/proc/pressure/memory");
    let Ok(file) = file else { return };
    let file = Arc::new(file);
    let reactor = Reactor::new().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let call = move |_: &mut _, _: Event| {
        count.fetch_add(1, SeqCst);
    };
    reactor
        .add_handler(file.clone(), Interest::PRIORITY, Mode::Edge, call)
        .unwrap();
    assert!(until(&reactor, || calls.load(SeqCst) > 0));
    // When everything waits for memory, for two seconds.
    rustix::io::write(&*file, b"full 2000000 2000000\0").unwrap();
    // The change is told if something was withheld before.
    let calls = calls_in(&reactor, Duration::from_millis(300), &calls);
    assert!(calls <= 2, "{calls} calls");
}

fn add_readers(reactor: &Reactor, fd: i32, interest: Interest) -> (HandlerId, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let call = move |_: Event| {
        count.fetch_add(1, SeqCst);
    };
    // SAFETY: the numbers are the tests' own, which may give them to other files: that is what they are for.
    let added = unsafe { reactor.add_raw_handler(fd, interest, Mode::Level, call) };
    (added.unwrap(), calls)
}

fn eventfd(value: u32) -> OwnedFd {
    rustix::event::eventfd(value, rustix::event::EventfdFlags::CLOEXEC).unwrap()
}

/// Perf events and eventfds have one inode together.
#[test]
#[ignore = "needs the right to count page faults"]
fn a_number_that_passes_from_a_perf_event_to_another_file() {
    for is_perf in [false, true] {
        let reactor = Reactor::new().unwrap();
        let _ = reactor.host("one before").unwrap().as_fd();
        let Faults(mut number, ring) = Faults::new();
        let fd = number.as_raw_fd();
        let (old, old_calls) = add_readers(&reactor, fd, Interest::READABLE);
        let new = if is_perf {
            Faults::new()
        } else {
            Faults(eventfd(1), ring)
        };
        rustix::io::dup2(&new.0, &mut number).unwrap();
        let (new_id, new_calls) = add_readers(&reactor, fd, Interest::READABLE);
        (0..3).for_each(Faults::cause);
        assert!(until(&reactor, || new_calls.load(SeqCst) > 0));
        assert_eq!(old_calls.load(SeqCst), 0, "{is_perf}");
        reactor.remove_handler(old).unwrap();
        let before = new_calls.load(SeqCst);
        Faults::drain(new.1);
        (0..3).for_each(Faults::cause);
        assert!(until(&reactor, || new_calls.load(SeqCst) > before));
        reactor.remove_handler(new_id).unwrap();
    }
}

/// A consumed file that appears under the number of another loses no event under a host.
#[test]
#[ignore = "needs root"]
fn a_number_that_passes_to_a_consumed_file() {
    own_name_space();
    type Deed = fn(&Reactor, HandlerId);
    let update: Deed = |reactor, id| reactor.update_handler(id, Interest::PRIORITY).unwrap();
    let rearm: Deed = |reactor, id| reactor.rearm_handler(id).unwrap();
    // The kernel's set is asked about the file twice, from the beginning.
    for host in HOSTS {
        for (name, deed) in [("update", update), ("rearm", rearm)] {
            let reactor = Reactor::new().unwrap();
            let _ = reactor.host("one before").unwrap().as_fd();
            let mut number = eventfd(0);
            let (weak, calls) = (reactor.downgrade(), Arc::new(AtomicUsize::new(0)));
            let count = calls.clone();
            let call = move |_: Event| {
                count.fetch_add(1, SeqCst);
                weak.upgrade().unwrap().stop();
            };
            // SAFETY: the number is this test's own. It comes to mean another file, which is the test.
            let id = unsafe {
                let fd = number.as_raw_fd();
                reactor.add_raw_handler(fd, Interest::PRIORITY, Mode::Level, call)
            };
            let id = id.unwrap();
            rustix::io::dup2(hostname(), &mut number).unwrap();
            deed(&reactor, id);
            for n in 0..EVENTS {
                let before = calls.load(SeqCst);
                let cause = move || rename(n);
                reactor.call_later(Duration::from_millis(2), cause).unwrap();
                let weak = reactor.downgrade();
                let late = move || weak.upgrade().unwrap().stop();
                let late = reactor.call_later(Duration::from_secs(5), late).unwrap();
                drive(host, &reactor);
                assert!(calls.load(SeqCst) > before, "{host}, {name}, event {n}");
                reactor.cancel_timer(late).unwrap();
            }
        }
    }
}

/// So it is where the kernel tells of the other file, and nothing but the number is left.
#[test]
#[ignore = "needs the right to count page faults"]
fn a_number_that_passes_to_a_perf_event() {
    type Deed = fn(&Reactor, HandlerId);
    let update: Deed = |reactor, id| reactor.update_handler(id, Interest::READABLE).unwrap();
    let rearm: Deed = |reactor, id| reactor.rearm_handler(id).unwrap();
    let pause: Deed = |reactor, id| {
        reactor.update_handler(id, Interest::NONE).unwrap();
        reactor.update_handler(id, Interest::READABLE).unwrap();
    };
    for host in HOSTS {
        for (name, deed) in [("update", update), ("rearm", rearm), ("pause", pause)] {
            let reactor = Reactor::new().unwrap();
            let _ = reactor.host("one before").unwrap().as_fd();
            let mut number = eventfd(0);
            let Faults(perf, ring) = Faults::new();
            let (weak, calls) = (reactor.downgrade(), Arc::new(AtomicUsize::new(0)));
            let count = calls.clone();
            let call = move |_: Event| {
                Faults::drain(ring);
                count.fetch_add(1, SeqCst);
                weak.upgrade().unwrap().stop();
            };
            // SAFETY: as above.
            let id = unsafe {
                let fd = number.as_raw_fd();
                reactor.add_raw_handler(fd, Interest::READABLE, Mode::Level, call)
            };
            let id = id.unwrap();
            rustix::io::dup2(&perf, &mut number).unwrap();
            deed(&reactor, id);
            for n in 0..EVENTS {
                let before = calls.load(SeqCst);
                let cause = move || Faults::cause(n);
                reactor.call_later(Duration::from_millis(2), cause).unwrap();
                let weak = reactor.downgrade();
                let late = move || weak.upgrade().unwrap().stop();
                let late = reactor.call_later(Duration::from_secs(5), late).unwrap();
                drive(host, &reactor);
                assert!(calls.load(SeqCst) > before, "{host}, {name}, event {n}");
                reactor.cancel_timer(late).unwrap();
            }
        }
    }
}
