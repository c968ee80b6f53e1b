//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};

pub const HELP: &str = "\
A chat server (callbacks), a web page (hyper on tokio) and an async client on one thread and one
loop, under real load from a second thread.

Usage: cargo run --release --example one_loop -- [OPTIONS]

  --host HOST        who waits for all of them: tokio (default), async-io or builtin
                     (the page needs tokio and is left out under the others)
  --connections N    connections of the load, in rooms of 10 (default: 1000)
  --messages N       lines that each of them sends (default: 100)
  --serve ADDR       no load: serve the chat at ADDR, such as 127.0.0.1:7000, and the page on the
                     next port, until Ctrl-C
  --help             this text
";

/// Who waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

pub struct Args {
    pub host: Host,
    pub connections: usize,
    pub messages: u32,
    pub serve: Option<SocketAddr>,
}

/// `None` if help was asked for; else a sentence if it makes no sense.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args {
        host: Host::Tokio,
        connections: 1000,
        messages: 100,
        serve: None,
    };
    let mut load_options = false;
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (&*word, None),
        };
        if let ("--help" | "-h", None) = (option, &value) {
            return Ok(None);
        }
        if !["--host", "--connections", "--messages", "--serve"].contains(&option) {
            return Err(format!("there is no option {word}"));
        }
        let value = value.or_else(|| words.next());
        let value = value.ok_or_else(|| format!("{option} needs a value"))?;
        load_options |= matches!(option, "--connections" | "--messages");
        match option {
            "--host" => {
                args.host = [Host::Builtin, Host::Tokio, Host::AsyncIo]
                    .into_iter()
                    .find(|host| host.name() == value)
                    .ok_or(format!("--host is builtin, tokio or async-io, not {value}"))?;
            }
            "--connections" => args.connections = count(option, &value)? as usize,
            "--messages" => args.messages = count(option, &value)?,
            _ => args.serve = Some(address(&value)?),
        }
    }
    if load_options && args.serve.is_some() {
        return Err("--connections and --messages are for the load, and --serve has none".into());
    }
    Ok(Some(args))
}

fn count(option: &str, value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{option} is a number from 1 to 1000000, not {value}")),
    }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    let found = value.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| format!("--serve needs an address and a port, not {value}"))
}
