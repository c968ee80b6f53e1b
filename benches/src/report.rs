//! How results are printed.

use crate::rounds::{Results, Row};

pub(crate) struct Report {
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report { json }
    }

    pub(crate) fn print(&self, bench: &str, workload: &str, results: &Results) {
        if self.json {
            for row in results.tables.iter().flatten() {
                println!("{}", object(workload, row));
            }
        } else {
            let Results { rounds, events, .. } = results;
            match events {
                Some(events) => {
                    println!("{bench}, {workload} (medians of {rounds} rounds of {events} events)")
                }
                None => println!("{bench}, {workload}"),
            }
            results.tables.iter().for_each(|rows| table(rows));
            println!();
        }
    }
}

/// Names are plain ASCII, for which Rust's quotes are JSON's.
fn object(workload: &str, row: &Row) -> String {
    let Row { name, unit, .. } = row;
    let value = number(row.value);
    let ratio = match row.ratio {
        Some(ratio) => format!("{:.4}", ratio.median),
        None => "null".into(),
    };
    format!(r#"{{"workload":{workload:?},"loop":{name:?},"{unit}":{value},"ratio":{ratio}}}"#)
}

fn table(rows: &[Row]) {
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let unit = rows[0].unit.replace("_per_", "/").replace('_', " ");
    let unit_width = unit.len().max(8);
    let times = format!("times {}", rows[0].name);
    let times_width = times.len();
    println!(
        "  {:name_width$}  {unit:>unit_width$}  {times}  quartiles",
        ""
    );
    for row in rows {
        let (name, value) = (row.name, number(row.value));
        print!("  {name:name_width$}  {value:>unit_width$}");
        if let Some(ratio) = row.ratio {
            print!("  {:times_width$.2}", ratio.median);
            if let Some((low, high)) = ratio.quartiles {
                print!("  {low:.2} to {high:.2}");
            }
        }
        println!();
    }
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    match value {
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::{Ratio, TIME};

    #[test]
    fn an_object_per_row() {
        let mut row = Row {
            name: "mio",
            unit: TIME,
            value: 1234.56,
            ratio: Some(Ratio {
                median: 1.25,
                quartiles: Some((1.2, 1.3)),
            }),
        };
        let json = r#"{"workload":"w","loop":"mio","ns_per_event":1234.6,"ratio":1.2500}"#;
        assert_eq!(object("w", &row), json);
        row.unit = "calls_per_message";
        row.value = 0.5;
        row.ratio = None;
        let json = r#"{"workload":"w","loop":"mio","calls_per_message":0.500,"ratio":null}"#;
        assert_eq!(object("w", &row), json);
    }
}
