//! Runs every bench, and writes `docs/performance.md`.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use indicatif::{ProgressBar, ProgressStyle};

use super::pictures::Picture;
use super::tables::{self, Table};
use super::{page, pictures};

/// A bench.
struct Chapter {
    bench: &'static str,
    /// A description of its events.
    about: &'static str,
    picture: fn(&[Table]) -> Picture,
    /// The yardstick is a loop with nothing around it.
    is_bare: bool,
    /// The name of the events in a second.
    events: Option<&'static str>,
    /// The reason why oneloop does not need less, as far as that was looked into.
    limits: Option<&'static str>,
}

const CHAPTERS: [Chapter; 11] = [
    Chapter {
        bench: "ring",
        about: "Tokens hop through socket pairs: an event is one read and one write.",
        picture: pictures::ratios,
        is_bare: true,
        events: None,
        limits: Some(
            "\
The remaining difference to the bare loop is small and spread out: two short locks, the check for rare
work, the boxed closure. `tests/counts.txt` has the instructions of an event, its read and its write included.",
        ),
    },
    Chapter {
        bench: "echo",
        about: "\
A client thread keeps connections busy: an event is a message and its echo. On one core it is what the
two cost together, on two cores the slower of them.",
        picture: pictures::ratios,
        is_bare: true,
        events: Some("messages"),
        limits: Some(
            "\
With one core and one connection the server falls asleep after each message, and that is dearer for a loop
inside another: the other's wait, its own, and the one that finds nothing, before which it must not be let
asleep. Written by hand that is the row *bare epoll, nested*, with nothing else in it: the limit of whatever
is shown to a host by one descriptor. What is above it is what the host does for a sleep, as the row of an `AsyncFd` or `Async`
of its own shows (async-io makes five calls of the kernel more: its descriptors armed again, its timer set, its
wake read), and the code of two loops instead of one, which the processor has forgotten between two messages.
With more connections a sleep is shared.",
        ),
    },
    Chapter {
        bench: "idle",
        about: "\
The ring again, of ten descriptors among others that are watched and idle. Beside each time there is
how it compares with the same loop without the idle ones.",
        picture: pictures::against_descriptors,
        is_bare: true,
        events: None,
        limits: None,
    },
    Chapter {
        bench: "toggle",
        about: "\
Write interest is switched on and off around each message, as C clients do: an event is a message. The
yardstick tells the kernel only before it waits, and only what is different then.",
        picture: pictures::ratios_in_pairs,
        is_bare: true,
        events: None,
        limits: Some(
            "\
Per message, two changes of interest in a callback are some 250 instructions each, and what is told to
the kernel before the wait another 150 a change. Beside calloop with 50 pairs, the batching bare loop itself
has four fifths of the time: the rest is the kernel's.",
        ),
    },
    Chapter {
        bench: "register",
        about: "\
A descriptor is added and removed again: outside of callbacks, where each is in force when the call
returns, and in callbacks.",
        picture: pictures::ratios,
        is_bare: true,
        events: None,
        limits: Some(
            "\
On this machine the first return from a function that has called the kernel costs some 190 ns, each further one 25:
the processor has not foreseen where to. Where the compiler makes the yardstick one loop without returns, as it does
in callbacks, nothing that is a library comes near; beside the same calls in a function each, oneloop takes
1.03 to 1.12 times as long, and under hosts up to 1.22 outside of callbacks, where it sees to it that the host wakes.",
        ),
    },
    Chapter {
        bench: "timers",
        about: "\
Timers are set and cancelled, the same one at once or any of those that are pending, or are put off; or
many fire at once. An event is one timer.",
        picture: pictures::against_timers,
        is_bare: false,
        events: None,
        limits: Some(
            "\
Putting off one of a million in random order is mostly one load, four fifths of the time by `perf`: the
first touch of the timer in a table that is larger than the caches; the heap is not touched. The row *a store*
is the limit: a lock, an id to be checked and a store, in a table of the same size, and nothing else.",
        ),
    },
    Chapter {
        bench: "lateness",
        about: "How late timers fire on a loop that has nothing else to do.",
        picture: pictures::lateness,
        is_bare: true,
        events: None,
        limits: Some(
            "\
The kernel may delay the timer of epoll_pwait2, which is the yardstick. It does so by the thread's timer slack (50 µs,
unless it is set by prctl) or by a thousandth of the wait, to wake for several timers at once. A timerfd knows no
slack and takes one more call of the kernel. oneloop uses one under hosts, and in its own wait for less than 10 ms.",
        ),
    },
    Chapter {
        bench: "post",
        about: "\
Threads have a loop call closures. An event is one post: of as many as the threads can make, or of one
at a time to a loop that sleeps, where the time is from the post to the call.",
        picture: pictures::ratios,
        is_bare: true,
        events: Some("posts"),
        limits: None,
    },
    Chapter {
        bench: "memory",
        about: "\
Bytes for each handler and each timer, as the loops ask the allocator for them: without the source and
the closure, and without what the kernel keeps.",
        picture: pictures::values_in_pairs,
        is_bare: false,
        events: None,
        limits: None,
    },
    Chapter {
        bench: "async_echo",
        about: "Tasks send a message over TCP and await its echo, all on one thread.",
        picture: pictures::ratios_in_pairs,
        is_bare: false,
        events: None,
        limits: None,
    },
    Chapter {
        bench: "virtual_source",
        about: "\
Another thread makes a source ready and sleeps, and the loop, which sleeps too, calls its handler and
wakes the thread: an event is one such round.",
        picture: pictures::ratios_in_pairs,
        is_bare: false,
        events: None,
        limits: None,
    },
];

