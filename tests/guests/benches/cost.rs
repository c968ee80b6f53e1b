//! The cost of a guest for the events of others, and of a host for the reactor. Processor time of the thread.

use std::hint::black_box;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oneloop::adapter::End;
use oneloop::{Guest, Interest, LocalReactor, Mode, Reactor, Watched};
use oneloop_guests_tests::calloop::Calloop;
use oneloop_guests_tests::compio::Compio;
use oneloop_guests_tests::glib::{Glib, OwnerlessGlib};
use oneloop_guests_tests::glue::{Libev, Libevent, SdEvent};
use oneloop_guests_tests::nested::Nested;
use oneloop_guests_tests::uv::Uv;
use oneloop_guests_tests::{ForeignLoop, OuterLoop};

const HELP: &str = "\
Usage: cargo bench -p oneloop-guests-tests --bench cost [-- [--rounds N] [--events N]]

Prints nanoseconds of processor time for an event that does not concern the guest, above those without a guest, and
the time of a ring of sockets on each host, as a ratio to `run`. Medians of N rounds (9), which take turns.";

fn main() {
    let (mut rounds, mut events) = (9, 100_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = |arguments: &mut dyn Iterator<Item = String>| {
            let number = arguments.next().and_then(|number| number.parse().ok());
            number.expect(HELP)
        };
        match &*argument {
            "--bench" => {}
            "--rounds" => rounds = number(&mut arguments),
            "--events" => events = number(&mut arguments) as u32,
            _ => return println!("{HELP}"),
        }
    }
    foreign_events(rounds, events);
    rings(rounds, events);
}

/// Adds a guest with that many timers and descriptors. Returns what removes it.
type AddGuest = fn(&LocalReactor, usize) -> Box<dyn FnOnce()>;

type Drive = fn(&Reactor);

fn foreign_events(rounds: usize, events: u32) {
    let guests: [(&str, AddGuest); 8] = [
        ("a deadline, which announces changes", |reactor, _| {
            with_deadline(reactor, true)
        }),
        ("a deadline, which is asked", |reactor, _| {
            with_deadline(reactor, false)
        }),
        ("GLib", with_guest::<Glib>),
        ("GLib, ownerless", with_guest::<OwnerlessGlib>),
        ("libuv", with_guest::<Uv>),
        ("sd-event", with_guest::<SdEvent>),
        ("compio", with_guest::<Compio>),
        ("a reactor", with_guest::<Nested>),
    ];
    let mut measured = vec![Vec::new(); 2 * guests.len()];
    let mut alone = Vec::new();
    for _ in 0..rounds {
        let bare = to_and_fro(&Reactor::new_local().expect("descriptors"), events);
        alone.push(bare);
        for (at, (_, add)) in guests.iter().enumerate() {
            for (with, sources) in [1, 50].into_iter().enumerate() {
                let reactor = Reactor::new_local().expect("descriptors");
                let remove = add(&reactor, sources);
                measured[2 * at + with].push(to_and_fro(&reactor, events) - bare);
                remove();
                reactor.close();
            }
        }
    }
    println!("an event without a guest: {:.0} ns", median(&mut alone));
    println!("| guest | 1 timer, 1 descriptor | 50 and 50 |\n|---|---:|---:|");
    for (at, (name, _)) in guests.iter().enumerate() {
        let few = median(&mut measured[2 * at]);
        let many = median(&mut measured[2 * at + 1]);
        println!("| {name} | +{few:.0} | +{many:.0} |");
    }
}

/// A guest that has a deadline and nothing else.
struct Deadline {
    announces: bool,
}

impl Guest for Deadline {
    fn prepare(&mut self, _: &mut Watched) -> Option<Duration> {
        Some(Duration::from_secs(3600))
    }

    fn turn(&mut self, _: &Watched) {}

    fn announces(&self) -> bool {
        self.announces
    }
}

fn with_deadline(reactor: &LocalReactor, announces: bool) -> Box<dyn FnOnce()> {
    let guest = Deadline { announces };
    let guest = reactor.add_guest("a deadline", guest).expect("open");
    let reactor = reactor.clone();
    Box::new(move || reactor.remove_guest(guest).expect("known"))
}

