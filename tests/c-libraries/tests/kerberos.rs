//! MIT Kerberos' KDC, which is written against libverto, on oneloop.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use oneloop_c_libraries::verto::Modules;
use oneloop_c_libraries::{Server, TempDir, free_port};

/// A realm in a folder, with a principal `alice`.
struct Realm {
    folder: TempDir,
    modules: Modules,
}

const PASSWORD: &str = "open sesame";
const TICKET: &str = "krbtgt/ONELOOP.TEST@ONELOOP.TEST";

impl Realm {
    fn new() -> Realm {
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        let port = free_port();
        for (name, limit) in [("udp", 1465), ("tcp", 1)] {
            let client = format!(
                "[libdefaults]
                 default_realm = ONELOOP.TEST
                 dns_lookup_kdc = false
                 dns_lookup_realm = false
                 udp_preference_limit = {limit}
                 [realms]
                 ONELOOP.TEST = {{
                     kdc = 127.0.0.1:{port}
                 }}
                 "
            );
            fs::write(folder.path().join(name), client).unwrap();
        }
        let server = format!(
            "[kdcdefaults]
             kdc_listen = 127.0.0.1:{port}
             kdc_tcp_listen = 127.0.0.1:{port}
             [realms]
             ONELOOP.TEST = {{
                 database_name = {path}/principals
                 key_stash_file = {path}/stash
                 acl_file = {path}/acl
             }}
             [logging]
             kdc = FILE:{path}/log
             "
        );
        fs::write(folder.path().join("kdc.conf"), server).unwrap();
        let modules = Modules::build();
        let realm = Realm { folder, modules };
        realm.asked("/usr/sbin/kdb5_util", &["create", "-s", "-P", "master"]);
        let add = format!("addprinc -pw \"{PASSWORD}\" alice");
        realm.asked("/usr/sbin/kadmin.local", &["-q", &add]);
        realm
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn configure<'c>(&self, command: &'c mut Command, transport: &str) -> &'c mut Command {
        command
            .env("KRB5_CONFIG", self.path(transport))
            .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("tickets")))
    }

    /// Runs a program, which must succeed, and returns its output.
    fn asked(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let asked = self.configure(&mut command, "udp").args(arguments).output();
        let output =
            asked.unwrap_or_else(|error| panic!("tests/all.sh installs {program}: {error}"));
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the KDC, in the foreground.
    fn start(&self, arguments: &[&str]) -> Server {
        let mut kdc = Server::start("/usr/sbin/krb5kdc", |command, _| {
            self.configure(command, "udp").args(arguments).arg("-n");
            // So that the only module is ours.
            command.env("LD_LIBRARY_PATH", self.modules.folder());
            command.stderr(Stdio::piped());
        });
        // It says so when it has its sockets.
        let mut said = String::new();
        let mut lines = BufReader::new(kdc.stderr());
        lines.read_line(&mut said).unwrap();
        assert!(said.contains("starting"), "{said}");
        kdc
    }

    /// Gets a ticket from the KDC.
    fn log_in(&self, transport: &str) {
        let _ = fs::remove_file(self.path("tickets"));
        let mut command = Command::new("kinit");
        let command = self.configure(&mut command, transport).arg("alice");
        let kinit = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut kinit = kinit.expect("tests/all.sh installs kinit");
        let mut input = kinit.stdin.take().unwrap();
        writeln!(input, "{PASSWORD}").unwrap();
        drop(input);
        assert!(kinit.wait().unwrap().success(), "over {transport}");
        assert!(self.asked("klist", &[]).contains(TICKET));
        // And another one with that.
        assert!(self.asked("kvno", &[TICKET]).contains(TICKET));
    }

    fn log_in_often(&self) {
        for _ in 0..5 {
            self.log_in("udp");
            self.log_in("tcp");
        }
    }
}

fn uses_oneloop(pid: u32) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(maps.contains("libverto-oneloop.so"), "{maps}");
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a system call.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// The processes that were started by one.
fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children = children.split_whitespace();
    children.map(|pid| pid.parse().unwrap()).collect()
}

/// The number in a file, as soon as it is there.
fn number_in(path: &str) -> u32 {
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let (true, Ok(number)) = (text.ends_with('\n'), text.trim().parse()) {
            return number;
        }
        std::thread::yield_now();
    }
}

#[test]
fn tickets_signals_and_a_good_end() {
    let realm = Realm::new();
    let mut kdc = realm.start(&[]);
    uses_oneloop(kdc.pid());
    realm.log_in_often();
    // Now it writes to a new file.
    let log = realm.path("log");
    fs::rename(&log, realm.path("old log")).unwrap();
    signal(kdc.pid(), libc::SIGHUP);
    while !Path::new(&log).exists() {
        realm.log_in("udp");
    }
    signal(kdc.pid(), libc::SIGTERM);
    assert!(kdc.wait().success());
    assert!(fs::read_to_string(&log).unwrap().contains("shutting down"));
}

/// Which reinitialize their events.
#[test]
fn worker_processes() {
    let realm = Realm::new();
    let mut kdc = realm.start(&["-w", "2"]);
    realm.log_in_often();
    let workers = children(kdc.pid());
    assert_eq!(workers.len(), 2);
    workers.into_iter().for_each(uses_oneloop);
    signal(kdc.pid(), libc::SIGTERM);
    assert!(kdc.wait().success());
    let log = fs::read_to_string(realm.path("log")).unwrap();
    assert_eq!(log.matches("shutting down").count(), 2, "{log}");
}

/// Which forks, and does not.
#[test]
fn a_daemon() {
    // SAFETY: a system call. What becomes a daemon becomes our child then.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }, 0);
    let realm = Realm::new();
    let mut start = Command::new("/usr/sbin/krb5kdc");
    realm.configure(&mut start, "udp");
    start.env("LD_LIBRARY_PATH", realm.modules.folder());
    start.arg("-P").arg(realm.path("pid"));
    assert!(start.status().unwrap().success());
    let daemon = Daemon(number_in(&realm.path("pid")));
    uses_oneloop(daemon.0);
    realm.log_in_often();
    signal(daemon.0, libc::SIGTERM);
    assert_eq!(daemon.wait(), 0);
    let log = fs::read_to_string(realm.path("log")).unwrap();
    assert!(log.contains("shutting down"));
}

/// A process that is killed if the test fails.
struct Daemon(u32);

impl Daemon {
    fn wait(&self) -> i32 {
        let mut status = -1;
        // SAFETY: a system call, which writes into an integer.
        let ended = unsafe { libc::waitpid(self.0 as i32, &mut status, 0) };
        assert_eq!(ended, self.0 as i32);
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // SAFETY: a system call.
            unsafe { libc::kill(self.0 as i32, libc::SIGKILL) };
        }
    }
}