pub struct Options<'a> {
    rounds: &'a str,
    c_peers: bool,
    /// Draws the stored figures again and measures nothing.
    redraw: bool,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> Result<Options<'a>, String> {
        let mut options = Options {
            rounds: "31",
            c_peers: false,
            redraw: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--rounds" => options.rounds = words.next().ok_or("--rounds needs a value")?,
                "--c-peers" => options.c_peers = true,
                "--redraw" => options.redraw = true,
                other => return Err(format!("there is no option {other:?}")),
            }
        }
        Ok(options)
    }
}

pub fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(words)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("docs/performance");
    let rows = root.join("target/performance");
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(&rows)?;
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}  {msg}  {elapsed}")?;
    let bar = ProgressBar::new(CHAPTERS.len() as u64 + 1).with_style(style);
    bar.enable_steady_tick(Duration::from_secs(1));
    let mut all = Vec::new();
    for chapter in &CHAPTERS {
        bar.set_message(chapter.bench);
        let file = rows.join(chapter.bench).with_extension("jsonl");
        if !options.redraw {
            fs::write(&file, measure(chapter.bench, &options)?)?;
        }
        let missing = |error| format!("{}: {error}", file.display());
        let tables = tables::read(&fs::read_to_string(&file).map_err(missing)?)?;
        let picture = (chapter.picture)(&tables)?;
        fs::write(svg(&folder, chapter.bench), picture)?;
        all.push((chapter, tables));
        bar.inc(1);
    }
    bar.set_message("per_core");
    let file = rows.join("per_core.txt");
    if !options.redraw {
        fs::write(
            &file,
            cargo(&["run", "--quiet", "--release", "--example", "per_core"])?,
        )?;
    }
    let cores = fs::read_to_string(&file)?;
    let bare = all.iter().filter(|(chapter, _)| chapter.is_bare);
    let bare: Vec<_> = bare.map(|(it, tables)| (it.bench, &tables[..])).collect();
    fs::write(svg(&folder, "summary"), pictures::summary(&bare)?)?;
    let page = write(&all, &cores, &options)?;
    fs::write(root.join("docs/performance.md"), page)?;
    bar.finish_with_message("docs/performance.md");
    Ok(())
}

fn svg(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("svg")
}

/// Its lines of JSON.
fn measure(bench: &str, options: &Options<'_>) -> Result<String, Box<dyn Error>> {
    let mut words = vec!["bench", "--quiet", "-p", "oneloop-benches"];
    if options.c_peers {
        words.extend(["--features", "c-peers"]);
    }
    words.extend(["--bench", bench, "--", "--json", "--rounds", options.rounds]);
    cargo(&words)
}

/// Runs cargo, and returns what it prints.
fn cargo(words: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(words)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = cargo.stderr(Stdio::null()).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!(
            "`cargo {}` failed; run it by itself to see why",
            words.join(" ")
        )
        .into())
    }
}

fn write(
    chapters: &[(&Chapter, Vec<Table>)],
    cores: &str,
    options: &Options<'_>,
) -> Result<String, Box<dyn Error>> {
    let mut page = format!(
        "\
# Performance

Written by `cargo run --release -p oneloop-benches -- report --rounds {}{}`, on {}.

Machines slow down and speed up, so that each round measures every loop once, and each ratio is the
median of the rounds' own: smaller is better. Where rounds take more than a second there are fewer.
`cargo bench -p oneloop-benches --bench NAME -- --help` says more of each bench, and why a loop may have
no row.

![every loop beside a bare one](performance/summary.svg)
",
        options.rounds,
        if options.c_peers { " --c-peers" } else { "" },
        machine()
    );
    for (chapter, tables) in chapters {
        let Chapter {
            bench,
            about,
            limits,
            ..
        } = chapter;
        write!(page, "\n## {bench}\n\n{about}\n\n")?;
        writeln!(page, "![{bench}](performance/{bench}.svg)")?;
        writeln!(page, "\n<details>\n<summary>Figures</summary>")?;
        for table in tables {
            page += &page::table(table, chapter.events);
        }
        writeln!(page, "\n</details>")?;
        if let Some(limits) = limits {
            writeln!(page, "\n{limits}")?;
        }
    }
    write!(
        page,
        "\n## Many cores\n\n\
        A reactor for each core, all of them listening on one port (`examples/per_core.rs`): messages that are\n\
        echoed in a second. The clients are threads of the same machine, as many as the servers, and on\n\
        two cores take half of it.\n\n```text\n{cores}```\n"
    )?;
    Ok(page)
}

/// Describes this machine.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = cpus.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(key, _)| key.trim() == "model name");
    let model = model.map_or("a processor without a name", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    let (system, release) = (kernel.sysname(), kernel.release().to_string_lossy());
    // Without what a distribution adds.
    let release = release.split('-').next().unwrap_or_default();
    format!(
        "{model} ({cores} cores), {} {release}",
        system.to_string_lossy()
    )
}
