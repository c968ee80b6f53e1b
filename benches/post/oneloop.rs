//! oneloop: a `Remote`, on three hosts.

use std::io;

use oneloop::{Interest, Mode, Reactor, Remote, Shared, VirtualSource, WeakReactor};

use crate::{Post, Work};

pub fn built_in(work: &Work) -> io::Result<()> {
    let reactor = Reactor::new()?;
    // Keeps the loop running while there is nothing else.
    let (never, _kept) = VirtualSource::pair();
    reactor.add_handler(never, Interest::READABLE, Mode::Edge, |_, _| {})?;
    work.begin(poster(&reactor));
    Ok(reactor.run()?)
}

pub fn on_tokio(work: &Work) -> io::Result<()> {
    let reactor = Reactor::new()?;
    work.begin(poster(&reactor));
    crate::tokio::runtime()?.block_on(oneloop_tokio::drive(&reactor))
}

pub fn on_async_io(work: &Work) -> io::Result<()> {
    let reactor = Reactor::new()?;
    work.begin(poster(&reactor));
    async_io::block_on(oneloop_async_io::drive(&reactor))
}

#[derive(Clone)]
struct Poster {
    remote: Remote,
    reactor: WeakReactor<Shared>,
}

fn poster(reactor: &Reactor) -> Poster {
    Poster {
        remote: reactor.remote(),
        reactor: reactor.downgrade(),
    }
}

impl Post for Poster {
    fn post(&self, callback: impl FnOnce() + Send + 'static) {
        let posted = self.remote.call_soon(callback);
        assert!(posted.is_ok(), "the loop is there");
    }

    fn end(&self) {
        let reactor = self.reactor.clone();
        self.post(move || reactor.upgrade().expect("it runs").stop());
    }
}
