//! Eight threads do everything that can be done with a reactor while it is driven and moved between
//! hosts and threads; then the books must balance. Some seconds; ONELOOP_STRESS_SECONDS is how many
//! each test takes.

mod answers;
mod books;
mod legs;
mod thread;

use std::env;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

use books::{Books, Token};
use legs::{Legs, survive};
use oneloop::{Interest, Mode, PollerKind, Priority, Reactor, Ready, VirtualSource};
use oneloop_support::Watchdog;
use thread::{Random, Shared, Worker};

const THREADS: u64 = 8;

fn watch(name: &str, books: &Arc<Books>) -> Watchdog {
    let books = books.clone();
    let progress = move || format!("after {} steps; {books}", books.progress_so_far());
    Watchdog::of_progress(name, progress)
}

fn end() -> Instant {
    let seconds = env::var("ONELOOP_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1.5);
    Instant::now() + Duration::from_secs_f64(seconds)
}

/// Everything at once, until the time is over; then all that is left is called or taken out, and
/// counted.
fn moved_from_host_to_host(name: &'static str, poller: PollerKind) {
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let books = Arc::new(Books::default());
    let shared = Arc::new(Shared::new(&reactor, &books));
    let _watchdog = watch(name, &books);
    let mut legs = Legs::new(&reactor);
    let end = end();
    std::thread::scope(|scope| {
        for seed in 1..=THREADS {
            let worker = Worker::new(&shared, seed);
            scope.spawn(move || worker.work_to_the_end());
        }
        let mut random = Random::new(99);
        while Instant::now() < end || books.calls() < 1000 {
            legs.drive(&mut random);
        }
        shared.end();
    });
    shared.take_out_what_stays(&reactor);
    legs.drive_to_the_end();
    let stats = reactor.stats();
    assert_eq!((stats.handlers, stats.pending_timers), (0, 0), "{stats:?}");
    books.check_posts_and_timers();
    drop((legs, reactor));
    drop(shared);
    books.check_drops();
    println!("{name}: {books}");
}

#[test]
fn moved_from_host_to_host_on_epoll() {
    moved_from_host_to_host("epoll", PollerKind::Epoll);
}

#[test]
fn moved_from_host_to_host_on_polling() {
    moved_from_host_to_host("polling", PollerKind::Polling);
}

/// Alone, and eight at once.
fn each_answer_comes(name: &'static str, poller: PollerKind) {
    let reactor = Reactor::builder().poller(poller).build().unwrap();
    let books = Arc::new(Books::default());
    let _watchdog = watch(name, &books);
    let legs = Legs::new(&reactor);
    let slice = (end() - Instant::now()) / (2 * Legs::HOSTS as u32);
    for host in 0..Legs::HOSTS {
        for threads in [1, THREADS] {
            let end = Instant::now() + slice;
            answers::ask(&reactor, &legs, host, &books, threads, end);
        }
    }
    assert_eq!(reactor.stats().handlers, 0);
    println!("{name}: {} answers", books.progress_so_far());
}

#[test]
fn each_answer_comes_on_epoll() {
    each_answer_comes("answers on epoll", PollerKind::Epoll);
}

#[test]
fn each_answer_comes_on_polling() {
    each_answer_comes("answers on polling", PollerKind::Polling);
}

/// The loop goes while they are all at it: closed, or dropped with its last handle.
#[test]
fn closed_and_dropped_under_their_hands() {
    let books = Arc::new(Books::default());
    let _watchdog = watch("closing", &books);
    let end = end();
    let mut round = 0;
    while Instant::now() < end || round < 20 {
        round += 1;
        let reactor = Reactor::new().unwrap();
        let shared = Arc::new(Shared::new(&reactor, &books));
        std::thread::scope(|scope| {
            for seed in 1..=THREADS {
                let worker = Worker::new(&shared, round * THREADS + seed);
                scope.spawn(move || worker.work_to_the_end());
            }
            let mut random = Random::new(round);
            let for_a_moment = Instant::now() + Duration::from_micros(random.below(2000));
            let mut legs = Legs::new(&reactor);
            while Instant::now() < for_a_moment {
                legs.turn();
            }
            drop(legs);
            match round % 3 {
                0 => drop(reactor),
                1 => reactor.close(),
                _ => {
                    let other = reactor.clone();
                    scope.spawn(move || other.close());
                    survive(|| Ok(_ = reactor.run()));
                }
            }
            shared.end();
        });
        drop(shared);
        books.check_drops();
    }
    println!("closing: {round} rounds, {books}");
}

/// Not Send, and true to its thread.
struct Local {
    _not_send: Rc<()>,
    thread: ThreadId,
    token: Token,
}

impl Local {
    fn new(books: &Arc<Books>) -> Local {
        Local {
            _not_send: Rc::new(()),
            thread: current().id(),
            token: books.token(),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if current().id() != self.thread {
            let what = "what is not Send was dropped by another thread";
            self.token.books().complain(what);
        }
    }
}

/// The loop of one thread, whose remotes and sources others have in their hands.
#[test]
fn a_local_loop_keeps_what_is_its_own() {
    let books = Arc::new(Books::default());
    let _watchdog = watch("local", &books);
    let end = end();
    let mut round = 0;
    while Instant::now() < end || round < 20 {
        round += 1;
        let reactor = Reactor::new_local().unwrap();
        let (source, readiness) = VirtualSource::pair();
        let (mine, weak) = (Local::new(&books), reactor.downgrade());
        let books_of_posts = books.clone();
        let handler = move |_: &mut VirtualSource, _| {
            let _mine = &mine;
            if let Some(reactor) = weak.upgrade() {
                let one = Local::new(&books_of_posts);
                // Some are left over when the loop ends.
                let _ = reactor.call_soon_with(Priority::Idle, move || drop(one));
            }
        };
        let added = reactor.add_handler(source, Interest::READABLE, Mode::Edge, handler);
        added.unwrap();
        let mine = Local::new(&books);
        let timer = move || {
            let _mine = &mine;
        };
        reactor
            .call_every(Duration::from_micros(50), timer)
            .unwrap();
        std::thread::scope(|scope| {
            for seed in 1..=THREADS {
                let (remote, readiness) = (reactor.remote(), readiness.clone());
                let books = &books;
                scope.spawn(move || {
                    let mut random = Random::new(round * THREADS + seed);
                    for _ in 0..random.below(200) {
                        let token = books.token();
                        let accepted = remote.call_soon(move || drop(token));
                        match random.below(4) {
                            0 => _ = readiness.set(Ready::READABLE),
                            1 => readiness.clear(Ready::READABLE),
                            2 => remote.wake(),
                            _ => remote.stop(),
                        }
                        books.progress();
                        if accepted.is_err() {
                            break;
                        }
                    }
                });
            }
            drop(readiness);
            let turns = Random::new(round).below(50);
            for _ in 0..turns {
                reactor.turn(Some(Duration::ZERO)).unwrap();
            }
            drop(reactor);
        });
        books.check_drops();
    }
    println!("local: {round} rounds, {books}");
}
