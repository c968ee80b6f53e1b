//! `--help` of the examples.

/// Prints `text` and ends the program if that was called with `--help`.
pub fn print_if_asked(text: &str) {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{text}");
        std::process::exit(0);
    }
}
