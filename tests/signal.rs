//! Signals and child processes. Tests run in threads of one process, so each has its own signal.
#![cfg(feature = "signal")]

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use oneloop::{Action, ErrorKind, PollerKind, Reactor, Remote};
use oneloop_support::{async_io, look, tokio};

fn raise(signal: i32) {
    // SAFETY: a handler for it is installed.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Sends what comes, and whether that is all that is wanted.
fn watch(reactor: &Reactor, signal: i32) -> Receiver<i32> {
    let (sender, receiver) = channel();
    let add = reactor.add_signal(signal, move |signal| sender.send(signal).unwrap());
    add.unwrap();
    receiver
}

#[test]
fn a_signal_wakes_a_loop_that_sleeps() {
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        let reactor = Reactor::builder().poller(poller).build().unwrap();
        let (sender, asleep) = channel();
        let prepare = move || {
            let _ = sender.send(());
            None
        };
        reactor.add_hook(prepare, || {}).unwrap();
        reactor
            .add_signal(libc::SIGUSR1, |_| Action::Remove)
            .unwrap();
        let kill = thread::spawn(move || {
            asleep.recv().unwrap();
            // SAFETY: a handler for it is installed.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        });
        reactor.run().unwrap();
        kill.join().unwrap();
    }
}

#[test]
fn under_tokio_and_async_io() {
    let reactor = Reactor::new().unwrap();
    let stopper = reactor.downgrade();
    let stop = move |_| stopper.upgrade().unwrap().stop();
    reactor.add_signal(libc::SIGUSR2, stop).unwrap();
    for drive in [tokio, async_io] {
        raise(libc::SIGUSR2);
        drive(&reactor).unwrap();
    }
}

#[test]
fn several_reactors_and_a_handler_that_was_there_before_all_hear_it() {
    static BEFORE: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn before(_: i32) {
        BEFORE.fetch_add(1, SeqCst);
    }
    let handler = before as extern "C" fn(i32);
    // SAFETY: the handler only touches an atomic.
    unsafe { libc::signal(libc::SIGHUP, handler as libc::sighandler_t) };
    let (one, two) = (Reactor::new().unwrap(), Reactor::new().unwrap());
    let heard = [&one, &one, &two].map(|reactor| watch(reactor, libc::SIGHUP));
    raise(libc::SIGHUP);
    look(&one);
    look(&two);
    assert_eq!(BEFORE.load(SeqCst), 1);
    for heard in heard {
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [libc::SIGHUP]);
    }
}

#[test]
fn signals_that_come_before_the_turn_are_one_call_and_removal_ends_it() {
    let reactor = Reactor::new().unwrap();
    let (sender, heard) = channel();
    let id = reactor
        .add_signal(libc::SIGWINCH, move |_| sender.send(()).unwrap())
        .unwrap();
    for _ in 0..1000 {
        raise(libc::SIGWINCH);
    }
    look(&reactor);
    assert_eq!(heard.try_iter().count(), 1);
    reactor.remove_handler(id).unwrap();
    raise(libc::SIGWINCH);
    look(&reactor);
    assert_eq!(heard.try_iter().count(), 0);
}

#[test]
fn no_signal_is_blocked() {
    let blocked = || {
        // SAFETY: only asks for the mask, which a zeroed set has room for.
        unsafe {
            let mut mask = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            (1..32).any(|signal| libc::sigismember(&mask, signal) == 1)
        }
    };
    let reactor = Reactor::new().unwrap();
    let (sender, inside) = channel();
    let look = move |_| sender.send(blocked()).unwrap();
    reactor.add_signal(libc::SIGCONT, look).unwrap();
    raise(libc::SIGCONT);
    self::look(&reactor);
    assert_eq!(
        (blocked(), inside.try_iter().collect()),
        (false, vec![false])
    );
}

#[test]
fn a_signal_that_cannot_be_caught_is_refused() {
    let reactor = Reactor::new().unwrap();
    let faults = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    for signal in [libc::SIGKILL, libc::SIGSTOP].into_iter().chain(faults) {
        let error = reactor.add_signal(signal, |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    let error = reactor.add_signal(libc::SIGKILL, |_| {}).unwrap_err();
    let text = "add_signal: SIGKILL: this signal cannot be caught";
    assert_eq!(error.to_string(), text);
    for signal in [0, -1, 1000] {
        let error = reactor.add_signal(signal, |_| {}).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
    }
    assert_eq!(reactor.stats().handlers, 0);
}

/// Runs the test of this name alone, in a process of its own that begins with a signal blocked. True in
/// that process.
fn is_alone_with_blocked(signal: i32, test: &str) -> bool {
    const VARIABLE: &str = "ONELOOP_TEST_BLOCKS_A_SIGNAL";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--test-threads=1"]);
    command.env(VARIABLE, "1").stdout(Stdio::null());
    // SAFETY: what is called between fork and exec is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            set_blocked(signal, libc::SIG_BLOCK);
            Ok(())
        })
    };
    assert!(command.status().unwrap().success());
    false
}

