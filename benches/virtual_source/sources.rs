//! The sources that are made ready.

use std::io;
use std::sync::Arc;

use oneloop::{Interest, Mode, Reactor, Ready, VirtualSource};
use oneloop_benches::{PAGE, Spread};
use rustix::event::{EventfdFlags, eventfd as new_eventfd};

use crate::Set;
use crate::rounds::Rounds;

const WORD: usize = size_of::<u64>();

/// The yardstick: what a program without virtual sources does.
pub fn eventfd(reactor: &Reactor, rounds: &Arc<Rounds>) -> io::Result<Set> {
    let ours = new_eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let theirs = ours.try_clone()?;
    let (rounds, spread) = (rounds.clone(), Spread::new());
    let mut page = [0; PAGE + WORD];
    reactor.add_handler(ours, Interest::READABLE, Mode::Level, move |ours, _| {
        let counter = &mut page[spread.place()..][..WORD];
        rustix::io::read(ours, counter).expect("it is ready");
        rounds.end_one();
    })?;
    let spread = Spread::new();
    let mut page = [0; PAGE + WORD];
    Ok(Box::new(move || {
        let counter = &mut page[spread.place()..][..WORD];
        counter.copy_from_slice(&1u64.to_ne_bytes());
        rustix::io::write(&theirs, counter).expect("the counter is low");
    }))
}

pub fn edge(reactor: &Reactor, rounds: &Arc<Rounds>) -> io::Result<Set> {
    let (source, readiness) = VirtualSource::pair();
    let rounds = rounds.clone();
    reactor.add_handler(source, Interest::READABLE, Mode::Edge, move |_, _| {
        rounds.end_one();
    })?;
    Ok(Box::new(move || {
        readiness.set(Ready::READABLE);
    }))
}

pub fn level(reactor: &Reactor, rounds: &Arc<Rounds>) -> io::Result<Set> {
    let (source, readiness) = VirtualSource::pair();
    let (rounds, drained) = (rounds.clone(), readiness.clone());
    reactor.add_handler(source, Interest::READABLE, Mode::Level, move |_, _| {
        drained.clear(Ready::READABLE);
        rounds.end_one();
    })?;
    Ok(Box::new(move || {
        readiness.set(Ready::READABLE);
    }))
}

/// No source at all.
pub fn call_soon(reactor: &Reactor, rounds: &Arc<Rounds>) -> io::Result<Set> {
    // Keeps the loop running.
    let (never, readiness) = VirtualSource::pair();
    reactor.add_handler(never, Interest::READABLE, Mode::Edge, |_, _| ())?;
    let (remote, rounds) = (reactor.remote(), rounds.clone());
    Ok(Box::new(move || {
        let _kept = &readiness;
        let rounds = rounds.clone();
        let posted = remote.call_soon(move || rounds.end_one());
        assert!(posted.is_ok(), "the loop is there");
    }))
}
