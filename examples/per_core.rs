//! Many cores: a reactor for each, all listening on one port (SO_REUSEPORT), so that the kernel spreads
//! the connections and no two cores share anything. Once on a thread each, by the built-in loop, and
//! once in tokio's multi-thread runtime, where each worker drives one.

mod help;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::{Action, Interest, Mode, Reactor};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

/// Connections of each client thread.
const CONNECTIONS: usize = 16;
const MESSAGE: [u8; 64] = [b'm'; 64];
const TIME: Duration = Duration::from_secs(1);

const HELP: &str = "\
Echoes messages for a second with one core and with all, a reactor for each core, and prints how many
there were. Clients take their part of the machine, too: as many threads as there are servers.

Usage: cargo run --release --example per_core -- [CORES]

  CORES    cores at most (default: all)
  --help   this text";

fn main() -> Result<(), Box<dyn Error>> {
    help::print_if_asked(HELP);
    let all = thread::available_parallelism()?.get();
    let most = std::env::args()
        .nth(1)
        .map_or(Ok(all), |cores| cores.parse())?;
    println!("messages per second   a thread each   tokio, multi-thread");
    for cores in [1, most.max(1)] {
        let threads = measure(cores, on_threads)?;
        let tokio = measure(cores, on_tokio)?;
        println!("{cores:2} cores {threads:25} {tokio:21}");
        if most <= 1 {
            break;
        }
    }
    Ok(())
}

/// Drives the reactors until they are stopped.
type Drive = fn(Vec<Reactor>) -> Result<(), Box<dyn Error>>;

fn on_threads(reactors: Vec<Reactor>) -> Result<(), Box<dyn Error>> {
    let drive = |reactor: Reactor| thread::spawn(move || reactor.run());
    let threads: Vec<_> = reactors.into_iter().map(drive).collect();
    for thread in threads {
        thread.join().expect("no callback panics")?;
    }
    Ok(())
}

fn on_tokio(reactors: Vec<Reactor>) -> Result<(), Box<dyn Error>> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(reactors.len()).enable_io().build()?;
    let drive = |reactor: &Reactor| runtime.spawn(oneloop_tokio::drive(reactor));
    let workers: Vec<_> = reactors.iter().map(drive).collect();
    runtime.block_on(async {
        for worker in workers {
            worker.await??;
        }
        Ok(())
    })
}

/// Messages per second.
fn measure(cores: usize, drive: Drive) -> Result<u64, Box<dyn Error>> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut reactors = Vec::new();
    for _ in 0..cores {
        let listener = listener(address)?;
        // The first has the system choose a port.
        address = listener.local_addr()?;
        reactors.push(server(listener)?);
    }
    let stoppers: Vec<_> = reactors.iter().map(Reactor::remote).collect();
    let servers = thread::spawn(move || drive(reactors).map_err(|error| error.to_string()));

    let over = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..cores {
        let reactor = client(address, &over, &count)?;
        clients.push(thread::spawn(move || reactor.run()));
    }
    thread::sleep(TIME);
    over.store(true, Relaxed);
    for client in clients {
        client.join().expect("no callback panics")?;
    }
    let messages = count.load(Relaxed) as f64 / start.elapsed().as_secs_f64();
    stoppers.iter().for_each(|stopper| stopper.stop());
    servers.join().expect("no callback panics")?;
    Ok(messages as u64)
}

/// One of several on an address.
fn listener(address: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseport(&listener, true)?;
    bind(&listener, &address)?;
    listen(&listener, 1024)?;
    Ok(listener.into())
}

/// Echoes what comes on connections that it accepts.
fn server(listener: TcpListener) -> Result<Reactor, Box<dyn Error>> {
    let reactor = Reactor::new()?;
    listener.set_nonblocking(true)?;
    let accept = move |listener: &mut TcpListener, _| {
        let (Ok((stream, _)), Ok(reactor)) = (listener.accept(), Reactor::current()) else {
            return;
        };
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true));
        if ready.is_ok() {
            // If it is refused, its connection is closed with it.
            let _ = reactor.add_handler(stream, Interest::READABLE, Mode::Level, echo);
        }
    };
    reactor.add_handler(listener, Interest::READABLE, Mode::Level, accept)?;
    Ok(reactor)
}

fn echo(stream: &mut TcpStream, _: oneloop::Event) -> Action {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        // Messages are small and answered one by one: there is always room.
        Ok(length @ 1..) if stream.write_all(&buffer[..length]).is_ok() => Action::Continue,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Action::Continue,
        _ => Action::Remove,
    }
}

/// Sends a message on each of its connections, and the next when it comes back.
fn client(
    address: SocketAddr,
    over: &Arc<AtomicBool>,
    count: &Arc<AtomicU64>,
) -> Result<Reactor, Box<dyn Error>> {
    let reactor = Reactor::new()?;
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(&MESSAGE)?;
        let (over, count) = (over.clone(), count.clone());
        let again = move |stream: &mut TcpStream, _| {
            let mut buffer = MESSAGE;
            let back = stream.read_exact(&mut buffer);
            if back.is_err() || buffer != MESSAGE || over.load(Relaxed) {
                return Action::Remove;
            }
            count.fetch_add(1, Relaxed);
            match stream.write_all(&MESSAGE) {
                Ok(()) => Action::Continue,
                Err(_) => Action::Remove,
            }
        };
        reactor.add_handler(stream, Interest::READABLE, Mode::Level, again)?;
    }
    Ok(reactor)
}
