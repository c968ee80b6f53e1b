//! Clauses 4 and 5: changing, pausing and rearming handlers.

use std::thread;

use oneloop::{Action, Interest, Mode};

use crate::{Log, Stage, pair};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const NONE: Interest = Interest::NONE;

// Clause 4.

/// The new interest replaces the old one.
pub fn update_replaces_the_interest(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage
        .reactor
        .update_handler(calls.id, WRITE)
        .expect("known");
    stage.turns(3);
    let events = calls.events();
    assert!(events.len() >= 2);
    assert!(
        events
            .iter()
            .all(|event| event.is_writable() && !event.is_readable())
    );
    stage
        .reactor
        .update_handler(calls.id, READ | WRITE)
        .expect("known");
    stage.turns(3);
    let events = calls.events();
    assert!(events.len() >= 2);
    assert!(
        events
            .iter()
            .all(|event| event.is_writable() && event.is_readable())
    );
}

/// Update re-arms an edge handler: what is ready is reported again, once.
pub fn update_rearms_an_edge_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Edge);
    stage.turns(5);
    assert_eq!(calls.take(), 1);
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(5);
    assert_eq!(calls.take(), 1);
}

/// Update re-arms a one-shot, also with the same interest.
pub fn update_rearms_a_oneshot(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Oneshot);
    for _ in 0..3 {
        stage.turns(5);
        assert_eq!(calls.take(), 1);
        stage.reactor.update_handler(calls.id, READ).expect("known");
    }
}

/// Update while the loop sleeps takes effect.
pub fn an_update_by_another_thread_while_the_loop_sleeps_takes_effect(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let stopper = stage.reactor.clone();
    let id = stage
        .reactor
        .add_handler(a, READ, Mode::Level, move |_, _| stopper.stop())
        .expect("add_handler");
    let reactor = stage.reactor.clone();
    stage.run_beside(move || {
        thread::spawn(move || reactor.update_handler(id, WRITE).expect("known"));
    });
}

/// In a callback, an update counts from the next turn.
pub fn update_inside_a_callback_takes_effect(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    stage
        .reactor
        .call_soon(move || reactor.update_handler(id, WRITE).expect("known"))
        .expect("open");
    stage.turns(4);
    assert!(calls.take() >= 2);
}

/// A change and its undoing within a turn cost no call to the kernel.
pub fn a_change_and_its_undoing_cost_no_kernel_call(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    let toggle = move || {
        for interest in [READ | WRITE, READ, NONE, READ] {
            reactor.update_handler(id, interest).expect("known");
        }
    };
    stage.reactor.call_soon(toggle).expect("open");
    let before = stage.reactor.stats().kernel_changes;
    stage.turns(3);
    assert_eq!(stage.reactor.stats().kernel_changes, before);
}

/// Many changes within a turn cost one call.
pub fn many_changes_in_a_turn_cost_one_kernel_call(stage: &mut Stage) {
    let (a, _b) = pair();
    let calls = stage.watch(a, READ, Mode::Level);
    let (reactor, id) = (stage.reactor.clone(), calls.id);
    let toggle = move || {
        for interest in [READ | WRITE, WRITE, READ, NONE, WRITE] {
            reactor.update_handler(id, interest).expect("known");
        }
    };
    stage.reactor.call_soon(toggle).expect("open");
    let before = stage.reactor.stats().kernel_changes;
    stage.turns(3);
    assert_eq!(stage.reactor.stats().kernel_changes, before + 1);
    assert!(calls.take() > 0);
}

// Clause 5.

/// A paused handler hears nothing, not even a hang-up, and the loop does not spin.
pub fn a_paused_handler_hears_no_hangup(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = sources.readable();
    let calls = stage.watch(a, READ, Mode::Level);
    stage.reactor.update_handler(calls.id, NONE).expect("known");
    drop(b);
    stage.turns(3);
    assert_eq!(calls.take(), 0);
    let before = stage.reactor.stats().turns;
    let reactor = stage.reactor.clone();
    reactor
        .call_later(std::time::Duration::from_millis(30), {
            let reactor = reactor.clone();
            move || reactor.stop()
        })
        .expect("open");
    stage.run();
    let turns = stage.reactor.stats().turns - before;
    assert!(turns < 20, "{turns} turns in which there was nothing to do");
    stage.reactor.update_handler(calls.id, READ).expect("known");
    stage.turns(2);
    assert!(calls.events().iter().any(|event| event.is_hangup()));
}