fn set_blocked(signal: i32, how: i32) {
    // SAFETY: a set of signals that is made here, and the mask of the calling thread.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        assert_eq!(libc::pthread_sigmask(how, &set, null_mut()), 0);
    }
}

/// Linux tells what other threads block.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_every_thread_blocks_is_refused() {
    let signal = libc::SIGALRM;
    if !is_alone_with_blocked(signal, "a_signal_that_every_thread_blocks_is_refused") {
        return;
    }
    let reactor = Reactor::new().unwrap();
    let error = reactor.add_signal(signal, |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(
        text.starts_with("add_signal: SIGALRM: every thread"),
        "{text}"
    );
    assert_eq!(reactor.stats().handlers, 0);

    // One thread that takes it is enough, whichever drives.
    let (ready, is_ready) = channel();
    let (end, ends) = channel::<()>();
    let taker = thread::spawn(move || {
        set_blocked(signal, libc::SIG_UNBLOCK);
        ready.send(()).unwrap();
        let _ = ends.recv();
    });
    is_ready.recv().unwrap();
    reactor.add_signal(signal, |_| Action::Remove).unwrap();
    // SAFETY: a handler for it is installed.
    unsafe { libc::kill(libc::getpid(), signal) };
    reactor.run().unwrap();
    drop(end);
    taker.join().unwrap();
    assert!(
        reactor.add_signal(signal, |_| {}).is_err(),
        "no handler takes it"
    );

    // Other threads may block a signal that this thread takes.
    set_blocked(signal, libc::SIG_UNBLOCK);
    assert!(reactor.add_signal(signal, |_| {}).is_ok());
}

fn uses_signal_stack(signal: i32) -> bool {
    // SAFETY: only asks, and there is room for what comes.
    let action = unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action
    };
    action.sa_flags & libc::SA_ONSTACK != 0
}

/// As Go has its threads need it. A handler that was there before and is called may need its room.
#[test]
fn handlers_run_on_the_stack_for_signals_unless_one_before_does_not() {
    extern "C" fn before(_: i32) {}
    let reactor = Reactor::new().unwrap();
    let handler = before as extern "C" fn(i32) as libc::sighandler_t;
    for (signal, handler, flags, expected) in [
        (libc::SIGIO, libc::SIG_DFL, 0, true),
        (libc::SIGVTALRM, libc::SIG_IGN, 0, true),
        (libc::SIGXCPU, handler, libc::SA_ONSTACK, true),
        (libc::SIGXFSZ, handler, 0, false),
    ] {
        // SAFETY: the handler does nothing.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
        for _ in 0..2 {
            let (sender, heard) = channel();
            let hear = move |_| sender.send(()).unwrap();
            let id = reactor.add_signal(signal, hear).unwrap();
            assert_eq!(uses_signal_stack(signal), expected, "{signal}");
            raise(signal);
            look(&reactor);
            assert_eq!(heard.try_iter().count(), 1);
            reactor.remove_handler(id).unwrap();
        }
    }
}

