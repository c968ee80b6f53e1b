//! Runs the program under Xvfb, and looks at the picture.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that goes with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The colours of the four parts, and how many pixels each has at least.
const PARTS: [(&str, [u8; 3], usize); 4] = [
    ("the chart", [224, 32, 48], 3_000),
    ("the download, which is complete", [0x20, 0xc0, 0x40], 9_000),
    ("the chat", [0x40, 0x20, 0xf0], 100),
    ("the property", [255, 144, 0], 1_000),
];

fn shows_all(outer: &str) {
    let folder = tempfile::TempDir::new().unwrap();
    let mut xvfb = Command::new("Xvfb");
    xvfb.args([
        "-displayfd",
        "1",
        "-screen",
        "0",
        "640x640x24",
        "-nolisten",
        "tcp",
        "-fbdir",
    ]);
    xvfb.arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut xvfb = Process(xvfb.spawn().expect("tests/all.sh installs it"));
    let mut number = String::new();
    let mut told = BufReader::new(xvfb.0.stdout.take().unwrap());
    told.read_line(&mut number).unwrap();

    let mut program = Command::new(env!("CARGO_BIN_EXE_gtk_tokio"));
    program.args(["--outer", outer]);
    program.env("DISPLAY", format!(":{}", number.trim()));
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
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Process(program.spawn().unwrap());
    let mut printed = BufReader::new(program.0.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "complete\n");
    let picture = Picture::of(&folder.path().join("Xvfb_screen0"));
    for (part, colour, least) in PARTS {
        let pixels = picture.count(colour);
        println!("{part}: {pixels} pixels");
        assert!(pixels >= least, "{part}: {pixels} pixels");
    }

    // It ends when its input does.
    drop(program.0.stdin.take());
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert!(
        program.0.wait().unwrap().success() && rest.is_empty(),
        "{rest}"
    );
}

/// What the screen has, as Xvfb keeps it in a file: the form is that of xwd(1).
struct Picture(Vec<u8>);

impl Picture {
    fn of(path: &Path) -> Picture {
        let file = fs::read(path).unwrap();
        // The header is 32-bit numbers, of which the first is its length and number 19 is how many colours follow.
        let number = |at: usize| {
            let bytes = file[4 * at..4 * at + 4].try_into().unwrap();
            u32::from_be_bytes(bytes) as usize
        };
        assert_eq!((number(4), number(5)), (640, 640));
        assert_eq!(number(11), 32, "bits of a pixel");
        Picture(file[number(0) + 12 * number(19)..].to_vec())
    }

    fn count(&self, [red, green, blue]: [u8; 3]) -> usize {
        let pixels = self.0.chunks_exact(4);
        pixels
            .filter(|pixel| pixel[..3] == [blue, green, red])
            .count()
    }
}

#[test]
fn the_window_shows_all_with_tokio_outside() {
    shows_all("tokio");
}

#[test]
fn the_window_shows_all_with_gtk_outside() {
    shows_all("glib");
}
