//! All workloads in one picture: how each loop compares with a bare one.

use plotters::prelude::*;

use super::Picture;
use super::canvas::{
    AZURE, Area, BLUE, Drawn, FAINT, INK, SKY, SMALL, Side, TITLE, line, picture, width_of,
};
use crate::commands::tables::Table;

const WIDTH: i32 = 900;
const ROW: i32 = 26;
/// For the legend.
const HEAD: i32 = 62;
/// For the axis.
const FOOT: i32 = 44;
const RIGHT: i32 = 24;
const TICKS: [(f64, &str); 6] = [
    (0.125, "⅛"),
    (0.25, "¼"),
    (0.5, "½"),
    (1.0, "1"),
    (2.0, "2"),
    (4.0, "4"),
];

/// Who is drawn alike.
struct Kind {
    legend: &'static str,
    names: &'static [&'static str],
    mark: Mark,
    color: RGBColor,
    /// So far below the others, for those that would hide each other.
    below: i32,
}

#[derive(Clone, Copy)]
enum Mark {
    Circle,
    Square,
    Triangle,
    Cross,
    Ring,
}

/// The last are drawn on top of the others.
const KINDS: [Kind; 6] = [
    Kind {
        legend: "libev, libevent, libuv",
        names: &["libev", "libevent", "libuv"],
        mark: Mark::Cross,
        color: RGBColor(90, 150, 90),
        below: 0,
    },
    Kind {
        legend: "calloop, mio, polling",
        names: &["calloop", "mio", "polling"],
        mark: Mark::Ring,
        color: RGBColor(130, 130, 130),
        below: 0,
    },
    Kind {
        legend: "tokio, async-io by themselves",
        names: &["tokio", "async-io", "async-channel"],
        mark: Mark::Ring,
        color: RGBColor(205, 95, 60),
        below: 0,
    },
    Kind {
        legend: "oneloop on async-io",
        names: &["oneloop on async-io"],
        mark: Mark::Triangle,
        color: SKY,
        below: 6,
    },
    Kind {
        legend: "oneloop on tokio",
        names: &["oneloop on tokio"],
        mark: Mark::Square,
        color: AZURE,
        below: 0,
    },
    Kind {
        legend: "oneloop built-in",
        names: &["oneloop built-in"],
        mark: Mark::Circle,
        color: BLUE,
        below: -6,
    },
];

/// Each bench with its tables, of which the first units are compared.
pub fn draw(benches: &[(&str, &[Table])]) -> Picture {
    let rows: usize = benches.iter().map(|(_, tables)| tables.len() + 1).sum();
    let titles = benches.iter().flat_map(|(_, tables)| *tables);
    let left = titles
        .map(|table| width_of(&table.workload, SMALL.size))
        .max();
    let left = left.unwrap_or(0) + 30;
    let bottom = HEAD + ROW * rows as i32;
    let ticks = ticks(benches);
    let (least, most) = (ticks[0].0, ticks[ticks.len() - 1].0);
    // What is beyond is drawn at the edge.
    let x = |ratio: f64| {
        let part = (ratio / least).log2() / (most / least).log2();
        left + (part.clamp(0.0, 1.0) * f64::from(WIDTH - RIGHT - left)).round() as i32
    };
    picture((WIDTH, bottom + FOOT), |area| {
        legend(area)?;
        for &(ratio, label) in ticks {
            let color = if ratio == 1.0 { INK } else { FAINT };
            line(area, [(x(ratio), HEAD), (x(ratio), bottom)], color, 1)?;
            SMALL.draw(area, (x(ratio), bottom + 12), Side::Middle, label)?;
        }
        let what = "times what the bare loop takes: further left is faster; at the edge, or beyond";
        let middle = ((left + WIDTH - RIGHT) / 2, bottom + 31);
        SMALL.draw(area, middle, Side::Middle, what)?;
        let mut y = HEAD;
        for (bench, tables) in benches {
            TITLE.draw(area, (12, y + ROW / 2), Side::Right, bench)?;
            y += ROW;
            for table in *tables {
                let middle = y + ROW / 2;
                SMALL.draw(area, (left - 14, middle), Side::Left, &table.workload)?;
                line(area, [(left, middle), (WIDTH - RIGHT, middle)], FAINT, 1)?;
                marks(area, table, middle, &x)?;
                y += ROW;
            }
        }
        Ok(())
    })
}

/// From the fastest that there is.
fn ticks(benches: &[(&str, &[Table])]) -> &'static [(f64, &'static str)] {
    let tables = benches.iter().flat_map(|(_, tables)| *tables);
    let rows = tables.flat_map(|table| &table.rows);
    let ratios = rows.filter_map(|row| row.figure(0)?.ratio);
    let least = ratios.fold(1.0, f64::min);
    let below = TICKS.iter().rposition(|&(tick, _)| tick <= least);
    // One that is left of the bare loop there is always room for.
    &TICKS[below.unwrap_or(0).min(2)..]
}

fn marks(area: &Area<'_>, table: &Table, y: i32, x: &impl Fn(f64) -> i32) -> Drawn {
    for kind in &KINDS {
        for row in &table.rows {
            let is_it = kind.names.iter().any(|name| row.name.starts_with(name));
            let ratio = row.figure(0).and_then(|figure| figure.ratio);
            if let Some(ratio) = ratio.filter(|_| is_it) {
                kind.draw(area, (x(ratio), y + kind.below))?;
            }
        }
    }
    Ok(())
}

/// In two lines, oneloop first.
fn legend(area: &Area<'_>) -> Drawn {
    for (place, kind) in (0..).zip(KINDS.iter().rev()) {
        let (x, y) = (24 + place % 3 * 290, 18 + place / 3 * 22);
        kind.draw(area, (x, y))?;
        let text = SMALL.bold(kind.legend.starts_with("oneloop"));
        text.draw(area, (x + 14, y), Side::Right, kind.legend)?;
    }
    Ok(())
}

impl Kind {
    fn draw(&self, area: &Area<'_>, place: (i32, i32)) -> Drawn {
        let filled = self.color.filled();
        let thin = self.color.stroke_width(2);
        match self.mark {
            Mark::Circle => area.draw(&Circle::new(place, 5, filled))?,
            Mark::Ring => area.draw(&Circle::new(place, 4, thin))?,
            Mark::Triangle => area.draw(&TriangleMarker::new(place, 6, filled))?,
            Mark::Cross => area.draw(&Cross::new(place, 4, thin))?,
            Mark::Square => {
                let (x, y) = place;
                area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], filled))?;
            }
        }
        Ok(())
    }
}