#[test]
fn a_signal_to_a_child_process_is_not_the_parents() {
    let reactor = Reactor::new().unwrap();
    let heard = watch(&reactor, libc::SIGURG);
    // SAFETY: the child raises a signal, whose handler is safe to run, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        raise(libc::SIGURG);
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    look(&reactor);
    assert_eq!(heard.try_iter().count(), 0);
    raise(libc::SIGURG);
    look(&reactor);
    assert_eq!(heard.try_iter().count(), 1);
}

fn sh(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped());
    command.spawn().unwrap()
}

type Status = io::Result<ExitStatus>;

fn ended() -> (impl FnOnce(Status) + Send, Receiver<Status>) {
    let (sender, receiver) = channel();
    (move |status| sender.send(status).unwrap(), receiver)
}

#[test]
fn exit_codes_and_killing_signals() {
    let reactor = Reactor::new().unwrap();
    let (three, three_ended) = ended();
    reactor.add_child(sh("exit 3"), three).unwrap();
    let (killed, killed_ended) = ended();
    let by_number = sh("kill -TERM $$").id();
    reactor.add_child(by_number, killed).unwrap();
    reactor.run().unwrap();
    assert_eq!(three_ended.recv().unwrap().unwrap().code(), Some(3));
    let killed = killed_ended.recv().unwrap().unwrap();
    assert_eq!(killed.signal(), Some(libc::SIGTERM));
    assert_eq!(reactor.stats().handlers, 0);
}

/// Linux says so in what it tells of a descriptor.
#[cfg(target_os = "linux")]
#[test]
fn a_child_is_watched_by_a_pidfd() {
    let reactor = Reactor::new().unwrap();
    let child = sh("cat");
    let pid = child.id();
    let id = reactor.add_child(child, drop).unwrap();
    let fd = reactor.handler_fd(id).unwrap();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
    reactor.run().unwrap();
}

