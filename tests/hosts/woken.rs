use std::io;
use std::sync::mpsc::channel;

use oneloop::{Host, Reactor, Shared};
use oneloop_conformance::{HostUnderTest, Outside};

/// Watches nothing, and takes what comes from a channel.
pub struct WakeLoop;

impl HostUnderTest for WakeLoop {
    fn new() -> Self {
        WakeLoop
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.host(reactor.host("a loop that is woken")?, outside)
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        let host = reactor.host("a loop that is woken")?.exit_when_empty();
        self.host(host, Box::new(|| {}))
    }
}

impl WakeLoop {
    fn host(&self, host: Host<Shared>, outside: Outside) -> io::Result<()> {
        let (sender, woken) = channel();
        let mut host = host.wake_by(move || _ = sender.send(()))?;
        let mut outside = Some(outside);
        while host.step(8)?.is_continue() {
            outside.take().into_iter().for_each(|outside| outside());
            woken.recv().map_err(io::Error::other)?;
        }
        Ok(())
    }
}
