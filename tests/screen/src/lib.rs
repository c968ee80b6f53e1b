//! Runs programs with a window under Xvfb, and looks at the picture. `tests/more.sh windows` installs Xvfb.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A part of a window: its name, its colour (red, green, blue), and how many pixels of the screen have that at least.
pub type Part = (&'static str, [u8; 3], usize);

/// Runs a program on a screen of its own. Once it prints "complete", each part must be in the picture. The
/// program must then end when its standard input does, and print nothing more.
///
/// # Panics
///
/// Panics if something of this is missing.
pub fn expect_shown(mut program: Command, parts: &[Part]) {
    let screen = Screen::new();
    program.env("DISPLAY", format!(":{}", screen.number));
    program.env("XDG_RUNTIME_DIR", screen.folder.path());
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = Process(program.spawn().expect("a program"));
    let mut printed = BufReader::new(program.0.stdout.take().expect("a pipe"));
    let mut line = String::new();
    printed.read_line(&mut line).expect("text");
    assert_eq!(line, "complete\n");
    let picture = Picture::of(&screen.folder.path().join("Xvfb_screen0"));
    for (part, colour, least) in parts {
        let pixels = picture.count(*colour);
        println!("{part}: {pixels} pixels");
        assert!(pixels >= *least, "{part}: {pixels} pixels");
    }

    drop(program.0.stdin.take());
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("text");
    let ended = program.0.wait().expect("an end");
    assert!(ended.success() && rest.is_empty(), "{ended}: {rest}");
}

/// An X server without a display, which keeps its picture in a file.
struct Screen {
    number: String,
    folder: TempDir,
    _server: Process,
}

impl Screen {
    fn new() -> Screen {
        let folder = TempDir::new().expect("a folder");
        let mut server = Command::new("Xvfb");
        server.args(["-displayfd", "1", "-nolisten", "tcp"]);
        server.args(["-screen", "0", "640x640x24", "-fbdir"]);
        server.arg(folder.path());
        server.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Process(server.spawn().expect("Xvfb"));
        let mut number = String::new();
        let mut told = BufReader::new(server.0.stdout.take().expect("a pipe"));
        told.read_line(&mut number).expect("its number");
        Screen {
            number: number.trim().into(),
            folder,
            _server: server,
        }
    }
}

/// A process that goes with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The contents of the screen, as Xvfb keeps them in a file: the form is that of xwd(1).
struct Picture(Vec<u8>);

impl Picture {
    fn of(path: &Path) -> Picture {
        let file = fs::read(path).expect("a picture");
        // The header is 32-bit numbers, of which the first is its length and number 19 is how many colours follow.
        let number = |at: usize| {
            let bytes = file[4 * at..4 * at + 4].try_into().expect("four bytes");
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
