//! Compares public interfaces: `smol-api WANTED.json HAS.json`, of two files that rustdoc has written as JSON.
//!
//! Prints the lines of the first interface that the second one lacks, and fails if there are any. A line is an item
//! with its signature, or an implementation of a trait. Automatic traits such as `Send` count. Names of arguments and
//! implementations for every type do not.

mod interface;

use std::collections::BTreeSet;
use std::process::ExitCode;

use interface::Interface;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wanted, has] = &arguments[..] else {
        return Err("usage: smol-api WANTED.json HAS.json".into());
    };
    let (wanted, has) = (lines(wanted)?, lines(has)?);
    let missing: Vec<&String> = wanted.difference(&has).collect();
    for line in &missing {
        println!("{line}");
    }
    if missing.is_empty() {
        println!("all {} lines of the interface are there", wanted.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} of {} lines are missing", missing.len(), wanted.len());
    Ok(ExitCode::FAILURE)
}

fn lines(file: &str) -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let json = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let lines = Interface::new(&json).lines();
    // A change of rustdoc's format would leave little.
    if lines.len() < 20 {
        return Err(format!("{file}: only {} lines of an interface", lines.len()).into());
    }
    Ok(lines)
}
