//! The drop-in async-io beside async-io 2.6: `cargo run --release [-- ROUNDS [MORE]]`.
//!
//! Each measurement is a process of its own, because both have threads that stay. The rounds alternate. The table has
//! medians of the ratios of each round: wall time and processor time of the whole process, smaller is better.

use std::process::Command;
use std::time::{Duration, Instant};

const CASES: [&str; 6] = [
    "echo-1-block_on",
    "echo-100-block_on",
    "echo-1-foreign",
    "echo-100-foreign",
    "timer-50us-block_on",
    "timer-50us-foreign",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [library, case, times] = &arguments[..] {
        let times = times.parse().unwrap();
        return match &**library {
            "drop-in" => with_drop_in::run(case, times),
            _ => with_real::run(case, times),
        };
    }
    let number = |at: usize, otherwise| {
        arguments
            .get(at)
            .map_or(otherwise, |number| number.parse().unwrap())
    };
    let (rounds, more) = (number(0, 15), number(1, 1));
    println!("| case | wall, drop-in ÷ async-io | processor, drop-in ÷ async-io | drop-in, µs | async-io, µs |");
    println!("|---|---:|---:|---:|---:|");
    for case in CASES {
        let times = more * if case.starts_with("timer") { 1000 } else { 20_000 };
        let (mut wall, mut cpu, mut ours, mut theirs) = (vec![], vec![], vec![], vec![]);
        for round in 0..rounds {
            let order = if round % 2 == 0 { ["drop-in", "real"] } else { ["real", "drop-in"] };
            let mut both = order.map(|library| (library, measure(library, case, times)));
            both.sort();
            let [(_, (our_wall, our_cpu)), (_, (real_wall, real_cpu))] = both;
            wall.push(our_wall as f64 / real_wall as f64);
            cpu.push(our_cpu as f64 / real_cpu as f64);
            ours.push(our_wall as f64 / times as f64 / 1e3);
            theirs.push(real_wall as f64 / times as f64 / 1e3);
        }
        let [wall, cpu, ours, theirs] = [wall, cpu, ours, theirs].map(median);
        println!("| {case} | {wall:.2} | {cpu:.2} | {ours:.1} | {theirs:.1} |");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs this program for one measurement. Returns nanoseconds by the clock and of the processors.
fn measure(library: &str, case: &str, times: usize) -> (u64, u64) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args([library, case, &times.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (wall, cpu) = text.trim().split_once(' ').unwrap();
    (wall.parse().unwrap(), cpu.parse().unwrap())
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into a structure on the stack.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `work` and prints what it took.
fn print_time(work: impl FnOnce()) {
    let (start, before) = (Instant::now(), processor_time());
    work();
    let (wall, cpu) = (start.elapsed(), processor_time() - before);
    println!("{} {}", wall.as_nanos(), cpu.as_nanos());
}

macro_rules! cases {
    ($module:ident, $library:ident) => {
        mod $module {
            use std::future::Future;
            use std::net::{TcpListener, TcpStream};
            use std::time::Duration;

            use async_executor::LocalExecutor;
            use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
            use $library::{Async, Timer};

            pub fn run(case: &str, times: usize) {
                let parts: Vec<&str> = case.split('-').collect();
                let is_foreign = parts[2] == "foreign";
                if parts[0] == "timer" {
                    let wait = || async {
                        for _ in 0..times {
                            Timer::after(Duration::from_micros(50)).await;
                        }
                    };
                    block_on(is_foreign, Timer::after(Duration::from_millis(1)));
                    return crate::print_time(|| block_on(is_foreign, wait()));
                }
                let connections: usize = parts[1].parse().unwrap();
                let executor = LocalExecutor::new();
                let pairs: Vec<_> = (0..connections)
                    .map(|_| block_on(is_foreign, connect()))
                    .collect();
                let each = times / connections;
                let work = async {
                    let mut clients = Vec::new();
                    for (client, server) in pairs {
                        executor.spawn(serve(server)).detach();
                        clients.push(executor.spawn(ask(client, each)));
                    }
                    for client in clients {
                        client.await;
                    }
                };
                crate::print_time(|| block_on(is_foreign, executor.run(work)));
            }

            fn block_on<T>(is_foreign: bool, future: impl Future<Output = T>) -> T {
                match is_foreign {
                    true => future::block_on(future),
                    false => $library::block_on(future),
                }
            }

            async fn connect() -> (Async<TcpStream>, Async<TcpStream>) {
                let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
                let address = listener.get_ref().local_addr().unwrap();
                let client = Async::<TcpStream>::connect(address).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                for stream in [&client, &server] {
                    stream.get_ref().set_nodelay(true).unwrap();
                }
                (client, server)
            }

            async fn serve(mut stream: Async<TcpStream>) {
                let mut bytes = [0; 64];
                while stream.read_exact(&mut bytes).await.is_ok() {
                    stream.write_all(&bytes).await.unwrap();
                }
            }

            async fn ask(mut stream: Async<TcpStream>, times: usize) {
                let mut bytes = [0; 64];
                for _ in 0..times {
                    stream.write_all(&bytes).await.unwrap();
                    stream.read_exact(&mut bytes).await.unwrap();
                }
            }
        }
    };
}

cases!(with_drop_in, drop_in);
cases!(with_real, real);
