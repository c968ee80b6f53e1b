use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::engine::Inbox;
use crate::sync::{Mutex, MutexGuard, lock};

/// A clock that stands still until a test moves it.
///
/// Tests of code with timers then take no real time and always run the same way.
/// [`Builder::clock`](crate::Builder::clock) gives it to a loop. Clones are the same clock and can be given
/// to several loops.
///
/// After the clock was moved, the loop's next turn fires everything that has become due, by deadline.
/// Deadlines for [`call_at`](crate::Reactor::call_at) count from [`Reactor::now`](crate::Reactor::now), not
/// from [`Instant::now`]. I/O, posts and the timeout of [`turn`](crate::Reactor::turn) remain real.
///
/// ```
/// use oneloop::{Reactor, TestClock};
/// use std::{sync::mpsc::channel, time::Duration};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = TestClock::new();
/// let reactor = Reactor::builder().clock(clock.clone()).build()?;
/// let (fired, log) = channel();
/// for hours in [3, 1, 2] {
///     let fired = fired.clone();
///     let delay = Duration::from_secs(3600 * hours);
///     reactor.call_later(delay, move || fired.send(hours).unwrap())?;
/// }
/// clock.advance(Duration::from_secs(2 * 3600));
/// reactor.turn(Some(Duration::ZERO))?;
/// assert_eq!(log.try_iter().collect::<Vec<_>>(), [1, 2]);
/// # Ok(())
/// # }
/// ```
///
/// When a turn finds nothing to do, an [eager](Self::eager) clock moves to the next timer by itself. Whole
/// programs and futures thus run through their timeouts:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use oneloop::{Reactor, TestClock};
/// # use std::time::Duration;
/// let clock = TestClock::eager();
/// let reactor = Reactor::builder().clock(clock.clone()).build()?;
/// let start = clock.now();
/// reactor.call_later(Duration::from_secs(86_400), || println!("tomorrow"))?;
/// reactor.run()?; // at once
/// assert_eq!(clock.now() - start, Duration::from_secs(86_400));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClock(Arc<Shared>);

struct Shared {
    eager: bool,
    time: Mutex<Time>,
}

struct Time {
    now: Instant,
    system: SystemTime,
    /// How often the system clock was set. Between two settings, its distance to the monotonic clock is
    /// constant.
    sets: u64,
    /// The loops that are woken when the clock moves.
    loops: Vec<Weak<Inbox>>,
}

impl TestClock {
    /// Makes a clock that moves only when it is told to. It begins at the real time.
    pub fn new() -> TestClock {
        TestClock::make(false)
    }

    /// Makes a clock that also moves to the next timer whenever a loop has nothing else to do. If another
    /// thread is about to post, the clock may move before the post.
    pub fn eager() -> TestClock {
        TestClock::make(true)
    }

    fn make(eager: bool) -> TestClock {
        TestClock(Arc::new(Shared {
            eager,
            time: Mutex::new(Time {
                now: Instant::now(),
                system: SystemTime::now(),
                sets: 0,
                loops: Vec::new(),
            }),
        }))
    }

    /// Returns the monotonic time.
    pub fn now(&self) -> Instant {
        self.time().now
    }

    /// Returns the time of the system clock, which moves with the monotonic clock and can be set.
    pub fn system_now(&self) -> SystemTime {
        self.time().system
    }

    /// Moves both clocks and wakes the loops. A clock stops at the last time that it can represent.
    pub fn advance(&self, time: Duration) {
        self.change(|now| {
            let next = (now.now.checked_add(time), now.system.checked_add(time));
            // The last times of the two clocks may differ.
            now.sets += u64::from(next.0.is_none() | next.1.is_none());
            now.now = next.0.unwrap_or(now.now);
            now.system = next.1.unwrap_or(now.system);
        });
    }

    /// Sets the system clock, like an administrator, and leaves the monotonic clock alone.
    pub fn set_system(&self, time: SystemTime) {
        self.change(|now| {
            now.system = time;
            now.sets += 1;
        });
    }

    pub(crate) fn is_eager(&self) -> bool {
        self.0.eager
    }

    pub(crate) fn wakes(&self, inbox: &Arc<Inbox>) {
        self.time().loops.push(Arc::downgrade(inbox));
    }

