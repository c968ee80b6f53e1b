//! How long the adapters are.

use std::fs::read_to_string;

use oneloop_guests_tests::expect_table;

/// Each loop, and the files for it as a host and as a guest.
const ADAPTERS: [(&str, &str, &str); 10] = [
    ("GLib", "glib/src/host.rs", "glib/src/guest.rs"),
    ("libuv", "uv/src/host.rs", "uv/src/guest.rs"),
    ("calloop", "calloop/src/host.rs", ""),
    ("tokio", "tokio/src/drive.rs", "tokio/src/guest.rs"),
    ("compio", "", "compio/src/guest.rs"),
    ("what those in C share", "c/glue/oneloop-attached.h", ""),
    ("libevent", "c/glue/oneloop-libevent.h", ""),
    ("libev", "c/glue/oneloop-libev.h", ""),
    ("Qt", "c/glue/oneloop-qt.h", ""),
    (
        "sd-event",
        "c/glue/oneloop-sd-event.h",
        "c/glue/oneloop-sd-event.h",
    ),
];

/// Lines of code, without comments. A header with both directions is divided where the guest begins.
fn lines(file: &str, is_guest: bool) -> String {
    if file.is_empty() {
        return String::new();
    }
    let path = format!("{}/../../adapters/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = read_to_string(path).unwrap();
    let mut code = String::new();
    for (at, part) in text.split("/*").enumerate() {
        code += match at {
            0 => part,
            _ => part.split_once("*/").map_or("", |(_, after)| after),
        };
    }
    let guest = code.find("static inline int oneloop_sd_event_list");
    let code = match (guest, is_guest) {
        (Some(at), true) => &code[at..],
        (Some(at), false) => &code[..at],
        (None, _) => &code,
    };
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let count = code.lines().filter(is_code).count();
    assert!(count < 100, "{file} has {count} lines");
    count.to_string()
}

#[test]
fn the_page_has_the_lines_of_each_adapter() {
    let mut table = String::from("| loop | as the host | as a guest |\n|---|---:|---:|\n");
    for (name, host, guest) in ADAPTERS {
        table += &format!(
            "| {name} | {} | {} |\n",
            lines(host, false),
            lines(guest, true)
        );
    }
    expect_table("lines", &table);
}
