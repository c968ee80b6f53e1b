//! The command line.

use std::time::Duration;

use crate::sabotage::Harm;

pub struct Options {
    pub time: Duration,
    pub host: Host,
    pub connections: usize,
    pub idle: Duration,
    pub patience: Duration,
    pub harm: Option<Harm>,
}

/// The host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Builtin,
    Tokio,
    AsyncIo,
    /// Each in turn, from one to the next when the loop is stopped.
    Moving,
}

pub const HELP: &str = "\
Does everything at once for a minute or so long, and then is idle. Fails if anything is lost, late
beyond patience, early, or left behind.

Usage: cargo run --release -p oneloop-soak -- [OPTIONS]

  --minutes N, --seconds N   for how long (default: a minute)
  --host HOST                builtin (default), tokio, async-io, or moving among these
  --connections N            at once, beside some others (default: 2000)
  --idle SECONDS             in which no thread may wake up (default: 10)
  --patience SECONDS         after which something is lost (default: 30)
  --sabotage WHAT            does a wrong that must be found: message, order, timer, early, post, item,
                             child, signal, descriptor, registration, memory, wake
  --help                     this text
";

pub fn parse(words: &[impl AsRef<str>]) -> Result<Options, String> {
    let mut options = Options {
        time: Duration::from_secs(60),
        host: Host::Builtin,
        connections: 2000,
        idle: Duration::from_secs(10),
        patience: Duration::from_secs(30),
        harm: None,
    };
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(option) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        let number = || match value.parse() {
            Ok(number @ 1..=1_000_000) => Ok(number),
            _ => Err(format!(
                "{option} is a number from 1 to 1000000, not {value:?}"
            )),
        };
        match option {
            "--minutes" => options.time = Duration::from_secs(60 * number()?),
            "--seconds" => options.time = Duration::from_secs(number()?),
            "--connections" => options.connections = number()? as usize,
            "--idle" => options.idle = Duration::from_secs(number()?),
            "--patience" => options.patience = Duration::from_secs(number()?),
            "--host" => options.host = Host::named(value)?,
            "--sabotage" => options.harm = Some(Harm::named(value)?),
            _ => return Err(format!("there is no option {option:?}")),
        }
    }
    Ok(options)
}

const HOSTS: [(&str, Host); 4] = [
    ("builtin", Host::Builtin),
    ("tokio", Host::Tokio),
    ("async-io", Host::AsyncIo),
    ("moving", Host::Moving),
];

impl Host {
    fn named(name: &str) -> Result<Host, String> {
        let found = HOSTS.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, host)| *host);
        found.ok_or_else(|| format!("there is no host {name:?}"))
    }

    pub fn name(self) -> &'static str {
        HOSTS[self as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_and_seconds_are_the_same_thing() {
        let minutes = parse(&["--minutes", "2", "--host", "tokio"]).unwrap();
        let seconds = parse(&["--seconds", "120", "--connections", "5"]).unwrap();
        assert_eq!(minutes.time, seconds.time);
        assert_eq!(minutes.host, Host::Tokio);
        assert_eq!(seconds.connections, 5);
    }

    #[test]
    fn invalid_options_are_refused() {
        for words in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--host", "glib"],
            &["--sabotage", "everything"],
            &["60", "seconds"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
