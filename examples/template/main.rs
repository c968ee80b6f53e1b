//! One piece of library code, four kinds of sources. `render.rs` knows the loop and nothing else: it
//! reads a template from whatever it is given and fills it in. It cannot tell
//!
//! - a pipe, which the kernel watches,
//! - a regular file, which the kernel refuses to watch because it is always ready,
//! - a file on a platform without asynchronous files, where a thread pool reads (`pooled.rs`),
//! - and a socket that is none: what is written into it is one remote procedure call, made when
//!   reading begins (`rpc.rs`).

mod arrivals;
#[path = "../help.rs"]
mod help;
mod pooled;
mod render;
mod rpc;

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use oneloop::Reactor;
use pooled::PooledFile;
use render::render;
use rpc::{RpcSocket, Service};

const VALUES: &[(&str, &str)] = &[("name", "world"), ("what", "template")];

type Answer = (&'static str, io::Result<String>);

const HELP: &str = "\
Fills in one template from four kinds of sources, by library code which cannot tell them apart: a pipe,
a regular file, a file that a thread pool reads, and a socket that is a remote procedure call.

Usage: cargo run --release --example template

  --help   this text";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    help::print_if_asked(HELP);
    // Larger than a pipe, and than one read.
    let template = "Hello {name}, this is a {what}. ".repeat(10_000);
    let path = std::env::temp_dir().join(format!("oneloop-template-{}", std::process::id()));
    std::fs::write(&path, &template)?;

    let reactor = Reactor::new()?;
    let (answers, rendered) = channel();
    let answer = |name| answer(&answers, name);

    let (pipe, mut writer) = pipe()?;
    render(&reactor, pipe, VALUES, answer("a pipe"))?;
    let text = template.clone();
    let writing = thread::spawn(move || writer.write_all(text.as_bytes()));

    render(
        &reactor,
        File::open(&path)?,
        VALUES,
        answer("a regular file"),
    )?;

    let file = PooledFile::open(path.clone());
    render(&reactor, file, VALUES, answer("a file, by a thread pool"))?;

    let service = Service::start(template.clone());
    let mut socket = RpcSocket::new(&service);
    writeln!(socket, "GET /template")?;
    writeln!(socket, "from: an example")?;
    render(&reactor, socket, VALUES, answer("a socket that is an RPC"))?;

    // Errors come by the same way.
    let missing = PooledFile::open("/nowhere/at/all".into());
    render(&reactor, missing, VALUES, answer("a file that is missing"))?;

    reactor.set_referenced(
        reactor.call_later(Duration::from_secs(60), || panic!("not done"))?,
        false,
    )?;
    reactor.run()?; // until nothing is left that could call back
    std::fs::remove_file(&path)?;
    writing.join().unwrap()?;

    let expected = "Hello world, this is a template. ".repeat(10_000);
    drop(answers);
    let mut right = 0;
    for (name, answer) in rendered {
        match answer {
            Ok(text) => {
                assert_eq!(text, expected);
                right += 1;
                println!("{name:25} {} bytes, as expected", text.len());
            }
            Err(error) => println!("{name:25} {error}"),
        }
    }
    assert_eq!(right, 4);
    assert_eq!(
        service.requests(),
        ["GET /template\nfrom: an example\n"],
        "one call, with all that was written"
    );
    Ok(())
}

/// The callback that gets a rendered template, or its error.
fn answer(
    answers: &Sender<Answer>,
    name: &'static str,
) -> impl FnOnce(io::Result<String>) + Send + 'static {
    let answers = answers.clone();
    move |text| answers.send((name, text)).unwrap()
}

/// A pipe of the kernel's; reading from it does not wait.
fn pipe() -> io::Result<(File, File)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader.into(), writer.into()))
}
