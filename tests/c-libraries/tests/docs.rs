//! The programs of `docs/c-libraries.md`, on tokio, against real servers.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use oneloop::Reactor;
use oneloop_c_libraries::http::{Http, Version};
use oneloop_c_libraries::{
    Database, TempDir, dbus, free_port, mariadb, mosquitto, pulseaudio, redis, sshd, xvfb,
};

mod program;
use program::run;

unsafe extern "C" {
    fn wayland_test_compositor(path: *const c_char) -> *mut c_void;
    fn wayland_test_serve(compositor: *mut c_void);
}

#[test]
fn a_program_of_hiredis() {
    let port = free_port();
    let _server = redis(port);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    assert_eq!(run("hiredis", &[("PORT", &port.to_string())]), "PONG\n");
}

#[test]
fn a_program_of_libvalkey() {
    let port = free_port();
    let _server = redis(port);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    assert_eq!(run("valkey", &[("PORT", &port.to_string())]), "PONG\n");
}

#[test]
fn a_program_of_mariadb() {
    let (_server, socket) = mariadb();
    let printed = run("mariadb", &[("SOCKET", socket.to_str().unwrap())]);
    assert_eq!(printed, "hello\n");
}

#[test]
fn a_program_of_librdkafka() {
    assert_eq!(run("rdkafka", &[]), "Success\n");
}

#[test]
fn a_program_of_libmicrohttpd() {
    let port = free_port();
    let client = thread::spawn(move || {
        let mut stream = loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                break stream;
            }
        };
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let printed = run("microhttpd", &[("PORT", &port.to_string())]);
    assert_eq!(printed, "answered\n");
    assert!(client.join().unwrap().ends_with("hello"));
}

#[test]
fn a_program_of_libssh2() {
    let server = sshd();
    let (port, key) = (server.port.to_string(), server.key());
    let environment = [("PORT", &*port), ("LOGIN", &server.user), ("KEY", &key)];
    assert_eq!(run("ssh2", &environment), "hello\n");
}

#[test]
fn a_program_of_libwayland() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wayland");
    let (ready, listening) = channel();
    let compositor = thread::spawn({
        let path = CString::new(path.to_str().unwrap()).unwrap();
        move || {
            // SAFETY: the compositor lives and dies on this thread.
            unsafe {
                let compositor = wayland_test_compositor(path.as_ptr());
                ready.send(()).unwrap();
                wayland_test_serve(compositor);
            }
        }
    });
    listening.recv().unwrap();
    let printed = run("wayland", &[("WAYLAND_DISPLAY", path.to_str().unwrap())]);
    assert!(printed.lines().any(|line| line == "wl_output"), "{printed}");
    compositor.join().unwrap();
}

#[test]
fn a_program_of_alsa() {
    assert_eq!(run("alsa", &[]), "a second was played\n");
}

#[test]
fn a_program_of_libdbus() {
    let (_server, address) = dbus();
    let printed = run("dbus", &[("DBUS_SESSION_BUS_ADDRESS", &address)]);
    let id = printed.strip_prefix("the bus is ").unwrap().trim();
    assert_eq!(id.len(), 32, "{id}");
}

#[test]
fn a_program_of_c_ares() {
    assert_eq!(run("cares", &[]), "Successful completion\n");
}

#[test]
fn a_program_of_libpq() {
    let (database, port) = (Database::new(), free_port());
    let _server = database.serve(port);
    database.wait(port);
    let printed = run("pq", &[("CONNINFO", &database.conninfo(port))]);
    assert_eq!(printed, "hello\n");
}

#[test]
fn a_program_of_libcurl() {
    let reactor = Reactor::new().unwrap();
    let http = Http::serve(&reactor);
    let remote = reactor.remote();
    let url = http.url(Version::Http1, "bytes", 0);
    let program = thread::spawn(move || {
        let printed = run("curl", &[("URL", &url)]);
        remote.stop();
        printed
    });
    reactor.run().unwrap();
    reactor.close();
    assert_eq!(program.join().unwrap(), "No error\n");
}