    fn change(&self, change: impl FnOnce(&mut Time)) {
        let loops: Vec<Arc<Inbox>> = {
            let mut time = self.time();
            change(&mut time);
            time.loops.retain(|inbox| inbox.strong_count() > 0);
            time.loops.iter().filter_map(Weak::upgrade).collect()
        };
        loops.iter().for_each(|inbox| inbox.wake());
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        lock(&self.0.time)
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clock = f.debug_struct("TestClock");
        clock.field("now", &self.now());
        clock.field("system_now", &self.system_now()).finish()
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The clock of a loop. Deadlines are nanoseconds since `base`.
pub(crate) struct Clock {
    /// A time so long ago that every deadline comes after it.
    base: Instant,
    source: ClockSource,
    /// The last known number of nanoseconds by which the system clock is ahead of this one.
    ahead: AtomicI64,
}

/// The origin of a loop's time.
pub(crate) enum ClockSource {
    Real,
    Test(TestClock),
    #[cfg(feature = "__testing")]
    Double(crate::testing::ReadClock),
}

impl From<Option<TestClock>> for ClockSource {
    fn from(test: Option<TestClock>) -> ClockSource {
        test.map_or(ClockSource::Real, ClockSource::Test)
    }
}

/// The largest error, in nanoseconds, of the known difference to the system clock. Two readings of two clocks
/// never agree exactly, and timers for one system time must get one deadline.
const SLACK: u128 = 50_000;

impl Clock {
    pub(crate) fn new(source: ClockSource, inbox: &Arc<Inbox>) -> Clock {
        if let ClockSource::Test(test) = &source {
            test.wakes(inbox);
        }
        let mut clock = Clock {
            base: Instant::now(),
            source,
            ahead: AtomicI64::new(0),
        };
        let now = clock.instant();
        clock.base = now.checked_sub(CENTURY).unwrap_or(now);
        clock
    }

    pub(crate) fn test(&self) -> Option<&TestClock> {
        match &self.source {
            ClockSource::Test(test) => Some(test),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn is_test(&self) -> bool {
        matches!(self.source, ClockSource::Test(_))
    }

    pub(crate) fn instant(&self) -> Instant {
        match &self.source {
            ClockSource::Real => Instant::now(),
            ClockSource::Test(test) => test.now(),
            #[cfg(feature = "__testing")]
            ClockSource::Double(read) => read(),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.deadline(self.instant())
    }

    pub(crate) fn deadline(&self, instant: Instant) -> u64 {
        nanoseconds(instant.saturating_duration_since(self.base))
    }

    pub(crate) fn deadline_in(&self, delay: Duration) -> u64 {
        self.now().saturating_add(nanoseconds(delay))
    }

    /// Returns the time until the deadline.
    pub(crate) fn until(&self, deadline: u64) -> Duration {
        Duration::from_nanos(deadline.saturating_sub(self.now()))
    }

    /// Returns the deadline at which the system clock will show `time`, unless the clock is set.
    pub(crate) fn deadline_of(&self, time: SystemTime) -> u64 {
        let known = i128::from(self.ahead.load(Relaxed));
        let is_known = |ahead: i128| !self.is_test() && ahead.abs_diff(known) <= SLACK;
        let ahead = self.look();
        // A reading in which this thread was interrupted is no change of the clock.
        if is_known(ahead) || is_known(self.best_look(ahead)) {
            return deadline_at(time, known);
        }
        deadline_at(time, self.look_again(ahead))
    }

    /// Returns that deadline again, for a timer that would have been early.
    pub(crate) fn later_deadline_of(&self, time: SystemTime) -> u64 {
        deadline_at(time, self.look_again(self.look()))
    }

    /// Returns how many nanoseconds the system clock is ahead.
    fn look(&self) -> i128 {
        // This order makes deadlines later and not earlier if time passes between the readings.
        let system = since_zero(self.system());
        system - i128::from(self.now())
    }

    /// Reads the clocks a few more times. An interruption between two readings lowers the result, so the
    /// highest one is the best.
    fn best_look(&self, ahead: i128) -> i128 {
        (0..4).fold(ahead, |ahead, _| ahead.max(self.look()))
    }

    /// Reads the clocks again and stores the result.
    fn look_again(&self, ahead: i128) -> i128 {
        if self.is_test() {
            return ahead;
        }
        let ahead = self.best_look(ahead);
        if let Ok(known) = i64::try_from(ahead) {
            self.ahead.store(known, Relaxed);
        }
        ahead
    }

    /// Returns how often a test has set its system clock. For the real clock, the kernel reports settings.
    pub(crate) fn sets(&self) -> u64 {
        self.test().map_or(0, |test| test.time().sets)
    }

    pub(crate) fn system(&self) -> SystemTime {
        match self.test() {
            None => SystemTime::now(),
            Some(test) => test.system_now(),
        }
    }

    pub(crate) fn instant_of(&self, deadline: u64) -> Option<Instant> {
        self.base.checked_add(Duration::from_nanos(deadline))
    }
}

/// Returns the nanoseconds since 1970.
fn since_zero(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

fn deadline_at(time: SystemTime, ahead: i128) -> u64 {
    let deadline = since_zero(time) - ahead;
    u64::try_from(deadline.max(0)).unwrap_or(u64::MAX)
}

/// Saturates after five centuries.
#[inline]
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::from(duration.subsec_nanos()))
}
