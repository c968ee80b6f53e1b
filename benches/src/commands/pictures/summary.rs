//! All benches in one picture: a panel per bench, and a bar per loop.

use plotters::style::{RGBColor, WHITE};

use super::Picture;
use super::canvas::{
    AZURE, Area, BLUE, Drawn, FAINT, INK, SKY, SMALL, Side, TITLE, line, picture, rectangle,
    width_of,
};
use crate::commands::tables::{Table, heading};

const WIDTH: i32 = 900;
const COLUMNS: usize = 4;
/// The height of the heading above all panels.
const HEAD: i32 = 56;
const BAR: i32 = 18;
/// The height of a panel's title.
const TOP: i32 = 30;
/// The height of a panel's axis.
const FOOT: i32 = 48;
/// The width of the names.
const LEFT: i32 = 148;
/// The width of the figure beside a bar.
const LABEL: i32 = 46;
/// Longer bars are cut here. Their figure still shows their length.
const MOST: f64 = 2.0;
const TICKS: [(f64, &str); 5] = [(0.0, "0"), (0.5, "½"), (1.0, "1"), (1.5, "1½"), (2.0, "2")];

/// A loop, with a colour that no other loop has.
struct Peer {
    name: &'static str,
    color: RGBColor,
    /// The first words of other names that it has in a bench.
    alias: Option<&'static str>,
}

const fn peer(name: &'static str, color: RGBColor) -> Peer {
    Peer {
        name,
        color,
        alias: None,
    }
}

const PEERS: [Peer; 11] = [
    peer("oneloop built-in", BLUE),
    peer("oneloop on tokio", AZURE),
    peer("oneloop on async-io", SKY),
    peer("tokio", RGBColor(195, 60, 60)),
    Peer {
        alias: Some("async-channel"),
        ..peer("async-io", RGBColor(220, 130, 20))
    },
    peer("calloop", RGBColor(145, 95, 180)),
    peer("mio", RGBColor(50, 145, 80)),
    peer("polling", RGBColor(30, 150, 160)),
    peer("libev", RGBColor(150, 110, 70)),
    peer("libevent", RGBColor(210, 105, 165)),
    peer("libuv", RGBColor(130, 140, 30)),
];

impl Peer {
    /// Returns true if a row of this name belongs to the peer, such as `tokio AsyncFd` to `tokio`.
    fn has(&self, row: &str) -> bool {
        let names = [Some(self.name), self.alias];
        names.into_iter().flatten().any(|name| {
            row.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
        })
    }

    /// Returns its ratio in each workload. If it has several rows in a workload, its best one counts.
    fn ratios(&self, tables: &[Table]) -> Vec<f64> {
        let best = |table: &Table| {
            let rows = table.rows.iter().filter(|row| self.has(&row.name));
            rows.filter_map(|row| row.figure(0)?.ratio).reduce(f64::min)
        };
        tables.iter().filter_map(best).collect()
    }
}

/// Draws each bench with its tables, of which the first units are compared.
pub fn draw(benches: &[(&str, &[Table])]) -> Picture {
    let lines = (benches.len() + 1).div_ceil(COLUMNS) as i32;
    let panel = TOP + BAR * PEERS.len() as i32 + FOOT;
    let width = (WIDTH - LEFT) / COLUMNS as i32;
    picture((WIDTH, HEAD + panel * lines), |area| {
        TITLE.draw(
            area,
            (14, 20),
            Side::Right,
            "Cost of a loop, as a multiple of a bare loop's. Smaller is better.",
        )?;
        SMALL.draw(
            area,
            (14, 41),
            Side::Right,
            "Bar and figure: geometric mean of a bench's workloads. Thin line: from its lowest to its highest. –: not measured.",
        )?;
        for (place, (bench, tables)) in (0..).zip(benches) {
            let (column, row) = (place % COLUMNS as i32, place / COLUMNS as i32);
            let top = HEAD + row * panel + TOP;
            if column == 0 {
                names(area, top)?;
            }
            let panel = Panel {
                left: LEFT + column * width,
                top,
                width: width - LABEL,
            };
            panel.draw(area, bench, tables)?;
        }
        Ok(())
    })
}

fn names(area: &Area<'_>, top: i32) -> Drawn {
    for (place, peer) in (0..).zip(&PEERS) {
        let middle = top + BAR * place + BAR / 2;
        let text = SMALL.bold(peer.name.starts_with("oneloop"));
        text.draw(area, (LEFT - 10, middle), Side::Left, peer.name)?;
    }
    Ok(())
}

struct Panel {
    left: i32,
    top: i32,
    /// The width of a bar of the length `MOST`.
    width: i32,
}

