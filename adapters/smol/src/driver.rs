//! The thread that drives the loop.
//!
//! One thread at a time has the seat and takes turns of the loop. Every other thread in [`block_on`] is a
//! standby. It is parked until its future is woken or the seat is offered to it. These rules keep every event
//! on time, and most events on the thread that waits for them:
//!
//! - A thread leaves the seat before it polls its future, so a nested [`block_on`] can take it.
//! - A thread whose turn has woken another standby leaves the seat to it.
//! - A thread that leaves the seat and does not wait any more offers it to the standby of longest standing. So
//!   does a thread that polls its future, if that standby has waited for [`PATIENCE`]. After that time a
//!   standby also looks once by itself. A future whose poll takes long therefore delays the tasks of other
//!   threads by that time at most.
//!
//! The helper thread is a standby without a future. It begins when a task waits outside of every `block_on`,
//! and when the last `block_on` returns and leaves tasks behind. Without tasks outside, it ends after
//! [`LINGER`] in which calls of `block_on` drove, or in which nothing was to be done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::reactor::{self, Loop};

/// The time after which a standby is offered the seat by a thread that will want it back.
const PATIENCE: Duration = Duration::from_millis(10);

/// The time for which a helper thread that is not needed stays, so that a series of short calls of `block_on`
/// does not make a thread for each.
const LINGER: Duration = Duration::from_secs(1);

/// The first pause before a loop with another driver, or one whose kernel fails, is tried again. Each further pause is
/// twice as long.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// Blocks the thread until `future` is ready. While it waits, the thread drives the loop if no other does.
///
/// ```
/// use async_io::Timer;
/// use std::time::Duration;
///
/// async_io::block_on(async {
///     Timer::after(Duration::from_millis(1)).await;
/// });
/// ```
///
/// # Panics
///
/// Panics if the future does, or a callback on the [installed](crate::install) reactor that this thread calls.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let call = Call::begin();
    let mut cx = Context::from_waker(&call.waker);
    loop {
        call.sitter.woken.store(false, Ordering::SeqCst);
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        call.sitter.wait_until_woken(reactor::get());
    }
}

/// Number of calls of [`block_on`].
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The sitter of this thread's outermost `block_on`, for the next one.
    static SPARE: RefCell<Option<(Arc<Sitter>, Waker)>> = const { RefCell::new(None) };

    /// Number of calls of `block_on` that this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };

    /// This thread is in a turn of the loop.
    static TURNING: Cell<bool> = const { Cell::new(false) };

    /// This thread's turn has woken another standby.
    static WOKE_OTHER: Cell<bool> = const { Cell::new(false) };
}

/// One call of [`block_on`].
struct Call {
    sitter: Arc<Sitter>,
    waker: Waker,
}

impl Call {
    fn begin() -> Call {
        CALLS.fetch_add(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() + 1);
        let spare = SPARE.with(|spare| spare.take());
        let (sitter, waker) = spare.unwrap_or_else(|| {
            let sitter = Arc::new(Sitter::new(thread::current()));
            (sitter.clone(), Waker::from(sitter))
        });
        // An earlier call may have ended by a panic.
        sitter.phase.store(AWAKE, Ordering::SeqCst);
        Call { sitter, waker }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        let spare = (self.sitter.clone(), self.waker.clone());
        // A thread that ends has no place for it any more.
        let _ = SPARE.try_with(|place| place.replace(Some(spare)));
        let is_last = CALLS.fetch_sub(1, Ordering::SeqCst) == 1;
        end_call(is_last);
    }
}

/// A thread that may take the seat: one for each call of [`block_on`], and one for the helper thread.
struct Sitter {
    thread: Thread,
    woken: AtomicBool,
    /// The seat was offered.
    offered: AtomicBool,
    phase: AtomicU8,
}

/// Neither parked nor in a turn: whatever happens, it looks before it waits.
const AWAKE: u8 = 0;
const PARKED: u8 = 1;
const DRIVING: u8 = 2;

impl Wake for Sitter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        match self.phase.load(Ordering::SeqCst) {
            PARKED => {
                if TURNING.try_with(Cell::get) == Ok(true) {
                    WOKE_OTHER.set(true);
                }
                self.thread.unpark();
            }
            // A turn of this thread's own ends by itself.
            DRIVING if TURNING.try_with(Cell::get) != Ok(true) => reactor::get().reactor.wake(),
            _ => {}
        }
    }
}

