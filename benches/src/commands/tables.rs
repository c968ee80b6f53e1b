//! The output of the benches as tables, and their figures as people write them.

use serde_json::Value;

/// All loops at one workload.
#[derive(Default)]
pub struct Table {
    pub workload: String,
    /// As in the JSON. The first is the one that matters most.
    pub units: Vec<String>,
    /// The first is the yardstick's.
    pub rows: Vec<Row>,
}

/// One loop.
pub struct Row {
    pub name: String,
    /// By unit.
    figures: Vec<Option<Figure>>,
}

#[derive(Clone, Copy)]
pub struct Figure {
    pub value: f64,
    /// To the yardstick's.
    pub ratio: Option<f64>,
}

impl Table {
    pub fn yardstick(&self) -> &str {
        &self.rows[0].name
    }

    pub fn unit(&self, unit: &str) -> Option<usize> {
        self.units.iter().position(|own| own == unit)
    }
}

impl Row {
    /// Of the unit of that number in the table.
    pub fn figure(&self, unit: usize) -> Option<Figure> {
        *self.figures.get(unit)?
    }

    pub fn is_oneloop(&self) -> bool {
        self.name.starts_with("oneloop")
    }
}

/// From lines of JSON.
pub fn read(text: &str) -> Result<Vec<Table>, String> {
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines() {
        add(&mut tables, line).ok_or_else(|| format!("not a row: {line}"))?;
    }
    Ok(tables)
}

fn add(tables: &mut Vec<Table>, line: &str) -> Option<()> {
    let object: Value = serde_json::from_str(line).ok()?;
    let known = ["workload", "loop", "ratio"];
    let mut others = object.as_object()?.iter();
    let (unit, value) = others.find(|(key, _)| !known.contains(&key.as_str()))?;
    let (workload, name) = (object["workload"].as_str()?, object["loop"].as_str()?);
    let figure = Figure {
        value: value.as_f64()?,
        ratio: object["ratio"].as_f64(),
    };
    let table = entry(
        tables,
        |table| table.workload == workload,
        || Table {
            workload: workload.into(),
            ..Table::default()
        },
    );
    let own = |own: &String| own == unit;
    entry(&mut table.units, own, || unit.clone());
    let unit = table.units.iter().position(own)?;
    let row = entry(
        &mut table.rows,
        |row| row.name == name,
        || Row {
            name: name.into(),
            figures: Vec::new(),
        },
    );
    if row.figures.len() <= unit {
        row.figures.resize(unit + 1, None);
    }
    row.figures[unit] = Some(figure);
    Some(())
}

/// The one, or a new one.
fn entry<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let place = all.iter().position(is_it).unwrap_or(all.len());
    if place == all.len() {
        all.push(new());
    }
    &mut all[place]
}

/// A unit, as a heading: without nanoseconds, as `show` says which they are.
pub fn heading(unit: &str) -> String {
    let words = unit.split('_').filter(|&word| word != "ns");
    words.collect::<Vec<_>>().join(" ")
}

/// A figure of that unit.
pub fn show(unit: &str, value: f64) -> String {
    if unit.split('_').any(|word| word == "ns") {
        time(value)
    } else {
        number(value)
    }
}

pub fn time(nanoseconds: f64) -> String {
    let (value, unit) = in_unit(nanoseconds);
    format!("{} {unit}", number(value))
}

/// A round one, for an axis.
pub fn short_time(nanoseconds: f64) -> String {
    let (value, unit) = in_unit(nanoseconds);
    format!("{} {unit}", short(value))
}

fn in_unit(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        ..1e3 => (nanoseconds, "ns"),
        ..1e6 => (nanoseconds / 1e3, "µs"),
        ..1e9 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    }
}

/// A round number, for an axis.
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        ..1e3 => (value, ""),
        ..1e6 => (value / 1e3, "k"),
        _ => (value / 1e6, "M"),
    };
    // Without the last bits that sums leave.
    format!("{}{unit}", (value * 100.0).round() / 100.0)
}

/// With as many digits as mean something, and thousands apart.
pub fn number(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let mut apart = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 {
                    apart.push(',');
                }
                apart.push(digit);
            }
            apart
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_workload_are_one_table() {
        let text = r#"{"workload":"w","loop":"bare","ns_per_event":100.0,"ratio":1.0}
{"workload":"w","loop":"mio","ns_per_event":125.0,"ratio":1.25}
{"workload":"w","loop":"mio","calls":3.0,"ratio":null}
{"workload":"v","loop":"bare","bytes":1.0,"ratio":1.0}"#;
        let tables = read(text).unwrap();
        assert_eq!(tables.len(), 2);
        let table = &tables[0];
        assert_eq!(table.units, ["ns_per_event", "calls"]);
        assert_eq!((table.rows.len(), table.yardstick()), (2, "bare"));
        let mio = &table.rows[1];
        assert_eq!(mio.figure(0).unwrap().ratio, Some(1.25));
        assert_eq!(mio.figure(1).unwrap().value, 3.0);
        assert!(table.rows[0].figure(1).is_none());
        assert!(read("{}").is_err());
    }

    #[test]
    fn time_has_the_unit_that_fits_and_the_rest_has_its_own() {
        assert_eq!(show("ns_per_event", 842.4), "842 ns");
        assert_eq!(show("round_trip_p99_ns", 12_345.0), "12.3 µs");
        assert_eq!(show("late_p50_ns", 1_234_567.0), "1.23 ms");
        assert_eq!(show("server_cpu_ns_per_event", 5.0), "5.00 ns");
        assert_eq!(show("bytes_per_timer", 67.1), "67.1");
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(short_time(0.1 * 3.0 * 1e3), "300 ns");
        assert_eq!(short_time(2_500.0), "2.5 µs");
        assert_eq!(short(100_000.0), "100k");
    }

    #[test]
    fn headings() {
        let all = [
            ("ns_per_event", "per event"),
            ("round_trip_p99_ns", "round trip p99"),
            ("server_cpu_ns_per_event", "server cpu per event"),
            ("bytes_per_timer", "bytes per timer"),
        ];
        for (unit, expected) in all {
            assert_eq!(heading(unit), expected);
        }
    }
}
