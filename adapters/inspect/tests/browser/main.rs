//! The page in Chromium, while `one_loop` is under load on each host. `tests/all.sh` runs this: it needs Chromium.
//! The screenshots are kept in `target/tmp/inspect`. With ONELOOP_WRITE_SCREENSHOT set, the one in the docs is written.

mod chromium;
#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use chromium::Chromium;
use common::get;
use oneloop_support::Watchdog;
use serde_json::Value;

#[test]
#[ignore = "needs Chromium"]
fn the_page_in_chromium_shows_one_loop_on_each_host() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect");
    fs::create_dir_all(&folder).unwrap();
    let has_chromium = Command::new("chromium").arg("--version").output();
    assert!(
        has_chromium.is_ok_and(|shown| shown.status.success()),
        "there is no chromium: install Debian's package `chromium`, as tests/all.sh does"
    );
    let mut browser = Chromium::start(folder.clone());
    for (host, driver) in [
        ("builtin", "driven by block_on"),
        ("tokio", "driven by the host tokio"),
        ("async-io", "driven by the host async-io"),
    ] {
        let _watchdog = Watchdog::new(host);
        let (program, address) = start_one_loop(host);
        look(&mut browser, address, driver);
        let shot = browser.screenshot();
        assert!(shot.len() > 10_000);
        fs::write(folder.join(format!("{host}.png")), &shot).unwrap();
        if host == "tokio" && std::env::var_os("ONELOOP_WRITE_SCREENSHOT").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inspect.png");
            fs::write(path, shot).unwrap();
        }
        assert_eq!(browser.errors, Vec::<String>::new());
        drop(program);
        browser.until("document.querySelector('#status').textContent.startsWith('no answer')");
        browser.errors.clear(); // which gets no answer
    }
}

