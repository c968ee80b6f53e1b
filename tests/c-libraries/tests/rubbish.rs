//! Servers that send rubbish, on each host: an error, and nothing else disturbed. (libcurl's is among
//! the tests of `oneloop-curl`.)

use std::ffi::c_int;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::on_each_host;

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn rubbish_test_port(port: c_int);
    fn test_rubbish_hiredis(r#loop: *mut oneloop_t) -> c_int;
    fn test_rubbish_libpq(r#loop: *mut oneloop_t) -> c_int;
}

fn with_server(test: Test) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Until the end of the process.
    thread::spawn(move || {
        let mut clients = Vec::new();
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(&[0xff; 10_000]);
            clients.push(client);
        }
    });
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
