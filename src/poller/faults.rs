//! A backend that wraps another and fails on command, for tests: what a kernel may do, and hardly
//! ever does. Only there with the feature `__faults`, which is for nobody else.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::*;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The call fails with this code of the system, and does nothing.
    Fails(Call, i32),
    /// A wait fetches so many events and no more; the kernel has the others for the next.
    Short(usize),
    /// A wait also brings an event for a descriptor that may not be ready.
    Unready,
    /// The same, with all that its handlers have not asked for.
    Unasked,
    /// A wait also brings an event under a key that means nobody any more.
    Gone,
    /// A wait also says that somebody has set the system clock. Only where a kernel would, on Linux.
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
    /// What watches the system clock, a timerfd, is made or armed.
    Clock,
    /// The second set is made.
    Create,
    /// A descriptor of the poller's own is put into the main set.
    Nest,
    /// A set is made anew.
    Renew,
}

/// The faults of one loop. Clones are the same.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Somebody has this in hand; until then nothing is looked up or kept.
    in_use: AtomicBool,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    open: Vec<Order>,
    injected: BTreeMap<Fault, u64>,
    /// What the clock showed when it began to stand.
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

    /// The same, for this descriptor only.
    pub fn order_for(&self, fd: RawFd, fault: Fault, times: u64) {
        self.push(fault, Some(fd), 0, times);
    }

    /// The same, for one occasion only, after so many others.
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

    /// What was injected so far, and how often.
    pub fn injected(&self) -> BTreeMap<Fault, u64> {
        self.orders().injected.clone()
    }

    /// A backend that fails when this says so.
    pub(super) fn wrap(&self, real: Backend, set: PollSet) -> Backend {
        Backend::Faulty(Faulty {
            waker: Arc::new(FaultyWake(self.clone(), each!(&real, it => it.waker()))),
            real: Box::new(real),
            faults: self.clone(),
            set,
            keys: Mutex::default(),
        })
    }

    /// What the monotonic clock shows.
    pub(crate) fn now(&self) -> Instant {
        let now = Instant::now();
        if !self.is_in_use() {
            return now;
        }
        let mut orders = self.orders();
        match orders.take(None, |fault| fault == Fault::StandingClock) {
            Some(_) => *orders.clock.get_or_insert(now),
            None => {
                orders.clock = None;
                now
            }
        }
    }

    /// Somebody has this in hand now.
    pub(crate) fn in_hand(&self) -> Faults {
        self.0.in_use.store(true, SeqCst);
        self.clone()
    }

    fn is_in_use(&self) -> bool {
        self.0.in_use.load(SeqCst)
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

    pub(super) fn fails(&self, call: Call) -> io::Result<()> {
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
        self.is_in_use().then(|| self.orders().take(fd, is))?
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
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

struct FaultyWake(Faults, Weak<dyn Wake>);

impl Wake for FaultyWake {
    fn wake(&self) -> io::Result<()> {
        self.0.fails(Call::Wake)?;
        self.1.upgrade().map_or(Ok(()), |wake| wake.wake())
    }
}

pub(super) struct Faulty {
    waker: Arc<FaultyWake>,
    real: Box<Backend>,
    faults: Faults,
    set: PollSet,
    keys: Mutex<Keys>,
}

/// What was registered.
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

impl Faulty {
    #[cfg(pollable)]
    pub(super) fn another(&self) -> io::Result<Backend> {
        self.faults.fails(Call::Create)?;
        Ok(self.faults.wrap(self.real.another()?, PollSet::Edge))
    }

    pub(super) fn owns(&self, fd: RawFd) -> bool {
        each!(&*self.real, it => it.owns(fd))
    }

    pub(super) fn events(&self) -> EventBuf {
        self.real.events()
    }

    pub(super) fn add_wake_and_alarm(&self) -> io::Result<()> {
        each!(&*self.real, it => it.add_wake_and_alarm())
    }

    pub(super) fn unsupported_reason(&self, watch: Watch) -> Option<&'static str> {
        each!(&*self.real, it => it.unsupported_reason(watch))
    }

    pub(super) fn add(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        let call = if key < OURS { Call::Add } else { Call::Nest };
        self.faults.fails_for(Some(fd), call)?;
        each!(&*self.real, it => it.add(fd, key, watch))?;
        self.track(|keys| keys.insert(fd, key, watch));
        Ok(())
    }

    pub(super) fn modify(&self, fd: RawFd, key: u64, watch: Watch) -> io::Result<()> {
        self.faults.fails_for(Some(fd), Call::Modify)?;
        each!(&*self.real, it => it.modify(fd, key, watch))?;
        self.track(|keys| keys.insert(fd, key, watch));
        Ok(())
    }

    pub(super) fn delete(&self, fd: RawFd) -> io::Result<()> {
        // Whatever becomes of it, nobody wants to hear of it any more.
        self.track(|keys| keys.remove(fd));
        self.faults.fails_for(Some(fd), Call::Delete)?;
        each!(&*self.real, it => it.delete(fd))
    }

    pub(super) fn waker(&self) -> Weak<dyn Wake> {
        Arc::downgrade(&(self.waker.clone() as Arc<dyn Wake>))
    }

    pub(super) fn set_alarm(&self, delay: Option<Duration>) -> io::Result<()> {
        self.faults.fails(Call::Alarm)?;
        each!(&*self.real, it => it.set_alarm(delay))
    }

    #[cfg(all(epoll, pollable))]
    pub(super) fn is_rebuildable(&self) -> bool {
        each!(&*self.real, it => it.is_rebuildable())
    }

    #[cfg(all(epoll, pollable))]
    pub(super) fn rebuild(&self, set: PollSet, others: &[(RawFd, u64)]) -> io::Result<bool> {
        self.faults.fails(Call::Renew)?;
        each!(&*self.real, it => it.rebuild(set, others))
    }

    pub(super) fn wait(
        &self,
        raw: &mut EventBuf,
        timeout: Option<Duration>,
        mut take: impl FnMut(u64, Ready),
    ) -> io::Result<()> {
        if !self.faults.is_in_use() {
            return self.fetch(raw, timeout, take);
        }
        self.faults.fails(match self.set {
            PollSet::Primary => Call::Wait,
            PollSet::Edge => Call::WaitForEdges,
        })?;
        let short = self
            .faults
            .take(None, |fault| matches!(fault, Fault::Short(_)));
        match short {
            Some(Fault::Short(room)) => raw.make_room(room),
            _ => raw.make_room(BATCH),
        }
        let mut timeout = match self.faults.is_due(None, Fault::Early) {
            true => Some(Duration::ZERO),
            false => timeout,
        };
        // The list of a real wait is never full of the poller's own events, of which there are few.
        let mut ours_only = true;
        while ours_only {
            ours_only = false;
            let mut others = false;
            self.fetch(raw, timeout, |key, ready| {
                ours_only |= short.is_some() && key >= OURS;
                others |= key < OURS;
                take(key, ready);
            })?;
            ours_only &= !others;
            timeout = Some(Duration::ZERO);
        }
        let late = self
            .faults
            .take(None, |fault| matches!(fault, Fault::Late(_)));
        if let Some(Fault::Late(delay)) = late {
            thread::sleep(delay);
        }
        let keys = self.keys();
        for (fd, (key, interest)) in &keys.known {
            let asked = Ready::all(*interest);
            if self.faults.is_due(Some(*fd), Fault::Unready) {
                take(*key, asked);
            }
            if self.faults.is_due(Some(*fd), Fault::Unasked) {
                take(*key, everything().without(asked));
            }
        }
        #[cfg(epoll)]
        if self.set == PollSet::Primary && self.faults.is_due(None, Fault::ClockSet) {
            take(CLOCK, Ready::READABLE);
        }
        if self.faults.is_due(None, Fault::Gone) {
            // If none is gone yet, one that nobody ever had.
            take(keys.gone.unwrap_or(OURS - 1), everything());
        }
        Ok(())
    }

    fn fetch(
        &self,
        raw: &mut EventBuf,
        timeout: Option<Duration>,
        take: impl FnMut(u64, Ready),
    ) -> io::Result<()> {
        match (&*self.real, raw) {
            #[cfg(epoll)]
            (Backend::Epoll(epoll), EventBuf::Epoll(raw)) => epoll.wait(raw, timeout, take),
            #[cfg(portable)]
            (Backend::Portable(poll), EventBuf::Portable(raw)) => poll.wait(raw, timeout, take),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn track(&self, change: impl FnOnce(&mut Keys)) {
        if self.faults.is_in_use() {
            change(&mut self.keys());
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(pollable)]
impl AsFd for Faulty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(&*self.real, it => it.as_fd())
    }
}

/// All that has to be asked for.
fn everything() -> Ready {
    Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY
}

impl EventBuf {
    fn make_room(&mut self, room: usize) {
        match self {
            #[cfg(epoll)]
            EventBuf::Epoll(buffer) if buffer.len() == room => {}
            #[cfg(epoll)]
            EventBuf::Epoll(buffer) => *buffer = epoll::buffer(room),
            #[cfg(portable)]
            EventBuf::Portable(buffer) if buffer.capacity().get() == room => {}
            #[cfg(portable)]
            EventBuf::Portable(buffer) => *buffer = portable::buffer(room),
        }
    }
}
