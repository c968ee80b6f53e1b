//! Descriptors run out. A binary of its own, since it takes them from the whole process.

#[path = "hosts/async_io.rs"]
mod async_io;
#[path = "hosts/foreign.rs"]
mod foreign;
#[path = "hosts/own_wait.rs"]
mod own_wait;
#[path = "hosts/stacked.rs"]
mod stacked;
#[path = "hosts/tokio.rs"]
mod tokio;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use oneloop::{Error, Interest, Mode, PollerKind, Reactor};
use oneloop_conformance::faulty::{Call, Fault, Faults};
use oneloop_conformance::{HostUnderTest, Log, Sources, Stage, run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn descriptors_run_out() {
    // One after the other.
    a_remote_keeps_no_descriptor_of_its_loop();
    without_descriptors_building_fails_and_nothing_else_does();
    without_descriptors_a_loop_that_never_sleeps_does_not_spin();
    on::<own_wait::BuiltIn>();
    on::<tokio::CurrentThread>();
    on::<tokio::MultiThread>();
    on::<tokio::OnLocalSet>();
    on::<async_io::BlockOn>();
    on::<async_io::OnExecutor>();
    on::<foreign::PollLoop>();
    on::<foreign::EpollLoop>();
    on::<stacked::Stacked>();
}

/// The descriptors of a loop are closed with its last handle. A `Remote` that is still there keeps memory only.
fn a_remote_keeps_no_descriptor_of_its_loop() {
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        let before = open_descriptors();
        let reactor = Reactor::builder().poller(poller).build().unwrap();
        // The second set, and what watches the system clock.
        let (a, b) = UnixStream::pair().unwrap();
        let a = Arc::new(a);
        let level = reactor.add_handler(a.clone(), Interest::READABLE, Mode::Level, |_, _| {});
        level.unwrap();
        second_set(&reactor, &a).unwrap();
        clock(&reactor).unwrap();
        // Two sets, the wake, the alarm, and the clock.
        assert!(open_descriptors() >= before + 2 + 5, "{poller:?}");
        let remote = reactor.remote();
        drop((reactor, a, b));
        assert_eq!(open_descriptors(), before, "{poller:?}");
        // These must not write to a descriptor that has one of the closed numbers now.
        remote.wake();
        remote.stop();
        assert!(remote.call_soon(|| {}).is_err());
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn on<H: HostUnderTest>() {
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        let name = std::any::type_name::<H>();
        run::<H>(name, poller, Sources::Descriptors, run_out_and_go_on);
    }
}

/// In a callback; the loop goes on without, and the same calls work once there are some again.
fn run_out_and_go_on(stage: &mut Stage) {
    let (a, mut b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let (log, a) = (Log::default(), Arc::new(a));
    let seen = log.clone();
    let read = move |stream: &mut Arc<UnixStream>, _| {
        let n = stream.as_ref().read(&mut [0; 8]).unwrap();
        seen.push(["nothing", "bytes"][n.min(1)]);
    };
    let added = stage
        .reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Level, read);
    added.unwrap();

    // A host may need some of its own for its first sleep.
    let reactor = stage.reactor.clone();
    stage.run_beside(move || reactor.stop());

    let (reactor, seen) = (stage.reactor.clone(), log.clone());
    let post = move || {
        let full = Mutex::new(Some(Full::new()));
        for _ in 0..2 {
            for (error, call, fd) in [
                (second_set(&reactor, &a), "add_handler", Some(a.as_raw_fd())),
                (clock(&reactor), "call_at_system_time", None),
                #[cfg(feature = "signal")]
                (signal(&reactor), "add_signal", None),
            ] {
                let error = error.expect_err("there are no descriptors left");
                let what = (error.call(), error.fd(), error.raw_os_error());
                assert_eq!(what, (call, fd, Some(emfile())), "{error}");
            }
        }
        b.write_all(b"x").unwrap();
        let posted = seen.clone();
        reactor.call_soon(move || posted.push("post")).unwrap();
        let (stopper, seen, a) = (reactor.clone(), seen.clone(), a.clone());
        let timer = move || {
            let _ = &b;
            seen.push("timer");
            full.lock().unwrap().take();
            second_set(&stopper, &a).unwrap();
            clock(&stopper).unwrap();
            #[cfg(feature = "signal")]
            signal(&stopper).unwrap();
            stopper.stop();
        };
        // Late enough for the others.
        let late = Duration::from_millis(20);
        reactor.call_later(late, timer).unwrap();
    };
    stage.reactor.call_soon(post).unwrap();
    stage.run();
    let mut log = log.take();
    assert_eq!(log.pop(), Some("timer"));
    log.sort();
    assert_eq!(log, ["bytes", "post"]);
}

fn second_set(reactor: &Reactor, source: &Arc<UnixStream>) -> Result<(), Error> {
    let added = reactor.add_handler(source.clone(), Interest::READABLE, Mode::Edge, |_, _| {});
    Ok(added.map(drop)?)
}

fn clock(reactor: &Reactor) -> Result<(), Error> {
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    reactor.call_at_system_time(tomorrow, || {}).map(drop)
}

#[cfg(feature = "signal")]
fn signal(reactor: &Reactor) -> Result<(), Error> {
    reactor.add_signal(libc::SIGHUP, |_| {}).map(drop)
}

/// All descriptors of the process, until it is dropped.
struct Full {
    all: Vec<File>,
    limit: Rlimit,
}

impl Full {
    fn new() -> Full {
        let limit = getrlimit(Resource::Nofile);
        let current = Some(64);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
        let mut full = Full {
            all: Vec::new(),
            limit,
        };
        full.fill();
        full
    }

    fn fill(&mut self) {
        while let Ok(file) = File::open("/dev/null") {
            self.all.push(file);
        }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.limit).unwrap();
    }
}

