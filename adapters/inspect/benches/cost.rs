//! The cost of an open page for a busy ring: the processor time of the loop's thread for each event,
//! beside that of the same ring in the seconds before, in which no page is open.
//!
//! To reproduce: `cargo bench -p oneloop-inspect`, on a machine that does nothing else. Where others run beside it,
//! processor time varies by more than what is measured.

use std::cell::Cell;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use oneloop::{Interest, LocalReactor, Mode, Reactor};
use oneloop_inspect::{Address, serve};
use rustix::time::{ClockId, clock_gettime};

const PAIRS: usize = 100;
/// Seconds in which no page is open, before as many in which one is.
const SECONDS: usize = 8;
/// How often there are both.
const ROUNDS: usize = 3;
/// Seconds after which a recording has ended.
const ABSENCE: usize = 4;

fn main() -> ExitCode {
    // `cargo test --benches` passes other options.
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    for tokens in [1, 50] {
        match measure(tokens) {
            Ok((alone, looked_at)) => {
                let ratio = looked_at / alone;
                println!(
                    "{PAIRS} pairs, {tokens} tokens: {alone:.0} ns for each event while no page is open, \
                     {ratio:.3} times as much while one is"
                );
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Returns the medians of the nanoseconds for each event, while no page is open and while one is.
fn measure(tokens: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let reactor = Reactor::new_local()?;
    let events = ring(&reactor, tokens)?;
    let server = serve(&reactor, ([127, 0, 0, 1], 0))?;
    let Address::Tcp(address) = *server.address() else {
        return Err("it has no port".into());
    };
    let looks = Arc::new(AtomicBool::new(false));
    let is_over = Arc::new(AtomicBool::new(false));
    let viewer = thread::spawn({
        let (looks, is_over) = (looks.clone(), is_over.clone());
        move || look(address, &looks, &is_over)
    });

    let windows = Rc::new(Cell::new(0));
    let measured = Rc::new([Cell::new(Vec::new()), Cell::new(Vec::new())]);
    let before = Cell::new((0, 0));
    let (at_end, kept, weak) = (looks.clone(), measured.clone(), reactor.downgrade());
    reactor.call_every(Duration::from_secs(1), move || {
        let (now, then) = ((processor_time(), events.get()), before.get());
        let window = windows.replace(windows.get() + 1);
        let (phase, is_looked_at) = (window % SECONDS, at_end.load(SeqCst));
        let unsettled = if is_looked_at { 1 } else { ABSENCE };
        if phase >= unsettled {
            let of = &kept[usize::from(is_looked_at)];
            let mut all = of.take();
            all.push((now.0 - then.0) as f64 / (now.1 - then.1) as f64);
            of.set(all);
        }
        before.set(now);
        if phase == SECONDS - 1 {
            at_end.store(!is_looked_at, SeqCst);
        }
        if window >= 2 * ROUNDS * SECONDS {
            if let Some(reactor) = weak.upgrade() {
                reactor.stop();
            }
        }
    })?;
    reactor.run()?;
    is_over.store(true, SeqCst);
    // It may wait for an answer.
    drop(reactor);
    let _ = viewer.join();
    let [alone, looked_at] = [0, 1].map(|at| median(measured[at].take()));
    Ok((alone, looked_at))
}

/// Asks as the page does.
fn look(address: SocketAddr, looks: &AtomicBool, is_over: &AtomicBool) {
    let mut cursor = 0;
    for tenth in 0.. {
        if is_over.load(SeqCst) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
        if !looks.load(SeqCst) {
            continue;
        }
        if tenth % 4 == 0 {
            let text = get(address, &format!("/timeline?since={cursor}")).unwrap_or_default();
            let found = text.rsplit_once("\"cursor\":").map(|(_, rest)| rest);
            let digits = found.and_then(|rest| rest.split(',').next());
            cursor = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
        if tenth % 10 == 0 {
            let _ = get(address, "/snapshot");
        }
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text)
}

/// Has tokens hop from one socket pair to the next for ever. Returns the number of hops.
fn ring(reactor: &LocalReactor, tokens: usize) -> Result<Rc<Cell<u64>>, Box<dyn Error>> {
    let pairs: Result<Vec<_>, _> = (0..PAIRS).map(|_| UnixStream::pair()).collect();
    let (sources, mut sinks): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
    for token in 0..tokens {
        (&sinks[token * sinks.len() / tokens]).write_all(b"t")?;
    }
    sinks.rotate_left(1);
    let hops = Rc::new(Cell::new(0));
    for (source, mut sink) in sources.into_iter().zip(sinks) {
        let hops = hops.clone();
        reactor.add_handler(source, Interest::READABLE, Mode::Level, move |source, _| {
            let mut token = [0];
            if source.read(&mut token).is_ok() && sink.write(&token).is_ok() {
                hops.set(hops.get() + 1);
            }
        })?;
    }
    Ok(hops)
}

fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
