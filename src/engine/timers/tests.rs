//! Many timers, and the room that they leave.

use super::*;

fn due(timers: &mut Timers, now: u64) -> Vec<Key> {
    timers.take_due(now);
    std::iter::from_fn(|| timers.pop_due()).collect()
}

fn timer(timers: &mut Timers, deadline: u64) -> Key {
    timers.insert(deadline, Fired::Gone, Location::caller(), |_| {
        repeated(|| Ok(Action::Continue))
    })
}

#[test]
fn timers_are_due_by_deadline_then_by_creation() {
    let mut timers = Timers::default();
    let [c, a, d, b] = [5, 1, 5, 3].map(|deadline| timer(&mut timers, deadline));
    assert_eq!(due(&mut timers, 4), [a, b]);
    assert_eq!(due(&mut timers, 5), [c, d]);
}

#[test]
fn a_timer_pushed_back_or_pulled_forward_fires_once_at_its_new_deadline() {
    let mut timers = Timers::default();
    let [a, b] = [1, 100].map(|deadline| timer(&mut timers, deadline));
    timers.reset(a, 50, None);
    timers.reset(b, 10, None);
    timers.reset(b, 20, None);
    assert_eq!(timers.next_deadline(), 20);
    assert_eq!(due(&mut timers, 30), [b]);
    assert_eq!(due(&mut timers, 1000), [a]);
}

#[test]
fn pushed_back_and_forth_to_where_it_stood_it_fires_once() {
    let mut timers = Timers::default();
    let a = timer(&mut timers, 10);
    timers.reset(a, 5, None);
    timers.reset(a, 10, None);
    assert_eq!(due(&mut timers, 7), []);
    assert_eq!(due(&mut timers, 10), [a]);
    let callback = timers.start(a).unwrap().callback;
    assert!(
        timers
            .finish(a, callback, Action::Continue, || 10)
            .is_some()
    );
    assert_eq!(due(&mut timers, 1000), []);
}

#[test]
fn a_due_timer_that_is_reset_or_cancelled_does_not_start() {
    let mut timers = Timers::default();
    let [a, b] = [1, 2].map(|deadline| timer(&mut timers, deadline));
    assert_eq!(due(&mut timers, 2), [a, b]);
    timers.reset(a, 9, None);
    timers.cancel(b);
    assert!(timers.start(a).is_none() && timers.start(b).is_none());
    assert_eq!(due(&mut timers, 9), [a]);
}

#[test]
fn due_timers_that_are_left_over_fire_by_deadline() {
    let mut timers = Timers::default();
    let [a, b, c, e] = [1, 3, 3, 3].map(|deadline| timer(&mut timers, deadline));
    timers.take_due(3);
    timers.cancel(a);
    timers.reset(e, 4, None);
    assert_eq!(timers.next_deadline(), 3);
    let [d, f] = [2, 3].map(|deadline| timer(&mut timers, deadline));
    assert_eq!(due(&mut timers, 4), [d, b, c, f, e]);
    assert_eq!(timers.next_deadline(), NEVER);
}

#[test]
fn a_left_over_that_is_reset_fires_in_its_new_place() {
    let mut timers = Timers::default();
    let [a, b] = [1, 2].map(|deadline| timer(&mut timers, deadline));
    timers.take_due(2);
    timers.reset(a, 5, None);
    assert_eq!(timers.next_deadline(), 2);
    let c = timer(&mut timers, 4);
    assert_eq!(due(&mut timers, 5), [b, c, a]);
}

#[test]
fn a_period_keeps_its_phase_and_skips_what_it_missed() {
    let mut timers = Timers::default();
    let a = timers.insert(10, Fired::Kept, Location::caller(), |_| {
        repeated(|| Ok(Action::Continue))
    });
    timers.schedule(a, |schedule| schedule.every = Some(10));
    assert_eq!(due(&mut timers, 37), [a]);
    let callback = timers.start(a).unwrap().callback;
    assert!(
        timers
            .finish(a, callback, Action::Continue, || 37)
            .is_none()
    );
    assert_eq!(timers.next_deadline(), 40);
}

#[test]
fn cancelling_and_resetting_leaves_no_heap_behind() {
    let mut timers = Timers::default();
    let keep = timer(&mut timers, 1_000_000);
    for deadline in 0..100_000 {
        let one = timer(&mut timers, deadline);
        timers.reset(one, deadline / 2, None);
        timers.cancel(one);
    }
    assert_eq!(timers.heap.first(), Some((1_000_000, keep.index())));
    assert_eq!(due(&mut timers, 1_000_000), [keep]);
    assert_eq!(timers.active(), 1);
}

#[test]
fn those_of_one_deadline_are_due_by_creation_whatever_was_done_to_them() {
    let mut timers = Timers::default();
    let mut keys: Vec<Key> = (0..200).map(|n| timer(&mut timers, n % 3)).collect();
    for &key in keys.iter().step_by(2) {
        timers.reset(key, 9, None);
    }
    keys.retain(|key| key.index() % 5 > 0 || timers.cancel(*key).is_none());
    for &key in keys.iter().rev() {
        timers.reset(key, 7, None);
    }
    assert_eq!(timers.len(), 160);
    assert_eq!(due(&mut timers, 7), keys);
}

