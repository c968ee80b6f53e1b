//! c-ares with name servers of its own for each host.

use std::collections::HashSet;
use std::ffi::{CString, c_char, c_int};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{OwnCode, beside_each_host, on_each_host};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn cares_test_servers(servers: *const c_char);
    fn cares_test_ended() -> c_int;
    fn test_cares_answers(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_many(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_timeouts(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_cancel(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_the_loop_ends(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_the_loop_ends_inside(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_nobody_listens(r#loop: *mut oneloop_t) -> c_int;
    fn test_cares_beside(r#loop: *mut oneloop_t) -> c_int;
    fn cares_beside_asks(r#loop: *mut oneloop_t);
    fn cares_beside_wakes(r#loop: *mut oneloop_t);
}

/// The server's answer.
enum Reply {
    Message(Vec<u8>),
    Nothing,
    /// Over TCP: the end.
    Cut,
}

/// Two name servers on one port, by UDP and TCP. A name is WORD-NUMBER.test; the word says what
/// becomes of it.
#[derive(Default)]
struct Dns {
    /// The names that were asked for before.
    known: Mutex<HashSet<Vec<u8>>>,
    /// Connections that are over, for no number to be free that the test has not freed.
    done: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

impl Dns {
    fn reply(&self, query: &[u8], tcp: bool) -> Reply {
        let name = &query[13..13 + usize::from(query[12])];
        let text = std::str::from_utf8(name).unwrap();
        let (word, number) = text.split_once('-').unwrap();
        let number: u32 = number.parse().unwrap();
        let first = |net: u8| u32::from(Ipv4Addr::new(10, net, 0, 0)) + number;
        let is_new = || self.known.lock().unwrap().insert(name.to_vec());
        Reply::Message(match (word, tcp) {
            ("plain", _) => message(query, 0, first(7)..first(7) + 1),
            ("missing", _) => message(query, NO_SUCH_NAME, 0..0),
            ("big" | "cut", false) => message(query, TRUNCATED, 0..0),
            ("big", true) => message(query, 0, first(8)..first(8) + 2000),
            ("cut", true) if is_new() => return Reply::Cut,
            ("lost", _) if is_new() => return Reply::Nothing,
            ("cut" | "lost", _) => message(query, 0, first(7)..first(7) + 1),
            ("silent", _) => return Reply::Nothing,
            _ => panic!("{text}?"),
        })
    }

    fn udp(&self, socket: &UdpSocket) {
        let mut query = [0; 600];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            if self.over.load(SeqCst) {
                return;
            }
            if let Reply::Message(message) = self.reply(&query[..length], false) {
                socket.send_to(&message, client).unwrap();
            }
        }
    }

    fn tcp<'scope>(&'scope self, listener: &TcpListener, scope: &'scope Scope<'scope, '_>) {
        for stream in listener.incoming() {
            if self.over.load(SeqCst) {
                return;
            }
            let mut stream = stream.unwrap();
            scope.spawn(move || {
                while self.tcp_query(&mut stream).is_some() {}
                let _ = stream.shutdown(Shutdown::Both);
                self.done.lock().unwrap().push(stream);
            });
        }
    }

    fn tcp_query(&self, stream: &mut TcpStream) -> Option<()> {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query).ok()?;
        stream.set_nodelay(true).unwrap();
        match self.reply(&query, true) {
            Reply::Message(message) => {
                let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                // In pieces, of which the first is half of the length.
                stream.write_all(&length[..1]).ok()?;
                stream.write_all(&length[1..]).ok()?;
                for piece in message.chunks(1000) {
                    stream.write_all(piece).ok()?;
                }
                Some(())
            }
            Reply::Nothing => Some(()),
            Reply::Cut => None,
        }
    }
}

const TRUNCATED: u16 = 0x0200;
const NO_SUCH_NAME: u16 = 3;

/// An answer to the query, with those addresses.
fn message(query: &[u8], flags: u16, addresses: std::ops::Range<u32>) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let count = u16::try_from(addresses.len()).unwrap();
    let mut message = query[..2].to_vec();
    for number in [0x8180 | flags, 1, count, 0, 0] {
        message.extend(number.to_be_bytes());
    }
    // The question, with its kind and class.
    message.extend(&query[12..12 + name + 5]);
    for address in addresses {
        // The name of the question, an address of the internet, good for a minute, four bytes.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address.to_be_bytes());
    }
    message
}

/// A port that is free on both addresses, by UDP and TCP.
fn bind() -> Vec<(TcpListener, UdpSocket)> {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let bind_all = || {
            let second = TcpListener::bind(("127.0.0.2", port))?;
            let udp = |address: &str| UdpSocket::bind((address, port));
            let udp = (udp("127.0.0.1")?, udp("127.0.0.2")?);
            Ok::<_, std::io::Error>((second, udp))
        };
        if let Ok((second, udp)) = bind_all() {
            return vec![(first, udp.0), (second, udp.1)];
        }
    }
}

/// The tests run one at a time: one looks at which numbers its descriptors have.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test on each host, each with new servers. Calls `check` after each.
fn with_servers(test: Test, check: impl Fn()) {
    let _alone = alone();
    on_each_host(|run| {
        serving(|addresses| {
            with_addresses(addresses, run, test);
            check();
        });
    });
}

/// Calls `test` with the addresses of new servers.
fn serving(test: impl FnOnce(&str)) {
    let (servers, dns) = (bind(), Dns::default());
    let addresses: Vec<_> = servers
        .iter()
        .map(|(listener, _)| listener.local_addr().unwrap())
        .collect();
    thread::scope(|scope| {
        for (listener, socket) in &servers {
            scope.spawn(|| dns.udp(socket));
            scope.spawn(|| dns.tcp(listener, scope));
        }
        // Also if the test fails, or the servers would be waited for.
        let _end = End(|| {
            dns.over.store(true, SeqCst);
            for (listener, socket) in &servers {
                let _ = TcpStream::connect(listener.local_addr().unwrap());
                let _ = socket.send_to(&[], socket.local_addr().unwrap());
            }
        });
        test(&format!("{},{}", addresses[0], addresses[1]));
    });
}

struct End<F: Fn()>(F);

impl<F: Fn()> Drop for End<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn with_addresses(servers: &str, run: &dyn Fn(Test), test: Test) {
    use_addresses(servers, || run(test));
}

fn use_addresses(servers: &str, run: impl FnOnce()) {
    let servers = CString::new(servers).unwrap();
    // SAFETY: they live until the test is over.
    unsafe { cares_test_servers(servers.as_ptr()) };
    run();
}

#[test]
fn answers_by_udp_and_tcp_and_a_connection_that_is_cut() {
    with_servers(test_cares_answers, || {});
}

#[test]
fn a_hundred_queries_some_of_which_are_lost() {
    with_servers(test_cares_many, || {});
}

#[test]
fn nobody_answers() {
    with_servers(test_cares_timeouts, || {});
}

#[test]
fn cancelled_and_ended_inside_a_callback() {
    with_servers(test_cares_cancel, || {});
}

#[test]
fn the_loop_ends_first() {
    for test in [test_cares_the_loop_ends, test_cares_the_loop_ends_inside] {
        with_servers(test, || {
            // SAFETY: reads a counter.
            assert_eq!(unsafe { cares_test_ended() }, 1);
        });
    }
}

#[test]
fn nobody_listens() {
    let _alone = alone();
    on_each_host(|run| {
        let port = oneloop_c_libraries::free_port();
        with_addresses(&format!("127.0.0.1:{port}"), run, test_cares_nobody_listens);
    });
}

#[test]
fn host_code_asks_a_server_that_does_not_answer() {
    let _alone = alone();
    let own = OwnCode {
        uses: cares_beside_asks,
        wakes: Some(cares_beside_wakes),
        has_hook: true,
    };
    beside_each_host(|run| {
        serving(|addresses| use_addresses(addresses, || run(test_cares_beside, own)));
    });
}