fn without_descriptors_building_fails_and_nothing_else_does() {
    // A reactor that was there before goes on.
    let reactor = Reactor::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = std::sync::Arc::new(a);
    let (sender, received) = std::sync::mpsc::channel();
    let send = sender.clone();
    let handle = move |_: &mut _, _| send.send("level").unwrap();
    reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Level, handle)
        .unwrap();

    let mut full = Full::new();
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        // With each number of descriptors left, from none to almost enough.
        let mut spare = 0;
        while let Err(error) = Reactor::builder().poller(poller).build() {
            assert_eq!(error.raw_os_error(), Some(emfile()), "{error}");
            assert!(error.to_string().starts_with("build: "), "{error}");
            assert!(full.all.pop().is_some(), "{poller:?} leaks descriptors");
            spare += 1;
        }
        assert!(spare > 1, "{poller:?} was built out of nothing");
        full.fill();
    }

    // The second set, for mixed modes, cannot be made now: the call fails, the handler stays.
    let handle = |_: &mut _, _| unreachable_handler();
    let error = reactor
        .add_handler(a.clone(), Interest::READABLE, Mode::Edge, handle)
        .unwrap_err();
    assert_eq!(error.error().raw_os_error(), Some(emfile()));
    assert_eq!(reactor.stats().handlers, 1);
    b.write_all(b"x").unwrap();
    reactor.turn(None).unwrap();
    assert_eq!(received.try_recv(), Ok("level"));

    // It takes one.
    drop(full.all.pop());
    let handle = move |_: &mut _, _| sender.send("edge").unwrap();
    reactor
        .add_handler(a, Interest::READABLE, Mode::Edge, handle)
        .unwrap();
    reactor.turn(None).unwrap();
    reactor.turn(None).unwrap();
    assert!(received.try_iter().any(|mode| mode == "edge"));
    drop(full);
}

fn unreachable_handler() {
    panic!("it was refused");
}

fn emfile() -> i32 {
    rustix::io::Errno::MFILE.raw_os_error()
}

/// Rebuilding a set that could not be rebuilt is tried again, and until then the loop does not spin.
fn without_descriptors_a_loop_that_never_sleeps_does_not_spin() {
    let faults = Faults::default();
    let reactor = faults.reactor(PollerKind::Epoll).unwrap();
    faults.order(Fault::Fails(Call::Renew, emfile()), u64::MAX);
    faults.order(Fault::Gone, u64::MAX);
    let stopper = reactor.downgrade();
    let time = Duration::from_millis(50);
    let stop = move || stopper.upgrade().unwrap().stop();
    reactor.call_later(time, stop).unwrap();
    // As with an unclaimed event, no wait sleeps.
    reactor.add_hook(|| Some(Duration::ZERO), || {}).unwrap();
    reactor.run().unwrap();
    let turns = reactor.stats().turns;
    assert!(turns < 200, "{turns} turns in {time:?}");
}
