//! An echo server over TCP, with a client on another thread that keeps its connections busy: what a
//! server sees of its loop.

mod async_io;
#[cfg(feature = "c-peers")]
mod c_loops;
mod calloop;
mod client;
mod conversation;
mod cpu;
mod epoll;
mod mio;
mod oneloop;
mod polling;
mod tokio;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use client::Talk;
use conversation::Conversation;
use cpu::CpuClock;
use oneloop_benches::{Bench, Cores, Measured, Peer};
use rustix::net::sockopt::set_socket_linger;

/// A workload: how many connections there are, and where the client is.
struct Connections(usize, Cores);

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connections(number, cores) = self;
        let plural = if *number == 1 { "" } else { "s" };
        write!(f, "{number} connection{plural}, {cores}")
    }
}

fn main() -> ExitCode {
    let sizes = [1, 50, 500];
    let workloads =
        [Cores::One, Cores::Two].map(|cores| sizes.map(|size| Connections(size, cores)));
    let bench = Bench {
        name: "echo",
        about: "\
A client thread sends 64 bytes over each of its TCP connections on loopback, and again when they are
back. An event is one such message. The time is the client's, over all its connections; on two cores
the slower of client and server sets the pace, on one core it is what both cost together. Beside it
there are the round trip of a message, and how long the server's thread ran for each. The yardstick is
a server on an epoll loop with nothing around it; the nested one sleeps in another epoll set that has
its own in it, as a host without an adapter does. With the feature c-peers, libev, libevent and libuv
are measured, too.",
        workloads: workloads.into_iter().flatten().collect(),
        yardstick: peer("bare epoll", epoll::run),
        peers: vec![
            peer("bare epoll, nested", epoll::nested),
            peer("oneloop built-in", oneloop::built_in),
            peer("oneloop on tokio", oneloop::on_tokio),
            peer("oneloop on async-io", oneloop::on_async_io),
            peer("tokio AsyncFd", tokio::run),
            peer("async-io Async", async_io::run),
            peer("calloop", calloop::run),
            peer("mio", mio::run),
            peer("polling", polling::run),
            #[cfg(feature = "c-peers")]
            peer("libev", c_loops::libev),
            #[cfg(feature = "c-peers")]
            peer("libevent", c_loops::libevent),
            #[cfg(feature = "c-peers")]
            peer("libuv", c_loops::libuv),
        ],
    };
    bench.main()
}

/// Serves until the last conversation is at its end.
type Run = fn(Vec<Conversation>) -> io::Result<()>;

/// Each measurement has a loop and connections of its own.
fn peer(name: &'static str, run: Run) -> Peer<Connections> {
    Peer::new(name, move |&Connections(number, cores), events| {
        measure(run, number, cores, events)
    })
}

fn measure(run: Run, number: usize, cores: Cores, events: u64) -> io::Result<Measured> {
    // Enough of them for each connection, however few will do to see how fast it is.
    let messages = events.max(20 * number as u64);
    let (clients, conversations) = connections(number)?;
    let clock = CpuClock::of_this_thread()?;
    cores.keep_loop()?;
    let client = thread::spawn(move || {
        cores.keep_other()?;
        client::talk(clients, messages, clock)
    });
    let served = run(conversations);
    let talked = client.join().expect("it does not panic");
    served?;
    let Talk { time, trips, busy } = talked?;
    let measured = Measured::of(messages, time);
    let measured = measured.with_percentiles(["round_trip_p50_ns", "round_trip_p99_ns"], trips);
    let busy = busy.as_nanos() as f64 / messages as f64;
    Ok(measured.with("server_cpu_ns_per_event", busy))
}

fn connections(number: usize) -> io::Result<(Vec<TcpStream>, Vec<Conversation>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let connect = || {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nonblocking(true)?;
            end.set_nodelay(true)?;
            // Ended by a reset: thousands of ports would be busy for a minute otherwise.
            set_socket_linger(end, Some(Duration::ZERO))?;
        }
        Ok((client, Conversation::new(server)))
    };
    (0..number).map(|_| connect()).collect()
}
