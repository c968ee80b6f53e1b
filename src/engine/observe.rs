//! Observers of callbacks, `tracing` spans, and reports of callbacks that fail.

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::details::Details;
use crate::clock::nanoseconds;
use crate::id::Key;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, lock};
use crate::{CallbackKind, CallbackRun, FailedCallback, Id, outcome};

pub(crate) type Report = dyn Fn(&CallbackRun);

/// Reports callbacks that return an error.
pub(crate) type ErrorReport = Arc<dyn Fn(&FailedCallback) + Send + Sync>;

/// One observed call of a callback, which may still be running.
pub(super) struct Observed {
    run: CallbackRun,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

pub(super) struct Observers {
    on_error: Option<ErrorReport>,
    /// True if there are observers. Only then are calls timed.
    is_on: AtomicBool,
    /// The lowest threshold of all observers, in nanoseconds.
    threshold: AtomicU64,
    list: Mutex<Arc<[Observer]>>,
    longest: Mutex<Option<CallbackRun>>,
}

#[derive(Clone)]
struct Observer {
    key: Key,
    threshold: Duration,
    report: Arc<Report>,
}

impl Observers {
    pub(super) fn new(on_error: Option<ErrorReport>) -> Observers {
        Observers {
            on_error,
            is_on: AtomicBool::new(false),
            threshold: AtomicU64::new(u64::MAX),
            list: Mutex::new(Arc::default()),
            longest: Mutex::new(None),
        }
    }

    pub(super) fn add(&self, threshold: Duration, make: impl FnOnce(Key) -> Arc<Report>) -> Key {
        let key = Key::new(0);
        let report = make(key);
        let added = Observer {
            key,
            threshold,
            report,
        };
        self.change(|old| old.iter().cloned().chain([added]).collect());
        key
    }

    /// Removes an observer. The caller drops the result with no lock held.
    pub(super) fn remove(&self, key: Key) -> Option<impl Sized + use<>> {
        let mut found = false;
        let old = self.change(|old| {
            found = old.iter().any(|observer| observer.key == key);
            let others = old.iter().filter(|observer| observer.key != key);
            others.cloned().collect()
        });
        found.then_some(old)
    }

    /// Removes all observers. The caller drops the result with no lock held.
    pub(super) fn clear(&self) -> impl Sized + use<> {
        self.change(|_| Arc::default())
    }

    fn change(&self, make: impl FnOnce(&[Observer]) -> Arc<[Observer]>) -> Arc<[Observer]> {
        let mut list = lock(&self.list);
        let new = make(&list);
        let least = new.iter().map(|observer| observer.threshold).min();
        self.threshold
            .store(least.map_or(u64::MAX, nanoseconds), Relaxed);
        self.is_on.store(least.is_some(), Relaxed);
        std::mem::replace(&mut list, new)
    }

    /// Begins to observe a call, if there are observers or spans. Posts have no details.
    #[inline]
    pub(super) fn begin(
        &self,
        id: Id,
        location: &'static Location<'static>,
        details: Option<&Details>,
    ) -> Option<Observed> {
        if self.is_observed() {
            Some(Observed::new(id, location, details))
        } else {
            None
        }
    }

    #[inline]
    fn is_observed(&self) -> bool {
        #[cfg(feature = "tracing")]
        if tracing::enabled!(target: "oneloop", tracing::Level::TRACE) {
            return true;
        }
        self.is_on.load(Relaxed)
    }

    /// Tells the observers of a call. No lock is held, and the callback is back in its place, so that it stays if
    /// an observer panics.
    pub(super) fn report(&self, run: &CallbackRun) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let mut longest = lock(&self.longest);
        if longest
            .as_ref()
            .is_none_or(|longest| longest.took < run.took)
        {
            *longest = Some(run.clone());
        }
        drop(longest);
        if nanoseconds(run.took) < self.threshold.load(Relaxed) {
            return;
        }
        let list = lock(&self.list).clone();
        for observer in list
            .iter()
            .filter(|observer| observer.threshold <= run.took)
        {
            (observer.report)(run);
        }
    }

    /// Reports the error of a callback that was removed. No lock is held.
    #[cold]
    pub(super) fn fail(&self, failed: &FailedCallback) {
        match &self.on_error {
            Some(on_error) => on_error(failed),
            None => outcome::report(failed),
        }
    }

    pub(super) fn longest(&self) -> Option<CallbackRun> {
        lock(&self.longest).clone()
    }
}

pub(super) fn kind_of(id: Id) -> CallbackKind {
    match id {
        Id::Handler(_) => CallbackKind::Handler,
        Id::Timer(_) => CallbackKind::Timer,
        Id::Hook(_) => CallbackKind::Hook,
        Id::Post(_) => CallbackKind::Post,
    }
}

impl Observed {
    #[cold]
    fn new(id: Id, location: &'static Location<'static>, details: Option<&Details>) -> Observed {
        let kind = kind_of(id);
        let name = details.and_then(|details| details.name(id).cloned());
        #[cfg(feature = "tracing")]
        let span = match &name {
            Some(name) => {
                tracing::trace_span!(target: "oneloop", "callback", ?kind, %name, %location)
            }
            None => tracing::trace_span!(target: "oneloop", "callback", ?kind, %location),
        };
        Observed {
            run: CallbackRun {
                kind,
                id,
                name,
                location,
                started: Instant::now(),
                took: Duration::ZERO,
            },
            #[cfg(feature = "tracing")]
            span,
        }
    }

    /// Returns the call, which has ended.
    pub(super) fn run(&self) -> &CallbackRun {
        &self.run
    }

    #[cold]
    fn call<R>(&mut self, callback: impl FnOnce() -> R) -> R {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        let result = callback();
        self.run.took = self.run.started.elapsed();
        result
    }
}

/// Calls a callback, and times it if it is observed.
#[inline]
pub(super) fn call<R>(observed: &mut Option<Observed>, callback: impl FnOnce() -> R) -> R {
    match observed {
        None => callback(),
        Some(observed) => observed.call(callback),
    }
}
