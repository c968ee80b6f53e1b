//! `cargo run --release -p oneloop-benches -- report` runs every bench and writes what came of it, with
//! pictures. (`count` is for `tests/counts.sh`.)

mod commands {
    pub mod count;
    mod page;
    mod pictures;
    pub mod report;
    mod tables;
}

use std::error::Error;

const HELP: &str = "\
Usage: cargo run --release -p oneloop-benches -- COMMAND

  report [--rounds N] [--c-peers]   runs every bench and writes docs/performance.md with pictures;
                                    with libev, libevent and libuv, if their headers are there
  report --redraw                   writes it again from the last measurement
  count WORKLOAD EVENTS             does one thing many times, to count instructions
";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["count", workload, events] => commands::count::run(workload, events.parse()?),
        ["report", ref options @ ..] => commands::report::run(options),
        ["--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(HELP.into()),
    }
}
