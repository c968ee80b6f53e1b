//! Runs the program under Xvfb, and looks at the picture.

use std::process::Command;

use oneloop_screen::expect_shown;

#[test]
fn the_window_shows_what_callbacks_a_timer_and_a_task_have_done() {
    let program = Command::new(env!("CARGO_BIN_EXE_winit_window"));
    let parts = [
        ("what the service has answered", [224, 32, 48], 20_000),
        ("how often the timer has fired", [32, 192, 64], 20_000),
        ("what the task has heard", [64, 32, 240], 20_000),
    ];
    expect_shown(program, &parts);
}
