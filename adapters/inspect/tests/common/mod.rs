//! A client over plain sockets, and a page that is served on a thread of its own.
#![allow(dead_code)] // Each test file uses a part.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use oneloop::{Reactor, Remote};
use oneloop_inspect::{Address, Server, serve};
use oneloop_support::{Drive, HOSTS, Watchdog, on_poll};
use serde_json::Value;

pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

pub fn port(server: &Server) -> SocketAddr {
    match server.address() {
        Address::Tcp(address) => *address,
        other => panic!("{other} has no port"),
    }
}

/// Asks for a path, as a client that then closes the connection.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[])
}

pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request += &format!("Host: {address}\r\n");
    }
    say(address, format!("{request}\r\n").as_bytes()).unwrap()
}

/// Sends bytes, and reads the answer.
pub fn say(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    answer(stream)
}

/// Reads an answer, until the server closes the connection.
pub fn answer(stream: impl Read) -> io::Result<Answer> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let Some(status) = status else {
        let why = format!("{line:?} is no status");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    };
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Ok(length) = usize::from_str_radix(line.trim_end(), 16) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let mut piece = vec![0; length + 2];
            reader.read_exact(&mut piece)?;
            if length == 0 {
                break;
            }
            body.extend(&piece[..length]);
        }
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// The calls and turns of a timeline, as events of a trace.
pub fn timeline(timeline: &Value) -> Vec<Value> {
    let mut numbers = timeline["records"].as_array().unwrap().iter();
    let mut next = move || numbers.next().map(|number| number.as_f64().unwrap());
    let mut events = Vec::new();
    while let Some(began) = next() {
        let (took, source) = (next().unwrap(), next().unwrap());
        let mut event = if source < 0.0 {
            next().and(next()).unwrap();
            serde_json::json!({ "cat": "turn" })
        } else {
            timeline["sources"][source as usize].clone()
        };
        (event["ts"], event["dur"]) = (began.into(), took.into());
        events.push(event);
    }
    events
}

/// All hosts: those that oneloop has itself, and a loop on poll(2).
pub fn hosts() -> impl Iterator<Item = (&'static str, Drive)> {
    let poll: Drive = on_poll;
    HOSTS.into_iter().chain([("a loop on poll", poll)])
}

/// Serves the page of a loop that is driven on this thread, and calls `test` on another one. Then stops the loop.
pub fn beside(
    name: &str,
    drive: Drive,
    reactor: &Reactor,
    test: impl FnOnce(SocketAddr) + Send + 'static,
) {
    let _watchdog = Watchdog::new(name);
    let server = serve(reactor, ([127, 0, 0, 1], 0)).unwrap();
    let address = port(&server);
    // The server alone does not keep a loop going.
    let (alive, readiness) = oneloop::VirtualSource::pair();
    let callback = |_: &mut _, _| {};
    let alive = reactor
        .add_handler(
            alive,
            oneloop::Interest::READABLE,
            oneloop::Mode::Level,
            callback,
        )
        .unwrap();
    let stop = Stop(reactor.remote());
    let test = thread::spawn(move || {
        let _stop = stop;
        test(address);
    });
    drive(reactor).unwrap();
    let tested = test.join();
    server.close();
    reactor.remove_handler(alive).unwrap();
    drop(readiness);
    tested.unwrap();
}

/// Stops the loop when the test has ended or failed.
struct Stop(Remote);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
