//! A line for each loop: what something costs, against how much there is of something else.

use plotters::prelude::*;

use super::canvas::{
    Area, Drawn, FAINT, INK, SMALL, Side, TITLE, line, oneloop_blue, picture, width_of,
};
use super::scale::Scale;
use super::{Picture, distinct};
use crate::commands::tables::{short, short_time};

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
}

/// One loop's.
pub struct Line {
    pub name: String,
    /// How much there is, and what that costs in nanoseconds.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: i32 = 900;
const HEIGHT: i32 = 430;
const HEAD: i32 = 44;
/// For the axis and what it is of.
const FOOT: i32 = 48;
/// For the other axis, which is the first panel's.
const LEFT: i32 = 62;
/// Between the panels.
const GAP: i32 = 20;
const LABEL: i32 = 15;

/// Colours that differ, for all but oneloop, in order of appearance.
const OTHERS: [RGBColor; 10] = [
    RGBColor(60, 60, 60),
    RGBColor(220, 130, 20),
    RGBColor(195, 60, 60),
    RGBColor(50, 145, 80),
    RGBColor(145, 95, 180),
    RGBColor(150, 110, 70),
    RGBColor(210, 105, 165),
    RGBColor(30, 150, 160),
    RGBColor(130, 140, 30),
    RGBColor(150, 150, 150),
];

/// Side by side, on the same scales.
pub fn draw(panels: &[Panel], below: &str, vertical: fn(Vec<f64>) -> Scale) -> Picture {
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let names = distinct(lines().map(|line| line.name.as_str()));
    let points = || lines().flat_map(|line| line.points.iter().copied());
    let across = Scale::logarithmic(points().map(|(x, _)| x).collect());
    let up = vertical(points().map(|(_, y)| y).collect());
    let longest = names.iter().map(|name| width_of(name, SMALL.size)).max();
    let right = longest.unwrap_or(0) + 20;
    let part = (WIDTH - LEFT + GAP) / panels.len() as i32;
    picture((WIDTH, HEIGHT), |area| {
        for (place, panel) in (0..).zip(panels) {
            let frame = Frame {
                left: LEFT + place * part,
                right: LEFT + (place + 1) * part - GAP - right,
                across: &across,
                up: &up,
            };
            frame.axes(area, panel, below)?;
            frame.lines(area, panel, &names)?;
        }
        Ok(())
    })
}

/// oneloop's are blue and thick.
fn style(name: &str, names: &[&str]) -> (RGBColor, u32) {
    if let Some(blue) = oneloop_blue(name) {
        return (blue, 3);
    }
    let mut others = names.iter().filter(|name| oneloop_blue(name).is_none());
    let place = others.position(|other| *other == name).unwrap_or(0);
    (OTHERS[place % OTHERS.len()], 1)
}

struct Frame<'a> {
    left: i32,
    right: i32,
    across: &'a Scale,
    up: &'a Scale,
}

impl Frame<'_> {
    const BOTTOM: i32 = HEIGHT - FOOT;

    fn x(&self, value: f64) -> i32 {
        let width = f64::from(self.right - self.left);
        self.left + (self.across.part(value) * width).round() as i32
    }

    fn y(&self, value: f64) -> i32 {
        let height = f64::from(Self::BOTTOM - HEAD);
        Self::BOTTOM - (self.up.part(value) * height).round() as i32
    }

    fn axes(&self, area: &Area<'_>, panel: &Panel, below: &str) -> Drawn {
        TITLE.draw(area, (self.left, 18), Side::Right, &panel.title)?;
        for value in self.up.ticks() {
            let y = self.y(value);
            line(area, [(self.left, y), (self.right, y)], FAINT, 1)?;
            if self.left == LEFT {
                SMALL.draw(area, (self.left - 8, y), Side::Left, &short_time(value))?;
            }
        }
        for value in self.across.ticks() {
            let (x, bottom) = (self.x(value), Self::BOTTOM);
            line(area, [(x, HEAD), (x, bottom)], FAINT, 1)?;
            SMALL.draw(area, (x, bottom + 13), Side::Middle, &short(value))?;
        }
        let corner = (self.left, Self::BOTTOM);
        line(area, [corner, (self.right, Self::BOTTOM)], INK, 1)?;
        let middle = ((self.left + self.right) / 2, Self::BOTTOM + 34);
        SMALL.draw(area, middle, Side::Middle, below)
    }

    fn lines(&self, area: &Area<'_>, panel: &Panel, names: &[&str]) -> Drawn {
        // oneloop on top of the others.
        let mut lines: Vec<&Line> = panel.lines.iter().collect();
        lines.sort_by_key(|line| oneloop_blue(&line.name).is_some());
        for line in &lines {
            let (color, thickness) = style(&line.name, names);
            let points = line.points.iter().map(|&(x, y)| (self.x(x), self.y(y)));
            let points: Vec<_> = points.collect();
            for &point in &points {
                area.draw(&Circle::new(point, thickness + 1, color.filled()))?;
            }
            area.draw(&PathElement::new(points, color.stroke_width(thickness)))?;
        }
        self.labels(area, lines, names)
    }

    /// At the ends of the lines, but none over another.
    fn labels(&self, area: &Area<'_>, mut lines: Vec<&Line>, names: &[&str]) -> Drawn {
        lines.retain(|line| !line.points.is_empty());
        let end = |line: &Line| {
            let (x, y) = line.points[line.points.len() - 1];
            (self.x(x), self.y(y))
        };
        lines.sort_by_key(|line| end(line).1);
        let heights = apart(lines.iter().map(|line| end(line).1).collect(), Self::BOTTOM);
        for (one, y) in lines.into_iter().zip(heights) {
            let (color, thickness) = style(&one.name, names);
            let (x, beside) = (end(one), (self.right + 14, y));
            line(area, [(x.0 + 4, x.1), (beside.0 - 2, y)], FAINT, 1)?;
            let text = SMALL.color(color).bold(thickness > 1);
            text.draw(area, beside, Side::Right, &one.name)?;
        }
        Ok(())
    }
}

/// Moves heights apart that are in order, so that a label fits between, and none is below the bottom.
fn apart(mut heights: Vec<i32>, bottom: i32) -> Vec<i32> {
    for n in 1..heights.len() {
        heights[n] = heights[n].max(heights[n - 1] + LABEL);
    }
    let mut lowest = bottom;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(lowest);
        lowest = *height - LABEL;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        assert_eq!(apart(vec![10, 12, 100], 200), [10, 25, 100]);
        assert_eq!(apart(vec![10, 195, 196, 197], 200), [10, 170, 185, 200]);
        assert!(apart(Vec::new(), 200).is_empty());
    }
}
