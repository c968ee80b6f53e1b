use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use futures_lite::future::{or, yield_now};
use oneloop::Reactor;
use tokio::runtime::{Builder, Runtime};

use crate::thread::{Bang, Random};

/// Drives a reactor for a while, by one host after the other.
pub struct Legs {
    reactor: Reactor,
    tokio: Runtime,
    threads: Runtime,
}

impl Legs {
    pub fn new(reactor: &Reactor) -> Legs {
        let tokio = Builder::new_current_thread().enable_all().build();
        let threads = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Legs {
            reactor: reactor.clone(),
            tokio: tokio.unwrap(),
            threads: threads.unwrap(),
        }
    }

    /// Some milliseconds, unless a thread stops it.
    pub fn drive(&mut self, random: &mut Random) {
        let time = Duration::from_micros(random.below(4000));
        let leg = random.below(7);
        let drive = || self.leg(leg, time);
        match random.below(3) {
            // On another thread, for once.
            0 => std::thread::scope(|scope| scope.spawn(|| survive(drive)).join().unwrap()),
            _ => survive(drive),
        }
    }

    fn leg(&self, leg: u64, time: Duration) -> io::Result<()> {
        let reactor = &self.reactor;
        match leg {
            0 => {
                let stopper = reactor.remote();
                let stop = reactor.call_later(time, move || stopper.stop())?;
                let ran = reactor.run();
                let _ = reactor.cancel_timer(stop);
                Ok(ran?)
            }
            1 => Ok(reactor.turn(Some(time)).map(drop)?),
            2 => {
                let timer = oneloop::futures::Timer::after(reactor, time);
                let _stopped = reactor.block_on(timer);
                Ok(())
            }
            // Dropped in the middle.
            3 => self.tokio.block_on(async {
                let driving = oneloop_tokio::drive(reactor);
                tokio::time::timeout(time, driving).await.unwrap_or(Ok(()))
            }),
            // Aborted in the middle, on one of two threads.
            4 => self.threads.block_on(async {
                let driving = tokio::spawn(oneloop_tokio::drive(reactor));
                tokio::time::sleep(time).await;
                driving.abort();
                match driving.await {
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    _ => Ok(()),
                }
            }),
            5 => async_io::block_on(or(oneloop_async_io::drive(reactor), async {
                async_io::Timer::after(time).await;
                Ok(())
            })),
            // An executor that knows nothing of async-io.
            _ => futures_lite::future::block_on(or(oneloop_async_io::drive(reactor), async {
                async_io::Timer::after(time).await;
                yield_now().await;
                Ok(())
            })),
        }
    }

    /// On one host, however long it takes. There are [`Self::HOSTS`].
    pub fn drive_until_stopped(&self, host: u64) -> io::Result<()> {
        let reactor = &self.reactor;
        match host {
            0 => Ok(reactor.run()?),
            1 => {
                while !reactor.turn(None)?.stopped {}
                Ok(())
            }
            2 => self.tokio.block_on(oneloop_tokio::drive(reactor)),
            3 => self.threads.block_on(async {
                let driving = tokio::spawn(oneloop_tokio::drive(reactor));
                driving.await.map_err(io::Error::other)?
            }),
            4 => async_io::block_on(oneloop_async_io::drive(reactor)),
            // An executor that knows nothing of async-io.
            _ => futures_lite::future::block_on(oneloop_async_io::drive(reactor)),
        }
    }

    pub const HOSTS: u64 = 6;

    /// One turn that does not wait.
    pub fn turn(&mut self) {
        survive(|| Ok(self.reactor.turn(Some(Duration::ZERO)).map(drop)?));
    }

    /// Until nothing is left that could call back.
    pub fn drive_to_the_end(&mut self) {
        let mut over = false;
        while !over {
            survive(|| {
                // A stop that is left over ends it before its time.
                while !self.reactor.turn(Some(Duration::ZERO))?.idle {}
                self.reactor.run()?;
                over = true;
                Ok(())
            });
        }
    }
}

/// A callback may have panicked: that is part of the test.
pub fn survive(drive: impl FnOnce() -> io::Result<()>) {
    match catch_unwind(AssertUnwindSafe(drive)) {
        Ok(driven) => driven.unwrap(),
        Err(panic) if panic.is::<Bang>() => {}
        Err(panic) => resume_unwind(panic),
    }
}
