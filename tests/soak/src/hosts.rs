//! The thread on which the loop is driven.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use async_io::Async;
use oneloop::Reactor;
use tokio::runtime::{Builder, Runtime};

use crate::options::Host;

pub struct Driver {
    reactor: Reactor,
    over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Driver {
    /// Returns when it drives.
    pub fn start(host: Host, reactor: &Reactor) -> io::Result<Driver> {
        let over = Arc::new(AtomicBool::new(false));
        let (driven, until) = (reactor.clone(), over.clone());
        let thread = thread::Builder::new().name("loop".into());
        let thread = thread.spawn(move || drive(host, &driven, &until))?;
        let (sender, driving) = channel();
        let told = reactor.call_soon(move || {
            let _ = sender.send(());
        });
        told.map_err(|error| io::Error::other(error.to_string()))?;
        driving.recv().map_err(io::Error::other)?;
        Ok(Driver {
            reactor: reactor.clone(),
            over,
            thread,
        })
    }

    /// Ends the run that is under way. Another begins.
    pub fn interrupt(&self) {
        self.reactor.stop();
    }

    /// Events that nothing has asked for.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn end(self) -> io::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        self.reactor.stop();
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("a callback panicked")))
    }
}

fn drive(host: Host, reactor: &Reactor, over: &AtomicBool) -> io::Result<()> {
    let runtime = runtime()?;
    let all = [Host::Builtin, Host::Tokio, Host::AsyncIo];
    let own = [host];
    let hosts = if host == Host::Moving { &all[..] } else { &own };
    for host in hosts.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        match host {
            Host::Tokio => runtime.block_on(oneloop_tokio::drive(reactor))?,
            Host::AsyncIo => async_io::block_on(oneloop_async_io::drive(reactor))?,
            Host::Builtin | Host::Moving => reactor.run()?,
        }
    }
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

/// Lets async-io and tokio open what they keep for good. (tokio has a pair of sockets for signals, if
/// any package of this build asks for its signals.)
pub fn warm_up() -> io::Result<()> {
    drop((Async::<UnixStream>::pair()?, runtime()?));
    Ok(())
}
