//! Servers that send rubbish, on each host: an error, and nothing else disturbed. (libcurl's is among
//! the tests of `oneloop-curl`.)

use std::ffi::c_int;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::thread;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::on_each_host;

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn rubbish_test_port(port: c_int);
    fn test_rubbish_hiredis(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_libpq(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_libdbus(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_sd_bus(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_cares(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_pulse(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_zmq(r#loop: *mut oneloop_t) -> c_int;
}

/// By TCP and UDP, until the end of the process. Its port.
fn server() -> u16 {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            break (listener, socket);
        }
    };
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((_, client)) = socket.recv_from(&mut [0; 1000]) {
            let _ = socket.send_to(&[0xff; 100], client);
        }
    });
    thread::spawn(move || {
        let mut clients = Vec::new();
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(&[0xff; 100_000]);
            clients.push(client);
        }
    });
    port
}

fn with_server(test: Test) {
    let port = server();
    on_each_host(|run| {
        // SAFETY: it keeps a number.
        unsafe { rubbish_test_port(port.into()) };
        run(test);
    });
}

#[test]
fn to_hiredis() {
    with_server(test_rubbish_hiredis);
}

#[test]
fn to_libpq() {
    with_server(test_rubbish_libpq);
}

#[test]
fn to_libdbus() {
    with_server(test_rubbish_libdbus);
}

#[test]
fn to_sd_bus() {
    with_server(test_rubbish_sd_bus);
}

#[test]
fn to_c_ares() {
    with_server(test_rubbish_cares);
}

#[test]
fn to_pulseaudio() {
    with_server(test_rubbish_pulse);
}

#[test]
fn to_libzmq() {
    with_server(test_rubbish_zmq);
}
