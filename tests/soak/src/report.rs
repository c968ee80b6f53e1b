//! The output.

use std::time::Instant;

use crate::books::{Books, Count, Kind};
use crate::footprint::Footprint;
use crate::idle::Idle;
use crate::options::{Host, Options};

pub struct Report {
    host: Host,
    begun: Instant,
    /// The most that was seen at once.
    descriptors: usize,
    registrations: usize,
    resident: usize,
    lingering: usize,
    /// After each wave.
    pub footprints: Vec<Footprint>,
    pub idle: Option<Idle>,
}

impl Report {
    pub fn new(options: &Options) -> Report {
        Report {
            host: options.host,
            begun: Instant::now(),
            descriptors: 0,
            registrations: 0,
            resident: 0,
            lingering: 0,
            footprints: Vec::new(),
            idle: None,
        }
    }

    pub fn seen(&mut self, now: Footprint, lingering: usize) {
        self.descriptors = self.descriptors.max(now.descriptors);
        self.registrations = self.registrations.max(now.registrations);
        self.resident = self.resident.max(now.resident);
        self.lingering = self.lingering.max(lingering);
    }

    /// A line, now and then.
    pub fn say(&self, wave: u32, books: &Books) {
        let closed = |kind| books.closed(kind);
        println!(
            "{:5} s, wave {wave}: {} connections, {} messages, {} timers, {} posts, {} faults",
            self.begun.elapsed().as_secs(),
            closed(Kind::Connection),
            closed(Kind::Message),
            closed(Kind::Timer),
            closed(Kind::Post),
            books.faults().count,
        );
    }

    pub fn print(&self, books: &Books) {
        let time = self.begun.elapsed().as_secs();
        println!("\nsoak on {}, {time} s\n", self.host.name());
        println!(
            "{:30} {:>14} {:>14} {:>8}",
            "", "given", "came back", "lost"
        );
        for (kind, name) in Kind::ALL {
            let (opened, closed) = (books.opened(kind), books.closed(kind));
            let lost = opened as i64 - closed as i64;
            println!("{name:30} {opened:14} {closed:14} {lost:8}");
        }
        println!();
        for (count, name) in Count::ALL {
            println!("{:12} {name}", books.counted(count));
        }
        let late = |percent| books.lateness(percent);
        println!(
            "\ntimers, under load, were late by {:?} (half of them by less), {:?} (99 %), {:?} (99.9 %), {:?} at most",
            late(50.0),
            late(99.0),
            late(99.9),
            late(100.0)
        );
        println!(
            "at most: {} descriptors, {} registrations, {:.1} MB resident, {} TCP connections in TIME_WAIT",
            self.descriptors,
            self.registrations,
            mega(self.resident),
            self.lingering
        );
        println!("after each wave:");
        for footprint in &self.footprints {
            let live = footprint
                .live
                .map_or("unknown".into(), |live| format!("{:.2}", mega(live)));
            println!(
                "  {} descriptors, {} registrations, {live} MB in use, {:.1} MB resident",
                footprint.descriptors,
                footprint.registrations,
                mega(footprint.resident)
            );
        }
        if let Some(Idle {
            time,
            turns,
            sleeps,
        }) = &self.idle
        {
            println!("idle for {time:?}: {turns} turns, {sleeps} wake-ups of all threads");
        }
        let faults = books.faults();
        println!("\n{} faults", faults.count);
        faults.first.iter().for_each(|fault| println!("  {fault}"));
    }
}

fn mega(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
