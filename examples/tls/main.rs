//! TLS from callbacks: a server and a client on one loop and one thread. rustls has no loop, and the
//! loop knows nothing of TLS; `session.rs` is all that is between them.

mod client;
mod config;
#[path = "../help.rs"]
mod help;
#[allow(dead_code)] // The tests use all of it.
mod session;
mod upper;

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::Client;
use config::Config;
use oneloop::{Interest, Mode, Reactor};
use rustls::ALL_VERSIONS;
use session::Session;
use upper::Upper;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The text that the client sends, and gets back.
const BYTES: u64 = 16 << 20;

const HELP: &str = "\
Sends 16 MiB and gets them back over TLS, by a server and a client of callbacks on one loop.

Usage: cargo run --release --example tls -- [--serve]

  --serve  serves clients such as `openssl s_client`, and prints the command, until Ctrl-C
  --help   this text";

fn main() -> Result<()> {
    help::print_if_asked(HELP);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(|argument| &**argument)
        .collect::<Vec<_>>()[..]
    {
        [] => transfer(),
        ["--serve"] => serve_openssl(),
        _ => Err("the only argument is --serve".into()),
    }
}

/// Runs until both sides have closed: then there is nothing left that could call back.
fn transfer() -> Result<()> {
    let reactor = Reactor::new_local()?;
    let config = Rc::new(Config::new(ALL_VERSIONS)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let closed = Rc::new(Cell::new(0));
    let over = |who| {
        let closed = closed.clone();
        move |how: io::Result<()>| match how {
            Ok(()) => closed.set(closed.get() + 1),
            Err(error) => eprintln!("{who}: {error}"),
        }
    };

    let (accepted, _) = listener.accept()?;
    Session::new(accepted, config.server()?)?.open(&reactor, Upper::new(over("server")))?;
    Session::new(stream, config.client()?)?.open(&reactor, Client::new(BYTES, over("client")))?;
    let late = || panic!("not done after a minute");
    reactor.set_referenced(reactor.call_later(Duration::from_secs(60), late)?, false)?;

    let start = Instant::now();
    reactor.run()?;
    if closed.get() != 2 {
        return Err("a side failed".into());
    }
    let (took, stats) = (start.elapsed(), reactor.stats());
    let rate = 2.0 * BYTES as f64 / took.as_secs_f64() / 1e6;
    println!("bytes   {BYTES} there and, in capitals, {BYTES} back: each of them checked");
    println!("speed   {rate:.0} MB/s, both ways together, in {took:.2?}");
    println!(
        "loop    {} turns, {} events",
        stats.turns, stats.handler_calls
    );
    println!(
        "kernel  told {} times of a new interest",
        stats.kernel_changes
    );
    Ok(())
}

/// Serves clients until Ctrl-C.
fn serve_openssl() -> Result<()> {
    let reactor = Reactor::new_local()?;
    let config = Config::new(ALL_VERSIONS)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The client may be gone again when it comes to `accept`.
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    println!("Try `openssl s_client -quiet -connect {address}`. Ctrl-C ends it.");

    let welcome = move |listener: &mut TcpListener| -> Result<()> {
        let (stream, peer) = listener.accept()?;
        let over = move |how: io::Result<()>| match how {
            Ok(()) => println!("{peer}: closed"),
            Err(error) => println!("{peer}: {error}"),
        };
        let session = Session::new(stream, config.server()?)?;
        session.open(&Reactor::current_local()?, Upper::new(over))?;
        println!("{peer}: connected");
        Ok(())
    };
    reactor.add_handler(
        listener,
        Interest::READABLE,
        Mode::Level,
        move |listener, _| {
            if let Err(error) = welcome(listener) {
                eprintln!("cannot accept: {error}");
            }
        },
    )?;
    Ok(reactor.run()?)
}
