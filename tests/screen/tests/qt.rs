//! Qt's window: `examples/c/qt_window.cpp`.

use std::env;
use std::process::Command;

use oneloop_screen::expect_shown;

#[test]
#[ignore = "`tests/more.sh windows` compiles the program"]
fn the_window_shows_what_callbacks_in_c_have_done() {
    let program = env::var_os("ONELOOP_QT_WINDOW").expect("the path of the program");
    let parts = [
        ("what the handler has read", [224, 32, 48], 20_000),
        ("how often the timer has fired", [32, 192, 64], 20_000),
        ("what a thread has posted", [64, 32, 240], 20_000),
    ];
    expect_shown(Command::new(program), &parts);
}
