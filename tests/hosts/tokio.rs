use std::io;
use std::panic::resume_unwind;

use oneloop::Reactor;
use oneloop_conformance::{HostUnderTest, Outside};
use oneloop_tokio::{drive, run};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// The result of a task, or its panic.
async fn join(task: JoinHandle<io::Result<()>>) -> io::Result<()> {
    match task.await {
        Ok(result) => result,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Awaited in `block_on`, beside a future that acts while the reactor sleeps.
pub struct CurrentThread(Runtime);

impl HostUnderTest for CurrentThread {
    fn new() -> Self {
        CurrentThread(current_thread())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.0.block_on(async {
            let beside = async {
                yield_now().await;
                outside();
                Ok(())
            };
            let (driven, beside) = futures_lite::future::zip(drive(reactor), beside).await;
            driven.and(beside)
        })
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        self.0.block_on(run(reactor))
    }
}

/// Spawned; it wanders between two workers.
pub struct MultiThread(Runtime);

impl HostUnderTest for MultiThread {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        MultiThread(runtime.expect("a runtime"))
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.0.block_on(async {
            let driving = tokio::spawn(drive(reactor));
            tokio::spawn(async { outside() });
            join(driving).await
        })
    }

    fn drive_until_empty(&mut self, reactor: &Reactor) -> io::Result<()> {
        self.0
            .block_on(async { join(tokio::spawn(run(reactor))).await })
    }
}

/// Spawned on a `LocalSet`, as the drive of a `LocalReactor` has to be.
pub struct OnLocalSet(Runtime, LocalSet);

impl HostUnderTest for OnLocalSet {
    fn new() -> Self {
        OnLocalSet(current_thread(), LocalSet::new())
    }

    fn drive(&mut self, reactor: &Reactor, outside: Outside) -> io::Result<()> {
        self.1.block_on(&self.0, async {
            let driving = spawn_local(drive(reactor));
            spawn_local(async {
                yield_now().await;
                outside();
            });
            join(driving).await
        })
    }
}
