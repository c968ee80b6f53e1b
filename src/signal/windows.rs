//! Windows has no signals. The console tells of two keys, on a thread of its own. `signal` of the C runtime rests on
//! that, too, but forgets its handler with each call.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Foundation::{FALSE, TRUE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

use crate::{Ready, SetReadiness, Source, SourceKind, VirtualSource};

/// A source that becomes readable when a key is pressed. Dropping it ends the watch.
pub(crate) struct SignalWatch {
    source: VirtualSource,
    readiness: Arc<SetReadiness>,
}

/// The watches of the process. The console's thread takes the lock, and then those of sources and inboxes.
static WATCHED: Mutex<Vec<(u32, Arc<SetReadiness>)>> = Mutex::new(Vec::new());

impl SignalWatch {
    pub(crate) fn new(signal: i32) -> io::Result<SignalWatch> {
        /// The number of Ctrl-Break in the C runtime. The crate `libc` lacks it.
        const SIGBREAK: i32 = 21;
        let event = match signal {
            libc::SIGINT => CTRL_C_EVENT,
            SIGBREAK => CTRL_BREAK_EVENT,
            _ => {
                let why = "Windows has SIGINT, which is Ctrl-C, and SIGBREAK (21) only";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        };
        install()?;
        let (source, readiness) = VirtualSource::pair();
        let readiness = Arc::new(readiness);
        watched().push((event, readiness.clone()));
        Ok(SignalWatch { source, readiness })
    }

    /// This must happen before the signal's work is done, so that a later signal is noticed again.
    pub(crate) fn drain(&mut self) {
        self.readiness.clear(Ready::READABLE);
    }
}

/// Installs the handler, for good. The console calls it with a lock held that a removal takes, too.
fn install() -> io::Result<()> {
    static IS_INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut is_installed = IS_INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handler is a function, which stays where it is.
    if !*is_installed && unsafe { SetConsoleCtrlHandler(Some(on_event), TRUE) } == FALSE {
        return Err(io::Error::last_os_error());
    }
    *is_installed = true;
    Ok(())
}

fn watched() -> MutexGuard<'static, Vec<(u32, Arc<SetReadiness>)>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns true if there is a watch, so that the console asks no other handler. The last one ends the process.
unsafe extern "system" fn on_event(event: u32) -> BOOL {
    let mut is_watched = FALSE;
    for (_, readiness) in watched().iter().filter(|(of, _)| *of == event) {
        readiness.set(Ready::READABLE);
        is_watched = TRUE;
    }
    is_watched
}

impl Source for SignalWatch {
    fn kind(&self) -> SourceKind<'_> {
        SourceKind::Virtual(&self.source)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        watched().retain(|(_, readiness)| !Arc::ptr_eq(readiness, &self.readiness));
    }
}