/// A program that is ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the example, with load for about half a minute, and returns the address of its page.
fn start_one_loop(host: &str) -> (Program, SocketAddr) {
    let path: PathBuf = std::env::current_exe().unwrap();
    let path = path.parent().unwrap().parent().unwrap();
    let path = path.join("examples/one_loop");
    let build = "cargo build -p oneloop-inspect --example one_loop";
    assert!(path.exists(), "{path:?} is not there; {build}");
    let mut program = Command::new(path)
        .args(["--host", host, "--inspect", "127.0.0.1:0"])
        .args([
            "--connections",
            "60",
            "--messages",
            "2000",
            "--rate",
            "4000",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let (_, address) = line.trim().split_once("http://").unwrap();
    let address = address.trim_end_matches('/').parse().unwrap();
    thread::spawn(move || output.read_to_end(&mut Vec::new()));
    (Program(program), address)
}

fn look(browser: &mut Chromium, address: SocketAddr, driver: &str) {
    let snapshot = || get(address, "/snapshot").json();
    browser.open(&format!("http://{address}/"));
    browser.until("document.querySelector('#turns').textContent !== '–'");
    browser.until("document.querySelectorAll('#table tbody tr').length > 60");
    let text = |browser: &mut Chromium, selector: &str| {
        let text = browser.value(&format!("document.querySelector({selector:?}).textContent"));
        text.as_str().unwrap().to_owned()
    };
    assert_eq!(text(browser, "#driver"), driver);
    assert_eq!(text(browser, "#status"), "live");

    // Rates, within a third and three times those that two snapshots show. The load is not even, so some looks may
    // differ.
    loop {
        let before = snapshot();
        browser.value("new Promise((done) => setTimeout(done, 1500))");
        let after = snapshot();
        let is_near = |browser: &mut Chromium, id: &str, name: &str| {
            let of = |snapshot: &Value| snapshot["stats"][name].as_f64().unwrap();
            let time = |snapshot: &Value| snapshot["time"].as_f64().unwrap() / 1e6;
            let expected = (of(&after) - of(&before)) / (time(&after) - time(&before));
            let shown: f64 = text(browser, id).replace(',', "").parse().unwrap();
            expected > 100.0 && (expected / 3.0..expected * 3.0).contains(&shown)
        };
        if is_near(browser, "#turns", "turns") && is_near(browser, "#events", "handler_calls") {
            break;
        }
    }
    browser.until("document.querySelector('#times').textContent.includes('in callbacks')");
    browser.until("document.querySelectorAll('#longest tr').length > 0");
    let longest = text(browser, "#longest tr .place");
    assert!(longest.contains(".rs:"), "{longest}");

    // Each row says what the snapshot says.
    let rows = browser.value(
        "[...document.querySelectorAll('#table tbody tr')].map((row) => [row.dataset.id,
            row.querySelector('[data-key=file]').textContent, row.querySelector('[data-key=location]').textContent])",
    );
    let after = snapshot();
    let mut compared = 0;
    for row in rows.as_array().unwrap() {
        let handlers = after["handlers"].as_array().unwrap();
        if let Some(handler) = handlers.iter().find(|handler| handler["id"] == row[0]) {
            assert_eq!(handler["file"], row[1]);
            let place = handler["location"].as_str().unwrap();
            let (_, line) = place.rsplit_once('/').unwrap();
            let shown = row[2].as_str().unwrap();
            assert!(
                shown.ends_with(line) && !shown.contains(".."),
                "{shown}, and not {place}"
            );
            assert!(row[1].as_str().unwrap().starts_with("TCP") || row[1] == "eventfd");
            compared += 1;
        }
    }
    assert!(compared > 60);

    // Sorting, one way and the other.
    let column = "[...document.querySelectorAll('#table tbody [data-key=fd]')].map((cell) => Number(cell.textContent))";
    for order in ["descending", "ascending"] {
        browser.click("#table th[data-key=fd]");
        browser.until(&format!(
            "document.querySelector('#table th[data-key=fd]').getAttribute('aria-sort') === '{order}'"
        ));
        let shown: Vec<_> = browser.value(column).as_array().unwrap().clone();
        let shown: Vec<_> = shown.iter().map(|fd| fd.as_i64().unwrap()).collect();
        let is_sorted = match order {
            "descending" => shown.is_sorted_by(|a, b| a >= b),
            _ => shown.is_sorted(),
        };
        assert!(is_sorted && shown.len() > 60, "{order}: {shown:?}");
    }

    // Filtering by words, and by what keeps `run` going. This page's own handlers are shown on demand.
    browser.write("#filter", "tcp listener chat.rs");
    browser.until("document.querySelectorAll('#table tbody tr').length === 1");
    browser.write("#filter", "oneloop-inspect");
    browser.until("document.querySelectorAll('#table tbody tr').length === 0");
    browser.click("#hide-own");
    browser.until("document.querySelectorAll('#table tbody tr.own').length >= 2");
    browser.click("#only-alive");
    browser.until("document.querySelectorAll('#table tbody tr').length === 0");
    browser.click("#only-alive");
    browser.click("#hide-own");
    browser.value("document.querySelector('#filter').value = ''");
    browser.click("#tab-timers");
    browser.until("document.querySelectorAll('#table tbody [data-key=due_in]').length > 0");
    browser.click("#tab-handlers");

    // The timeline goes on, stands still while it is paused, and can be zoomed.
    let canvas = "document.querySelector('#timeline').dataset";
    browser.until(&format!("Number({canvas}.shown) > 100"));
    browser.click("#pause");
    let end = browser.value(&format!("{canvas}.end"));
    browser.click("#closer");
    browser.click("#closer");
    assert_eq!(browser.value(&format!("{canvas}.end")), end);
    assert_eq!(text(browser, "#span").split(',').next().unwrap(), "1.25 s");
    browser.click("#farther");
    browser.click("#pause");
    browser.until(&format!("{canvas}.end !== '{}'", end.as_str().unwrap()));

    // A recording.
    browser.value("document.querySelector('#seconds').value = 1");
    browser.click("#record");
    browser.until("document.querySelector('#recorded').textContent.includes('ui.perfetto.dev')");
    let pid = after["pid"].as_u64().unwrap();
    let trace = browser.value(
        "fetch(document.querySelector('#download').href).then((answer) => answer.text()).catch(() => null)",
    );
    assert!(
        trace.is_null(),
        "the page's policy lets it read its own server only"
    );
    let path = browser.downloads.join(format!("oneloop-{pid}.json"));
    let trace = loop {
        browser.value("new Promise((done) => setTimeout(done, 20))");
        let trace = fs::read(&path).unwrap_or_default();
        if let Ok(trace) = serde_json::from_slice::<Value>(&trace) {
            break trace;
        }
    };
    let events = trace["traceEvents"].as_array().unwrap();
    let chat = |event: &&Value| event["name"].as_str().unwrap().contains("chat.rs");
    assert!(events.iter().filter(chat).count() > 100);
    browser.errors.retain(|error| !error.contains("blob:"));
    browser.until(&format!("Number({canvas}.shown) > 100"));
}
