//! The text below the pictures.

use std::fmt::Write;

use super::tables::{Table, heading, show};

/// A table in Markdown: each unit is a column, and the first has the ratio beside it. How many events
/// there are in a second is a column if they have a name.
pub fn table(table: &Table, events: Option<&str>) -> String {
    let events = events.filter(|_| table.unit("ns_per_event") == Some(0));
    let mut titles = vec![table.workload.clone()];
    for (place, unit) in table.units.iter().enumerate() {
        titles.push(heading(unit));
        if place == 0 {
            titles.push(format!("× {}", table.yardstick()));
            titles.extend(events.map(|events| format!("{events} per second")));
        }
    }
    let mut page = format!("\n| {} |\n|---|", titles.join(" | "));
    page.extend((1..titles.len()).map(|_| "---:|"));
    page.push('\n');
    for row in &table.rows {
        let mut cells = vec![if row.is_oneloop() {
            format!("**{}**", row.name)
        } else {
            row.name.clone()
        }];
        for (place, unit) in table.units.iter().enumerate() {
            let figure = row.figure(place);
            cells.push(figure.map_or(String::new(), |figure| show(unit, figure.value)));
            if place == 0 {
                let ratio = figure.and_then(|figure| figure.ratio);
                cells.push(ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")));
                let each = figure.map_or(f64::NAN, |figure| figure.value);
                cells.extend(events.map(|_| show("per_second", 1e9 / each)));
            }
        }
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tables;

    #[test]
    fn a_column_for_each_unit() {
        let rows = r#"{"workload":"w","loop":"bare","ns_per_event":10000.0,"ratio":1.0}
{"workload":"w","loop":"oneloop on tokio","ns_per_event":20000.0,"ratio":2.0}
{"workload":"w","loop":"bare","trip_p99_ns":500.0,"ratio":1.0}"#;
        let expected = "
| w | per event | × bare | messages per second | trip p99 |
|---|---:|---:|---:|---:|
| bare | 10.0 µs | 1.00 | 100,000 | 500 ns |
| **oneloop on tokio** | 20.0 µs | 2.00 | 50,000 |  |
";
        assert_eq!(
            table(&tables::read(rows).unwrap()[0], Some("messages")),
            expected
        );
    }

    #[test]
    fn units_other_than_time_have_no_rate() {
        let rows = r#"{"workload":"w","loop":"oneloop","bytes_per_timer":67.1,"ratio":1.0}"#;
        let expected = "
| w | bytes per timer | × oneloop |
|---|---:|---:|
| **oneloop** | 67.1 | 1.00 |
";
        assert_eq!(
            table(&tables::read(rows).unwrap()[0], Some("messages")),
            expected
        );
    }
}
