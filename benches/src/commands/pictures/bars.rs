//! A bar for each loop, side by side for some workloads.

use plotters::style::WHITE;

use super::canvas::{
    Area, DARK, Drawn, INK, LIGHT, SMALL, Side, TITLE, line, oneloop_blue, picture, rectangle,
    width_of,
};
use super::{Picture, distinct};
use crate::commands::tables::{Row, Table, heading, number};

const WIDTH: i32 = 900;
const BAR: i32 = 18;
/// Above the bars: the titles.
const HEAD: i32 = 34;
/// For what a bar comes to, beside it.
const LABEL: i32 = 52;
/// A bar that is longer than so many times the yardstick's is cut, and says how long it is.
const MOST: f64 = 3.0;
/// So many times the yardstick's there is always room for.
const LEAST: f64 = 1.5;

/// The meaning of a bar's length.
#[derive(Clone, Copy)]
pub enum Measure {
    /// How it compares with the yardstick, which a line shows.
    Ratio,
    /// Itself.
    Value,
}

impl Measure {
    fn of(self, row: &Row) -> Option<f64> {
        let figure = row.figure(0)?;
        match self {
            Measure::Ratio => figure.ratio,
            Measure::Value => Some(figure.value),
        }
    }

    /// Returns the value that takes all of the width.
    fn most(self, tables: &[Table]) -> f64 {
        let rows = tables.iter().flat_map(|table| &table.rows);
        let most = rows.filter_map(|row| self.of(row)).fold(0.0, f64::max);
        match self {
            Measure::Ratio => most.clamp(LEAST, MOST),
            Measure::Value => most,
        }
    }

    /// Returns the name of the figures.
    fn title(self, table: &Table) -> String {
        match self {
            Measure::Ratio => format!("× {}", table.yardstick()),
            Measure::Value => heading(&table.units[0]),
        }
    }

    fn label(self, value: f64) -> String {
        match self {
            Measure::Ratio if value < 10.0 => format!("{value:.2}"),
            _ => number(value),
        }
    }
}

/// Of the tables' first units.
pub fn draw(tables: &[Table], columns: usize, measure: Measure) -> Picture {
    let chunks: Vec<(&[Table], Vec<&str>)> = tables
        .chunks(columns)
        .map(|chunk| (chunk, names(chunk)))
        .collect();
    let rows: usize = chunks.iter().map(|(_, names)| names.len()).sum();
    let height = HEAD * chunks.len() as i32 + BAR * rows as i32 + 12;
    let longest = chunks.iter().flat_map(|(_, names)| names);
    let left = longest
        .map(|name| width_of(name, SMALL.size))
        .max()
        .unwrap_or(0)
        + 16;
    let column = (WIDTH - left) / columns as i32;
    let scale = (measure, measure.most(tables));
    picture((WIDTH, height), |area| {
        let mut top = 0;
        for (tables, names) in &chunks {
            top += HEAD;
            let title = measure.title(&tables[0]);
            SMALL.draw(area, (left - 8, top - 12), Side::Left, &title)?;
            for (place, name) in (0..).zip(names) {
                let middle = top + BAR * place + BAR / 2;
                let text = SMALL.bold(name.starts_with("oneloop"));
                text.draw(area, (left - 8, middle), Side::Left, name)?;
            }
            for (place, table) in (0..).zip(*tables) {
                let panel = Panel {
                    left: left + column * place,
                    top,
                    width: column,
                };
                panel.draw(area, table, names, scale)?;
            }
            top += BAR * names.len() as i32;
        }
        Ok(())
    })
}

fn names(tables: &[Table]) -> Vec<&str> {
    let rows = tables.iter().flat_map(|table| &table.rows);
    distinct(rows.map(|row| row.name.as_str()))
}

struct Panel {
    left: i32,
    top: i32,
    width: i32,
}

impl Panel {
    fn draw(
        &self,
        area: &Area<'_>,
        table: &Table,
        names: &[&str],
        (measure, most): (Measure, f64),
    ) -> Drawn {
        let Panel { left, top, width } = *self;
        TITLE.draw(area, (left, top - 12), Side::Right, &table.workload)?;
        let end =
            |value: f64| left + (value.min(most) / most * f64::from(width - LABEL)).round() as i32;
        let bottom = top + BAR * names.len() as i32;
        let mut labels = Vec::new();
        for row in &table.rows {
            let place = names.iter().position(|name| *name == row.name);
            let (Some(value), Some(place)) = (measure.of(row), place) else {
                continue;
            };
            let (right, y) = (end(value), top + BAR * place as i32);
            let color = match oneloop_blue(&row.name) {
                Some(blue) => blue,
                None if row.name == table.yardstick() => DARK,
                None => LIGHT,
            };
            rectangle(area, [(left, y + 2), (right, y + BAR - 2)], color)?;
            if value > most {
                // Torn off.
                for x in right - 12..right - 9 {
                    line(area, [(x, y + BAR - 2), (x + 5, y + 1)], WHITE, 1)?;
                }
            }
            labels.push(((right + 5, y + BAR / 2), row, measure.label(value)));
        }
        line(area, [(left, top), (left, bottom)], LIGHT, 1)?;
        if let Measure::Ratio = measure {
            line(area, [(end(1.0), top), (end(1.0), bottom)], INK, 1)?;
        }
        for ((x, y), row, label) in labels {
            // Not over the line.
            let room = [(x - 3, y - 7), (x + width_of(&label, SMALL.size), y + 7)];
            rectangle(area, room, WHITE)?;
            let text = SMALL.bold(row.is_oneloop());
            text.draw(area, (x, y), Side::Right, &label)?;
        }
        Ok(())
    }
}
