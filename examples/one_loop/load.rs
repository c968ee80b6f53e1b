//! The traffic, from a thread and a loop of its own: rooms of ten, in which each connection checks what
//! comes from the others. A line is its number and the time when it was sent.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use oneloop::{Action, Interest, Mode, Reactor};

use crate::args::{Args, ROOM};
use crate::figures::{grouped, milliseconds};
use crate::report::{self, LIMIT, Progress, fail};

/// The result.
#[derive(Default)]
pub struct Outcome {
    /// From the first line sent to the last delivered.
    pub took: Duration,
    /// Nanoseconds from sender to member, for each delivery.
    pub latencies: Vec<u64>,
    /// The page's answer.
    pub page: String,
}

struct Load {
    args: Args,
    progress: Arc<Progress>,
    page: SocketAddr,
    /// The page's answer.
    answer: Rc<RefCell<Option<String>>>,
    members: Vec<Member>,
    /// When all had joined.
    started: Option<Instant>,
    /// Lines that the rate has allowed so far.
    allowed: u64,
    outcome: Outcome,
    buffer: Box<[u8]>,
}

struct Member {
    stream: Rc<TcpStream>,
    input: Vec<u8>,
    allowed: u64,
    sent: u64,
    /// The number of the next line, for each sender in the room.
    expected: Vec<u64>,
}

/// Returns when all is sent, delivered, checked and closed; ends the process if anything is wrong.
pub fn run(
    args: Args,
    chat: SocketAddr,
    page: SocketAddr,
    progress: Arc<Progress>,
) -> io::Result<Outcome> {
    let reactor = Reactor::new_local()?;
    let load = Rc::new(RefCell::new(Load {
        args,
        page,
        answer: Rc::default(),
        progress: progress.clone(),
        members: Vec::new(),
        started: None,
        allowed: 0,
        outcome: Outcome::default(),
        buffer: vec![0; 64 * 1024].into(),
    }));
    let watched = load.clone();
    report::watchdog(&reactor, LIMIT, move || watched.borrow().missing())?;
    report::show_progress(&reactor, progress)?;
    for n in 0..args.connections {
        let stream = match join(chat, n) {
            Ok(stream) => Rc::new(stream),
            Err(error) => fail(format!("connection {n}: {error}")),
        };
        load.borrow_mut().members.push(Member {
            stream: stream.clone(),
            input: Vec::new(),
            allowed: 0,
            sent: 0,
            expected: vec![0; args.members(n)],
        });
        let load = load.clone();
        let read = move |_: &mut _, _| load.borrow_mut().read(n);
        reactor.add_handler(stream, Interest::READABLE, Mode::Level, read)?;
    }

    let paced = load.clone();
    let pace = reactor.call_every(Duration::from_millis(1), move || paced.borrow_mut().pace())?;
    // `run` returns when the last connection is closed: this timer does not keep it.
    reactor.set_referenced(pace, false)?;
    reactor.run()?;
    let mut load = load.borrow_mut();
    let answer = load.answer.take();
    load.outcome.page = answer.unwrap_or_else(|| fail("the page has not answered"));
    Ok(std::mem::take(&mut load.outcome))
}

