//! The tests of `src/hiredis.c`, each on every host with a redis-server of its own, for the system's
//! hiredis, for 1.x and for libvalkey.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Server, free_port, on_every_host, redis};

thread_local! {
    static PORT: Cell<u16> = const { Cell::new(0) };
    static REDIS: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Starts the server, on the same port as before, or kills it.
extern "C" fn serve(up: bool) {
    REDIS.take();
    if up {
        REDIS.set(Some(redis(PORT.get())));
    }
}

/// A new server: its socket and its port.
fn new_server() -> (CString, c_int) {
    PORT.set(free_port());
    serve(true);
    let path = REDIS.with_borrow(|redis| redis.as_ref().unwrap().folder.path().join("redis.sock"));
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    (path, PORT.get().into())
}

macro_rules! tests {
    ($version:ident, $prefix:literal, $($name:ident)*) => {
        mod $version {
            use super::*;

            $(#[test]
            fn $name() {
                unsafe extern "C" {
                    #[link_name = concat!($prefix, stringify!($name))]
                    fn set_up(
                        r#loop: *mut oneloop_t,
                        path: *const c_char,
                        port: c_int,
                        serve: extern "C" fn(bool),
                    ) -> c_int;
                }
                thread_local!(static PATH: RefCell<CString> = RefCell::default());

                unsafe extern "C" fn start(r#loop: *mut oneloop_t) -> c_int {
                    let (path, port) = new_server();
                    let path = PATH.with_borrow_mut(|kept| {
                        *kept = path;
                        kept.as_ptr()
                    });
                    // SAFETY: the C side is made for this; the path is kept until the next start.
                    unsafe { set_up(r#loop, path, port, serve) }
                }
                on_every_host(start);
                serve(false);
            })*
        }
    };
}

tests! {
    system, "hiredis_",
    a_pipeline
    a_command_from_each_reply
    publishing
    big_values
    a_killed_server
    freed_by_a_reply
    disconnected_by_a_reply
    the_loop_ends_first
}

tests! {
    one, "hiredis1_",
    a_pipeline
    a_command_from_each_reply
    publishing
    big_values
    a_killed_server
    freed_by_a_reply
    disconnected_by_a_reply
    the_loop_ends_first
    a_command_timeout
    a_connect_timeout
}

tests! {
    valkey, "valkey_",
    a_pipeline
    a_command_from_each_reply
    publishing
    big_values
    a_killed_server
    freed_by_a_reply
    disconnected_by_a_reply
    the_loop_ends_first
    a_command_timeout
    a_connect_timeout
}

/// `examples/c/redis.c`.
#[test]
fn the_example() {
    unsafe extern "C" {
        fn redis_example(count: c_int, arguments: *const *const c_char) -> c_int;
    }
    let port = free_port();
    let _server = redis(port);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    let port = CString::new(port.to_string()).unwrap();
    let arguments = [c"redis", c"127.0.0.1", &port, c""].map(CStr::as_ptr);
    // SAFETY: it is a `main`; three arguments.
    assert_eq!(unsafe { redis_example(3, arguments.as_ptr()) }, 0);
}
