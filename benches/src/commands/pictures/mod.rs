//! Tables as pictures, in SVG.

mod bars;
mod canvas;
mod lines;
mod scale;
mod spans;
mod summary;

use std::error::Error;

use lines::{Line, Panel};
use scale::Scale;

pub use self::summary::draw as summary;
use super::tables::Table;

pub type Picture = Result<String, Box<dyn Error>>;

/// How loops compare with the yardstick, three workloads side by side.
pub fn ratios(tables: &[Table]) -> Picture {
    bars::draw(tables, 3, bars::Measure::Ratio)
}

/// Draws the ratios in two columns.
pub fn ratios_in_pairs(tables: &[Table]) -> Picture {
    bars::draw(tables, 2, bars::Measure::Ratio)
}

/// Draws the values in two columns.
pub fn values_in_pairs(tables: &[Table]) -> Picture {
    bars::draw(tables, 2, bars::Measure::Value)
}

/// How late timers are.
pub fn lateness(tables: &[Table]) -> Picture {
    let table = tables.first().ok_or("there is no table")?;
    let below = "late by: ● half of the timers at most, and to the end of the bar 99 of 100";
    spans::draw(table, ["late_p50_ns", "late_p99_ns"], below)
}

/// Draws the cost of an event against the number that each workload has last.
pub fn against_descriptors(tables: &[Table]) -> Picture {
    let panel = panel("time for each event of 10 that are active", tables.iter());
    lines::draw(
        &[panel],
        "descriptors beside them that are idle",
        Scale::linear,
    )
}

/// Draws that for each kind of workload, which is the part before the comma.
pub fn against_timers(tables: &[Table]) -> Picture {
    let kind = |table: &Table| {
        let kind = table.workload.split_once(',').unwrap_or_default().0;
        kind.to_owned()
    };
    let mut kinds: Vec<String> = tables.iter().map(kind).collect();
    kinds.dedup();
    let panels = kinds.iter().map(|title| {
        let own = tables.iter().filter(|table| kind(table) == *title);
        panel(title, own)
    });
    let panels: Vec<_> = panels.collect();
    lines::draw(
        &panels,
        "time for each; timers at a time",
        Scale::logarithmic,
    )
}

fn panel<'a>(title: &str, tables: impl Iterator<Item = &'a Table>) -> Panel {
    let mut lines: Vec<Line> = Vec::new();
    for table in tables {
        let Some(amount) = amount(&table.workload) else {
            continue;
        };
        for row in &table.rows {
            let Some(figure) = row.figure(0) else {
                continue;
            };
            let point = (amount, figure.value);
            match lines.iter_mut().find(|line| line.name == row.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: row.name.clone(),
                    points: vec![point],
                }),
            }
        }
    }
    Panel {
        title: title.to_owned(),
        lines,
    }
}

/// Each once, in the order in which they come.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The last number of a workload.
fn amount(workload: &str) -> Option<f64> {
    let mut numbers = workload.split(' ').rev();
    numbers.find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tables;

    const ROWS: &str = r#"{"workload":"set, 10 pending","loop":"oneloop","ns_per_event":50.0,"ratio":1.0}
{"workload":"set, 10 pending","loop":"other","ns_per_event":1500.0,"ratio":30.0}
{"workload":"set, 1000 pending","loop":"oneloop","ns_per_event":60.0,"ratio":1.0}
{"workload":"fire, 10 at once","loop":"oneloop","ns_per_event":70.0,"ratio":1.0}"#;

    #[test]
    fn the_amount_is_the_last_number() {
        assert_eq!(amount("10 active, 9000 idle"), Some(9000.0));
        assert_eq!(amount("from 4 threads"), Some(4.0));
        assert_eq!(amount("none"), None);
    }

    #[test]
    fn every_picture_names_the_loops() {
        let tables = tables::read(ROWS).unwrap();
        for draw in [ratios, values_in_pairs, against_descriptors, against_timers] {
            let svg = draw(&tables).unwrap();
            assert!(svg.contains("oneloop") && svg.contains("other"), "{svg}");
        }
        assert!(ratios(&tables).unwrap().contains("30.0"));
        assert!(against_timers(&tables).unwrap().contains("fire"));
    }

    #[test]
    fn lateness_says_both_percentiles() {
        let rows = r#"{"workload":"w","loop":"bare","late_p50_ns":60000.0,"ratio":1.0}
{"workload":"w","loop":"bare","late_p99_ns":90000.0,"ratio":1.0}"#;
        let svg = lateness(&tables::read(rows).unwrap()).unwrap();
        assert!(svg.contains("60.0 µs … 90.0 µs"), "{svg}");
    }
}