/// Added paused, resumed later.
pub fn a_handler_can_be_added_paused(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    for &mode in stage.modes() {
        let calls = stage.watch(a.clone(), NONE, mode);
        stage.turns(3);
        assert_eq!(calls.take(), 0);
        stage.reactor.update_handler(calls.id, READ).expect("known");
        stage.turns(3);
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(calls.id).expect("known");
    }
}

/// Paused by a neighbour in the same batch, it is not called in that turn.
pub fn a_handler_paused_by_a_neighbour_is_not_called_in_that_turn(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, b) = (sources.readable(), sources.readable());
    let log = Log::default();
    let ids = Log::default();
    let sources = [a.0, b.0];
    for (me, source) in sources.into_iter().enumerate() {
        let (log, ids, reactor) = (log.clone(), ids.clone(), stage.reactor.clone());
        let all = ids.clone();
        let id = stage
            .reactor
            .add_handler(source, READ, Mode::Level, move |_, _| {
                log.push(me);
                let both = all.take();
                reactor.update_handler(both[1 - me], NONE).expect("known");
                reactor.update_handler(both[me], NONE).expect("known");
            });
        ids.push(id.expect("add_handler"));
    }
    stage.turns(3);
    assert_eq!(log.len(), 1, "the first has paused the other");
}

/// Paused and resumed in one turn: at most one call in that turn, and none lost.
pub fn a_handler_paused_and_resumed_in_one_turn_is_still_called(stage: &mut Stage) {
    let sources = stage.sources;
    for &mode in stage.modes() {
        let (a, _b) = sources.readable();
        let calls = stage.watch(a, READ, mode);
        let (reactor, id) = (stage.reactor.clone(), calls.id);
        let (ping, _pong) = sources.readable();
        let toggler = stage
            .reactor
            .add_handler(ping, READ, Mode::Level, move |_, _| {
                reactor.update_handler(id, NONE).expect("known");
                reactor.update_handler(id, READ).expect("known");
                Action::Remove
            })
            .expect("add_handler");
        stage.turns(6);
        assert!(
            stage.reactor.remove_handler(toggler).is_err(),
            "it has removed itself"
        );
        assert!(calls.take() > 0, "{mode:?}");
        stage.reactor.remove_handler(id).expect("known");
    }
}

/// A handler that is toggled in every turn by a neighbour, to what it has, is not silenced.
pub fn an_update_that_changes_nothing_silences_no_handler(stage: &mut Stage) {
    let sources = stage.sources;
    let (a, _b) = sources.readable();
    let (c, _d) = sources.readable();
    let (reactor, target) = (stage.reactor.clone(), Log::default());
    let targets = target.clone();
    stage
        .reactor
        .add_handler(c, READ, Mode::Level, move |_, _| {
            let id = targets.take()[0];
            targets.push(id);
            reactor.update_handler(id, READ | WRITE).expect("known");
            reactor.update_handler(id, READ).expect("known");
        })
        .expect("add_handler");
    let calls = stage.watch(a, READ, Mode::Level);
    target.push(calls.id);
    stage.turns(5);
    assert!(calls.take() >= 5);
}

/// Rearm arms a one-shot and reports an edge again.
pub fn rearm_arms_edges_and_oneshots(stage: &mut Stage) {
    let sources = stage.sources;
    for mode in stage.some_of(&[Mode::Edge, Mode::Oneshot]) {
        let (a, _b) = sources.readable();
        let calls = stage.watch(a, READ, mode);
        stage.turns(3);
        assert_eq!(calls.take(), 1);
        stage.reactor.rearm_handler(calls.id).expect("known");
        stage.turns(3);
        assert_eq!(calls.take(), 1, "{mode:?}");
    }
}
