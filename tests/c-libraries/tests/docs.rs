//! The programs of `docs/c-libraries.md`, on tokio, against real servers.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use oneloop::Reactor;
use oneloop_c_libraries::http::{Http, Version};
use oneloop_c_libraries::{Database, dbus, free_port, redis};

/// What a program prints.
fn run(program: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_on_tokio"));
    command.env("PROGRAM", program).stderr(Stdio::inherit());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_program_of_hiredis() {
    let port = free_port();
    let _server = redis(port);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    assert_eq!(run("hiredis", &[("PORT", &port.to_string())]), "PONG\n");
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

/// Each block of C that the page has is a program that runs here.
#[test]
fn each_program_of_the_page_is_run() {
    let page = include_str!("../../../docs/c-libraries.md");
    let tests = include_str!("docs.rs");
    let names = page.lines().filter_map(|line| line.strip_prefix("```c "));
    let mut count = 0;
    for name in names {
        assert!(tests.contains(&format!("run(\"{name}\"")), "{name}");
        count += 1;
    }
    assert!(count >= 5);
}
