//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::report::{self, LIMIT};

const HELP: &str = "\
A chat server (callbacks), a web page (hyper) and an async client on one thread and one
loop, with real traffic from a second thread that checks every line.

Usage: cargo run --release --example one_loop -- [OPTIONS]

  --host HOST        who waits for all of them: tokio (default), async-io or builtin;
                     async-io has a thread of its own that helps out now and then
  --connections N    connections at once, in rooms of 10 (default: 1000)
  --messages N       lines that each of them sends (default: 20)
  --rate N           lines per second of all of them together (default: 10000); a connection
                     waits for its own line to come back, so that a huge rate means flat out
  --serve ADDR       no traffic of its own: serve the chat at ADDR, such as 127.0.0.1:7000, and
                     the page on the next port, until Ctrl-C
  --inspect ADDR     serve a page of the loop itself at ADDR, such as 127.0.0.1:6669
  --help             this text
";

/// The host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Builtin,
    Tokio,
    AsyncIo,
}

impl Host {
    pub fn name(self) -> &'static str {
        match self {
            Host::Builtin => "builtin",
            Host::Tokio => "tokio",
            Host::AsyncIo => "async-io",
        }
    }
}

#[derive(Clone, Copy)]
pub struct Args {
    pub host: Host,
    /// The load: connections, lines that each of them sends, and lines per second of all.
    pub connections: usize,
    pub messages: u64,
    pub rate: u64,
    pub serve: Option<SocketAddr>,
    pub inspect: Option<SocketAddr>,
}

/// How many members a room has.
pub const ROOM: usize = 10;

impl Args {
    /// How many members the room of connection `n` has; the last one may be smaller.
    pub fn members(&self, n: usize) -> usize {
        (self.connections - n / ROOM * ROOM).min(ROOM)
    }

    /// Lines that are sent.
    pub fn lines(&self) -> u64 {
        self.connections as u64 * self.messages
    }

    /// Lines that arrive: each goes to all members of its room.
    pub fn deliveries(&self) -> u64 {
        let (full, rest) = (self.connections / ROOM, self.connections % ROOM);
        (full * ROOM * ROOM + rest * rest) as u64 * self.messages
    }
}

pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        host: Host::Tokio,
        connections: 1000,
        messages: 20,
        rate: 10_000,
        serve: None,
        inspect: None,
    };
    while let Some(option) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or(format!("{option} needs a value; see --help"))
        };
        match &*option {
            "--help" | "-h" => {
                report::print(HELP);
                std::process::exit(0);
            }
            "--host" => args.host = host(&value()?)?,
            "--connections" => args.connections = count(&option, &value()?)? as usize,
            "--messages" => args.messages = count(&option, &value()?)?,
            "--rate" => args.rate = count(&option, &value()?)?,
            "--serve" => args.serve = Some(address(&option, &value()?)?),
            "--inspect" => args.inspect = Some(address(&option, &value()?)?),
            _ => return Err(format!("there is no option {option}; see --help")),
        }
    }
    let seconds = args.lines() / args.rate;
    if seconds >= LIMIT.as_secs() {
        let why = format!("that many lines at that rate take {seconds} s, of {LIMIT:?}");
        return Err(why);
    }
    Ok(args)
}

fn host(value: &str) -> Result<Host, String> {
    let mut hosts = [Host::Builtin, Host::Tokio, Host::AsyncIo].into_iter();
    let host = hosts.find(|host| host.name() == value);
    host.ok_or(format!(
        "--host is tokio, async-io or builtin, not {value:?}"
    ))
}

fn count(option: &str, value: &str) -> Result<u64, String> {
    let count = value
        .parse()
        .ok()
        .filter(|count| (1..=1_000_000).contains(count));
    count.ok_or(format!(
        "{option} is a number from 1 to 1000000, not {value:?}"
    ))
}

fn address(option: &str, value: &str) -> Result<SocketAddr, String> {
    let address = value.to_socket_addrs().ok().and_then(|mut all| all.next());
    address.ok_or(format!("{option} is an address and a port, not {value:?}"))
}