#[test]
fn the_older_is_due_first_though_serials_have_begun_anew() {
    let mut timers = Timers::default();
    let keys = [Serial::LAST, Key::from_u64(1 << 28).serial()].map(|serial| {
        let index = timer(&mut timers, 5).index();
        timers.slots.in_slot(index).serial = serial.pack();
        timers.slots.newest = serial;
        Key::of(index, serial)
    });
    assert_eq!(due(&mut timers, 5), keys);
}

#[test]
fn what_never_fires_is_not_due_at_the_end_of_time() {
    let mut timers = Timers::default();
    let last = timer(&mut timers, NEVER - 1);
    timer(&mut timers, NEVER);
    assert_eq!(due(&mut timers, u64::MAX), [last]);
    assert_eq!((timers.len(), timers.active()), (2, 1));
}

#[test]
fn pushed_back_to_where_it_stood_among_others_it_fires_once() {
    let mut timers = Timers::default();
    let a = timer(&mut timers, 10);
    timers.reset(a, 5, None);
    timers.reset(a, 10, None);
    assert_eq!(timers.next_deadline(), 10);
    let others: Vec<Key> = (0..100).map(|n| timer(&mut timers, 100 + n)).collect();
    others.iter().for_each(|&one| drop(timers.cancel(one)));
    assert_eq!(due(&mut timers, 10), [a]);
    assert_eq!(timers.next_deadline(), NEVER);
}

fn room(timers: &Timers) -> usize {
    let most = timers.slots.room().max(timers.heap.room());
    most.max(timers.due.room()).max(timers.schedules.room())
}

#[test]
fn many_that_are_gone_leave_no_room_behind() {
    const MANY: u64 = 200_000;
    // The order in which they go decides which slots are free when.
    type Order = fn(&mut Vec<Key>);
    let (first, last): (Order, Order) = (|_| {}, |keys| keys.reverse());
    let mixed: Order = |keys| keys.sort_by_key(|key| key.index() as u64 * 7919 % MANY);
    for order in [first, last, mixed] {
        let mut timers = Timers::default();
        let keep = timer(&mut timers, 10 * MANY);
        let mut keys: Vec<Key> = (0..MANY).map(|n| timer(&mut timers, n)).collect();
        for &key in &keys {
            timers.schedule(key, |schedule| schedule.every = Some(1));
        }
        order(&mut keys);
        keys.iter().for_each(|&key| drop(timers.cancel(key)));
        assert!(room(&timers) <= MANY as usize / 4, "{}", room(&timers));
        // It grows again, and all works on.
        let next: Vec<Key> = (0..MANY).map(|n| timer(&mut timers, n)).collect();
        assert!(keys.iter().all(|&key| timers.cancel(key).is_none()));
        assert_eq!(due(&mut timers, MANY), next);
        assert_eq!(due(&mut timers, 10 * MANY), [keep]);
    }
}

/// One in the last slot keeps all of them.
#[test]
fn the_room_of_one_in_the_last_slot_is_given_back_with_that() {
    let mut timers = Timers::default();
    let keys: Vec<Key> = (0..200_000).map(|n| timer(&mut timers, n)).collect();
    let (last, others) = keys.split_last().unwrap();
    others.iter().for_each(|&key| drop(timers.cancel(key)));
    assert_eq!(timers.next_deadline(), 199_999);
    assert!(timers.cancel(*last).is_some());
    assert!(room(&timers) < 50_000, "{}", room(&timers));
}

#[test]
fn those_that_have_fired_leave_no_room_behind() {
    let mut timers = Timers::default();
    for deadline in 0..200_000 {
        timer(&mut timers, deadline);
    }
    for key in due(&mut timers, 200_000) {
        let callback = timers.start(key).unwrap().callback;
        timers.finish(key, callback, Action::Continue, || 0);
    }
    assert!(room(&timers) < 50_000, "{}", room(&timers));
}

#[test]
fn a_million_timers_are_due_by_deadline() {
    const MANY: u64 = 1_000_000;
    let mut timers = Timers::default();
    // Each deadline once, in no order: 7919 and a million have no common divisor.
    let keys: Vec<Key> = (0..MANY)
        .map(|n| timer(&mut timers, n * 7919 % MANY))
        .collect();
    for &key in keys.iter().step_by(2) {
        timers.cancel(key);
    }
    for &key in keys.iter().skip(1).step_by(4) {
        timers.reset(key, MANY + u64::from(key.index()), None);
    }
    let left = due(&mut timers, 2 * MANY);
    assert_eq!(left.len(), keys.len() / 2);
    let deadlines: Vec<u64> = left
        .iter()
        .map(|&key| timers.slots.get(key).unwrap().deadline)
        .collect();
    assert!(deadlines.is_sorted());
    assert_eq!(timers.next_deadline(), NEVER);
}