#[test]
fn a_hundred_children_beside_a_timer() {
    let reactor = Reactor::new().unwrap();
    let (sender, codes) = channel();
    for code in 0..100 {
        let sender = sender.clone();
        let child = sh(&format!("exit {code}"));
        let callback = move |status: Status| sender.send(status.unwrap().code().unwrap()).unwrap();
        reactor.add_child(child, callback).unwrap();
    }
    let every = reactor.call_every(Duration::from_millis(1), || {}).unwrap();
    reactor.set_referenced(every, false).unwrap();
    reactor.run().unwrap();
    let mut codes: Vec<_> = codes.try_iter().collect();
    codes.sort();
    assert_eq!(codes, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_child_that_has_ended_before_it_is_added_is_reaped() {
    let reactor = Reactor::new().unwrap();
    let mut child = sh("cat");
    drop(child.stdin.take());
    // SAFETY: waits for the child without reaping it; the siginfo is written to only.
    unsafe {
        let mut info = std::mem::zeroed();
        libc::waitid(
            libc::P_PID,
            child.id(),
            &mut info,
            libc::WEXITED | libc::WNOWAIT,
        );
    }
    let (callback, ended) = ended();
    reactor.add_child(child, callback).unwrap();
    reactor.run().unwrap();
    assert!(ended.recv().unwrap().unwrap().success());
}

#[test]
fn a_child_that_reads_its_input_sees_the_end_of_it() {
    let reactor = Reactor::new().unwrap();
    let child = sh("cat");
    assert!(child.stdin.is_some());
    let (callback, ended) = ended();
    reactor.add_child(child, callback).unwrap();
    reactor.run().unwrap();
    assert!(ended.recv().unwrap().unwrap().success());
}

#[test]
fn a_process_that_is_not_our_child_is_refused_and_given_back() {
    let reactor = Reactor::new().unwrap();
    let mut reaped = sh("exit 7");
    assert_eq!(reaped.wait().unwrap().code(), Some(7));
    let pid = reaped.id();
    let refused = reactor.add_child(reaped, |_| {}).unwrap_err();
    assert_eq!(refused.error().raw_os_error(), Some(libc::ECHILD));
    let text = refused.to_string();
    assert!(
        text.starts_with(&format!("add_child: process {pid}: ")),
        "{text}"
    );
    let mut back = refused.into_source();
    assert_eq!(back.wait().unwrap().code(), Some(7));
    for pid in [0, 1, std::process::id(), u32::MAX, i32::MAX as u32] {
        let refused = reactor.add_child(pid, |_| {}).unwrap_err();
        assert_eq!(refused.error().raw_os_error(), Some(libc::ECHILD), "{pid}");
    }
    assert_eq!(reactor.stats().handlers, 0);
}

#[test]
fn a_child_reaped_by_other_code_is_an_error() {
    let reactor = Reactor::new().unwrap();
    let mut child = sh("exit 1");
    let (callback, ended) = ended();
    reactor.add_child(child.id(), callback).unwrap();
    child.wait().unwrap();
    reactor.run().unwrap();
    let error = ended.recv().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
}

#[test]
fn a_child_removed_before_it_ends_lives_on() {
    let reactor = Reactor::new().unwrap();
    let mut child = sh("read line; exit 5");
    let (callback, ended) = ended();
    let id = reactor.add_child(child.id(), callback).unwrap();
    look(&reactor);
    reactor.remove_handler(id).unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(5));
    look(&reactor);
    assert!(ended.recv().is_err(), "dropped, and never called");
}

/// Seizes a process as a debugger does, until it is told to let go. `None` where the system does not allow
/// that.
#[cfg(target_os = "linux")]
fn seize(pid: u32) -> Option<impl FnMut()> {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (fd, pid) = (theirs.as_raw_fd(), pid as libc::pid_t);
    // SAFETY: the child makes system calls only, and leaves by _exit.
    let tracer = unsafe { libc::fork() };
    if tracer == 0 {
        // SAFETY: as above; the byte is the child's own.
        unsafe {
            let mut byte = [libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) as u8];
            libc::write(fd, byte.as_ptr().cast(), 1);
            libc::read(fd, byte.as_mut_ptr().cast(), 1);
            libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
            libc::_exit(0)
        }
    }
    let mut failed = [1];
    ours.read_exact(&mut failed).unwrap();
    let mut let_go = move || {
        ours.write_all(&[0]).unwrap();
        // SAFETY: waits for the child made above, which ends now.
        let ended = unsafe { libc::waitpid(tracer, std::ptr::null_mut(), 0) };
        assert_eq!(ended, tracer);
    };
    if failed == [0] {
        return Some(let_go);
    }
    let_go();
    None
}

/// A child that has ended while a debugger holds it: its pidfd is readable, and it cannot be reaped yet.
#[cfg(target_os = "linux")]
#[test]
fn a_loop_sleeps_while_a_tracer_holds_a_child_that_has_ended() {
    use std::os::unix::process::CommandExt;
    for poller in [PollerKind::Epoll, PollerKind::Polling] {
        let reactor = Reactor::builder().poller(poller).build().unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", "read line; exit 7"])
            .stdin(Stdio::piped());
        // SAFETY: one system call, which lets a sibling seize the process where only parents may.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap();
        let Some(mut let_go) = seize(child.id()) else {
            eprintln!("not tried: this system lets no process trace another");
            drop(child.stdin.take());
            child.wait().unwrap();
            return;
        };
        let mut input = child.stdin.take().unwrap();
        let (callback, ended) = ended();
        reactor.add_child(child, callback).unwrap();
        // Closing it would not do: the tracer has a copy of it.
        io::Write::write_all(&mut input, b"\n").unwrap();
        // It has ended as far as the pidfd is concerned.
        assert_eq!(reactor.turn(None).unwrap().called, 1);
        assert!(ended.try_recv().is_err());

        let turns = reactor.stats().turns;
        let stopper = reactor.downgrade();
        let stop = move || stopper.upgrade().unwrap().stop();
        reactor.call_later(Duration::from_millis(20), stop).unwrap();
        reactor.run().unwrap();
        let turns = reactor.stats().turns - turns;

        // Once the tracer has reaped it, it is ours to reap.
        let_go();
        reactor.run().unwrap();
        let status = ended.recv().unwrap().unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(turns < 10, "{turns} turns for one timer");
    }
}