/// Adds a guest with that many timers and descriptors, of which none becomes due. Returns what removes it.
fn with_guest<L: ForeignLoop>(reactor: &LocalReactor, sources: usize) -> Box<dyn FnOnce()> {
    let inner = L::new();
    let mut open = Vec::new();
    for _ in 0..sources {
        inner.after(Duration::from_secs(3600), || ());
        let (a, b) = UnixStream::pair().expect("descriptors");
        inner.watch_read(a.as_raw_fd(), || true);
        open.extend([a, b]);
    }
    let guest = reactor.add_guest(L::NAME, inner.guest()).expect("open");
    let reactor = reactor.clone();
    Box::new(move || {
        reactor.remove_guest(guest).expect("known");
        // libuv's loop cannot be closed with handles, and nothing else is lost.
        std::mem::forget(inner);
        drop(open);
    })
}

/// A byte to and fro between two handlers. Returns nanoseconds for each call.
fn to_and_fro(reactor: &LocalReactor, events: u32) -> f64 {
    let (mut a, b) = UnixStream::pair().expect("descriptors");
    a.write_all(b"x").expect("room");
    let left = std::rc::Rc::new(std::cell::Cell::new(events));
    for stream in [a, b] {
        let (left, stopper) = (left.clone(), reactor.clone());
        let pass = move |stream: &mut UnixStream, _| {
            pass_on(stream, None);
            left.set(left.get() - 1);
            if left.get() == 0 {
                stopper.stop();
            }
        };
        reactor
            .add_handler(stream, Interest::READABLE, Mode::Level, pass)
            .expect("open");
    }
    let before = processor_time();
    reactor.run_forever().expect("driving");
    (processor_time() - before).as_nanos() as f64 / f64::from(events)
}

fn pass_on(from: &UnixStream, to: Option<&UnixStream>) {
    let (mut from, mut byte) = (from, [0]);
    assert_eq!(from.read(&mut byte).expect("readable"), 1);
    let mut to = to.unwrap_or(from);
    to.write_all(black_box(&byte)).expect("room");
}

fn rings(rounds: usize, events: u32) {
    let hosts: [(&str, Drive); 7] = [
        ("`run`", |reactor| reactor.run_forever().expect("driving")),
        ("GLib", hosted::<Glib>),
        ("libuv", hosted::<Uv>),
        ("calloop", hosted::<Calloop>),
        ("libevent", hosted::<Libevent>),
        ("libev", hosted::<Libev>),
        ("sd-event", hosted::<SdEvent>),
    ];
    println!("\n| host | ring, 1 token | 50 tokens |\n|---|---:|---:|");
    let mut ratios = vec![[Vec::new(), Vec::new()]; hosts.len()];
    for _ in 0..rounds {
        for (which, tokens) in [1, 50].into_iter().enumerate() {
            let times = hosts.map(|(_, drive)| ring(drive, tokens, events));
            for (at, time) in times.iter().enumerate() {
                ratios[at][which].push(time / times[0]);
            }
        }
    }
    for ((name, _), [one, many]) in hosts.iter().zip(&mut ratios) {
        println!("| {name} | {:.2} | {:.2} |", median(one), median(many));
    }
}

fn hosted<L: OuterLoop>(reactor: &Reactor) {
    let outer = L::new();
    let ended = std::rc::Rc::new(std::cell::Cell::new(false));
    let end = ended.clone();
    let on_end = move |how: End| {
        how.expect("no panic").expect("no error");
        end.set(true);
    };
    let attached = outer.attach(reactor, false, on_end).expect("descriptors");
    while !ended.get() {
        outer.iterate(true);
    }
    drop(attached);
    outer.iterate(false);
}

/// Sockets that pass tokens around. Returns the time of all.
fn ring(drive: Drive, tokens: usize, events: u32) -> f64 {
    let reactor = Reactor::new().expect("descriptors");
    let pairs: Vec<_> = (0..100)
        .map(|_| UnixStream::pair().expect("descriptors"))
        .collect();
    let (mut writers, readers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for writer in writers.iter_mut().take(tokens) {
        writer.write_all(b"x").expect("room");
    }
    writers.rotate_left(1);
    let left = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(events));
    for (reader, next) in readers.into_iter().zip(writers) {
        let (left, stopper) = (left.clone(), reactor.downgrade());
        let pass = move |stream: &mut UnixStream, _| {
            pass_on(stream, Some(&next));
            if left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1
                && let Some(reactor) = stopper.upgrade()
            {
                reactor.stop();
            }
        };
        reactor
            .add_handler(reader, Interest::READABLE, Mode::Level, pass)
            .expect("open");
    }
    let before = processor_time();
    drive(&reactor);
    (processor_time() - before).as_nanos() as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The time that this thread has computed.
fn processor_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: writes one `timespec`, for which zeros are a value.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
