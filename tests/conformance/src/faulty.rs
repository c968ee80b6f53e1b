//! A backend that decorates another and fails on command: what a kernel may do, and hardly ever does.

use rustix::fd::RawFd;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use oneloop::testing::{Backend, Buffer, CLOCK, Doubles, Found, OURS, Wake, Watch, backend};
use oneloop::{Interest, PollerKind, Reactor, Ready};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The call fails with this code of the system, and does nothing.
    Fails(Call, i32),
    /// A wait fetches so many events and no more; the kernel has the others for the next.
    Short(usize),
    /// A wait also brings an event for a descriptor that may not be ready.
    Unready,
    /// Like that, with all that its handlers have not asked for.
    Unasked,
    /// A wait also brings an event under a key that means no handler any more.
    Gone,
    /// A wait also says that the system clock was set. Only where a kernel would, on Linux.
    ClockSet,
    /// A wait returns at once.
    Early,
    /// A wait returns so much later.
    Late(Duration),
    /// The monotonic clock shows what it showed the time before.
    StandingClock,
}

/// The calls that can fail. (A poller that cannot be made needs no help: see `tests/limits.rs`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A descriptor is put into a set.
    Add,
    /// It is asked for something else.
    Modify,
    /// It is taken out.
    Delete,
    /// The wait.
    Wait,
    /// The look at the second set, after a wait that has found it ready.
    WaitForEdges,
    /// The wake, which writes to an eventfd.
    Wake,
    /// The alarm for hosts, a timerfd, is armed.
    Alarm,
    /// The timerfd that watches the system clock is made or armed.
    Clock,
    /// The second set is made.
    Create,
    /// A descriptor of the poller's own is put into the main set.
    Nest,
    /// A set is rebuilt.
    Renew,
}

/// The faults of one loop. Clones are the same.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Orders>>);

#[derive(Default)]
struct Orders {
    open: Vec<Order>,
    injected: BTreeMap<Fault, u64>,
    /// The time at which the clock began to stand still.
    clock: Option<Instant>,
}

struct Order {
    fault: Fault,
    /// For this descriptor only.
    fd: Option<RawFd>,
    /// So many occasions are let pass first.
    skip: u64,
    left: u64,
}

impl Faults {
    /// Orders a fault, for the next so many occasions.
    pub fn order(&self, fault: Fault, times: u64) {
        self.push(fault, None, 0, times);
    }

    /// Injects the fault for this descriptor only.
    pub fn order_for(&self, fd: RawFd, fault: Fault, times: u64) {
        self.push(fault, Some(fd), 0, times);
    }

    /// Injects the fault once, after so many occasions.
    pub fn order_after(&self, skip: u64, fd: RawFd, fault: Fault) {
        self.push(fault, Some(fd), skip, 1);
    }

    /// Calls everything off.
    pub fn clear(&self) {
        let mut orders = self.orders();
        orders.open.clear();
        orders.clock = None;
    }

    /// Whether an order was not carried out to its end.
    pub fn is_pending(&self) -> bool {
        !self.orders().open.is_empty()
    }

    /// The faults that were injected so far, and how often.
    pub fn injected(&self) -> BTreeMap<Fault, u64> {
        self.orders().injected.clone()
    }

    /// Makes a reactor in which these faults happen.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`](oneloop::Builder::build).
    pub fn reactor(&self, poller: PollerKind) -> oneloop::Result<Reactor> {
        let (faults, clock) = (self.clone(), self.clone());
        let make = move |kind| Ok(faults.decorate(backend(kind)?, Call::Wait));
        let doubles = Doubles {
            backend: Some(Arc::new(make)),
            clock: Some(Arc::new(move || clock.now())),
        };
        Reactor::builder().poller(poller).doubles(doubles).build()
    }

    /// Decorates a backend, whose wait fails as `wait`.
    fn decorate(&self, real: Box<dyn Backend>, wait: Call) -> Box<dyn Backend> {
        Box::new(Faulty {
            waker: Arc::new(FaultyWake {
                real: real.waker(),
                faults: self.clone(),
            }),
            real,
            faults: self.clone(),
            wait,
            keys: Mutex::default(),
        })
    }

