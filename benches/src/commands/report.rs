//! Runs every bench, and writes `docs/performance.md`.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::pictures;

/// Each bench, and what its events are.
const BENCHES: [(&str, &str); 6] = [
    (
        "ring",
        "Tokens hop through socket pairs: an event is one read and one write.",
    ),
    (
        "echo",
        "A client thread keeps connections busy: an event is a message and its echo.",
    ),
    ("idle", "Ten descriptors are active, and thousands are not."),
    (
        "toggle",
        "Write interest is switched on and off around each message, as C clients do.",
    ),
    (
        "async_echo",
        "Tasks send a message over TCP and await its echo.",
    ),
    (
        "virtual_source",
        "Another thread makes a source ready, and the loop, which sleeps, calls its handler.",
    ),
];

/// One loop's figure.
pub struct Row {
    pub name: String,
    pub value: f64,
    /// To the first of its table.
    pub ratio: Option<f64>,
}

/// All loops at one workload, in one unit.
pub struct Table {
    pub workload: String,
    pub unit: String,
    pub rows: Vec<Row>,
}

pub fn run(options: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut rounds, mut c_peers) = ("61", false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--rounds" => rounds = options.next().ok_or("--rounds needs a value")?,
            "--c-peers" => c_peers = true,
            other => return Err(format!("there is no option {other:?}").into()),
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let folder = docs.join("performance");
    fs::create_dir_all(&folder)?;
    let mut page = format!(
        "# Performance\n\n\
         Written by `cargo run --release -p oneloop-benches -- report --rounds {rounds}{}`. Each ratio is the\n\
         median of {rounds} interleaved rounds, to the first loop of its table; smaller is better.\n",
        if c_peers { " --c-peers" } else { "" }
    );
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}  {msg}")?;
    let bar = ProgressBar::new(BENCHES.len() as u64).with_style(style);
    for (bench, about) in BENCHES {
        bar.set_message(bench);
        let tables = measure(bench, rounds, c_peers)?;
        fs::write(
            folder.join(format!("{bench}.svg")),
            pictures::bars(&tables)?,
        )?;
        write!(page, "\n## {bench}\n\n{about}\n\n")?;
        writeln!(page, "![{bench}](performance/{bench}.svg)")?;
        for table in &tables {
            write_table(&mut page, table)?;
        }
        bar.inc(1);
    }
    bar.finish_with_message("docs/performance.md");
    fs::write(docs.join("performance.md"), page)?;
    Ok(())
}

fn measure(bench: &str, rounds: &str, c_peers: bool) -> Result<Vec<Table>, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "--quiet", "-p", "oneloop-benches"]);
    if c_peers {
        cargo.args(["--features", "c-peers"]);
    }
    cargo.args(["--bench", bench, "--", "--json", "--rounds", rounds]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.stderr(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("the bench {bench} failed; run it by itself to see why").into());
    }
    let mut tables: Vec<Table> = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (workload, unit, row) = row(line).ok_or_else(|| format!("not a row: {line}"))?;
        let same = |table: &&mut Table| table.workload == workload && table.unit == unit;
        match tables.iter_mut().find(same) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table {
                workload,
                unit,
                rows: vec![row],
            }),
        }
    }
    Ok(tables)
}

/// Workload, unit and figure of a line of JSON.
fn row(line: &str) -> Option<(String, String, Row)> {
    let object: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| Some(object[key].as_str()?.to_owned());
    let known = ["workload", "loop", "ratio"];
    let mut others = object.as_object()?.iter();
    let (unit, value) = others.find(|(key, _)| !known.contains(&key.as_str()))?;
    let row = Row {
        name: text("loop")?,
        value: value.as_f64()?,
        ratio: object["ratio"].as_f64(),
    };
    Some((text("workload")?, unit.clone(), row))
}

fn write_table(page: &mut String, table: &Table) -> Result<(), Box<dyn Error>> {
    let unit = table.unit.replace("_per_", " per ").replace('_', " ");
    write!(
        page,
        "\n| {} | {unit} | ratio |\n|---|---|---|\n",
        table.workload
    )?;
    for Row { name, value, ratio } in &table.rows {
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let name = match name.starts_with("oneloop") {
            true => format!("**{name}**"),
            false => name.clone(),
        };
        let digits = if *value < 10.0 { 2 } else { 0 };
        writeln!(page, "| {name} | {value:.digits$} | {ratio} |")?;
    }
    Ok(())
}
