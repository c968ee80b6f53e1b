//! The steps of `docs/migrating.md` are one server: the same clients see the same conversation.
#![cfg(unix)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;

#[path = "../examples/migrating/4_async.rs"]
mod async_tasks;
#[path = "../examples/migrating/2_oneloop.rs"]
mod on_oneloop;
#[path = "../examples/migrating/1_poll.rs"]
mod on_poll;
#[path = "../examples/migrating/3_tokio.rs"]
mod on_tokio;

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        // So that a server that forgets something fails its test.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        set_socket_recv_buffer_size(&stream, 4096).unwrap();
        Client(BufReader::new(stream))
    }

    fn says(&mut self, line: &str) {
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }

    fn is_disconnected(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}

/// Both sides are in before the first line is sent.
fn two_clients(address: SocketAddr) -> (Client, Client) {
    let mut clients = (Client::connect(address), Client::connect(address));
    for client in [&mut clients.0, &mut clients.1] {
        // A client is counted when the server has accepted it.
        loop {
            client.says("/count\n");
            let mut line = String::new();
            client.0.read_line(&mut line).unwrap();
            if line == "2\n" {
                break;
            }
        }
    }
    clients
}

fn converse(address: SocketAddr, while_two_are_there: impl FnOnce()) {
    let (mut ada, mut ben) = two_clients(address);
    ada.says("hello\n");
    ben.hears("hello\n");
    // More than fits into the buffers of the sockets, and a line that comes in two pieces.
    let lines = format!("{}\n", "x".repeat(999)).repeat(300);
    let sent = lines.clone();
    let sending = thread::spawn(move || {
        ben.says("in pi");
        ben.says("eces\n");
        ben.says(&sent);
        ben
    });
    ada.hears("in pieces\n");
    let mut heard = vec![0; lines.len()];
    ada.0.read_exact(&mut heard).unwrap();
    assert!(heard == lines.as_bytes());
    let mut ben = sending.join().unwrap();
    while_two_are_there();
    ben.says("/quit\n");
    ben.is_disconnected();
    ada.says("/count\n");
    ada.hears("1\n");
    ada.says("/stop\n");
    ada.is_disconnected();
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn test_step(serve: fn(TcpListener) -> io::Result<()>) {
    let (listener, address) = listen();
    let server = thread::spawn(move || serve(listener));
    converse(address, || {});
    server.join().unwrap().unwrap();
}

fn test_step_with_reports(serve: fn(TcpListener, TcpListener) -> io::Result<()>) {
    let (listener, address) = listen();
    let (reports, reported_at) = listen();
    let server = thread::spawn(move || serve(listener, reports));
    converse(address, || {
        Client::connect(reported_at).hears("2 clients\n");
    });
    server.join().unwrap().unwrap();
}

#[test]
fn a_server_on_poll() {
    test_step(on_poll::serve);
}

#[test]
fn a_server_on_oneloop() {
    test_step(on_oneloop::serve);
}

#[test]
fn a_server_inside_tokio() {
    test_step_with_reports(on_tokio::serve);
}

#[test]
fn a_server_of_async_tasks() {
    test_step_with_reports(async_tasks::serve);
}

/// How many lines of the one are not in the other, in the same order, and the other way round.
fn compare(old: &str, new: &str) -> (usize, usize) {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    // The longest common subsequence of the lines up to here and the first n of the new ones.
    let mut common = vec![0; new.len() + 1];
    for line in &old {
        let before = common.clone();
        for n in 0..new.len() {
            common[n + 1] = if *line == new[n] {
                before[n] + 1
            } else {
                before[n + 1].max(common[n])
            };
        }
    }
    let common = common[new.len()];
    (new.len() - common, old.len() - common)
}

#[test]
fn the_table_of_changed_lines_is_true() {
    let steps = [
        include_str!("../examples/migrating/1_poll.rs"),
        include_str!("../examples/migrating/2_oneloop.rs"),
        include_str!("../examples/migrating/3_tokio.rs"),
        include_str!("../examples/migrating/4_async.rs"),
    ];
    let page = include_str!("../docs/migrating.md");
    for (step, pair) in (2..).zip(steps.windows(2)) {
        let (added, removed) = compare(pair[0], pair[1]);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| [{step}]")));
        let ends = format!("| {added} | {removed} |");
        assert!(row.unwrap().ends_with(&ends), "step {step}: {ends}");
    }
}
