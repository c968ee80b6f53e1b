//! Runs the program under Xvfb, and looks at the picture.

use std::process::Command;

use oneloop_screen::{Part, expect_shown};

/// The colours of the four parts.
const PARTS: [Part; 4] = [
    ("the chart", [224, 32, 48], 3_000),
    ("the download, which is complete", [0x20, 0xc0, 0x40], 9_000),
    ("the chat", [0x40, 0x20, 0xf0], 100),
    ("the property", [255, 144, 0], 1_000),
];

fn shows_all(outer: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_gtk_tokio"));
    program.args(["--outer", outer]);
    program.envs([
        ("GDK_BACKEND", "x11"),
        ("GSK_RENDERER", "cairo"),
        ("GSETTINGS_BACKEND", "memory"),
    ]);
    program.envs([
        ("NO_AT_BRIDGE", "1"),
        ("GTK_A11Y", "none"),
        ("GTK_THEME", "Adwaita"),
    ]);
    expect_shown(program, &PARTS);
}

#[test]
fn the_window_shows_all_with_tokio_outside() {
    shows_all("tokio");
}

#[test]
fn the_window_shows_all_with_gtk_outside() {
    shows_all("glib");
}