impl Sitter {
    fn new(thread: Thread) -> Sitter {
        Sitter {
            thread,
            woken: AtomicBool::new(false),
            offered: AtomicBool::new(false),
            phase: AtomicU8::new(AWAKE),
        }
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    fn wait_until_woken(self: &Arc<Self>, on: &Loop) {
        let mut pause = PAUSE;
        let mut seat = Seat::take_or_stand_by(self);
        while let Some(taken) = seat {
            match self.drive(on) {
                Drove::Woken => return,
                // The standby that was woken takes it by itself.
                Drove::ForOthers => {
                    drop(taken);
                    seat = Seat::stand_by(self);
                }
                Drove::Cannot => {
                    drop(taken);
                    self.park(Some(pause));
                    pause = (2 * pause).min(LONGEST_PAUSE);
                    seat = Seat::take_or_stand_by(self);
                }
            }
        }
    }

    /// Takes turns until this sitter is woken, or another should have the seat.
    fn drive(&self, on: &Loop) -> Drove {
        loop {
            self.phase.store(DRIVING, Ordering::SeqCst);
            let drove = if self.is_woken() {
                Drove::Woken
            } else {
                turn(on, None)
            };
            self.phase.store(AWAKE, Ordering::SeqCst);
            if self.is_woken() {
                return Drove::Woken;
            }
            match drove {
                // The turn was for tasks of this thread that wake no future, or for callbacks.
                Drove::Woken => {}
                other => return other,
            }
        }
    }

    /// Sleeps until this sitter is woken or offered the seat. Returns false after `limit`.
    fn park(&self, limit: Option<Duration>) -> bool {
        self.phase.store(PARKED, Ordering::SeqCst);
        let until = limit.map(|limit| Instant::now() + limit);
        let in_time = loop {
            if self.is_woken() || self.offered.load(Ordering::SeqCst) {
                break true;
            }
            match until {
                None => thread::park(),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break false;
                    }
                    thread::park_timeout(left);
                }
            }
        };
        self.phase.store(AWAKE, Ordering::SeqCst);
        in_time
    }
}

/// The result of driving.
enum Drove {
    /// This thread may have been woken.
    Woken,
    /// Another standby was woken.
    ForOthers,
    /// The loop has another driver, is closed, or its kernel fails.
    Cannot,
}

/// Takes one turn.
fn turn(on: &Loop, timeout: Option<Duration>) -> Drove {
    struct Turning;
    impl Drop for Turning {
        fn drop(&mut self) {
            TURNING.set(false);
        }
    }
    WOKE_OTHER.set(false);
    TURNING.set(true);
    let turning = Turning;
    let turned = on.reactor.turn_if_free(timeout);
    drop(turning);
    match turned {
        Err(_) | Ok(None) => Drove::Cannot,
        Ok(Some(_)) if WOKE_OTHER.get() => Drove::ForOthers,
        Ok(Some(_)) => Drove::Woken,
    }
}

/// The right to take turns.
struct Seat;

static SEATING: Mutex<Seating> = Mutex::new(Seating {
    is_taken: false,
    standby: VecDeque::new(),
    helper: None,
});

struct Seating {
    is_taken: bool,
    /// The threads that wait without the seat, the one of longest standing first.
    standby: VecDeque<Standby>,
    helper: Option<Arc<Sitter>>,
}

struct Standby {
    sitter: Arc<Sitter>,
    since: Instant,
}

fn seating() -> MutexGuard<'static, Seating> {
    SEATING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seating {
    fn take(&mut self) -> Option<Seat> {
        if self.is_taken {
            return None;
        }
        self.is_taken = true;
        Some(Seat)
    }

    fn enlist(&mut self, sitter: &Arc<Sitter>) {
        self.standby.push_back(Standby {
            sitter: sitter.clone(),
            since: Instant::now(),
        });
    }

    fn strike(&mut self, sitter: &Arc<Sitter>) {
        self.standby
            .retain(|standby| !Arc::ptr_eq(&standby.sitter, sitter));
    }

    /// Offers a free seat to the standby of longest standing.
    fn offer(&mut self) {
        if self.is_taken {
            return;
        }
        if let Some(first) = self.standby.pop_front() {
            first.sitter.offered.store(true, Ordering::SeqCst);
            first.sitter.thread.unpark();
        }
    }
}

impl Seat {
    /// Waits for the seat. Returns nothing if the sitter is woken first.
    fn take_or_stand_by(sitter: &Arc<Sitter>) -> Option<Seat> {
        let mut seating = seating();
        let taken = seating.take();
        if taken.is_some() {
            return taken;
        }
        seating.enlist(sitter);
        drop(seating);
        Seat::wait_for(sitter, None)
    }

    /// Waits for the seat, and lets others go first.
    fn stand_by(sitter: &Arc<Sitter>) -> Option<Seat> {
        seating().enlist(sitter);
        Seat::wait_for(sitter, None)
    }

