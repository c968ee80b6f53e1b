use std::io;

use futures_lite::future::{yield_now, zip};
use oneloop::Reactor;
use oneloop_async_io::{drive, run};
use oneloop_conformance::{HostUnderTest, Outside};

async fn drive_beside(reactor: &Reactor, outside: Outside) -> io::Result<()> {
    let beside = async {
        yield_now().await;
        outside();
    };
    zip(drive(reactor), beside).await.0
}

/// async-io waits on this very thread.
pub struct BlockOn;

impl HostUnderTest for BlockOn {
    fn new() -> Self {
        BlockOn
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        async_io::block_on(drive_beside(reactor, outside))
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        async_io::block_on(run(reactor))
    }
}

/// A smol executor under a plain `block_on`: async-io's helper thread waits.
pub struct OnExecutor(async_executor::Executor<'static>);

impl HostUnderTest for OnExecutor {
    fn new() -> Self {
        OnExecutor(async_executor::Executor::new())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        let driving = self.0.spawn(drive(reactor));
        let beside = self.0.spawn(async {
            yield_now().await;
            outside();
        });
        let both = async { zip(driving, beside).await.0 };
        futures_lite::future::block_on(self.0.run(both))
    }
}
