//! Child processes, each of which writes a number and ends with another.

use std::io::{self, Read};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oneloop::{Action, Interest, Mode};

use crate::books::Kind;
use crate::sabotage::Harm;
use crate::{Soak, gate};

/// A new one as often as this.
const PACE: Duration = Duration::from_millis(20);

/// At once.
const MOST: u64 = 20;

pub fn start(soak: &Arc<Soak>) -> io::Result<()> {
    let mut number = 0;
    gate::work(soak, "children", move |soak| {
        number += 1;
        let books = &soak.books;
        if books.opened(Kind::Child) - books.closed(Kind::Child) < MOST {
            if let Err(error) = spawn(soak, number) {
                books.fault(format!("a child: {error}"));
            }
        }
        thread::sleep(PACE);
    })
}

fn spawn(soak: &Arc<Soak>, number: u64) -> io::Result<()> {
    let Some(reactor) = soak.reactor() else {
        return Ok(());
    };
    let due = (number % 100) as i32;
    let harm = i32::from(soak.sabotage.strikes(Harm::Child));
    let script = format!("echo {number}; exit {}", due + harm);
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take();
    let around = soak.clone();
    soak.books.open(Kind::Child);
    reactor.add_child(child, move |status| {
        around.books.close(Kind::Child);
        match status {
            Ok(status) if status.code() == Some(due) => {}
            other => around
                .books
                .fault(format!("a child ended with {other:?} instead of {due}")),
        }
    })?;
    let Some(output) = output else {
        return Ok(());
    };
    let around = soak.clone();
    let mut text = Vec::new();
    soak.books.open(Kind::Output);
    let call = move |output: &mut ChildStdout, _| {
        let mut buffer = [0; 64];
        match output.read(&mut buffer) {
            Ok(0) => {}
            Ok(count) => {
                text.extend_from_slice(&buffer[..count]);
                return Action::Continue;
            }
            Err(error) => around.books.fault(format!("a child's output: {error}")),
        }
        around.books.close(Kind::Output);
        if text != format!("{number}\n").as_bytes() {
            let text = String::from_utf8_lossy(&text);
            let what = format!("the child {number} wrote {text:?}");
            around.books.fault(what);
        }
        Action::Remove
    };
    reactor.add_handler(output, Interest::READABLE, Mode::Level, call)?;
    Ok(())
}