    /// Waits for the seat as one of the list, but not longer than for `limit`.
    fn wait_for(sitter: &Arc<Sitter>, limit: Option<Duration>) -> Option<Seat> {
        let mut patience = Some(PATIENCE);
        loop {
            let in_time = sitter.park(patience.or(limit));
            let mut seating = seating();
            if sitter.offered.swap(false, Ordering::SeqCst) {
                // The one that offered it has taken this sitter off the list.
                if sitter.is_woken() {
                    // Another has to sit instead.
                    seating.offer();
                    return None;
                }
                let taken = seating.take();
                if taken.is_some() {
                    return taken;
                }
                seating.enlist(sitter);
                patience = Some(PATIENCE);
                continue;
            }
            let ends = if sitter.is_woken() {
                Some(None)
            } else if in_time {
                None
            } else {
                let taken = seating.take();
                let is_over = patience.is_none();
                patience = None;
                (taken.is_some() || is_over).then_some(taken)
            };
            if let Some(seat) = ends {
                seating.strike(sitter);
                return seat;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seating = seating();
        seating.is_taken = false;
        let first = seating.standby.front();
        if first.is_some_and(|first| first.since.elapsed() >= PATIENCE) {
            seating.offer();
        }
    }
}

/// Sees to it that other tasks go on when a [`block_on`] returns.
fn end_call(is_last: bool) {
    let mut seating = seating();
    seating.offer();
    if !is_last || seating.helper.is_some() {
        return;
    }
    drop(seating);
    let made = reactor::get_if_made().filter(|made| !made.is_installed);
    if made.is_some_and(|made| made.reactor.is_alive()) {
        begin_to_help();
    }
}

/// A task has begun to wait outside of every `block_on`. From then on, the helper thread stays.
static WAITS_OUTSIDE: AtomicBool = AtomicBool::new(false);

/// Sees to it that the loop is driven, now that a task waits.
#[inline]
pub(crate) fn waiting() {
    if !WAITS_OUTSIDE.load(Ordering::SeqCst) && DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
        wait_outside();
    }
}

#[cold]
fn wait_outside() {
    if !reactor::get().is_installed {
        WAITS_OUTSIDE.store(true, Ordering::SeqCst);
        begin_to_help();
    }
}

/// Begins the helper thread, if there is none.
///
/// # Panics
///
/// Panics if the system has no room for a thread, since the tasks that wait would do so for ever.
fn begin_to_help() {
    let mut seating = seating();
    if seating.helper.is_some() {
        return;
    }
    let thread = thread::Builder::new().name("async-io".into()).spawn(help);
    match thread {
        Ok(thread) => seating.helper = Some(Arc::new(Sitter::new(thread.thread().clone()))),
        Err(error) => {
            drop(seating);
            panic!("cannot make the thread async-io: {error}");
        }
    }
}

/// The helper thread. It ends when it is not needed.
fn help() {
    let Some(sitter) = seating().helper.clone() else {
        return;
    };
    let on = reactor::get();
    let mut seat = seating().take();
    let mut last_needed = Instant::now();
    loop {
        let others_drive = || CALLS.load(Ordering::SeqCst) > 0;
        let waits_outside = || WAITS_OUTSIDE.load(Ordering::SeqCst);
        if !others_drive() {
            last_needed = Instant::now();
        } else if last_needed.elapsed() >= LINGER && end_help(|| others_drive() && !waits_outside())
        {
            return;
        }
        let Some(taken) = seat else {
            seating().enlist(&sitter);
            seat = Seat::wait_for(&sitter, Some(LINGER));
            continue;
        };
        let is_awaited = || waits_outside() || on.reactor.is_alive();
        let timeout = if is_awaited() { None } else { Some(LINGER) };
        sitter.phase.store(DRIVING, Ordering::SeqCst);
        let turned = panic::catch_unwind(AssertUnwindSafe(|| turn(on, timeout)));
        sitter.phase.store(AWAKE, Ordering::SeqCst);
        if let Ok(Drove::Cannot) = turned {
            thread::sleep(PAUSE);
        }
        seat = if others_drive() {
            drop(taken);
            // A call that has just begun does not know that the seat is free.
            seating().offer();
            None
        } else if timeout.is_some() && end_help(|| !is_awaited()) {
            return;
        } else {
            Some(taken)
        };
    }
}

/// Ends the helper thread if it is not needed. Others see either that it is still there, or that it is not.
fn end_help(is_not_needed: impl Fn() -> bool) -> bool {
    let mut seating = seating();
    let ends = is_not_needed();
    if ends {
        seating.helper = None;
    }
    ends
}

/// Passes a result on. If it is pending, sees to it that the loop is driven.
#[inline]
pub(crate) fn awaited<T>(polled: Poll<T>) -> Poll<T> {
    if polled.is_pending() {
        waiting();
    }
    polled
}
