//! What is seen of callbacks from outside: how long they take, and `tracing` spans.

use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use crate::{CallbackKind, SlowCallback};

/// Who is told of slow callbacks.
#[derive(Clone)]
pub(crate) struct SlowReport {
    pub(crate) threshold: Duration,
    pub(crate) report: Arc<dyn Fn(&SlowCallback) + Send + Sync>,
}

pub(super) struct Observer {
    slow: Option<SlowReport>,
    longest: Mutex<Option<SlowCallback>>,
}

impl Observer {
    pub(super) fn new(slow: Option<SlowReport>) -> Observer {
        Observer {
            slow,
            longest: Mutex::new(None),
        }
    }

    /// Calls a callback. Without a threshold no clock is read.
    #[inline]
    pub(super) fn call<R>(
        &self,
        kind: CallbackKind,
        place: &'static Location<'static>,
        callback: impl FnOnce() -> R,
    ) -> R {
        #[cfg(feature = "tracing")]
        let _span = tracing::trace_span!(target: "oneloop", "callback", ?kind, %place).entered();
        match &self.slow {
            None => callback(),
            Some(slow) => {
                let start = Instant::now();
                let result = callback();
                let took = start.elapsed();
                self.note(slow, SlowCallback { kind, place, took });
                result
            }
        }
    }

    fn note(&self, slow: &SlowReport, call: SlowCallback) {
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        if longest.is_none_or(|longest| longest.took < call.took) {
            *longest = Some(call);
        }
        drop(longest);
        if call.took >= slow.threshold {
            (slow.report)(&call);
        }
    }

    pub(super) fn longest(&self) -> Option<SlowCallback> {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
