//! The server's view of a loop. Only code that names the kind of a loop can register closures of its own.

use std::time::Duration;

use oneloop::{
    Action, AddError, CallbackRun, Event, HandlerId, HookId, Interest, Local, Mode, ObserverId,
    Reactor, Result, Shared, Source, Threading, TimerId,
};

/// The kind of a loop that can be inspected: [`Shared`] or [`Local`].
pub trait Inspectable: Threading + Sized {
    #[doc(hidden)]
    fn current() -> Result<Reactor<Self>>;

    #[doc(hidden)]
    fn add_handler<S, F>(
        reactor: &Reactor<Self>,
        source: S,
        callback: F,
    ) -> std::result::Result<HandlerId, AddError<S>>
    where
        S: Source + Send + 'static,
        F: FnMut(&mut S, Event) -> Action + Send + 'static;

    #[doc(hidden)]
    fn call_every<F>(reactor: &Reactor<Self>, period: Duration, callback: F) -> Result<TimerId>
    where
        F: FnMut() -> Action + Send + 'static;

    #[doc(hidden)]
    fn observe<F>(reactor: &Reactor<Self>, report: F) -> Result<ObserverId>
    where
        F: Fn(&CallbackRun) + Send + 'static;

    #[doc(hidden)]
    fn add_hook<P, C>(reactor: &Reactor<Self>, prepare: P, check: C) -> Result<HookId>
    where
        P: FnMut() -> Option<Duration> + Send + 'static,
        C: FnMut() + Send + 'static;
}

macro_rules! kinds {
    ($($kind:ty, $current:ident;)*) => {$(
        impl Inspectable for $kind {
            fn current() -> Result<Reactor<Self>> {
                Reactor::$current()
            }

            fn add_handler<S, F>(
                reactor: &Reactor<Self>,
                source: S,
                callback: F,
            ) -> std::result::Result<HandlerId, AddError<S>>
            where
                S: Source + Send + 'static,
                F: FnMut(&mut S, Event) -> Action + Send + 'static,
            {
                reactor.add_handler(source, Interest::READABLE, Mode::Level, callback)
            }

            fn call_every<F>(
                reactor: &Reactor<Self>,
                period: Duration,
                callback: F,
            ) -> Result<TimerId>
            where
                F: FnMut() -> Action + Send + 'static,
            {
                reactor.call_every(period, callback)
            }

            fn observe<F>(reactor: &Reactor<Self>, report: F) -> Result<ObserverId>
            where
                F: Fn(&CallbackRun) + Send + 'static,
            {
                reactor.observe_callbacks(Duration::ZERO, report)
            }

            fn add_hook<P, C>(reactor: &Reactor<Self>, prepare: P, check: C) -> Result<HookId>
            where
                P: FnMut() -> Option<Duration> + Send + 'static,
                C: FnMut() + Send + 'static,
            {
                reactor.add_hook(prepare, check)
            }
        }
    )*};
}

kinds! {
    Shared, current;
    Local, current_local;
}
