//! For each loop a span of time, from what half of the events take to what 99 of 100 do.

use plotters::prelude::*;

use super::Picture;
use super::canvas::{
    DARK, FAINT, LIGHT, SMALL, Side, TITLE, line, oneloop_blue, picture, rectangle, width_of,
};
use super::scale::Scale;
use crate::commands::tables::{Table, short_time, time};

const WIDTH: i32 = 900;
const ROW: i32 = 26;
const HEAD: i32 = 40;
const FOOT: i32 = 46;
/// For the figures beside the spans.
const LABEL: i32 = 150;

/// Of the two units of the table that are percentiles.
pub fn draw(table: &Table, [half, most]: [&str; 2], below: &str) -> Picture {
    let figures = |unit: &str| {
        let unit = table.unit(unit);
        let rows = table.rows.iter();
        rows.map(move |row| Some(row.figure(unit?)?.value))
    };
    let all = || figures(half).zip(figures(most));
    let rows: Vec<_> = table.rows.iter().zip(all()).collect();
    let values = all().flat_map(|(half, most)| [half, most]).flatten();
    let scale = Scale::logarithmic(values.collect());
    let left = table.rows.iter().map(|row| width_of(&row.name, SMALL.size));
    let left = left.max().unwrap_or(0) + 16;
    let bottom = HEAD + ROW * rows.len() as i32;
    let x = |value: f64| {
        let all = f64::from(WIDTH - LABEL - left);
        left + (scale.part(value) * all).round() as i32
    };
    picture((WIDTH, bottom + FOOT), |area| {
        TITLE.draw(area, (left, 18), Side::Right, &table.workload)?;
        for value in scale.ticks() {
            line(area, [(x(value), HEAD), (x(value), bottom)], FAINT, 1)?;
            SMALL.draw(
                area,
                (x(value), bottom + 13),
                Side::Middle,
                &short_time(value),
            )?;
        }
        let middle = ((left + WIDTH - LABEL) / 2, bottom + 33);
        SMALL.draw(area, middle, Side::Middle, below)?;
        for (place, (row, figures)) in (0..).zip(rows) {
            let y = HEAD + ROW * place + ROW / 2;
            let text = SMALL.bold(row.is_oneloop());
            text.draw(area, (left - 8, y), Side::Left, &row.name)?;
            let (Some(half), Some(most)) = figures else {
                continue;
            };
            let is_yardstick = row.name == table.yardstick();
            let (bar, dot) = match oneloop_blue(&row.name) {
                Some(blue) => (blue, blue),
                None if is_yardstick => (DARK, DARK),
                None => (LIGHT, DARK),
            };
            let span = [(x(half), y - 4), (x(most).max(x(half) + 1), y + 4)];
            rectangle(area, span, bar)?;
            area.draw(&Circle::new((x(half), y), 6, dot.filled()))?;
            let label = format!("{} … {}", time(half), time(most));
            text.draw(area, (x(most) + 12, y), Side::Right, &label)?;
        }
        Ok(())
    })
}
