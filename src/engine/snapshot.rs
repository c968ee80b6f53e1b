//! Snapshots. They copy a few registrations at a time under the lock, so that the loop can go on meanwhile.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::Core;
use super::deadline::NEVER;
use super::details::Details;
use super::handlers::{Descriptor, Handler, Limit, ReadySource};
use super::hooks::Hook;
use super::state::State;
use super::timers::Entry;
#[cfg(all(feature = "futures", feature = "tracing"))]
use crate::sync::atomic::Ordering;
use crate::sync::try_lock;
use crate::{
    DriverInfo, GuestInfo, HandlerId, HandlerInfo, HookId, HookInfo, Mode, Priority, RateLimit,
    ReadinessBy, Result, Snapshot, Stats, TimerId, TimerInfo,
};

/// Number of registrations for which the lock is held at a time.
const SOME: usize = 256;

impl Core {
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.check_process("snapshot")?;
        let taken = self.clock.instant();
        let state = self.state();
        let host = state.host.as_ref().map(|host| host.name);
        let driver = match (host, state.driver) {
            (Some(host), driver) => Some((host, true, driver.is_some())),
            (None, Some((call, _))) => Some((call, false, true)),
            (None, None) => None,
        };
        let hooks = state.hooks.iter();
        let hooks = hooks
            .map(|hook| self.hook_info(hook, &state.details))
            .collect();
        drop(state);
        let handlers = self.copy_all(|state, slots, copied| {
            let some = state.handlers.some(slots)?;
            let info = |(handler, on, limit)| self.handler_info(handler, on, limit, &state.details);
            copied.extend(some.map(info));
            Some(())
        });
        let timers = self.copy_all(|state, slots, copied| {
            let some = state.timers.some(slots)?;
            copied.extend(some.map(|entry| self.timer_info(entry, &state.details)));
            Some(())
        });
        let mut posts = Vec::new();
        for priority in [Priority::High, Priority::Normal, Priority::Idle] {
            let mut from = None;
            loop {
                posts.reserve(SOME);
                from = self.inbox.posts.copy(priority, from, SOME, &mut posts);
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(Snapshot {
            taken,
            driver: driver.map(|(name, is_host, is_driving)| DriverInfo {
                name,
                is_host,
                is_driving,
            }),
            is_alive: self.is_alive(),
            stats: self.stats(),
            handlers,
            timers,
            hooks,
            posts,
        })
    }

    pub(crate) fn stats(&self) -> Stats {
        let Some(state) = self.try_state() else {
            return Stats::default();
        };
        let kernel_changes = self.poller.changes();
        let [level, edge, oneshot] =
            [Mode::Level, Mode::Edge, Mode::Oneshot].map(|mode| state.handlers.len(mode));
        Stats {
            kernel_changes,
            kernel_changes_saved: state.handlers.changes().saturating_sub(kernel_changes),
            handlers: level + edge + oneshot,
            level_handlers: level,
            edge_handlers: edge,
            oneshot_handlers: oneshot,
            pending_timers: state.timers.len(),
            pending_posts: self.inbox.posts.waiting(),
            longest_callback: self.observers.longest(),
            ..state.stats.clone()
        }
    }

    /// Returns true if anything is left that could call back.
    pub(crate) fn is_alive(&self) -> bool {
        let Some(state) = self.try_state() else {
            return false;
        };
        if state.can_call() || self.inbox.posts.waiting() > 0 {
            return true;
        }
        drop(state);
        // If a turn is going on, it calls its left-overs itself.
        try_lock(&self.turn_state).is_some_and(|turn_state| turn_state.has_left_overs())
    }

    /// Returns the time of a deadline, unless it never comes.
    pub(super) fn instant_of(&self, deadline: u64) -> Option<Instant> {
        match deadline {
            NEVER => None,
            deadline => self.clock.instant_of(deadline),
        }
    }

    fn handler_info(
        &self,
        handler: &Handler,
        on: &Descriptor,
        limit: Option<&Limit>,
        details: &Details,
    ) -> HandlerInfo {
        let detail = details.of(HandlerId(handler.key).into());
        let readiness = match &on.source {
            ReadySource::ByKernel | ReadySource::Refused => ReadinessBy::Kernel,
            ReadySource::Always(_) => ReadinessBy::AlwaysReady,
            ReadySource::Diverted(_) => ReadinessBy::Thread,
            ReadySource::By(_) => ReadinessBy::SetReadiness,
        };
        let limit = limit.map(|limit| RateLimit {
            calls: limit.calls,
            per: Duration::from_nanos(limit.per),
            held_until: limit.held_until().and_then(|until| self.instant_of(until)),
        });
        HandlerInfo {
            id: HandlerId(handler.key),
            name: detail.name,
            fd: (readiness != ReadinessBy::SetReadiness).then_some(on.fd),
            event: detail.event,
            readiness,
            ready: on.ready(),
            interest: handler.interest,
            mode: handler.mode,
            priority: handler.priority,
            limit,
            is_armed: handler.armed,
            is_called_again: handler.again,
            is_closed: on.is_closed(),
            is_referenced: !handler.unreferenced,
            keeps_alive: handler.counted,
            location: handler.location,
            calls: handler.calls,
            time_spent: detail.time_spent,
            last_called: detail.last_called,
        }
    }

    fn timer_info(&self, entry: Entry<'_>, details: &Details) -> TimerInfo {
        let (timer, schedule) = (entry.timer, entry.schedule);
        let detail = details.of(TimerId(entry.key).into());
        TimerInfo {
            id: TimerId(entry.key),
            name: detail.name,
            deadline: self.instant_of(timer.deadline),
            period: schedule.every.map(Duration::from_nanos),
            system_time: schedule.at,
            is_referenced: !timer.unreferenced,
            keeps_alive: timer.is_active(),
            location: entry.location,
            calls: schedule.calls,
            time_spent: detail.time_spent,
            last_called: detail.last_called,
        }
    }

    fn hook_info(&self, hook: &Hook, details: &Details) -> HookInfo {
        let detail = details.of(HookId(hook.key).into());
        let guest = detail.guest.map(|guest| GuestInfo {
            turns: guest.turns.load(Relaxed),
            deadline: self.instant_of(guest.deadline.load(Relaxed)),
        });
        HookInfo {
            id: HookId(hook.key),
            name: detail.name,
            guest,
            keeps_alive: hook.is_referenced,
            location: hook.location,
            calls: hook.calls,
            time_spent: detail.time_spent,
            last_called: detail.last_called,
        }
    }

    /// Warns once if a future is about to wait for a loop that is not driven.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    pub(crate) fn warn_if_not_driven(&self) {
        let expected = self.expected_drives.load(Ordering::Relaxed) > 0;
        if !expected && !self.is_driven() && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "oneloop",
                "a future waits on a loop that is not driven, and will wait until it is"
            );
        }
    }

    /// Returns true if the loop has a driver, or a host has claimed it.
    #[cfg(all(feature = "futures", feature = "tracing"))]
    fn is_driven(&self) -> bool {
        let state = self.try_state();
        state.is_some_and(|state| state.driver.is_some() || state.host.is_some())
    }

    /// Calls `copy` for one range of slots after the other, under the lock, until it returns `None`.
    fn copy_all<T>(
        &self,
        copy: impl Fn(&State, Range<usize>, &mut Vec<T>) -> Option<()>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        // Only this list grows under the lock, and it has room already.
        let mut some = Vec::with_capacity(SOME);
        for begin in (0..).step_by(SOME) {
            let copied = copy(&self.state(), begin..begin + SOME, &mut some);
            if copied.is_none() {
                break;
            }
            all.append(&mut some);
        }
        all
    }
}