/// With a server that sends back what it gets.
#[test]
fn a_program_of_libcurl_speaks_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut client = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let message = client.read().unwrap();
        client.send(message.clone()).unwrap();
        message.to_string()
    });
    assert_eq!(run("websocket", &[("URL", &url)]), "No error\nhello\n");
    assert_eq!(server.join().unwrap(), "hello");
}

#[test]
fn a_program_of_sd_bus() {
    let (_server, address) = dbus();
    let printed = run("sd_bus", &[("DBUS_SESSION_BUS_ADDRESS", &address)]);
    let id = printed.strip_prefix("the bus is ").unwrap().trim();
    assert_eq!(id.len(), 32, "{id}");
}

#[test]
fn a_program_of_pulseaudio() {
    let (_server, address) = pulseaudio();
    assert_eq!(run("pulse", &[("PULSE_SERVER", &address)]), "ready\n");
}

#[test]
fn a_program_of_xcb() {
    let (_server, display) = xvfb();
    assert_eq!(run("xcb", &[("DISPLAY", &display)]), "a window was made\n");
}

#[test]
fn a_program_of_libzmq() {
    assert_eq!(run("zmq", &[]), "hello\n");
}

#[test]
fn a_program_of_libmosquitto() {
    let port = free_port();
    let _broker = mosquitto(port);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    let printed = run("mosquitto", &[("PORT", &port.to_string())]);
    assert_eq!(printed, "Connection Accepted.\nhello\n");
}

#[test]
fn a_program_of_libusb() {
    let printed = run("usb", &[]);
    assert!(printed == "listed\n" || printed == "failed\n", "{printed}");
}

#[test]
fn a_program_of_libverto() {
    assert_eq!(run("verto", &[]), "it is time\n");
}

const PAGE: &str = include_str!("../../../docs/c-libraries.md");

/// The blocks of a language: the name and the lines of each.
fn blocks(language: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    let named = blocks.filter_map(|block| {
        let (name, code) = block.split_once('\n')?;
        let name = name.strip_prefix(language)?.strip_prefix(' ')?;
        Some((name, code.lines().collect()))
    });
    named.collect()
}

/// Counts the lines that a program of tokio's, and one in C, has for oneloop.
#[test]
fn each_library_is_on_tokio_in_ten_lines() {
    let [(_, main)] = blocks("rust").try_into().unwrap();
    let code = main.iter().map(|line| line.trim());
    let code = code.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let frame = ["#[tokio::main(", "async fn main()"];
    let is_frame = |line: &&str| frame.iter().any(|start| line.starts_with(start));
    // But for the brace at its end.
    let rust = code.filter(|line| !is_frame(line)).count() - 1;
    let mut most = HashMap::new();
    for (name, lines) in blocks("c") {
        let is_ours = |line: &&&str| line.starts_with("#include") && line.contains("oneloop");
        let header = lines.iter().find(is_ours).unwrap();
        let (_, header) = header.split_once('<').unwrap();
        let (header, _) = header.split_once('>').unwrap();
        let marked = lines.iter().filter(|line| line.contains("// <--")).count();
        assert!(marked >= 1, "{name}");
        let count = rust + marked + 1;
        assert!(count <= 10, "{name}: {count}");
        // The table has the greatest number of each header.
        let rows = PAGE
            .lines()
            .filter(|line| line.starts_with('|') && line.contains(&format!("`{header}`")));
        let numbers = rows.filter_map(|row| row.split('|').nth(3)?.trim().parse::<usize>().ok());
        let numbers: Vec<usize> = numbers.collect();
        assert!(!numbers.is_empty(), "{header} is not in the table");
        let most = most.entry(header).or_insert((0, numbers));
        most.0 = most.0.max(count);
    }
    for (header, (count, numbers)) in most {
        assert!(
            numbers.iter().all(|number| *number == count),
            "{header}: {count}"
        );
    }
}

/// Each block of C that the page has is a program that runs here, or in `avahi.rs`.
#[test]
fn each_program_of_the_page_is_run() {
    let tests = [include_str!("docs.rs"), include_str!("avahi.rs")].concat();
    let programs = blocks("c");
    assert_eq!(programs.len(), 21);
    for (name, _) in programs {
        assert!(tests.contains(&format!("run(\"{name}\"")), "{name}");
    }
}
