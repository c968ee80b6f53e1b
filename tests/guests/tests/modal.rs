//! A callback on GLib's context runs the context inside, as a modal dialogue does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use oneloop::{Local, LocalReactor, Reactor};
use oneloop_conformance::Watchdog;
use oneloop_guests_tests::glib::Glib;
use oneloop_guests_tests::{AdaptedLoop, ForeignLoop, Kind, OuterLoop};

const MILLISECOND: Duration = Duration::from_millis(1);

struct Scene {
    glib: Rc<Glib>,
    reactor: LocalReactor,
    /// Of a timer of the reactor.
    ticks: Rc<Cell<u32>>,
    _watchdog: Watchdog,
}

impl Scene {
    fn new() -> Scene {
        let (reactor, ticks) = (Reactor::new_local().unwrap(), Rc::new(Cell::new(0)));
        let count = ticks.clone();
        let tick = move || count.set(count.get() + 1);
        reactor.call_every(MILLISECOND, tick).unwrap();
        Scene {
            glib: Rc::new(Glib::new()),
            reactor,
            ticks,
            _watchdog: Watchdog::new("modal"),
        }
    }

    /// A dialogue, which five timers of GLib's close. Then it stops the reactor, after more ticks. Returns how many
    /// ticks there were meanwhile.
    fn dialogue(&self) -> (impl FnOnce() + 'static, Rc<Cell<Option<u32>>>) {
        let seen = Rc::new(Cell::new(None));
        let (glib, ticks, during) = (self.glib.clone(), self.ticks.clone(), seen.clone());
        let reactor = self.reactor.clone();
        let show = move || {
            let (before, left) = (ticks.get(), Rc::new(Cell::new(5)));
            for millis in 1..=5 {
                let left = left.clone();
                let fire = move || left.set(left.get() - 1);
                glib.after(Duration::from_millis(10 * millis), fire);
            }
            while left.get() > 0 {
                glib.iterate(true);
            }
            during.set(Some(ticks.get() - before));
            let (closed_at, stopper) = (ticks.get(), reactor.clone());
            let stop_after_a_tick = move || {
                if ticks.get() > closed_at {
                    stopper.stop();
                }
            };
            reactor.call_every(MILLISECOND, stop_after_a_tick).unwrap();
        };
        (show, seen)
    }

    fn glib_drives(&self) {
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        let on_end = move |how: oneloop::adapter::End| {
            how.unwrap().unwrap();
            end.set(true);
        };
        let host = self.reactor.host("GLib").unwrap();
        let attached = self.glib.attach_host::<Local>(host, on_end).unwrap();
        while !ended.get() {
            self.glib.iterate(true);
        }
        drop(attached);
        self.reactor.close();
    }
}

/// The arrangement that works.
#[test]
fn the_reactor_goes_on_beside_a_dialogue_if_glib_drives() {
    let scene = Scene::new();
    let (dialogue, ticks) = scene.dialogue();
    scene.glib.after(MILLISECOND, dialogue);
    scene.glib_drives();
    assert!(ticks.get() >= Some(5), "{ticks:?}");
}

/// GLib enters no source that is in a callback already.
#[test]
fn the_reactor_waits_for_a_dialogue_of_its_own_callback() {
    let scene = Scene::new();
    let (dialogue, ticks) = scene.dialogue();
    scene.reactor.call_later(MILLISECOND, dialogue).unwrap();
    scene.glib_drives();
    assert_eq!(ticks.get(), Some(0));
}

#[test]
fn the_reactor_waits_for_a_dialogue_of_its_guest() {
    let scene = Scene::new();
    let (dialogue, ticks) = scene.dialogue();
    scene.glib.after(MILLISECOND, dialogue);
    let guest = scene.reactor.add_guest("GLib", scene.glib.guest()).unwrap();
    scene.reactor.run().unwrap();
    assert_eq!(ticks.get(), Some(0));
    scene.reactor.remove_guest(guest).unwrap();
    scene.reactor.close();
}