fn join(chat: SocketAddr, n: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(chat)?;
    stream.set_nodelay(true)?;
    writeln!(stream, "JOIN room{} {n}", n / ROOM)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl Load {
    /// Lets the next connections send, as many as are due.
    fn pace(&mut self) {
        let Some(started) = self.started else {
            return;
        };
        let due = (started.elapsed().as_secs_f64() * self.args.rate as f64) as u64;
        let due = due.min(self.args.lines());
        for line in self.allowed..due {
            let n = line as usize % self.args.connections;
            self.members[n].allowed += 1;
            self.send(n);
        }
        self.allowed = due;
    }

    /// Sends the next line if it is allowed and the last one is back. One line has always room.
    fn send(&mut self, n: usize) {
        let (member, started) = (&mut self.members[n], self.started.unwrap());
        if member.sent < member.allowed && member.sent == member.expected[n % ROOM] {
            let line = format!("{} {}\n", member.sent, started.elapsed().as_nanos());
            member.sent += 1;
            if let Err(error) = (&*member.stream).write_all(line.as_bytes()) {
                fail(format!("connection {n}: {error}"));
            }
        }
    }

    fn read(&mut self, n: usize) -> Action {
        let member = &mut self.members[n];
        match (&*member.stream).read(&mut self.buffer) {
            Ok(0) if self.outcome.took.is_zero() => {
                fail(format!("connection {n}: closed by the server"))
            }
            Ok(0) => return Action::Remove,
            Ok(length) => member.input.extend_from_slice(&self.buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => fail(format!("connection {n}: {error}")),
        }
        let input = std::mem::take(&mut member.input);
        let mut rest = &input[..];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..end]);
            if self.line(n, &line).is_none() {
                let next = &self.members[n].expected;
                fail(format!(
                    "connection {n} got {line:?}, and the next are {next:?}"
                ));
            }
            rest = &rest[end + 1..];
        }
        self.members[n].input = rest.to_vec();
        Action::Continue
    }

    /// Checks and counts one line. `None` if it is no line, or not the next one of its sender.
    fn line(&mut self, n: usize, line: &str) -> Option<()> {
        let Some(started) = self.started else {
            line.starts_with("* joined").then_some(())?;
            let joined = self.progress.joined.fetch_add(1, Relaxed) + 1;
            if joined == self.args.connections as u64 {
                self.started = Some(Instant::now());
            }
            return Some(());
        };
        let (sender, text) = line.split_once(": ")?;
        let (number, sent) = text.split_once(' ')?;
        let sender: usize = sender.parse().ok()?;
        let place = sender.checked_sub(n / ROOM * ROOM)?;
        let expected = self.members[n].expected.get_mut(place)?;
        if number.parse() != Ok(*expected) || *expected == self.args.messages {
            return None;
        }
        *expected += 1;
        let now = started.elapsed();
        let latency = (now.as_nanos() as u64).checked_sub(sent.parse().ok()?)?;
        self.outcome.latencies.push(latency);
        let delivered = self.progress.delivered.fetch_add(1, Relaxed) + 1;
        if delivered == self.args.deliveries().div_ceil(2) {
            if let Err(error) = self.fetch(self.page) {
                fail(format!("the page: {error}"));
            }
        }
        if delivered == self.args.deliveries() {
            self.outcome.took = now;
            // A message that still comes before the server closes would be one too many.
            for member in &self.members {
                let _ = member.stream.shutdown(Shutdown::Write);
            }
        }
        if sender == n {
            self.send(n);
        }
        Some(())
    }

    fn missing(&self) -> String {
        let sentence = self.progress.sentence();
        for (n, member) in self.members.iter().enumerate() {
            for (sender, &number) in (n / ROOM * ROOM..).zip(&member.expected) {
                if number < self.members[sender].sent {
                    return format!("{sentence}, but not line {number} of {sender} to {n}");
                }
            }
        }
        sentence
    }

    /// Asks for the page, in the midst of it all.
    fn fetch(&self, page: SocketAddr) -> io::Result<()> {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(page)?;
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n"
        )?;
        let (answer, mut text) = (self.answer.clone(), String::new());
        let read = move |stream: &mut TcpStream, _| {
            let mut buffer = [0; 4096];
            if let Ok(length @ 1..) = stream.read(&mut buffer) {
                text += &String::from_utf8_lossy(&buffer[..length]);
                return Action::Continue;
            }
            let status = text.lines().next().unwrap_or("nothing");
            if !status.starts_with("HTTP/1.1 200 ") {
                fail(format!("the page answered {status}"));
            }
            let took = milliseconds(asked.elapsed().as_nanos() as u64);
            let size = grouped(text.len() as u64);
            answer.replace(Some(format!("{status}, {size} bytes in {took}")));
            Action::Remove
        };
        let reactor = Reactor::current_local()?;
        reactor.add_handler(stream, Interest::READABLE, Mode::Level, read)?;
        Ok(())
    }
}