    /// The time of the monotonic clock.
    fn now(&self) -> Instant {
        let now = Instant::now();
        let mut orders = self.orders();
        match orders.take(None, |fault| fault == Fault::StandingClock) {
            Some(_) => *orders.clock.get_or_insert(now),
            None => {
                orders.clock = None;
                now
            }
        }
    }

    fn push(&self, fault: Fault, fd: Option<RawFd>, skip: u64, left: u64) {
        let order = Order {
            fault,
            fd,
            skip,
            left,
        };
        self.orders().open.push(order);
    }

    fn fails(&self, call: Call) -> io::Result<()> {
        self.fails_for(None, call)
    }

    fn fails_for(&self, fd: Option<RawFd>, call: Call) -> io::Result<()> {
        match self.take(
            fd,
            |fault| matches!(fault, Fault::Fails(which, _) if which == call),
        ) {
            Some(Fault::Fails(_, code)) => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(()),
        }
    }

    fn is_due(&self, fd: Option<RawFd>, fault: Fault) -> bool {
        self.take(fd, |which| which == fault).is_some()
    }

    fn take(&self, fd: Option<RawFd>, is: impl Fn(Fault) -> bool) -> Option<Fault> {
        self.orders().take(fd, is)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    /// The fault that is due on this occasion, which is counted.
    fn take(&mut self, fd: Option<RawFd>, is: impl Fn(Fault) -> bool) -> Option<Fault> {
        let meant = |order: &Order| is(order.fault) && (order.fd.is_none() || order.fd == fd);
        let index = self.open.iter().position(meant)?;
        let order = &mut self.open[index];
        let fault = order.fault;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.left -= 1;
        if order.left == 0 {
            self.open.remove(index);
        }
        *self.injected.entry(fault).or_default() += 1;
        Some(fault)
    }
}

struct FaultyWake {
    real: Weak<dyn Wake>,
    faults: Faults,
}

impl Wake for FaultyWake {
    fn wake(&self) -> io::Result<()> {
        self.faults.fails(Call::Wake)?;
        self.real.upgrade().map_or(Ok(()), |wake| wake.wake())
    }
}

struct Faulty {
    real: Box<dyn Backend>,
    waker: Arc<FaultyWake>,
    faults: Faults,
    /// How its wait fails.
    wait: Call,
    keys: Mutex<Keys>,
}

/// A registration.
#[derive(Default)]
struct Keys {
    known: HashMap<RawFd, (u64, Interest)>,
    gone: Option<u64>,
}

impl Keys {
    fn insert(&mut self, fd: RawFd, key: u64, watch: Watch) {
        if key < OURS {
            if let Some((before, _)) = self.known.insert(fd, (key, watch.interest)) {
                self.gone = (before != key).then_some(before).or(self.gone);
            }
        }
    }

    fn remove(&mut self, fd: RawFd) {
        if let Some((key, _)) = self.known.remove(&fd) {
            self.gone = Some(key);
        }
    }
}

impl Backend for Faulty {
    fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let call = if key < OURS { Call::Add } else { Call::Nest };
        self.faults.fails_for(Some(fd), call)?;
        self.real.add(fd, key, watch)?;
        self.keys().insert(fd, key, watch);
        Ok(())
    }

    fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        self.faults.fails_for(Some(fd), Call::Modify)?;
        self.real.modify(fd, key, watch)?;
        self.keys().insert(fd, key, watch);
        Ok(())
    }

    fn delete(&self, fd: RawFd) -> io::Result<()> {
        // Whether it fails or not, no handler is to hear of it any more.
        self.keys().remove(fd);
        self.faults.fails_for(Some(fd), Call::Delete)?;
        self.real.delete(fd)
    }

    fn wait(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<()> {
        self.faults.fails(self.wait)?;
        let mut timeout = timeout;
        if self.faults.is_due(None, Fault::Early) {
            timeout = Some(Duration::ZERO);
        }
        let short = self
            .faults
            .take(None, |fault| matches!(fault, Fault::Short(_)));
        if let Some(Fault::Short(room)) = short {
            self.wait_for_others(&mut Buffer::new(room), timeout, found)?;
        } else {
            self.real.wait(buffer, timeout, found)?;
        }
        let late = self
            .faults
            .take(None, |fault| matches!(fault, Fault::Late(_)));
        if let Some(Fault::Late(delay)) = late {
            thread::sleep(delay);
        }
        let keys = self.keys();
        for (fd, (key, interest)) in &keys.known {
            let (asked, unasked) = split(*interest);
            if self.faults.is_due(Some(*fd), Fault::Unready) {
                found.push(*key, asked);
            }
            if self.faults.is_due(Some(*fd), Fault::Unasked) {
                found.push(*key, unasked);
            }
        }
        let tells_of_clock = cfg!(any(target_os = "linux", target_os = "android"));
        if tells_of_clock && self.wait == Call::Wait && self.faults.is_due(None, Fault::ClockSet) {
            found.push(CLOCK, Ready::READABLE);
        }
        if self.faults.is_due(None, Fault::Gone) {
            // If none is gone yet, one that no handler ever had.
            found.push(keys.gone.unwrap_or(OURS - 1), everything());
        }
        Ok(())
    }

    fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&self.waker) as Weak<dyn Wake>
    }

    fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.faults.fails(Call::Alarm)?;
        self.real.set_alarm(delay)
    }

    fn watch_clock(&self) -> io::Result<()> {
        self.faults.fails(Call::Clock)?;
        self.real.watch_clock()
    }

    fn is_rebuildable(&self) -> bool {
        self.real.is_rebuildable()
    }

    fn rebuild(&self, nested: Option<RawFd>) -> io::Result<bool> {
        self.faults.fails(Call::Renew)?;
        self.real.rebuild(nested)
    }

    fn second(&self) -> io::Result<Box<dyn Backend>> {
        self.faults.fails(Call::Create)?;
        let second = self.real.second()?;
        Ok(self.faults.decorate(second, Call::WaitForEdges))
    }

    fn owns(&self, fd: RawFd) -> bool {
        self.real.owns(fd)
    }

    fn unsupported_reason(&self, watch: Watch) -> Option<&'static str> {
        self.real.unsupported_reason(watch)
    }

    #[cfg(not(any(windows, polling_test_poll_backend)))]
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.real.as_fd()
    }
}

impl Faulty {
    /// Waits with little room. A real wait's room is never full of the loop's own descriptors, of which
    /// there are few, so such events do not end this one.
    fn wait_for_others(
        &self,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
        found: &mut Found,
    ) -> io::Result<()> {
        self.real.wait(buffer, timeout, found)?;
        // Another look finds what is next, or nothing.
        for _ in 0..OWN {
            if !found.is_empty() {
                break;
            }
            self.real.wait(buffer, Some(Duration::ZERO), found)?;
        }
        Ok(())
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many descriptors of its own a loop has: the wake, the alarm, the second set and the clock.
const OWN: usize = 4;

/// The interest that was asked for, and all else that can be.
fn split(interest: Interest) -> (Ready, Ready) {
    let bits = [
        (Interest::READABLE, Ready::READABLE),
        (Interest::WRITABLE, Ready::WRITABLE),
        (Interest::PRIORITY, Ready::PRIORITY),
    ];
    let (mut asked, mut unasked) = (Ready::NONE, Ready::NONE);
    for (one, bit) in bits {
        let which = if interest.contains(one) {
            &mut asked
        } else {
            &mut unasked
        };
        *which |= bit;
    }
    if asked.is_empty() && interest.contains(Interest::READ_CLOSED) {
        asked = Ready::READ_CLOSED;
    }
    (asked, unasked)
}

/// All that has to be asked for.
fn everything() -> Ready {
    Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY
}
