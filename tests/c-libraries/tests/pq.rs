//! libpq with a PostgreSQL of its own.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oneloop_c::oneloop_t;
use oneloop_c_libraries::{Server, TempDir, free_port, on_each_host};

type Test = unsafe extern "C" fn(*mut oneloop_t) -> c_int;

unsafe extern "C" {
    fn pq_test_server(conninfo: *const c_char);
    fn test_pq_big_things(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_notifications_and_cancel(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_notifies_itself(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_left_open(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_loop_closed_inside(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_none_left(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_slow_query(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_several_hosts(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_no_server(r#loop: *mut oneloop_t) -> c_int;
    fn test_pq_the_server_dies(r#loop: *mut oneloop_t) -> c_int;
}

/// PostgreSQL's own programs, which Debian does not put into the path.
fn program(name: &str) -> PathBuf {
    let versions = Path::new("/usr/lib/postgresql").read_dir();
    let mut versions: Vec<_> = versions
        .expect("PostgreSQL (tests/all.sh installs it)")
        .map(|version| version.unwrap().path())
        .collect();
    versions.sort();
    versions.pop().unwrap().join("bin").join(name)
}

/// A user's number: PostgreSQL does not run as root.
fn number_of(user: &str, which: &str) -> u32 {
    let id = Command::new("id").args([which, user]).output().unwrap();
    String::from_utf8(id.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn as_postgres(command: &mut Command) -> &mut Command {
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } == 0 {
        command
            .uid(number_of("postgres", "-u"))
            .gid(number_of("postgres", "-g"));
    }
    command
}

/// A new database in a folder.
fn database() -> TempDir {
    let folder = TempDir::new().unwrap();
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } == 0 {
        let owner = (number_of("postgres", "-u"), number_of("postgres", "-g"));
        std::os::unix::fs::chown(folder.path(), Some(owner.0), Some(owner.1)).unwrap();
    }
    let mut initdb = Command::new(program("initdb"));
    initdb.args([
        "--auth=trust",
        "--username=test",
        "--no-sync",
        "--encoding=UTF8",
        "--pgdata",
    ]);
    initdb
        .arg(folder.path().join("data"))
        .current_dir(&folder)
        .stdout(Stdio::null());
    assert!(as_postgres(&mut initdb).status().unwrap().success());
    folder
}

/// A server for it; it may take a moment to be there.
fn serve(database: &TempDir, port: u16) -> Server {
    let postgres = program("postgres");
    Server::start(postgres.to_str().unwrap(), |command, _| {
        let folder = database.path().to_str().unwrap();
        command.args([
            "-D",
            &format!("{folder}/data"),
            "-k",
            folder,
            "-p",
            &port.to_string(),
        ]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        command.current_dir(folder).stderr(Stdio::null());
        as_postgres(command);
    })
}

fn run(conninfo: &str, run: &dyn Fn(Test), test: Test) {
    let conninfo = CString::new(conninfo).unwrap();
    // SAFETY: it lives until the test is over.
    unsafe { pq_test_server(conninfo.as_ptr()) };
    run(test);
}

fn by_socket(database: &TempDir, port: u16) -> String {
    let folder = database.path().display();
    format!("host={folder} port={port} user=test dbname=postgres")
}

#[test]
fn big_queries_results_and_copies_notifications_and_cancel() {
    let (database, port) = (database(), free_port());
    let _server = serve(&database, port);
    on_each_host(|host| {
        let conninfo = by_socket(&database, port);
        run(&conninfo, host, test_pq_big_things);
        run(&conninfo, host, test_pq_notifications_and_cancel);
        run(&conninfo, host, test_pq_notifies_itself);
        run(&conninfo, host, test_pq_slow_query);
        run(&conninfo, host, test_pq_left_open);
        run(&conninfo, host, test_pq_loop_closed_inside);
        run(&conninfo, host, test_pq_none_left);
        let refused = free_port();
        let several =
            format!("host=127.0.0.1,127.0.0.1 port={refused},{port} user=test dbname=postgres");
        run(&several, host, test_pq_several_hosts);
    });
}

#[test]
fn nobody_listens_and_nobody_answers() {
    on_each_host(|host| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        run(
            &format!("host=127.0.0.1 port={port}"),
            host,
            test_pq_no_server,
        );
    });
}

thread_local! {
    static DOOMED: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Called from C when the query is on its way.
#[unsafe(no_mangle)]
extern "C" fn pq_test_kill_server() {
    DOOMED.take().expect("a server").kill();
}

#[test]
fn the_server_dies_and_another_takes_its_place() {
    let (database, port) = (database(), free_port());
    on_each_host(|host| {
        DOOMED.set(Some(serve(&database, port)));
        let conninfo = by_socket(&database, port);
        run(&conninfo, host, test_pq_the_server_dies);
        let _server = serve(&database, port);
        run(&conninfo, host, test_pq_several_hosts);
    });
}
