//! Tables as bars, in SVG.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::Table;

const WIDTH: u32 = 760;
const NAMES: i32 = 190;
const BAR: i32 = 18;
/// Between two tables, with the title of the second.
const GAP: i32 = 42;
/// What is longer is cut, and says how long it is.
const MOST: f64 = 3.0;

/// A bar for each loop's ratio, and a line where the yardstick is. Of the time only: what else there
/// is to tell is for the tables.
pub fn bars(tables: &[Table]) -> Result<String, Box<dyn Error>> {
    let is_time = |table: &&Table| table.unit == "ns_per_event";
    let tables: Vec<&Table> = tables.iter().filter(is_time).collect();
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    let height = GAP * tables.len() as i32 + BAR * rows as i32 + 10;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let left = Pos::new(HPos::Left, VPos::Center);
        let right = Pos::new(HPos::Right, VPos::Center);
        let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
        let x = |ratio: f64| NAMES + (ratio * f64::from(WIDTH as i32 - NAMES - 60) / MOST) as i32;
        let mut y = 0;
        for table in tables {
            y += GAP;
            let unit = table.unit.replace("_per_", " per ").replace('_', " ");
            let title = format!("{}: {unit}, times {}", table.workload, table.rows[0].name);
            area.draw(&Text::new(title, (8, y - 14), text(14).pos(left)))?;
            let top = y;
            for row in &table.rows {
                let middle = y + BAR / 2;
                area.draw(&Text::new(
                    row.name.clone(),
                    (NAMES - 8, middle),
                    text(12).pos(right),
                ))?;
                if let Some(ratio) = row.ratio {
                    let color = match row.name.starts_with("oneloop") {
                        true => RGBColor(31, 119, 180),
                        false => RGBColor(190, 190, 190),
                    };
                    let end = x(ratio.min(MOST));
                    let bar = [(NAMES, y + 2), (end, y + BAR - 2)];
                    area.draw(&Rectangle::new(bar, color.filled()))?;
                    let label = format!("{ratio:.2}");
                    area.draw(&Text::new(label, (end + 5, middle), text(12).pos(left)))?;
                }
                y += BAR;
            }
            area.draw(&PathElement::new(
                [(x(1.0), top), (x(1.0), y)],
                RED.mix(0.5),
            ))?;
        }
        area.present()?;
    }
    Ok(svg)
}
