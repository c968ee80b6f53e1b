//! An end to waiting for events that were lost.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A measurement takes a fraction of a second, on a machine that is not busy otherwise.
const PATIENCE: Duration = Duration::from_secs(180);

/// Does `work`. If that has not come to an end after three minutes, the process is ended with a
/// sentence: a loop that waits for what was lost cannot be told to return.
pub(crate) fn with<T>(who: &str, work: impl FnOnce() -> T) -> T {
    let (working, watch) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("\n{who}: no end after {PATIENCE:?}: events were lost.");
                process::exit(1);
            }
        });
        // Dropped when the work is done, and when it panics.
        let _working = working;
        work()
    })
}
