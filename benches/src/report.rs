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
        match self.json {
            true => {
                for row in &results.rows {
                    println!("{}", object(workload, row));
                }
            }
            false => table(bench, workload, results),
        }
    }
}

/// Names are plain ASCII, for which Rust's quotes are JSON's.
fn object(workload: &str, row: &Row) -> String {
    format!(
        r#"{{"workload":{workload:?},"loop":{:?},"ns_per_event":{:.1},"ratio":{:.4}}}"#,
        row.name, row.ns_per_event, row.ratio
    )
}

fn table(bench: &str, workload: &str, results: &Results) {
    let Results { rounds, events, .. } = results;
    let rows = &results.rows;
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let times = format!("times {}", rows[0].name);
    let column = times.len();
    println!("{bench}, {workload} (medians of {rounds} rounds of {events} events)");
    println!("  {:width$}  ns/event  {times}  quartiles", "");
    for row in rows {
        let Row { name, ratio, .. } = row;
        let (ns, (low, high)) = (row.ns_per_event, row.quartiles);
        println!("  {name:width$}  {ns:8.0}  {ratio:column$.2}  {low:.2} to {high:.2}");
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_per_row() {
        let row = Row {
            name: "mio",
            ns_per_event: 1234.56,
            ratio: 1.25,
            quartiles: (1.2, 1.3),
        };
        let json = r#"{"workload":"w","loop":"mio","ns_per_event":1234.6,"ratio":1.2500}"#;
        assert_eq!(object("w", &row), json);
    }
}
