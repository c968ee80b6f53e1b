//! Shared by the tests of C libraries: servers that are started for a test, in a folder of their
//! own, on a free port, and ended with it.

mod beside;
mod servers;
mod tls_front;

use std::ffi::c_int;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};

pub mod verto;

pub use beside::{OwnCode, Step, beside_each_host};
pub use oneloop_c_tests::{HOSTS, assert_over, http, on_a_loop, on_each_host, on_every_host};
pub use servers::{Database, Sshd, dbus, mariadb, mosquitto, pulseaudio, redis, sshd, xvfb};
pub use tempfile::TempDir;
pub use tls_front::tls_front;

/// A server process, until it is dropped.
pub struct Server {
    child: Child,
    /// Its folder, which goes with it.
    pub folder: TempDir,
}

impl Server {
    /// Starts a program, which must be installed, in a new folder.
    ///
    /// # Panics
    ///
    /// If it cannot be started: a service that is missing is a failure.
    pub fn start(program: &str, command: impl FnOnce(&mut Command, &TempDir)) -> Server {
        let folder = TempDir::new().expect("a temporary folder");
        let mut server = Command::new(program);
        server.current_dir(&folder);
        command(&mut server, &folder);
        // A test that aborts leaves none behind.
        let die_with_the_test = || {
            // SAFETY: a system call, which is all that the child does here.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        };
        // SAFETY: the closure makes a system call and nothing else.
        unsafe { server.pre_exec(die_with_the_test) };
        match server.spawn() {
            Ok(child) => Server { child, folder },
            Err(error) => panic!("{program} (tests/all.sh installs it): {error}"),
        }
    }

    /// Returns its output, if that was piped.
    ///
    /// # Panics
    ///
    /// If it was not, or is asked for twice.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a pipe")
    }

    /// Returns its complaints, if they were piped.
    ///
    /// # Panics
    ///
    /// If it was not, or is asked for twice.
    pub fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it was already waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }

    /// Returns true if it has ended.
    ///
    /// # Panics
    ///
    /// If it was already waited for.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a test of C that has a loop of its own. The loop ends before what was attached to it, or after.
///
/// # Panics
///
/// If a check fails.
pub fn in_both_orders(test: unsafe extern "C" fn(loop_last: c_int) -> c_int) {
    for loop_last in [0, 1] {
        // SAFETY: the test makes a loop of its own.
        assert_eq!(unsafe { test(loop_last) }, 0, "loop_last: {loop_last}");
    }
}

/// A port without a listener.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
