//! What is seen of callbacks from outside: how long they take, and `tracing` spans.

use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::{Mutex, MutexGuard};
use crate::{CallbackKind, FailedCallback, SlowCallback, outcome};

/// Who is told of slow callbacks.
#[derive(Clone)]
pub(crate) struct SlowReport {
    pub(crate) threshold: Duration,
    pub(crate) report: Arc<dyn Fn(&SlowCallback) + Send + Sync>,
}

/// Who is told of callbacks that return an error.
pub(crate) type ErrorReport = Arc<dyn Fn(&FailedCallback) + Send + Sync>;

pub(super) struct Observer {
    slow: Option<SlowReport>,
    on_error: Option<ErrorReport>,
    longest: Mutex<Option<SlowCallback>>,
    /// To be reported once the callback is back in its place.
    unreported: Mutex<Option<SlowCallback>>,
}

impl Observer {
    pub(super) fn new(slow: Option<SlowReport>, on_error: Option<ErrorReport>) -> Observer {
        Observer {
            slow,
            on_error,
            longest: Mutex::new(None),
            unreported: Mutex::new(None),
        }
    }

    /// Calls a callback. Without a threshold no clock is read. True if it took long: `report` is to be
    /// called then, once the callback is back in its place. If that panics, it must not take it away.
    #[inline]
    pub(super) fn call<R>(
        &self,
        kind: CallbackKind,
        location: &'static Location<'static>,
        callback: impl FnOnce() -> R,
    ) -> (R, bool) {
        #[cfg(feature = "tracing")]
        let _span = tracing::trace_span!(target: "oneloop", "callback", ?kind, %location).entered();
        match &self.slow {
            None => (callback(), false),
            Some(slow) => {
                let start = Instant::now();
                let result = callback();
                let took = start.elapsed();
                let call = SlowCallback {
                    kind,
                    location,
                    took,
                };
                (result, self.note(slow, call))
            }
        }
    }

    fn note(&self, slow: &SlowReport, call: SlowCallback) -> bool {
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        if longest.is_none_or(|longest| longest.took < call.took) {
            *longest = Some(call);
        }
        let is_slow = call.took >= slow.threshold;
        if is_slow {
            *self.unreported() = Some(call);
        }
        is_slow
    }

    /// With no lock held.
    #[cold]
    pub(super) fn report(&self) {
        let call = self.unreported().take();
        if let Some((slow, call)) = self.slow.as_ref().zip(call) {
            (slow.report)(&call);
        }
    }

    /// Reports an error of a callback that is removed already. With no lock held.
    #[cold]
    pub(super) fn fail(&self, failed: &FailedCallback) {
        match &self.on_error {
            Some(on_error) => on_error(failed),
            None => outcome::report(failed),
        }
    }

    fn unreported(&self) -> MutexGuard<'_, Option<SlowCallback>> {
        let unreported = self.unreported.lock();
        unreported.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn longest(&self) -> Option<SlowCallback> {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
