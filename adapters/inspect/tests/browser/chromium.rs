//! Chromium without a window, driven by its DevTools protocol over a pair of pipes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub struct Chromium {
    process: Child,
    /// `None` once it is told to end.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    calls: u64,
    session: Value,
    /// Errors of pages: exceptions, and what their policy forbids.
    pub errors: Vec<String>,
    pub downloads: PathBuf,
}

impl Chromium {
    /// Starts it with a page of its own.
    pub fn start(folder: PathBuf) -> Chromium {
        let downloads = folder.join("downloads");
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads).unwrap();
        // The protocol is on descriptors 3 and 4.
        let script = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#;
        let mut process = Command::new("sh")
            .args(["-c", script, "chromium", "--headless", "--no-sandbox"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .args(["--hide-scrollbars", "--window-size=1200,900"])
            .arg(format!(
                "--user-data-dir={}",
                folder.join("profile").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("chromium.log")).unwrap())
            .spawn()
            .unwrap();
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().unwrap());
        let mut chromium = Chromium {
            process,
            to,
            from,
            calls: 0,
            session: Value::Null,
            errors: Vec::new(),
            downloads,
        };
        let target = chromium.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = chromium.call("Target.attachToTarget", attach);
        chromium.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        let path = chromium.downloads.to_str().unwrap().to_owned();
        let allow = json!({ "behavior": "allow", "downloadPath": path });
        chromium.call("Browser.setDownloadBehavior", allow);
        chromium
    }

    /// Calls a method of the protocol, and returns its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(
                answer.pop(),
                Some(0),
                "Chromium has ended; see chromium.log"
            );
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            self.note_error(&answer);
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn note_error(&mut self, message: &Value) {
        let entry = &message["params"]["entry"];
        let is_error = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            // The browser asks for an icon by itself.
            Some("Log.entryAdded") => {
                let is_icon = entry["url"].to_string().contains("favicon");
                entry["level"] == "error" && !is_icon
            }
            _ => false,
        };
        if is_error {
            self.errors.push(message.to_string());
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression, or of its promise.
    pub fn value(&mut self, expression: &str) -> Value {
        let evaluate =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", evaluate);
        let exception = &result["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, for half a minute at most.
    pub fn until(&mut self, expression: &str) {
        let promise = format!(
            "new Promise((done) => {{
                const end = performance.now() + 30000;
                const look = () => {{
                    let holds = false;
                    try {{ holds = {expression}; }} catch {{}}
                    holds || performance.now() > end ? done(holds) : setTimeout(look, 20);
                }};
                look();
            }})"
        );
        if self.value(&promise) != true {
            let page = self.value("document.body.innerText");
            let errors = &self.errors;
            panic!("this did not come: {expression}; errors: {errors:?}; the page: {page}");
        }
    }

    /// Clicks in the middle of an element.
    pub fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{
                const element = document.querySelector({selector:?});
                element.scrollIntoView({{ block: 'center' }});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into an element.
    pub fn write(&mut self, selector: &str, text: &str) {
        self.value(&format!(
            "{{ const field = document.querySelector({selector:?}); field.focus(); field.select(); }}"
        ));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// The page as a PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        self.value("scrollTo(0, 0)");
        let clip = json!({ "x": 0, "y": 0, "width": 1200, "height": 575, "scale": 1 });
        let format = json!({ "format": "png", "clip": clip });
        let shot = self.call("Page.captureScreenshot", format);
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends when the pipe does. If not, it is made to.
        self.to.take();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
