//! libmicrohttpd as a server on each host, with clients on threads: uploads, downloads larger than any buffer,
//! answers that wait for a timer, and a connection that is closed because nothing comes.

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use oneloop_c::{ONELOOP_NORMAL, oneloop_call_soon, oneloop_free, oneloop_hold, oneloop_t};
use oneloop_c_libraries::{in_both_orders, on_every_host};

unsafe extern "C" {
    fn test_microhttpd(r#loop: *mut oneloop_t) -> c_int;
    fn microhttpd_test_end(r#loop: *mut oneloop_t, user: *mut c_void);
    fn late_microhttpd(loop_last: c_int) -> c_int;
}

/// Sends a request and returns the body of the answer. The connection stays open.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, rest) = head.split_once("content-length: ").unwrap();
    let (length, _) = rest.split_once("\r\n").unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    body
}

fn client(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    post.resize(post.len() + 1_000_000, b'p');
    assert_eq!(ask(&mut stream, &post), b"1000000");
    let big = ask(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(big.len() == 3 << 20 && big.iter().all(|byte| *byte == b'b'));
    let late = ask(&mut stream, b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(late, b"late");
}

/// Called from C.
#[unsafe(no_mangle)]
extern "C" fn microhttpd_test_clients(r#loop: *mut oneloop_t, port: c_int) {
    let port = u16::try_from(port).unwrap();
    // SAFETY: the loop is alive, and this thread's own handle goes when it is done.
    let held = unsafe { oneloop_hold(r#loop) }.expose_provenance();
    thread::spawn(move || {
        let r#loop = std::ptr::with_exposed_provenance_mut(held);
        let clients = [(); 3].map(|()| thread::spawn(move || client(port)));
        let served = clients.into_iter().all(|client| client.join().is_ok());
        let mut idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(served && idle.read(&mut [0]).unwrap() == 0);
        // SAFETY: the loop is held, and the function is for this.
        unsafe {
            let (none, end) = (std::ptr::null_mut(), Some(microhttpd_test_end as _));
            oneloop_call_soon(r#loop, ONELOOP_NORMAL, end, none, None, none.cast());
            oneloop_free(r#loop);
        }
    });
}

#[test]
fn three_clients_are_served_and_an_idle_one_is_sent_away() {
    on_every_host(test_microhttpd);
}

#[test]
fn the_loop_ends_before_the_server_or_after() {
    in_both_orders(late_microhttpd);
}
