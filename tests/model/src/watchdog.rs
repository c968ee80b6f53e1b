//! Stops loops that hang, so that a hang is a failure as any other, and shrinks.

use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use oneloop::{Reactor, Remote};

use crate::play::Play;
use crate::{Program, Setting};

/// No step takes that long, on a machine that has too much to do either.
const PATIENCE: Duration = Duration::from_secs(5);

struct Watched {
    play: Weak<Play>,
    remote: Remote,
    program: Program,
    setting: Setting,
    steps: u64,
    /// It was stopped, which may not help.
    stopped: bool,
}

static ALL: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Watches a program until the result is dropped.
pub(crate) fn watch(
    play: &Arc<Play>,
    reactor: &Reactor,
    program: &Program,
    setting: Setting,
) -> Watch {
    static THREAD: Once = Once::new();
    THREAD.call_once(|| drop(thread::spawn(keep_watch)));
    let watched = Watched {
        play: Arc::downgrade(play),
        remote: reactor.remote(),
        program: program.clone(),
        setting,
        steps: 0,
        stopped: false,
    };
    lock().push(watched);
    Watch(Arc::downgrade(play))
}

pub(crate) struct Watch(Weak<Play>);

impl Drop for Watch {
    fn drop(&mut self) {
        lock().retain(|one| !one.play.ptr_eq(&self.0));
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Watched>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep_watch() {
    loop {
        thread::sleep(PATIENCE);
        for one in lock().iter_mut() {
            let Some(play) = one.play.upgrade() else {
                continue;
            };
            let steps = play.steps.load(SeqCst).wrapping_add(1);
            if steps != one.steps {
                (one.steps, one.stopped) = (steps, false);
            } else if !one.stopped {
                one.stopped = true;
                play.hung.store(true, SeqCst);
                one.remote.stop();
            } else {
                let Watched {
                    program, setting, ..
                } = one;
                let text = format!("hangs, and cannot be stopped: {setting:?}\n{program}\n");
                // `eprint!` is kept for a test that fails.
                let _ = std::io::stderr().write_all(text.as_bytes());
                std::process::abort();
            }
        }
    }
}
