//! How each server is started.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Server, free_port};

/// A redis-server on a port, and on the socket `redis.sock` in its folder; it may take a moment to be
/// there.
pub fn redis(port: u16) -> Server {
    Server::start("redis-server", |command, _| {
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--unixsocket", "redis.sock"]);
        command.args(["--save", "", "--logfile", "redis.log"]);
        // Not to keep a pipe open if the test is aborted.
        command.stdout(Stdio::null()).stderr(Stdio::null());
    })
}

/// A broker of MQTT on a port; it may take a moment to be there.
pub fn mosquitto(port: u16) -> Server {
    // Debian does not put it into a user's path.
    Server::start("/usr/sbin/mosquitto", |command, folder| {
        let settings = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n");
        let file = folder.path().join("mosquitto.conf");
        std::fs::write(&file, settings).expect("a folder to write to");
        command.arg("-c").arg(file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
    })
}

/// A MariaDB without tables and passwords, and its socket. It is there when this returns.
pub fn mariadb() -> (Server, PathBuf) {
    let server = Server::start("/usr/sbin/mariadbd", |command, folder| {
        let folder = folder.path();
        command.args(["--no-defaults", "--skip-grant-tables", "--skip-networking"]);
        command.args(["--innodb=OFF", "--default-storage-engine=MyISAM"]);
        for (option, place) in [("datadir", ""), ("socket", "mariadb.sock")] {
            command.arg(format!("--{option}={}", folder.join(place).display()));
        }
        if is_root() {
            command.arg("--user=root");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
    });
    let socket = server.folder.path().join("mariadb.sock");
    while UnixStream::connect(&socket).is_err() {}
    (server, socket)
}

/// An sshd.
pub struct Sshd {
    server: Server,
    /// The user who may log in, by the [key](Self::key).
    pub user: String,
    /// Its port.
    pub port: u16,
}

impl Sshd {
    /// The private key's file.
    pub fn key(&self) -> String {
        let key = self.server.folder.path().join("key");
        key.to_str().expect("a path of text").to_owned()
    }
}

/// An sshd that this process' user may log into. It is there when this returns.
///
/// # Panics
///
/// If OpenSSH is not installed.
pub fn sshd() -> Sshd {
    let port = free_port();
    // sshd refuses to run as root without this folder, which the system's own service makes.
    if is_root() {
        std::fs::create_dir_all("/run/sshd").expect("root may");
    }
    let server = Server::start("/usr/sbin/sshd", |command, folder| {
        let folder = folder.path();
        let key = folder.join("key");
        let mut keygen = Command::new("ssh-keygen");
        // A form that old versions of libssh2 know, too.
        keygen.args(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f"]);
        let made = keygen.arg(&key).status();
        assert!(made.expect("ssh-keygen").success());
        let key = key.display();
        let settings = format!(
            "HostKey {key}\nAuthorizedKeysFile {key}.pub\nListenAddress 127.0.0.1:{port}\n\
             PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n\
             HostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n"
        );
        let file = folder.join("sshd_config");
        std::fs::write(&file, settings).expect("a folder to write to");
        command.args(["-D", "-q", "-f"]).arg(file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
    });
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    let name = Command::new("id").arg("-un").output().expect("id");
    let user = String::from_utf8(name.stdout).expect("a name");
    Sshd {
        server,
        user: user.trim().to_owned(),
        port,
    }
}

/// A message bus, and its address.
///
/// # Panics
///
/// If it does not say where it listens.
pub fn dbus() -> (Server, String) {
    let mut server = Server::start("dbus-daemon", |command, folder| {
        let address = format!("unix:path={}/bus", folder.path().display());
        command.args(["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        command
            .arg(format!("--address={address}"))
            .stdout(Stdio::piped());
    });
    // It prints its address when it listens.
    let mut address = String::new();
    let mut printed = BufReader::new(server.stdout());
    printed.read_line(&mut address).expect("an address");
    (server, address.trim().to_owned())
}

/// A PulseAudio with a sink that makes no sound, and its address.
pub fn pulseaudio() -> (Server, String) {
    let server = Server::start("pulseaudio", |command, folder| {
        let folder = folder.path();
        for variable in ["HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH"] {
            command.env(variable, folder);
        }
        let socket = folder.join("pulse.sock");
        let socket = socket.display();
        command.args(["-n", "--exit-idle-time=-1"]);
        command.args(["--daemonize=no", "--use-pid-file=no"]);
        command.args(["-L", "module-null-sink", "-L"]);
        command.arg(format!(
            "module-native-protocol-unix auth-anonymous=1 socket={socket}"
        ));
        command.stdout(Stdio::null()).stderr(Stdio::null());
    });
    let socket = server.folder.path().join("pulse.sock");
    while UnixStream::connect(&socket).is_err() {}
    let address = format!("unix:{}", socket.display());
    (server, address)
}

/// An X server without a screen, and its name.
///
/// # Panics
///
/// If it does not say which it is.
pub fn xvfb() -> (Server, String) {
    let mut server = Server::start("Xvfb", |command, _| {
        // It looks for a number that is free, and says which when it listens.
        command.args(["-displayfd", "1", "-nolisten", "tcp", "-terminate"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
    });
    let mut number = String::new();
    let mut printed = BufReader::new(server.stdout());
    printed.read_line(&mut number).expect("a number");
    (server, format!(":{}", number.trim()))
}

/// A new database of PostgreSQL, in a folder of its own.
#[derive(Debug)]
pub struct Database(TempDir);

impl Database {
    /// Makes it.
    ///
    /// # Panics
    ///
    /// If PostgreSQL is not installed.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Database {
        let folder = TempDir::new().expect("a temporary folder");
        if is_root() {
            let owner = (number_of("postgres", "-u"), number_of("postgres", "-g"));
            let given = std::os::unix::fs::chown(folder.path(), Some(owner.0), Some(owner.1));
            given.expect("root may");
        }
        let mut initdb = Command::new(program("initdb"));
        initdb.args(["--auth=trust", "--username=test", "--no-sync"]);
        initdb.args(["--encoding=UTF8", "--pgdata"]);
        initdb
            .arg(folder.path().join("data"))
            .current_dir(&folder)
            .stdout(Stdio::null());
        let made = as_postgres(&mut initdb).status().expect("initdb");
        assert!(made.success());
        Database(folder)
    }

    /// A server for it; it may take a moment to be there.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn serve(&self, port: u16) -> Server {
        let postgres = program("postgres");
        Server::start(postgres.to_str().expect("Debian's path"), |command, _| {
            let folder = self.0.path();
            command.arg("-D").arg(folder.join("data"));
            command.arg("-k").arg(folder);
            command.args(["-p", &port.to_string()]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            command.current_dir(folder).stderr(Stdio::null());
            as_postgres(command);
        })
    }

    /// How it is reached, by its socket.
    pub fn conninfo(&self, port: u16) -> String {
        let folder = self.0.path().display();
        format!("host={folder} port={port} user=test dbname=postgres")
    }

    /// How it is reached, by TCP or through a front on another port.
    pub fn conninfo_by_tcp(port: u16) -> String {
        format!("hostaddr=127.0.0.1 port={port} user=test dbname=postgres")
    }

    /// Waits until its server takes connections.
    ///
    /// # Panics
    ///
    /// If PostgreSQL is not installed.
    pub fn wait(&self, port: u16) {
        while !self.is_ready(port) {}
    }

    fn is_ready(&self, port: u16) -> bool {
        let mut command = Command::new(program("pg_isready"));
        command.args(["-q", "-d", &self.conninfo(port)]);
        command.status().expect("pg_isready").success()
    }

    /// A server for it, which takes connections. Another one was killed, and its processes may still be there: the
    /// new one refuses to start until they are gone.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn serve_after_a_crash(&self, port: u16) -> Server {
        let mut server = self.serve(port);
        while !self.is_ready(port) {
            if server.has_ended() {
                server = self.serve(port);
            }
        }
        server
    }
}

/// PostgreSQL's own programs, which Debian does not put into the path.
fn program(name: &str) -> PathBuf {
    let versions = Path::new("/usr/lib/postgresql").read_dir();
    let versions = versions.expect("PostgreSQL (tests/all.sh installs it)");
    let newest = versions.flatten().map(|version| version.path()).max();
    newest.expect("a version").join("bin").join(name)
}

fn is_root() -> bool {
    // SAFETY: reads a number.
    unsafe { libc::geteuid() == 0 }
}

/// PostgreSQL does not run as root.
fn as_postgres(command: &mut Command) -> &mut Command {
    if is_root() {
        command
            .uid(number_of("postgres", "-u"))
            .gid(number_of("postgres", "-g"));
    }
    command
}

/// A user's number.
fn number_of(user: &str, which: &str) -> u32 {
    let id = Command::new("id").args([which, user]).output();
    let id = String::from_utf8(id.expect("id").stdout).expect("a number");
    id.trim().parse().expect("a number")
}
