//! A sheet that is measured in pixels, and what is drawn on all of them.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Picture;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn Error>>;

pub const INK: RGBColor = RGBColor(40, 40, 40);
pub const FAINT: RGBColor = RGBColor(225, 225, 225);
/// Colours that only oneloop has: built-in, on tokio, and on async-io.
pub const BLUE: RGBColor = RGBColor(15, 85, 175);
pub const AZURE: RGBColor = RGBColor(60, 140, 220);
pub const SKY: RGBColor = RGBColor(125, 190, 245);
/// Of the yardstick.
pub const DARK: RGBColor = RGBColor(95, 95, 95);
/// Of all others.
pub const LIGHT: RGBColor = RGBColor(190, 190, 190);

/// Which of them.
pub fn oneloop_blue(name: &str) -> Option<RGBColor> {
    match name {
        "oneloop on tokio" => Some(AZURE),
        "oneloop on async-io" => Some(SKY),
        _ => name.starts_with("oneloop").then_some(BLUE),
    }
}

/// A picture in SVG.
pub fn picture((width, height): (i32, i32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Picture {
    let mut svg = String::new();
    {
        let size = (width.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(svg)
}

/// On which side of the place the text is.
#[derive(Clone, Copy)]
pub enum Side {
    Left,
    Right,
    Middle,
}

pub struct Text {
    pub size: i32,
    pub bold: bool,
    pub color: RGBColor,
}

pub const SMALL: Text = Text {
    size: 12,
    bold: false,
    color: INK,
};
pub const TITLE: Text = Text {
    size: 13,
    bold: true,
    color: INK,
};

impl Text {
    pub fn color(self, color: RGBColor) -> Text {
        Text { color, ..self }
    }

    pub fn bold(self, bold: bool) -> Text {
        Text { bold, ..self }
    }

    /// Its middle line is at the height of the place.
    pub fn draw(&self, area: &Area<'_>, place: (i32, i32), side: Side, text: &str) -> Drawn {
        let side = match side {
            Side::Left => HPos::Right,
            Side::Right => HPos::Left,
            Side::Middle => HPos::Center,
        };
        let style = if self.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let style = ("sans-serif", self.size, style)
            .into_font()
            .color(&self.color);
        let text = plotters::element::Text::new(
            text.to_owned(),
            place,
            style.pos(Pos::new(side, VPos::Center)),
        );
        Ok(area.draw(&text)?)
    }
}

pub fn rectangle(area: &Area<'_>, corners: [(i32, i32); 2], color: RGBColor) -> Drawn {
    Ok(area.draw(&Rectangle::new(corners, color.filled()))?)
}

pub fn line(area: &Area<'_>, ends: [(i32, i32); 2], color: RGBColor, width: u32) -> Drawn {
    Ok(area.draw(&PathElement::new(ends, color.stroke_width(width)))?)
}

/// How wide a text of this size gets at most, in a font as wide as they come.
pub fn width_of(text: &str, size: i32) -> i32 {
    text.chars().count() as i32 * size * 62 / 100
}
