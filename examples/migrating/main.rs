//! Runs one step of `docs/migrating.md`: the same chat server on poll(2), on a reactor, inside tokio, and with
//! async tasks.

use std::io;
use std::net::TcpListener;

#[path = "4_async.rs"]
mod async_tasks;
#[path = "2_oneloop.rs"]
mod on_oneloop;
#[path = "1_poll.rs"]
mod on_poll;
#[path = "3_tokio.rs"]
mod on_tokio;

const HELP: &str = "\
Usage: cargo run --release --example migrating -- STEP [ADDRESS]

Serves a chat at ADDRESS (127.0.0.1:7000) until a client sends `/stop`. Lines go to all other clients.
STEP is 1 (poll(2)), 2 (oneloop), 3 (inside tokio) or 4 (async tasks). Steps 3 and 4 report the number
of clients at another port.";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next().unwrap_or_default();
    let address = arguments.next().unwrap_or("127.0.0.1:7000".to_string());
    let listen = || {
        let listener = TcpListener::bind(&address)?;
        println!("chat at {}", listener.local_addr()?);
        io::Result::Ok(listener)
    };
    let listen_for_reports = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("reports at {}", listener.local_addr()?);
        io::Result::Ok(listener)
    };
    match step.as_str() {
        "1" => on_poll::serve(listen()?),
        "2" => on_oneloop::serve(listen()?),
        "3" => on_tokio::serve(listen()?, listen_for_reports()?),
        "4" => async_tasks::serve(listen()?, listen_for_reports()?),
        _ => {
            println!("{HELP}");
            Ok(())
        }
    }
}