/// It interrupts the loop anywhere, with a lock of the loop's in its hands, too.
#[test]
fn a_signal_handler_may_wake_the_loop() {
    static REMOTES: [OnceLock<Remote>; 2] = [const { OnceLock::new() }; 2];
    static HANDLER: AtomicPtr<Remote> = AtomicPtr::new(null_mut());
    static WAKES: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn wake(_: i32) {
        // SAFETY: it is set before the handler is installed, and what it points to is never dropped.
        unsafe { &*HANDLER.load(SeqCst) }.wake();
        WAKES.fetch_add(1, SeqCst);
    }
    for (poller, remote) in [PollerKind::Epoll, PollerKind::Polling]
        .into_iter()
        .zip(&REMOTES)
    {
        let reactor = Reactor::builder().poller(poller).build().unwrap();
        let remote = remote.get_or_init(|| reactor.remote());
        HANDLER.store(std::ptr::from_ref(remote).cast_mut(), SeqCst);
        let handler: extern "C" fn(i32) = wake;
        // SAFETY: the handler touches atomics, and makes a call that may be made there.
        unsafe { libc::signal(libc::SIGPROF, handler as libc::sighandler_t) };
        // SAFETY: only asks which thread this is.
        let this = unsafe { libc::pthread_self() };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    // SAFETY: the thread lives until the scope ends.
                    unsafe { libc::pthread_kill(this, libc::SIGPROF) };
                    thread::yield_now();
                }
            });
            let enough = WAKES.load(SeqCst) + 1000;
            let (sender, posts) = channel();
            let mut sent = 0;
            while WAKES.load(SeqCst) < enough {
                for _ in 0..100 {
                    let sender = sender.clone();
                    reactor.call_soon(move || sender.send(()).unwrap()).unwrap();
                    sent += 1;
                }
                look(&reactor);
            }
            assert_eq!(posts.try_iter().count(), sent);
            over.store(true, SeqCst);
        });
    }
}

#[test]
fn a_signal_ends_the_wait_of_an_interruptible_loop_only() {
    extern "C" fn ignore(_: i32) {}
    let handler: extern "C" fn(i32) = ignore;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGIO, handler as libc::sighandler_t) };
    // SAFETY: only asks which thread this is.
    let this = unsafe { libc::pthread_self() };
    let over = AtomicBool::new(false);
    let signals = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                // SAFETY: the thread lives until the scope ends.
                unsafe { libc::pthread_kill(this, libc::SIGIO) };
                signals.fetch_add(1, SeqCst);
                thread::yield_now();
            }
        });
        let interruptible = Reactor::builder().interruptible().build().unwrap();
        for timeout in [None, Some(Duration::from_secs(600))] {
            let turn = interruptible.turn(timeout).unwrap();
            assert_eq!((turn.called, turn.stopped), (0, false));
        }
        // Another one waits on.
        let other = Reactor::new().unwrap();
        let period = Duration::from_millis(5);
        other.call_every(period, || Action::Continue).unwrap();
        let before = signals.load(SeqCst);
        while signals.load(SeqCst) <= before + 10 {
            assert_eq!(other.turn(None).unwrap().called, 1);
        }
        over.store(true, SeqCst);
    });

    let polling = Reactor::builder().poller(PollerKind::Polling);
    let error = polling.interruptible().build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("build"), "{error}");
}