impl Panel {
    fn x(&self, ratio: f64) -> i32 {
        self.left + (ratio.min(MOST) / MOST * f64::from(self.width)).round() as i32
    }

    fn draw(&self, area: &Area<'_>, bench: &str, tables: &[Table]) -> Drawn {
        let bottom = self.top + BAR * PEERS.len() as i32;
        TITLE.draw(area, (self.left, self.top - 12), Side::Right, bench)?;
        for (ratio, label) in TICKS {
            let x = self.x(ratio);
            line(area, [(x, self.top), (x, bottom)], FAINT, 1)?;
            SMALL.draw(area, (x, bottom + 11), Side::Middle, label)?;
        }
        if let Some(table) = tables.first() {
            let unit = heading(&table.units[0]);
            let axis = format!("{unit} × {}", table.yardstick());
            let middle = (self.x(MOST / 2.0), bottom + 28);
            SMALL.draw(area, middle, Side::Middle, &axis)?;
        }
        for (place, peer) in (0..).zip(&PEERS) {
            self.bar(area, self.top + BAR * place, peer, &peer.ratios(tables))?;
        }
        line(
            area,
            [(self.x(1.0), self.top), (self.x(1.0), bottom)],
            INK,
            1,
        )
    }

    fn bar(&self, area: &Area<'_>, top: i32, peer: &Peer, ratios: &[f64]) -> Drawn {
        let middle = top + BAR / 2;
        if ratios.is_empty() {
            let place = (self.left + 4, middle);
            return SMALL.draw(area, place, Side::Right, "–");
        }
        let mean = mean(ratios);
        let right = self.x(mean);
        rectangle(
            area,
            [(self.left, top + 3), (right, top + BAR - 3)],
            peer.color,
        )?;
        if mean > MOST {
            // Slanted white lines show that the bar is cut.
            for x in right - 12..right - 9 {
                line(area, [(x, top + BAR - 3), (x + 5, top + 2)], WHITE, 1)?;
            }
        }
        let least = self.x(ratios.iter().copied().fold(f64::INFINITY, f64::min));
        let most = self.x(ratios.iter().copied().fold(0.0, f64::max));
        line(area, [(least, middle), (most, middle)], INK, 1)?;
        let label = format!("{mean:.2}");
        let left = right.max(most).max(self.x(1.0)) + 5;
        let room = [
            (left - 3, middle - 7),
            (left + width_of(&label, SMALL.size), middle + 7),
        ];
        rectangle(area, room, WHITE)?;
        let text = SMALL.bold(peer.name.starts_with("oneloop"));
        text.draw(area, (left, middle), Side::Right, &label)
    }
}

/// Returns the geometric mean, in which twice as slow and twice as fast cancel out.
fn mean(ratios: &[f64]) -> f64 {
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (sum / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tables;

    #[test]
    fn a_row_belongs_to_the_peer_whose_whole_words_begin_its_name() {
        let peer = |row: &str| {
            let own = PEERS.iter().filter(|peer| peer.has(row));
            own.map(|peer| peer.name).collect::<Vec<_>>()
        };
        assert_eq!(peer("tokio AsyncFd"), ["tokio"]);
        assert_eq!(peer("libevent"), ["libevent"]);
        assert_eq!(peer("async-channel on async-io"), ["async-io"]);
        assert_eq!(peer("oneloop on tokio"), ["oneloop on tokio"]);
        assert!(peer("bare epoll, nested").is_empty());
    }

    #[test]
    fn a_peer_has_the_best_of_its_rows_in_each_workload() {
        let rows = r#"{"workload":"v","loop":"bare","ns_per_event":1.0,"ratio":1.0}
{"workload":"v","loop":"tokio mpsc","ns_per_event":4.0,"ratio":4.0}
{"workload":"v","loop":"tokio Notify","ns_per_event":2.0,"ratio":2.0}
{"workload":"w","loop":"tokio mpsc","ns_per_event":8.0,"ratio":8.0}"#;
        let ratios = PEERS[3].ratios(&tables::read(rows).unwrap());
        assert_eq!(ratios, [2.0, 8.0]);
        assert!((mean(&ratios) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_picture_says_that_smaller_is_better_and_has_every_peer() {
        let rows = r#"{"workload":"v","loop":"bare","ns_per_event":1.0,"ratio":1.0}
{"workload":"v","loop":"libuv","ns_per_event":1.5,"ratio":1.5}"#;
        let tables = tables::read(rows).unwrap();
        let svg = draw(&[("ring", &tables)]).unwrap();
        assert!(
            svg.contains("Smaller is better") && svg.contains("1.50"),
            "{svg}"
        );
        assert!(PEERS.iter().all(|peer| svg.contains(peer.name)), "{svg}");
    }
}
