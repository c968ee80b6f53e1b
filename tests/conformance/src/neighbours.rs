//! Clause 3: several handlers on one descriptor.

use std::io::Write;

use oneloop::{Interest, Mode};

use crate::{Log, Stage};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

// Clause 3.

/// Two handlers for the same are both called, in the order of their adding.
pub fn two_handlers_on_one_descriptor_are_both_called(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let log = Log::default();
    for name in ["first", "second"] {
        let log = log.clone();
        stage
            .reactor
            .add_handler(a.clone(), READ, Mode::Oneshot, move |_, _| log.push(name))
            .expect("add_handler");
    }
    stage.turns(2);
    log.expect(&["first", "second"]);
}

/// A reader and a writer are two handlers, each told its own part.
pub fn read_and_write_handlers_are_separate(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, mut b) = sources.pair();
    let reader = stage.watch(a.clone(), READ, Mode::Level);
    let writer = stage.watch(a.clone(), WRITE, Mode::Level);
    stage.turns(2);
    assert_eq!(reader.take(), 0);
    assert!(
        writer
            .events()
            .iter()
            .all(|event| event.is_writable() && !event.is_readable())
    );
    stage
        .reactor
        .update_handler(writer.id, NONE)
        .expect("known");
    b.write_all(b"x").expect("room");
    stage.turns(2);
    assert!(reader.take() >= 2);
    assert_eq!(writer.take(), 0);
}

/// The other handler goes on when one is removed.
pub fn removing_one_of_two_leaves_the_other(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let one = stage.watch(a.clone(), READ, Mode::Level);
    let two = stage.watch(a.clone(), READ | WRITE, Mode::Level);
    stage.reactor.remove_handler(two.id).expect("known");
    stage.turns(2);
    assert!(one.take() >= 2);
    assert_eq!(two.take(), 0);
    let three = stage.watch(a, WRITE, Mode::Level);
    stage.reactor.remove_handler(one.id).expect("known");
    stage.turns(2);
    assert!(three.take() >= 2);
}

/// An edge-triggered handler stays one, whichever neighbour goes.
pub fn an_edge_handler_stays_one_when_its_neighbours_go(stage: &mut Stage) {
    if !stage.modes().contains(&Mode::Edge) {
        return;
    }
    let (a, _b) = stage.sources.readable();
    let edge = stage.watch(a.clone(), WRITE, Mode::Edge);
    let both = stage.watch(a.clone(), READ | WRITE, Mode::Edge);
    let level = stage.watch(a, READ, Mode::Level);
    for neighbour in [level, both] {
        stage.turns(2);
        stage.reactor.remove_handler(neighbour.id).expect("known");
        // It may be told once more.
        stage.turns(3);
        edge.take();
        stage.turns(10);
        assert_eq!(edge.take(), 0);
    }
}

/// Level and edge on one descriptor are both exact.
pub fn level_and_edge_on_one_descriptor_are_both_exact(stage: &mut Stage) {
    let sources = stage.sources;
    for edge_first in [true, false] {
        let (a, mut b) = sources.pair();
        let modes = if edge_first {
            [Mode::Edge, Mode::Level]
        } else {
            [Mode::Level, Mode::Edge]
        };
        let both = modes.map(|mode| stage.watch(a.clone(), READ, mode));
        let [edge, level] = if edge_first {
            [&both[0], &both[1]]
        } else {
            [&both[1], &both[0]]
        };
        stage.turns(3);
        assert_eq!((edge.take(), level.take()), (0, 0));
        b.write_all(b"x").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
        assert!(level.take() >= 10);
        b.write_all(b"y").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
        assert!(level.take() >= 10);
        stage.reactor.remove_handler(level.id).expect("known");
        stage.turns(10);
        assert!(
            edge.take() <= 1,
            "moved to the other set, it may be told again"
        );
        b.write_all(b"z").expect("room");
        stage.turns(10);
        assert_eq!(edge.take(), 1);
    }
}

/// Level, edge and one-shot together.
pub fn three_modes_on_one_descriptor_work_side_by_side(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let level = stage.watch(a.clone(), READ, Mode::Level);
    let oneshot = stage.watch(a.clone(), READ, Mode::Oneshot);
    let edge = stage.watch(a.clone(), READ, Mode::Edge);
    stage.turns(10);
    assert!(level.take() >= 10);
    assert_eq!(oneshot.take(), 1);
    assert_eq!(edge.take(), 1);
    stage
        .reactor
        .update_handler(oneshot.id, READ)
        .expect("known");
    stage.turns(10);
    assert_eq!(oneshot.take(), 1);
    assert_eq!(edge.take(), 0);
}

/// A hundred handlers on one descriptor.
pub fn a_hundred_handlers_on_one_descriptor_are_all_called(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let all: Vec<_> = (0..100)
        .map(|_| stage.watch(a.clone(), READ, Mode::Oneshot))
        .collect();
    stage.turns(3);
    assert!(all.iter().all(|one| one.take() == 1));
}

/// Three on one source, each for something else.
pub fn removing_the_last_of_three_leaves_the_others(stage: &mut Stage) {
    let (a, mut b) = stage.sources.pair();
    let [first, second, third] = [Interest::NONE, READ, Interest::WRITABLE]
        .map(|interest| stage.watch(a.clone(), interest, Mode::Level));
    stage.reactor.remove_handler(third.id).expect("known");
    b.write_all(b"x").expect("room");
    stage.turns(3);
    assert!(second.take() >= 3);
    assert_eq!((first.take(), third.take()), (0, 0));
}
